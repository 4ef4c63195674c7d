//! The metrics of a variant, as variant-scorer defines and names them.
//!
//! All are f32, as they are written: p-values compare scores with those of a background, and ties
//! must stay ties when the background comes from a file.

use crate::files::predictions_h5::softmax_into;

/// One metric; the order is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Metric {
    Allele1PredCounts,
    Allele2PredCounts,
    Logfc,
    AbsLogfc,
    Jsd,
    OriginalJsd,
    LogfcXJsd,
    AbsLogfcXJsd,
    Allele1Quantile,
    Allele2Quantile,
    ActiveAlleleQuantile,
    QuantileChange,
    AbsQuantileChange,
    LogfcXActiveAlleleQuantile,
    AbsLogfcXActiveAlleleQuantile,
    JsdXActiveAlleleQuantile,
    LogfcXJsdXActiveAlleleQuantile,
    AbsLogfcXJsdXActiveAlleleQuantile,
}

use Metric as M;

/// Metrics that every table has.
pub const PREDICTED: [Metric; 8] = [
    M::Allele1PredCounts,
    M::Allele2PredCounts,
    M::Logfc,
    M::AbsLogfc,
    M::Jsd,
    M::OriginalJsd,
    M::LogfcXJsd,
    M::AbsLogfcXJsd,
];

/// Metrics that need the counts of peaks.
pub const AGAINST_PEAKS: [Metric; 10] = [
    M::Allele1Quantile,
    M::Allele2Quantile,
    M::ActiveAlleleQuantile,
    M::QuantileChange,
    M::AbsQuantileChange,
    M::LogfcXActiveAlleleQuantile,
    M::AbsLogfcXActiveAlleleQuantile,
    M::JsdXActiveAlleleQuantile,
    M::LogfcXJsdXActiveAlleleQuantile,
    M::AbsLogfcXJsdXActiveAlleleQuantile,
];

/// Metrics that have a mean over models, in the order of that table.
pub const AVERAGED: [Metric; 13] = [
    M::Logfc,
    M::AbsLogfc,
    M::Jsd,
    M::LogfcXJsd,
    M::AbsLogfcXJsd,
    M::ActiveAlleleQuantile,
    M::LogfcXActiveAlleleQuantile,
    M::AbsLogfcXActiveAlleleQuantile,
    M::JsdXActiveAlleleQuantile,
    M::LogfcXJsdXActiveAlleleQuantile,
    M::AbsLogfcXJsdXActiveAlleleQuantile,
    M::QuantileChange,
    M::AbsQuantileChange,
];

/// Which scores are as extreme as one at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    Right,
    Both,
}

impl Metric {
    pub const COUNT: usize = 18;

    /// The name of the metric's column.
    pub fn name(self) -> &'static str {
        match self {
            M::Allele1PredCounts => "allele1_pred_counts",
            M::Allele2PredCounts => "allele2_pred_counts",
            M::Logfc => "logfc",
            M::AbsLogfc => "abs_logfc",
            M::Jsd => "jsd",
            M::OriginalJsd => "original_jsd",
            M::LogfcXJsd => "logfc_x_jsd",
            M::AbsLogfcXJsd => "abs_logfc_x_jsd",
            M::Allele1Quantile => "allele1_quantile",
            M::Allele2Quantile => "allele2_quantile",
            M::ActiveAlleleQuantile => "active_allele_quantile",
            M::QuantileChange => "quantile_change",
            M::AbsQuantileChange => "abs_quantile_change",
            M::LogfcXActiveAlleleQuantile => "logfc_x_active_allele_quantile",
            M::AbsLogfcXActiveAlleleQuantile => "abs_logfc_x_active_allele_quantile",
            M::JsdXActiveAlleleQuantile => "jsd_x_active_allele_quantile",
            M::LogfcXJsdXActiveAlleleQuantile => "logfc_x_jsd_x_active_allele_quantile",
            M::AbsLogfcXJsdXActiveAlleleQuantile => "abs_logfc_x_jsd_x_active_allele_quantile",
        }
    }

    pub fn needs_peaks(self) -> bool {
        AGAINST_PEAKS.contains(&self)
    }

    /// For the metrics that have a p-value.
    pub fn tail(self) -> Option<Tail> {
        match self {
            M::Allele1PredCounts
            | M::Allele2PredCounts
            | M::OriginalJsd
            | M::Allele1Quantile
            | M::Allele2Quantile => None,
            M::Logfc
            | M::LogfcXJsd
            | M::QuantileChange
            | M::LogfcXActiveAlleleQuantile
            | M::LogfcXJsdXActiveAlleleQuantile => Some(Tail::Both),
            _ => Some(Tail::Right),
        }
    }

    /// The metric that this one is the absolute value of.
    pub fn signed(self) -> Option<Metric> {
        match self {
            M::AbsLogfc => Some(M::Logfc),
            M::AbsLogfcXJsd => Some(M::LogfcXJsd),
            M::AbsQuantileChange => Some(M::QuantileChange),
            M::AbsLogfcXActiveAlleleQuantile => Some(M::LogfcXActiveAlleleQuantile),
            M::AbsLogfcXJsdXActiveAlleleQuantile => Some(M::LogfcXJsdXActiveAlleleQuantile),
            _ => None,
        }
    }
}

