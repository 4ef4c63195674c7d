//! Predictions of sequences by one or several models, averaged over both strands.

use anyhow::Result;

use crate::engine::{Explain, Predictions};
use crate::model::Architecture;
use crate::sequence::reverse_complement;
use crate::variants::scores::Allele;

/// One model's predictions of sequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StrandMeans {
    /// exp(logcounts), mean over strands `[n]`
    pub counts: Vec<f64>,
    /// Mean over strands [n, outputlen]
    pub logits: Vec<f32>,
}

impl StrandMeans {
    /// What is said of sequence `i`, one allele of a substitution.
    pub fn allele(&self, i: usize, outputlen: usize) -> Allele<'_> {
        Allele {
            counts: self.counts[i],
            logits: &self.logits[i * outputlen..][..outputlen],
            length: 1,
        }
    }
}

/// Models of one input and output length.
pub struct Predictor {
    pub engines: Vec<Box<dyn Explain>>,
    pub arch: Architecture,
    /// Sequences per step.
    pub batch_size: usize,
    /// Average with the reverse complement.
    pub both_strands: bool,
}

impl Predictor {
    /// Predictions of `codes` [n, inputlen], one for each model.
    pub fn predict(&mut self, codes: &[u8]) -> Result<Vec<StrandMeans>> {
        let n = codes.len() / self.arch.inputlen;
        let mut all = codes.to_vec();
        if self.both_strands {
            all.reserve(codes.len());
            for sequence in codes.chunks_exact(self.arch.inputlen) {
                all.extend(reverse_complement(sequence));
            }
        }
        let mut means = Vec::with_capacity(self.engines.len());
        for engine in &mut self.engines {
            let mut out = Predictions::default();
            for batch in all.chunks(self.batch_size * self.arch.inputlen) {
                engine.predict_sequences(batch, &mut out)?;
            }
            means.push(mean_over_strands(out, n, self.arch.outputlen));
        }
        Ok(means)
    }
}

/// `out` holds n sequences, and where there are more than n, their reverse complements after them.
fn mean_over_strands(out: Predictions, n: usize, outputlen: usize) -> StrandMeans {
    let exp =
        |logcounts: &[f32]| -> Vec<f64> { logcounts.iter().map(|&c| f64::from(c).exp()).collect() };
    let (forward, reverse) = out.logcounts.split_at(n);
    let mut counts = exp(forward);
    for (mean, other) in counts.iter_mut().zip(exp(reverse)) {
        *mean = (*mean + other) / 2.0;
    }
    let mut logits = out.logits;
    let reverse = logits.split_off(n * outputlen);
    let rows = logits.chunks_exact_mut(outputlen).zip(reverse.chunks_exact(outputlen));
    for (mean, other) in rows {
        for (mean, other) in mean.iter_mut().zip(other.iter().rev()) {
            *mean = (*mean + other) / 2.0;
        }
    }
    StrandMeans { counts, logits }
}
