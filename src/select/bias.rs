//! Regions of a bias model: background with fewer counts than nearly all peaks.
//!
//! Source: official `find_bias_hyperparams`. Threshold = 1st percentile of train and valid peak
//! counts x factor; nonpeaks strictly below it; of those, strictly between their own outlier
//! quantiles. The loss weight's median is taken over the strict set, unlike ChromBPNet's.
//! Differs in failing where the official run goes on with a weight of NaN.

use anyhow::Result;

use super::candidates::{
    Candidates, Widths, assemble, check_outlier_threshold, loss_weight, thresholds,
};
use super::columns::ColumnTypes;
use super::dropped::DropReason;
use super::selected::BiasSelection;
use crate::error::Problem;
use crate::input::folds::Folds;
use crate::input::regions::Region;
use crate::numpy::float_text;
use crate::numpy::quantile::quantile;
use crate::store::Tracks;

#[derive(Clone, Debug)]
pub struct BiasOptions {
    /// bp
    pub inputlen: usize,
    /// bp
    pub outputlen: usize,
    /// Quantile on total counts, used at both ends.
    pub outlier_threshold: f64,
    /// Times the 1st percentile of peak counts: the ceiling for nonpeaks.
    pub bias_threshold_factor: f64,
}

/// Selects the regions of a bias model.
///
/// Errors: nothing on train and valid chromosomes, a counts threshold of 0, nothing below it,
/// nothing between the outlier thresholds, a median count of 0.
pub fn select_bias(
    peaks: &[Region],
    nonpeaks: &[Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &BiasOptions,
) -> Result<BiasSelection> {
    check_outlier_threshold(options.outlier_threshold)?;
    let factor = options.bias_threshold_factor;
    if factor.is_nan() || factor <= 0.0 {
        return Err(Problem::new(format!(
            "--bias-threshold-factor is {factor}, expected more than 0"
        ))
        .fix("0.5 is usual for ATAC, 0.8 for DNASE")
        .into());
    }
    let widths = Widths { train_valid: options.inputlen, test: options.inputlen };
    let gather =
        |file, regions| Candidates::gather(file, regions, folds, tracks, widths, options.outputlen);
    let peak_types = ColumnTypes::of(peaks);
    let nonpeak_types = ColumnTypes::of(nonpeaks);
    let peaks = gather("peaks", peaks);
    let mut nonpeaks = gather("nonpeaks", nonpeaks);
    peaks.require_some()?;
    nonpeaks.require_both_splits()?;

    let counts_threshold = counts_threshold(&peaks.counts(), factor)?;
    let candidates = nonpeaks.train_valid.len();
    let fewest = nonpeaks.counts().into_iter().fold(f64::INFINITY, f64::min);
    nonpeaks.keep(|counts| {
        (counts >= counts_threshold)
            .then_some(DropReason::AboveBiasThreshold { counts, threshold: counts_threshold })
    });
    if nonpeaks.train_valid.is_empty() {
        return Err(Problem::new(format!(
            "none of the {candidates} nonpeaks has counts below the bias threshold {} (1st percentile of peak counts x {factor}); the fewest are {fewest}",
            float_text::repr(float_text::round2(counts_threshold)),
        ))
        .fix("raise --bias-threshold-factor")
        .into());
    }

    let thresholds = thresholds(&nonpeaks.counts(), options.outlier_threshold)?;
    let below = nonpeaks.train_valid.len();
    nonpeaks.keep_within(&thresholds);
    if nonpeaks.train_valid.is_empty() {
        return Err(Problem::new(format!(
            "none of the {below} nonpeaks below the bias threshold lies strictly between the outlier thresholds {} and {}",
            float_text::repr(thresholds.lower),
            float_text::repr(thresholds.upper),
        ))
        .fix("raise --bias-threshold-factor, or give more nonpeaks")
        .into());
    }
    nonpeaks.require_both_splits()?;
    // Exactly what passed the thresholds, so the median is over the strict set.
    let weight = loss_weight(&nonpeaks.counts())?;

    let types = [&peak_types, &nonpeak_types];
    Ok(BiasSelection {
        regions: assemble(peaks, nonpeaks, types, thresholds, weight),
        counts_threshold,
    })
}

/// 1st percentile of the peaks' counts times the factor.
fn counts_threshold(peak_counts: &[f64], factor: f64) -> Result<f64, Problem> {
    let percentile = quantile(peak_counts, 0.01).unwrap_or(0.0);
    let threshold = percentile * factor;
    if threshold > 0.0 {
        return Ok(threshold);
    }
    let empty = peak_counts.iter().filter(|&&c| c == 0.0).count();
    let total: f64 = peak_counts.iter().sum();
    Err(Problem::new(format!(
        "1st percentile of peak counts is {percentile} ({empty} of {} peaks have no reads), so no nonpeak can be below {factor} x {percentile}",
        peak_counts.len()
    ))
    .fix(format!(
        "likely the peaks were called on another sample, or the data is very shallow (total counts in peaks: {total}); pass peaks and signal of one sample, or drop the weakest peaks"
    )))
}
