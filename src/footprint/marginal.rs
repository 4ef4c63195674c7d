//! The mean profile around one motif.

use anyhow::Result;

use super::Motif;
use crate::batch::Example;
use crate::engine::Predictions;
use crate::error::Problem;
use crate::files::predictions_h5::softmax_into;
use crate::model::Architecture;
use crate::sequence::reverse_complement;
use crate::store::Tracks;

/// What a model predicts around one motif.
#[derive(Clone, Debug, PartialEq)]
pub struct Footprint {
    /// `control` for the background without a motif.
    pub name: String,
    /// `[outputlen]`, sums to 1
    pub profile: Vec<f32>,
    /// Predicted reads on both strands together, mean over the background.
    pub counts: f32,
}

/// Appends a model's outputs for base codes [n, inputlen].
pub type Ask<'a> = dyn FnMut(&[u8], &mut Predictions) -> Result<()> + 'a;

/// Footprints of the background as it is and of every motif, in this order; see `marginal`.
pub fn footprints(
    predict: &mut Ask,
    arch: &Architecture,
    tracks: &Tracks,
    plan: &[Example],
    motifs: &[Motif],
    batch_size: usize,
    after: &mut dyn FnMut(usize),
) -> Result<Vec<Footprint>> {
    for motif in motifs {
        site(motif, arch.inputlen)?;
    }
    [Motif::control()]
        .iter()
        .chain(motifs)
        .map(|motif| marginal(predict, arch, tracks, plan, motif, batch_size, after))
        .collect()
}

/// Predicts `motif` in the middle of every window of `plan` and averages.
///
/// Both strands of a sequence are predicted; their profiles add up weighted by their predicted
/// counts, exp(logcounts) - 1, and each sequence has the same say in the mean. `after` is told how many windows are done, batch by batch.
///
/// Errors: a motif longer than the windows; those of `predict`.
/// Source: official `get_footprint_for_motif`, whose softmax is less stable and which works in f32.
pub fn marginal(
    predict: &mut Ask,
    arch: &Architecture,
    tracks: &Tracks,
    plan: &[Example],
    motif: &Motif,
    batch_size: usize,
    after: &mut dyn FnMut(usize),
) -> Result<Footprint> {
    let at = site(motif, arch.inputlen)?;
    let mut profile = vec![0.0f64; arch.outputlen];
    let mut counts = 0.0;
    let mut both = Vec::new();
    for batch in plan.chunks(batch_size) {
        both.clear();
        both.resize(2 * batch.len() * arch.inputlen, 4);
        let (forward, reverse) = both.split_at_mut(batch.len() * arch.inputlen);
        for (example, codes) in batch.iter().zip(forward.chunks_exact_mut(arch.inputlen)) {
            tracks.fill_codes(example, codes);
            codes[at.clone()].copy_from_slice(&motif.codes);
        }
        let strands = forward.chunks_exact(arch.inputlen);
        for (forward, reverse) in strands.zip(reverse.chunks_exact_mut(arch.inputlen)) {
            reverse.iter_mut().zip(reverse_complement(forward)).for_each(|(out, code)| *out = code);
        }
        let mut predicted = Predictions::default();
        predict(&both, &mut predicted)?;
        for i in 0..batch.len() {
            let (both, total) = both_strands(&predicted, i, batch.len(), arch.outputlen);
            counts += total;
            for (sum, value) in profile.iter_mut().zip(&both) {
                *sum += value;
            }
        }
        after(batch.len());
    }
    let n = plan.len() as f64;
    Ok(Footprint {
        name: motif.name.clone(),
        profile: profile.iter().map(|sum| (sum / n) as f32).collect(),
        counts: (counts / n) as f32,
    })
}

/// Where a motif goes: its base `len / 2` on the centre of the window.
fn site(motif: &Motif, inputlen: usize) -> Result<std::ops::Range<usize>, Problem> {
    let length = motif.codes.len();
    if length > inputlen {
        return Err(Problem::new(format!(
            "motif {} is {length} bp long, but the model reads {inputlen} bp",
            motif.name
        ))
        .fix("insert a shorter sequence"));
    }
    let start = inputlen / 2 - length / 2;
    // An odd window and an even motif of its length would stick out by one base at the left.
    let start = start.min(inputlen - length);
    Ok(start..start + length)
}

/// Profile of sequence `i` over both strands, in the direction of the sequence, and predicted counts
/// of both together. Rows `0..n` are the sequences, rows `n..2n` their reverse complements.
fn both_strands(predicted: &Predictions, i: usize, n: usize, outputlen: usize) -> (Vec<f64>, f64) {
    let strand = |row: usize| {
        let mut profile = Vec::with_capacity(outputlen);
        softmax_into(&predicted.logits[row * outputlen..(row + 1) * outputlen], &mut profile);
        (profile, f64::from(predicted.logcounts[row]).exp_m1())
    };
    let (mut profile, forward) = strand(i);
    let (opposite, reverse) = strand(n + i);
    let total = forward + reverse;
    for (value, opposite) in profile.iter_mut().zip(opposite.iter().rev()) {
        *value = (*value * forward + opposite * reverse) / total;
    }
    (profile, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strands_weigh_by_their_counts() {
        // Forward: 3 reads, all on base 0. Reverse complement: 1 read, all on its base 0, which is
        // the last base of the sequence.
        let large = 200.0;
        let predicted = Predictions {
            logits: vec![large, 0.0, 0.0, large, 0.0, 0.0],
            logcounts: vec![4f32.ln(), 2f32.ln()],
        };
        let (profile, total) = both_strands(&predicted, 0, 1, 3);
        assert!((total - 4.0).abs() < 1e-6);
        for (found, wanted) in profile.iter().zip([0.75, 0.0, 0.25]) {
            assert!((found - wanted).abs() < 1e-6, "{profile:?}");
        }
    }

    #[test]
    fn motifs_sit_on_the_centre() {
        let motif = |length| Motif { name: "m".into(), codes: vec![0; length] };
        assert_eq!(site(&motif(7), 2114).unwrap(), 1054..1061);
        assert_eq!(site(&motif(16), 2114).unwrap(), 1049..1065);
        assert_eq!(site(&motif(0), 2114).unwrap(), 1057..1057);
        assert_eq!(site(&motif(2114), 2114).unwrap(), 0..2114);
        let error = site(&motif(2115), 2114).unwrap_err().to_string();
        assert!(error.contains("motif m is 2115 bp long, but the model reads 2114 bp"), "{error}");
    }
}
