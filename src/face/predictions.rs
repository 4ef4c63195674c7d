//! What a model says of sequences.

use crate::engine;
use crate::files::predictions_h5::softmax_into;

/// Predictions of some sequences, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    pub(super) outputlen: usize,
    pub(super) raw: engine::Predictions,
}

impl Predictions {
    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.raw.logcounts.len()
    }

    /// True without a sequence.
    pub fn is_empty(&self) -> bool {
        self.raw.logcounts.is_empty()
    }

    /// Bases of a profile: the model's output length. A profile lies in the middle of its sequence.
    pub fn output_length(&self) -> usize {
        self.outputlen
    }

    /// Profile logits of sequence `i`, `[output_length]`.
    pub fn logits(&self, i: usize) -> &[f32] {
        &self.raw.logits[i * self.outputlen..][..self.outputlen]
    }

    /// The profile of sequence `i`: softmax of its logits, `[output_length]`, which sums to 1.
    pub fn profile(&self, i: usize) -> Vec<f64> {
        let mut profile = Vec::with_capacity(self.outputlen);
        softmax_into(self.logits(i), &mut profile);
        profile
    }

    /// Natural log of 1 + the counts of sequence `i`.
    pub fn log_counts(&self, i: usize) -> f32 {
        self.raw.logcounts[i]
    }

    /// Expected insertions of sequence `i` in all of its output: `exp(log_counts) - 1`, at least 0.
    pub fn counts(&self, i: usize) -> f64 {
        f64::from(self.log_counts(i)).exp_m1().max(0.0)
    }

    /// Expected insertions at each base of sequence `i`: profile times counts, `[output_length]`.
    pub fn signal(&self, i: usize) -> Vec<f32> {
        let counts = self.counts(i);
        self.profile(i).into_iter().map(|share| (share * counts) as f32).collect()
    }
}
