//! A counts head that learns whatever the seed.
//!
//! Log counts combine as logsumexp(main, bias). A Glorot-initialised main branch starts anywhere
//! from -10 to +8 (seen with the original); where it starts far below the bias model, its share of
//! the logsumexp, and with it the gradient of the counts loss, is nearly zero (2e-4 seen) and the
//! head may never recover. So the main branch's Dense bias starts where the branch's mean log count
//! over a fixed sample of training examples equals the mean target.
//!
//! That is not enough. What the Dense layer reads is a mean over positions of sums of ReLU outputs:
//! nearly the same for every example. On yeast (64 filters) the features have means of 1 to 3 and
//! standard deviations of 0.01 to 0.04 between peaks. By the plain gradient Adam's steps follow the
//! error that a batch has in common, which changes its sign from batch to batch, and what tells
//! examples apart drowns: the counts loss stays for many epochs at that of a constant prediction (in a
//! draw of the official tool for 24, in one seed of ours for good). After 14 epochs of that seed (test
//! peaks: counts Pearson -0.02) a ridge regression on its own features gave 0.52: they had learned what
//! counts depend on, and the head had not. Hence `CountsHead::Centered`, which updates the kernel by
//! what tells examples apart, and leaves what they share to the bias.
//!
//! The mean of the features moves with every step of the trunk, and with it, times a kernel that has
//! learned, all log counts: after the last step of an epoch by 0.1 to 1.5 on yeast, whose last batch is
//! small. Early stopping and the best epoch would follow that. So before each validation the bias takes
//! up the mean error over training examples (`settle`).
//!
//! Measured (yeast, 64 x 8, seven seeds): val_loss 357.1 to 361.1 and counts Pearson in test peaks 0.47 to
//! 0.52, where the official tool has 357.8 to 361.6 and 0.40 to 0.42, and the plain update one seed of
//! seven that learns no counts. Unmeasured at the usual size of data. `benches/runs/2026-11-28-*`.
//!
//! dropped: a zero kernel, which gives the trunk no counts gradient at first (two seeds of two stopped
//! on the plateau); a kernel fitted by ridge regression before training, whose norm of 19 to 79 lets
//! the first updates of the trunk throw the log counts so far that they starve at once; for the
//! bias of the centered form Adam's own step (too slow: 1e-3 a batch) or that step times 10, 25 and 75
//! (no better than a tenth of Newton's step, which needs no such choice).

use anyhow::{Context, Result};

use crate::batch::Example;
use crate::batch::sampler::Sampler;
use crate::engine::{self, Device, Predict, Predictions, Train};
use crate::model::{Architecture, Network, ParameterSet};
use crate::store::Tracks;

/// Enough for a mean of log counts to within a few hundredths, cheap enough for 512 filters.
const SAMPLE: usize = 64;
/// For the mean error after an epoch: within a few hundredths of the log counts of all examples.
const SETTLING_SAMPLE: usize = 512;

/// Settles a freshly initialised main branch by itself, on the first examples of epoch 0.
pub fn settle_fresh(
    main: &mut Network,
    device: &Device,
    sampler: &Sampler,
    tracks: &Tracks,
    batch_size: usize,
) -> Result<()> {
    let mut sample = sampler.epoch(0);
    sample.truncate(SAMPLE);
    let mut engine = engine::open_predict(device, main.clone(), tracks)?;
    let error = mean_error(engine.as_mut(), &sample, tracks, &main.arch, batch_size)?;
    take_from_bias(&mut main.parameters, error)
}

/// Takes the mean error of the log counts over the first examples of `plan` from the bias.
pub fn settle(
    engine: &mut dyn Train,
    plan: &[Example],
    tracks: &Tracks,
    arch: &Architecture,
    batch_size: usize,
) -> Result<()> {
    let sample = &plan[..plan.len().min(SETTLING_SAMPLE)];
    let error = mean_error(engine, sample, tracks, arch, batch_size)?;
    let mut parameters = engine.parameters()?;
    take_from_bias(&mut parameters, error)?;
    engine.set_parameters(&parameters)
}

fn take_from_bias(parameters: &mut ParameterSet, error: f64) -> Result<()> {
    let bias = parameters
        .get_mut("logcount_predictions/bias")
        .context("the model has no logcount_predictions/bias")?;
    bias.data[0] -= error as f32;
    Ok(())
}

/// Mean over `sample` of the predicted log counts less ln(1 + total counts).
fn mean_error(
    engine: &mut dyn Predict,
    sample: &[Example],
    tracks: &Tracks,
    arch: &Architecture,
    batch_size: usize,
) -> Result<f64> {
    let mut predicted = Predictions::default();
    for batch in sample.chunks(batch_size) {
        engine.predict(batch, &mut predicted)?;
        predicted.logits.clear();
    }
    let mut counts = vec![0.0f32; arch.outputlen];
    let mut error = 0.0;
    for (example, &logcount) in sample.iter().zip(&predicted.logcounts) {
        tracks.fill_counts(example, arch.inputlen, &mut counts);
        let total: f64 = counts.iter().copied().map(f64::from).sum();
        error += f64::from(logcount) - total.ln_1p();
    }
    Ok(error / sample.len() as f64)
}
