//! A counts head that learns whatever the seed.
//!
//! Log counts combine as logsumexp(main, bias). A Glorot-initialised main branch starts anywhere
//! from -10 to +8 (seen with the original); where it starts far below the bias model, its share of
//! the logsumexp, and with it the gradient of the counts loss, is nearly zero (2e-4 seen) and the
//! head may never recover. It may also be driven there: what the Dense layer reads is large and
//! nearly the same for every example (on yeast, 64 filters: means of 2, standard deviations of 0.03
//! between examples), so while the profile loss shapes the trunk, a random kernel of norm 1.3 throws
//! the log counts about by whole units.
//!
//! So the head of a fresh main branch starts as a constant: its kernel is zero, its bias the mean
//! target. The kernel then grows along what tells examples apart, and no seed is better or worse.

use anyhow::{Context, Result};

use crate::batch::sampler::Sampler;
use crate::model::Network;
use crate::store::Tracks;

/// Settles `logcount_predictions` of a freshly initialised main branch; returns its bias, the mean
/// of ln(1 + total counts) over the examples of the first epoch.
pub fn start_at_mean(main: &mut Network, sampler: &Sampler, tracks: &Tracks) -> Result<f64> {
    let plan = sampler.epoch(0);
    let mut counts = vec![0.0f32; main.arch.outputlen];
    let mut sum = 0.0;
    for example in &plan {
        tracks.fill_counts(example, main.arch.inputlen, &mut counts);
        sum += counts.iter().copied().map(f64::from).sum::<f64>().ln_1p();
    }
    let mean = sum / plan.len().max(1) as f64;
    for (tensor, value) in
        [("logcount_predictions/kernel", 0.0), ("logcount_predictions/bias", mean as f32)]
    {
        let tensor =
            main.parameters.get_mut(tensor).context("the main branch has no counts head")?;
        tensor.data.fill(value);
    }
    Ok(mean)
}
