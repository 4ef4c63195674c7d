//! What contribution scores are asked for, and how they come back.

use anyhow::Result;

use super::checks;
use super::predict::{Engine, Predictions};
use crate::error::Problem;
use crate::model::Architecture;

/// Sequences to explain, as base codes: 0..=3 = ACGT, 4 = N, an all-zero one-hot column.
#[derive(Clone, Copy, Debug)]
pub struct ToExplain<'a> {
    /// [n, inputlen]
    pub codes: &'a [u8],
    pub rule: Rule<'a>,
    pub heads: Heads,
}

/// What stands in for the derivative of a ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// DeepSHAP's rescale rule against references, `[n, per_sequence, inputlen]` codes: the ReLU's
    /// change over its input's change. Scores are hypothetical and means over the references.
    Rescale { references: &'a [u8], per_sequence: usize },
    /// The derivative itself: scores are the gradient by the one-hot input.
    Gradient,
}

/// Which outputs are explained.
///
/// `counts` explains the logcounts. `profile` explains `sum(p * l)`, where `l` are the logits minus
/// their mean and `p = softmax(l)` is held constant; under `Rule::Rescale` it is held at the mean of
/// its values for sequence and reference, as the official explainer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub counts: bool,
    pub profile: bool,
}

impl Heads {
    pub const BOTH: Self = Self { counts: true, profile: true };
}

/// Scores, appended sequence by sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contributions {
    /// [n, inputlen, 4]: what each base would contribute at each position (`Rule::Gradient`: the
    /// gradient). Empty when not asked for.
    pub counts: Vec<f32>,
    /// like `counts`
    pub profile: Vec<f32>,
    /// `[n]`: what `counts` times the one-hot sequence sums to where neither sequence nor references
    /// hold N: `f(x) - mean f(reference)`. Empty for `Rule::Gradient`.
    pub delta_counts: Vec<f64>,
    /// `[n]`: the same of `profile`: the mean over references of
    /// `sum((p_x + p_r) / 2 * (l_x - l_r))`. Empty for `Rule::Gradient`.
    pub delta_profile: Vec<f64>,
    /// Outputs of the sequences themselves.
    pub predictions: Predictions,
}

impl ToExplain<'_> {
    /// Number of sequences. Errors when lengths do not fit the model or a code is above 4.
    pub fn check(&self, arch: &Architecture) -> Result<usize> {
        let n = checks::check_codes("sequences", self.codes, arch.inputlen)?;
        if let Rule::Rescale { references, per_sequence } = self.rule {
            let found = checks::check_codes("references", references, arch.inputlen)?;
            if n > 0 && per_sequence == 0 {
                return Err(Problem::new(
                    "contribution scores need references, and none were given",
                )
                .fix("give at least one reference a sequence; 20 is usual")
                .into());
            }
            if found != n * per_sequence {
                return Err(Problem::new(format!(
                    "{found} references were given for {n} sequences, {per_sequence} each are needed"
                ))
                .into());
            }
        }
        Ok(n)
    }
}

/// An engine that sees sequences only.
pub trait Explain: Engine {
    /// Appends contribution scores to `out`. Any number of sequences; working memory does not grow
    /// with it. Errors for a model of two branches, which cannot be explained.
    fn contributions(&mut self, of: &ToExplain, out: &mut Contributions) -> Result<()>;
}