/// A model's prediction of one allele, averaged over strands.
#[derive(Clone, Copy, Debug)]
pub struct Allele<'a> {
    /// exp(logcounts)
    pub counts: f64,
    /// `[outputlen]`, before the softmax
    pub logits: &'a [f32],
    /// Bases of the allele.
    pub length: usize,
}

/// All metrics of one variant; those against peaks are NaN without peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores([f32; Metric::COUNT]);

impl Scores {
    /// `peak_counts`, sorted, give the quantiles.
    pub fn of(alleles: [Allele; 2], peak_counts: Option<&[f32]>) -> Self {
        let counts = alleles.map(|a| a.counts);
        let profiles = alleles.map(|a| {
            let mut profile = Vec::with_capacity(a.logits.len());
            softmax_into(a.logits, &mut profile);
            profile
        });
        let logfc = (counts[1] / counts[0]).log2();
        let original_jsd = jsd(&profiles[1], &profiles[0]);
        let lengths = alleles.map(|a| a.length);
        let jsd = match lengths[0] == lengths[1] {
            true => original_jsd,
            false => {
                let [one, two] = aligned(&profiles, lengths);
                jsd(&one, &two)
            }
        };
        let quantiles = peak_counts.map(|sorted| counts.map(|c| quantile(c as f32, sorted)));
        Self::from_parts(counts, logfc, jsd, original_jsd, quantiles)
    }

    fn from_parts(
        counts: [f64; 2],
        logfc: f64,
        jsd: f64,
        original_jsd: f64,
        quantiles: Option<[f64; 2]>,
    ) -> Self {
        let mut scores = Self([f32::NAN; Metric::COUNT]);
        let mut set = |metric: Metric, value: f64| scores.0[metric as usize] = value as f32;
        let logfc_x_jsd = logfc * jsd;
        set(M::Allele1PredCounts, counts[0]);
        set(M::Allele2PredCounts, counts[1]);
        set(M::Logfc, logfc);
        set(M::AbsLogfc, logfc.abs());
        set(M::Jsd, jsd);
        set(M::OriginalJsd, original_jsd);
        set(M::LogfcXJsd, logfc_x_jsd);
        set(M::AbsLogfcXJsd, logfc_x_jsd.abs());
        if let Some([one, two]) = quantiles {
            let active = one.max(two);
            set(M::Allele1Quantile, one);
            set(M::Allele2Quantile, two);
            set(M::ActiveAlleleQuantile, active);
            set(M::QuantileChange, two - one);
            set(M::AbsQuantileChange, (two - one).abs());
            set(M::LogfcXActiveAlleleQuantile, logfc * active);
            set(M::AbsLogfcXActiveAlleleQuantile, logfc.abs() * active);
            set(M::JsdXActiveAlleleQuantile, jsd * active);
            set(M::LogfcXJsdXActiveAlleleQuantile, logfc_x_jsd * active);
            set(M::AbsLogfcXJsdXActiveAlleleQuantile, logfc_x_jsd.abs() * active);
        }
        scores
    }

    pub fn get(&self, metric: Metric) -> f32 {
        self.0[metric as usize]
    }
}

/// The share of peaks with fewer counts, never below that of one peak.
fn quantile(counts: f32, sorted: &[f32]) -> f64 {
    let below = sorted.partition_point(|&peak| peak < counts);
    below.max(1) as f64 / sorted.len() as f64
}

/// Jensen-Shannon distance in base 2: the square root, as SciPy's `jensenshannon`. In f64, since
/// the divergence of nearly equal profiles is a sum of large terms that cancel.
fn jsd(p: &[f64], q: &[f64]) -> f64 {
    let divergence: f64 = p
        .iter()
        .zip(q)
        .map(|(&p, &q)| {
            let middle = (p + q) / 2.0;
            let term = |x: f64| if x > 0.0 { x * (x / middle).ln() } else { 0.0 };
            term(p) + term(q)
        })
        .sum();
    (divergence.max(0.0) / (2.0 * std::f64::consts::LN_2)).sqrt()
}

