//! What the bases of sequences contribute to a model's outputs.

use crate::interpret;

/// How contribution scores are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// DeepSHAP with the rescale rule, as the official tool: against `references` dinucleotide-preserving shuffles
    /// of the sequence, drawn by `seed`.
    DeepShap {
        /// Shuffles a sequence; the official tool takes 20.
        references: usize,
        /// Seed of the shuffles.
        seed: u64,
    },
    /// Saturation mutagenesis: the output with each base at each position, less the mean over the four bases.
    Ism,
    /// The gradient by the one-hot input.
    Gradient,
}

impl Default for Method {
    fn default() -> Self {
        Self::DeepShap { references: 20, seed: 1234 }
    }
}

/// Scores of some sequences, in their order, for both outputs of the model.
///
/// Scores are hypothetical: what each of the four bases would contribute. [`of_bases`](Self::of_bases) picks those of
/// the bases that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    pub(super) inputlen: usize,
    pub(super) codes: Vec<u8>,
    pub(super) raw: interpret::Scores,
}

impl Contributions {
    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.codes.len() / self.inputlen
    }

    /// True without a sequence.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Contributions to the log counts of sequence `i`, `[input_length, 4]`, bases in the order A, C, G, T.
    pub fn counts(&self, i: usize) -> &[f32] {
        self.hypothetical(&self.raw.counts, i)
    }

    /// Contributions to the shape of the profile of sequence `i`, `[input_length, 4]`, bases in the order A, C, G, T.
    pub fn profile(&self, i: usize) -> &[f32] {
        self.hypothetical(&self.raw.profile, i)
    }

    fn hypothetical<'a>(&self, scores: &'a [f32], i: usize) -> &'a [f32] {
        &scores[i * self.inputlen * 4..][..self.inputlen * 4]
    }

    /// Scores of the bases that are there, `[input_length]`, of `hypothetical` scores of sequence `i`; 0 at N.
    pub fn of_bases(&self, i: usize, hypothetical: &[f32]) -> Vec<f32> {
        let codes = &self.codes[i * self.inputlen..][..self.inputlen];
        let columns = hypothetical.chunks_exact(4).zip(codes);
        columns
            .map(|(column, &code)| column.get(usize::from(code)).copied().unwrap_or(0.0))
            .collect()
    }
}
