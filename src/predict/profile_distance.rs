//! How far predicted profiles are from the observed ones.
//!
//! Distances are the official ones, and so is the softmax behind them, which subtracts the mean of
//! the logits and not their maximum: a float32 logit more than about 88 above the mean overflows,
//! the region's distance is NaN and medians skip it. Files with probabilities in them do not use
//! this softmax (`files::predictions_h5` subtracts the maximum, so they stay finite).

use crate::numpy::quantile::nanmedian;
use crate::numpy::random::RandomState;

/// Added to the observed total before dividing by it. Source: official `profile_metrics`.
const PSEUDOCOUNT: f64 = 0.001;

/// Distance of one region's profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfileDistance {
    /// Jensen-Shannon distance: a square root, natural log. NaN where the region has no counts or
    /// the official softmax overflows.
    pub jsd: f64,
    /// 1 for a perfect prediction, 0 for one no better than a uniform profile; NaN where `jsd` is.
    pub norm_jsd: f64,
}

/// Compares `counts` with the profile that `logits` stand for; both `[outputlen]`.
pub fn profile_distance(counts: &[f32], logits: &[f32]) -> ProfileDistance {
    let labels: Vec<f64> = counts.iter().copied().map(f64::from).collect();
    let jsd = distance(&observed(&labels), &normalised_f32(&official_softmax(logits)));
    let uniform = vec![1.0 / labels.len() as f64; labels.len()];
    // Bounds as official: 0, and the distance of the bare counts to a uniform profile. A uniform
    // region has the bound 0 and divides by it, which NumPy lets through as infinity.
    let worst = distance(&normalised(&normalised(&labels)), &normalised(&uniform));
    let scaled = (jsd - worst) / (0.0 - worst);
    ProfileDistance { jsd, norm_jsd: scaled.clamp(0.0, 1.0) }
}

/// Jensen-Shannon distance of `counts` to a profile given as `probabilities`, as prediction files
/// hold them; both `[outputlen]`. NaN where the region has no counts.
pub fn profile_jsd(counts: &[f32], probabilities: &[f64]) -> f64 {
    let labels: Vec<f64> = counts.iter().copied().map(f64::from).collect();
    distance(&observed(&labels), &normalised(probabilities))
}

/// Distance between observed counts and the same counts in a random order: what a profile that
/// knows the number of reads and nothing else gets.
/// Source: the official baseline, `np.random.permutation` of each region.
pub fn shuffled_jsd(counts: &[f32], random: &mut RandomState) -> f64 {
    let labels: Vec<f64> = counts.iter().copied().map(f64::from).collect();
    let mut shuffled = labels.clone();
    random.shuffle(&mut shuffled);
    distance(&observed(&labels), &observed(&shuffled))
}

/// Median of `shuffled_jsd` over regions, in order, from one generator; NaN where there is none.
pub fn median_shuffled_jsd<'a>(rows: impl IntoIterator<Item = &'a [f32]>, seed: u32) -> f64 {
    let mut random = RandomState::new(seed);
    let distances: Vec<f64> = rows.into_iter().map(|r| shuffled_jsd(r, &mut random)).collect();
    nanmedian(&distances)
}

/// exp(x - mean) / sum, in f32 as the official evaluation; NaN in the row where it overflows.
pub fn official_softmax(logits: &[f32]) -> Vec<f32> {
    let mean = (logits.iter().copied().map(f64::from).sum::<f64>() / logits.len() as f64) as f32;
    let mut powers: Vec<f32> = logits.iter().map(|x| (x - mean).exp()).collect();
    let sum = sum_f32(&powers);
    for power in &mut powers {
        *power /= sum;
    }
    powers
}

/// Rounded once: NumPy's pairwise f32 sum is within an ulp or two of it.
fn sum_f32(values: &[f32]) -> f32 {
    values.iter().copied().map(f64::from).sum::<f64>() as f32
}