/// Profiles of an indel brought onto common bases: those that only one allele has are left out of
/// its profile, as many are cut off the end of the other, and both sum to 1 again. The bases of the
/// variant begin in the middle. Source: variant-scorer `adjust_indel_jsd`.
fn aligned(profiles: &[Vec<f64>; 2], lengths: [usize; 2]) -> [Vec<f64>; 2] {
    let middle = profiles[0].len() / 2;
    let longer = usize::from(lengths[1] > lengths[0]);
    let (long, short) = (lengths[longer], lengths[1 - longer]);
    let mut out = [0, 1].map(|allele| {
        let profile = &profiles[allele];
        match allele == longer {
            true => [&profile[..middle + short], &profile[middle + long..]].concat(),
            false => profile[..profile.len() - (long - short)].to_vec(),
        }
    });
    for profile in &mut out {
        let sum: f64 = profile.iter().sum();
        profile.iter_mut().for_each(|p| *p /= sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allele(counts: f64, logits: &[f32], length: usize) -> Allele<'_> {
        Allele { counts, logits, length }
    }

    /// log(p) as logits: the softmax gives p back.
    fn logits(p: &[f64]) -> Vec<f32> {
        p.iter().map(|p| p.ln() as f32).collect()
    }

    #[test]
    fn hand_computed_row() {
        let (one, two) = (logits(&[0.5, 0.25, 0.125, 0.125]), logits(&[0.25; 4]));
        let scores =
            Scores::of([allele(4.0, &one, 1), allele(16.0, &two, 1)], Some(&[1.0, 4.0, 9.0, 20.0]));
        let near = |metric: Metric, wanted: f64| {
            let got = f64::from(scores.get(metric));
            assert!((got - wanted).abs() < 1e-6, "{}: {got}, wanted {wanted}", metric.name());
        };
        // scipy.spatial.distance.jensenshannon([.5, .25, .125, .125], [.25] * 4, base=2)
        let jsd = 0.247_544_186_882_125_73;
        near(M::Logfc, 2.0);
        near(M::Jsd, jsd);
        near(M::OriginalJsd, jsd);
        near(M::LogfcXJsd, 2.0 * jsd);
        // of 1, 4, 9, 20 one is below 4 and three are below 16
        near(M::Allele1Quantile, 0.25);
        near(M::Allele2Quantile, 0.75);
        near(M::ActiveAlleleQuantile, 0.75);
        near(M::QuantileChange, 0.5);
        near(M::LogfcXJsdXActiveAlleleQuantile, 1.5 * jsd);
        let swapped = Scores::of([allele(16.0, &two, 1), allele(4.0, &one, 1)], None);
        assert_eq!(swapped.get(M::Logfc), -scores.get(M::Logfc));
        assert_eq!(swapped.get(M::Jsd), scores.get(M::Jsd));
        assert!(swapped.get(M::Allele1Quantile).is_nan());
    }

    #[test]
    fn quantiles_at_the_ends() {
        let sorted = [1.0, 2.0, 2.0, 3.0];
        let all = [0.5, 1.0, 2.0, 2.5, 9.0].map(|c| quantile(c, &sorted));
        assert_eq!(all, [0.25, 0.25, 0.25, 0.75, 1.0]);
    }

    /// An insertion of two bases in the middle of a profile of 8: without them, and without the
    /// last two of the other allele, the profiles are equal.
    #[test]
    fn indels_are_compared_on_common_bases() {
        let short = logits(&[0.1, 0.2, 0.1, 0.1, 0.2, 0.1, 0.15, 0.05]);
        let long = logits(&[0.1, 0.2, 0.1, 0.1, 0.01, 0.09, 0.2, 0.1]);
        for (alleles, lengths) in [([&short, &long], [0, 2]), ([&long, &short], [2, 0])] {
            let [one, two] = [0, 1].map(|i| allele(1.0, alleles[i], lengths[i]));
            let scores = Scores::of([one, two], None);
            // the square root of a divergence of about 1e-15
            assert!(scores.get(M::Jsd) < 1e-6, "{}", scores.get(M::Jsd));
            assert!(scores.get(M::OriginalJsd) > 0.1);
        }
        // with an anchor base, that base is common
        let profiles = [vec![0.125; 8], vec![0.1, 0.1, 0.1, 0.1, 0.2, 0.3, 0.05, 0.05]];
        let [one, two] = aligned(&profiles, [1, 2]);
        assert_eq!(one.len(), 7);
        let kept = [0.1, 0.1, 0.1, 0.1, 0.2, 0.05, 0.05].map(|p| p / 0.7);
        assert!(two.iter().zip(kept).all(|(a, b)| (a - b).abs() < 1e-12), "{two:?}");
    }
}
