//! Saturation mutagenesis: every base at every position, through the forward pass alone.
//!
//! In: sequences and an engine. Out: hypothetical scores [n, inputlen, 4]: at position i, the output
//! with base b there minus the mean of the outputs with each of the four bases there. So the score
//! of the base that is there, which tracks show, says how much better it is than a random one (as
//! tangermeme has it), and the difference of two scores is what that mutation changes.
//! The output is logcounts, or `sum(softmax(l) * l)` with `l` the logits minus their mean, which is
//! the official profile head's scalar with nothing held constant.

use anyhow::Result;

use super::Scores;
use crate::engine::{Engine, Heads, Predictions};

/// Mutants of a forward pass: enough to fill a GPU, 0.5 MB of codes.
const BATCH: usize = 256;

/// Lengths of the model.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub inputlen: usize,
    pub outputlen: usize,
}

/// Scores of `codes` [n, inputlen]; `None` when `stop` asked for it before the end.
pub fn scores(
    engine: &mut dyn Engine,
    codes: &[u8],
    shape: Shape,
    heads: Heads,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Scores>> {
    let mut out = Scores::default();
    for sequence in codes.chunks_exact(shape.inputlen) {
        let Some([counts, profile]) = of_sequence(engine, sequence, shape, stop)? else {
            return Ok(None);
        };
        if heads.counts {
            out.counts.extend(centered(&counts));
        }
        if heads.profile {
            out.profile.extend(centered(&profile));
        }
    }
    Ok(Some(out))
}

/// Outputs with each base at each position, [inputlen, 4]: logcounts, and the profile's scalar.
fn of_sequence(
    engine: &mut dyn Engine,
    sequence: &[u8],
    shape: Shape,
    stop: &dyn Fn() -> bool,
) -> Result<Option<[Vec<f64>; 2]>> {
    let own = outputs(engine, sequence, shape.outputlen)?;
    let [mut counts, mut profile] =
        own.map(|values| vec![values.first().copied().unwrap_or_default(); sequence.len() * 4]);
    // Where the sequence has its own base, its own output stands already.
    let mutants: Vec<usize> = (0..sequence.len() * 4)
        .filter(|mutant| sequence[mutant / 4] != (mutant % 4) as u8)
        .collect();
    for batch in mutants.chunks(BATCH) {
        if stop() {
            return Ok(None);
        }
        let mut codes = sequence.repeat(batch.len());
        for (mutated, mutant) in codes.chunks_exact_mut(sequence.len()).zip(batch) {
            mutated[mutant / 4] = (mutant % 4) as u8;
        }
        let [batch_counts, batch_profile] = outputs(engine, &codes, shape.outputlen)?;
        for (i, &mutant) in batch.iter().enumerate() {
            counts[mutant] = batch_counts[i];
            profile[mutant] = batch_profile[i];
        }
    }
    Ok(Some([counts, profile]))
}

/// Logcounts and the profile's scalar of sequences, [n] each.
fn outputs(engine: &mut dyn Engine, codes: &[u8], outputlen: usize) -> Result<[Vec<f64>; 2]> {
    let mut predicted = Predictions::default();
    engine.predict_sequences(codes, &mut predicted)?;
    let counts = predicted.logcounts.iter().map(|&c| f64::from(c)).collect();
    let profile = predicted.logits.chunks_exact(outputlen).map(profile_scalar).collect();
    Ok([counts, profile])
}

/// `sum(softmax(l) * l)`, `l` the logits minus their mean.
pub fn profile_scalar(logits: &[f32]) -> f64 {
    let mean = logits.iter().map(|&l| f64::from(l)).sum::<f64>() / logits.len() as f64;
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut weights, mut weighted) = (0.0, 0.0);
    for &logit in logits {
        let weight = f64::from(logit - max).exp();
        weights += weight;
        weighted += weight * (f64::from(logit) - mean);
    }
    weighted / weights
}

fn centered(outputs: &[f64]) -> impl Iterator<Item = f32> {
    outputs.chunks_exact(4).flat_map(|bases| {
        let mean = bases.iter().sum::<f64>() / 4.0;
        bases.iter().map(move |output| (output - mean) as f32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_of_a_profile() {
        assert_eq!(profile_scalar(&[3.0, 3.0, 3.0]), 0.0);
        // l = (1, -1), p = (e, 1/e) / (e + 1/e): tanh(1)
        assert!((profile_scalar(&[7.0, 5.0]) - 1f64.tanh()).abs() < 1e-12);
        assert!((profile_scalar(&[900.0, -900.0]) - 900.0).abs() < 1e-9);
    }

    #[test]
    fn scores_are_centered_on_the_four_bases() {
        let centered: Vec<f32> = centered(&[1.0, 2.0, 3.0, 6.0, 0.5, 0.5, 0.5, 0.5]).collect();
        assert_eq!(centered, [-2.0, -1.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