/// Counts as the official metrics compare them: over their sum plus the pseudocount, and then
/// over their sum again, as SciPy's `jensenshannon` does with what it is given.
fn observed(counts: &[f64]) -> Vec<f64> {
    let total = counts.iter().sum::<f64>() + PSEUDOCOUNT;
    normalised(&counts.iter().map(|c| c / total).collect::<Vec<f64>>())
}

/// Over the sum; 0/0 = NaN where all is zero.
fn normalised(values: &[f64]) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.iter().map(|v| v / sum).collect()
}

fn normalised_f32(values: &[f32]) -> Vec<f64> {
    let sum = sum_f32(values);
    values.iter().map(|v| f64::from(v / sum)).collect()
}

/// sqrt of the Jensen-Shannon divergence of two normalised profiles, natural log.
/// Source: SciPy's `jensenshannon`; rounding below zero is cut off, where SciPy gives NaN.
fn distance(p: &[f64], q: &[f64]) -> f64 {
    let divergence: f64 = p
        .iter()
        .zip(q)
        .map(|(&a, &b)| {
            let middle = (a + b) / 2.0;
            relative_entropy(a, middle) + relative_entropy(b, middle)
        })
        .sum();
    if divergence < 0.0 { 0.0 } else { (divergence / 2.0).sqrt() }
}

fn relative_entropy(x: f64, y: f64) -> f64 {
    // Exactly 0 at x = 0; NaN passes through.
    if x == 0.0 && y >= 0.0 { 0.0 } else { x * (x / y).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-7, "found {found}, wanted {wanted}");
    }

    #[test]
    fn rows_computed_by_hand() {
        // All counts at one base, a uniform prediction over four: p = (1,0,0,0), q = 1/4 each,
        // m = (5/8, 1/8, 1/8, 1/8).
        let wanted = ((1.0f64 * (8.0f64 / 5.0).ln() + 0.25 * (0.4f64).ln() + 0.75 * 2.0f64.ln())
            / 2.0)
            .sqrt();
        let d = profile_distance(&[9.0, 0.0, 0.0, 0.0], &[3.0; 4]);
        close(d.jsd, wanted);
        close(d.norm_jsd, 0.0);
        // The prediction that is proportional to the counts.
        let d = profile_distance(&[1.0, 2.0, 4.0], &[0.0, 2.0f32.ln(), 4.0f32.ln()]);
        assert!(d.jsd < 1e-6 && d.norm_jsd > 1.0 - 1e-5, "{d:?}");
        // Disjoint: the distance is sqrt(ln 2), beyond uniform, so the scaled value is 0.
        let d = profile_distance(&[0.0, 7.0], &[60.0, -60.0]);
        close(d.jsd, 2.0f64.ln().sqrt());
        assert_eq!(d.norm_jsd, 0.0);
    }

    #[test]
    fn nothing_to_compare_is_nan() {
        let d = profile_distance(&[0.0; 3], &[1.0, 2.0, 3.0]);
        assert!(d.jsd.is_nan() && d.norm_jsd.is_nan());
        let d = profile_distance(&[1.0, 2.0, 3.0], &[300.0, 0.0, 0.0]);
        assert!(d.jsd.is_nan() && d.norm_jsd.is_nan(), "exp(200) overflows float32: {d:?}");
    }

    #[test]
    fn a_uniform_region_divides_by_its_bound_of_zero() {
        assert_eq!(profile_distance(&[2.0; 4], &[1.0, 0.0, 0.0, 0.0]).norm_jsd, 1.0);
    }

    #[test]
    fn the_shuffled_baseline_is_seeded() {
        let rows = [&[5.0f32, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0][..], &[0.0f32; 8], &[1.0f32; 8]];
        let once = median_shuffled_jsd(rows, 3);
        assert_eq!(once.to_bits(), median_shuffled_jsd(rows, 3).to_bits());
        let mut random = RandomState::new(3);
        let each: Vec<f64> = rows.iter().map(|r| shuffled_jsd(r, &mut random)).collect();
        assert!(each[0] > 0.3 && each[1].is_nan() && each[2] == 0.0, "{each:?}");
        assert_eq!(once, each[0] / 2.0, "the median skips the empty region");
        assert!(median_shuffled_jsd([], 3).is_nan());
    }
}
