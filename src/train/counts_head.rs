//! A counts head that learns whatever the seed.
//!
//! Log counts combine as logsumexp(main, bias). A Glorot-initialised main branch starts anywhere
//! from -10 to +8 (seen with the original); where it starts far below the bias model, its share of
//! the logsumexp, and with it the gradient of the counts loss, is nearly zero (2e-4 seen) and the
//! head may never recover. So the main branch's Dense bias starts where the branch's mean log count
//! over a fixed sample of training examples equals the mean target.
//!
//! A precaution goes with it. What the Dense kernel reads is a pool of sums of ReLU outputs, never
//! negative; where a draw makes their weighted sum negative, a motif that adds counts has to switch
//! features off all over the window instead of a few on near itself. A Glorot draw and its negative
//! are equally likely, so we take the one whose sum is positive. Small models can still sit on a
//! plateau of the counts loss for many epochs (as with official training dynamics: the shared mean
//! of the features dominates Adam's step); that this sign shortens it is not established.
//!
//! dropped (yeast, 64 filters, where pooled features have means of 2 and standard deviations of 0.03
//! between examples): a zero kernel, which gives the trunk no counts gradient at first (two seeds of
//! two stopped on the plateau, val_loss 362.9 and 364.0, where the drawn kernel gave 359.1 and 367.0);
//! a kernel fitted by ridge regression, whose norm of 19 to 79 lets the first updates of the trunk
//! throw the log counts so far that they starve at once.

use anyhow::{Context, Result};

use crate::batch::sampler::Sampler;
use crate::engine::{self, Device, EngineSpec, Predictions};
use crate::model::Network;
use crate::store::Tracks;

/// Enough for a mean of log counts to within a few hundredths, cheap enough for 512 filters.
const SAMPLE: usize = 64;

/// Settles `logcount_predictions` of a freshly initialised main branch (its bias is still 0): the
/// kernel's sign, then the bias; returns the bias.
pub fn center(
    main: &mut Network,
    device: &Device,
    sampler: &Sampler,
    tracks: &Tracks,
    batch_size: usize,
) -> Result<f64> {
    let mut sample = sampler.epoch(0);
    sample.truncate(SAMPLE);
    let spec = EngineSpec::for_prediction(main.clone(), None);
    let mut engine = engine::open(device, spec, tracks)?;
    let mut predicted = Predictions::default();
    for batch in sample.chunks(batch_size) {
        engine.predict(batch, &mut predicted)?;
    }
    let sum: f64 = predicted.logcounts.iter().copied().map(f64::from).sum();
    let sign = if sum < 0.0 { -1.0 } else { 1.0 };
    let kernel = main
        .parameters
        .get_mut("logcount_predictions/kernel")
        .context("the main branch has no logcount_predictions/kernel")?;
    kernel.data.iter_mut().for_each(|weight| *weight *= sign);

    let mut counts = vec![0.0f32; main.arch.outputlen];
    let mut shift = 0.0;
    for (example, logcount) in sample.iter().zip(&predicted.logcounts) {
        tracks.fill_counts(example, main.arch.inputlen, &mut counts);
        let total: f64 = counts.iter().copied().map(f64::from).sum();
        shift += (1.0 + total).ln() - f64::from(sign * logcount);
    }
    shift /= sample.len() as f64;
    let dense = main
        .parameters
        .get_mut("logcount_predictions/bias")
        .context("the main branch has no logcount_predictions/bias")?;
    dense.data[0] += shift as f32;
    Ok(shift)
}
