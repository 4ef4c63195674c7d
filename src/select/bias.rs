//! Regions and loss weight of a bias model.
//!
//! Source: official `find_bias_hyperparams`: nonpeaks with counts strictly below factor x the 1 %
//! quantile of the peaks' counts; of what is left, those strictly between the outlier quantiles.

use super::quantile::{median, quantile};
use super::{Dropped, Reason, SelectedRegions, by_fold, edges, keep_by_counts, total_counts};
use crate::error::Problem;
use crate::input::folds::Folds;
use crate::input::regions::Region;
use crate::store::Tracks;

/// The official knobs.
#[derive(Clone, Copy, Debug)]
pub struct BiasOptions {
    pub inputlen: usize,
    pub outputlen: usize,
    pub outlier_threshold: f64,
    pub bias_threshold_factor: f64,
}

/// Selects the regions of a bias run.
///
/// Errors: no peaks or nonpeaks left, a threshold of zero, no nonpeak under it or between the
/// outlier thresholds.
pub fn select_bias<'a>(
    peaks: &'a [Region],
    nonpeaks: &'a [Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &BiasOptions,
) -> Result<SelectedRegions<'a>, Problem> {
    let mut dropped = Vec::new();
    let mut edge_filtered = |regions: &'a [Region], file| {
        let (train_valid, test) = by_fold(regions, folds, file, &mut dropped);
        [train_valid, test].map(|regions| {
            let (kept, gone) = edges::filter(regions, tracks, options.inputlen, file);
            dropped.extend(gone);
            kept
        })
    };
    let [peaks, test_peaks] = edge_filtered(peaks, "peaks");
    let [nonpeaks, test_nonpeaks] = edge_filtered(nonpeaks, "nonpeaks");
    for (what, regions) in [("peaks", &peaks), ("nonpeaks", &nonpeaks)] {
        if regions.is_empty() {
            return Err(none_left(what, &dropped));
        }
    }

    let peak_counts = total_counts(&peaks, tracks, options.outputlen);
    let nonpeak_counts = total_counts(&nonpeaks, tracks, options.outputlen);
    let threshold = quantile(&peak_counts, 0.01) * options.bias_threshold_factor;
    if threshold <= 0.0 {
        let empty = peak_counts.iter().filter(|&&c| c == 0.0).count();
        return Err(Problem::new(format!(
            "the 1st percentile of peak counts is 0 ({empty} of {} peaks have no reads), so no nonpeak can be below {} x 0",
            peak_counts.len(),
            options.bias_threshold_factor
        ))
        .fix(format!(
            "check that the peaks were called on this sample and that it is deep enough (total reads in peaks: {})",
            peak_counts.iter().sum::<f64>()
        )));
    }
    let below: Vec<f64> = nonpeak_counts.iter().copied().filter(|&c| c < threshold).collect();
    if below.is_empty() {
        let least = nonpeak_counts.iter().copied().fold(f64::INFINITY, f64::min);
        return Err(Problem::new(format!(
            "no nonpeak has counts below the bias threshold of {threshold} ({} x the 1st percentile of peak counts); the least has {least}",
            options.bias_threshold_factor
        ))
        .fix("raise --bias-threshold-factor, or give more nonpeaks"));
    }

    let upper = quantile(&below, options.outlier_threshold);
    let lower = quantile(&below, 1.0 - options.outlier_threshold);
    let inside = |c: f64| c < upper && c > lower;
    let training: Vec<f64> = below.iter().copied().filter(|&c| inside(c)).collect();
    if training.is_empty() {
        return Err(Problem::new(format!(
            "no nonpeak has counts strictly between the outlier thresholds {lower} and {upper}"
        ))
        .fix("give more nonpeaks, raise --bias-threshold-factor, or use a deeper sample"));
    }
    let nonpeaks_below = keep_by_counts(
        nonpeaks,
        &nonpeak_counts,
        |c| c < threshold,
        "nonpeaks",
        Reason::AboveBiasThreshold,
        &mut dropped,
    );
    let nonpeaks = keep_by_counts(
        nonpeaks_below,
        &below,
        inside,
        "nonpeaks",
        Reason::Outlier,
        &mut dropped,
    );

    let mut selected = SelectedRegions {
        peaks,
        nonpeaks,
        test_peaks,
        test_nonpeaks,
        lower_threshold: lower,
        upper_threshold: upper,
        training_points: training.len(),
        dropped,
        ..SelectedRegions::default()
    };
    selected.set_counts_loss_weight(median(&training));
    Ok(selected)
}

/// Says why nothing is left, by the most frequent reason.
pub(super) fn none_left(what: &str, dropped: &[Dropped]) -> Problem {
    let of_kind: Vec<&Dropped> = dropped.iter().filter(|d| d.file == what).collect();
    let problem = Problem::new(format!(
        "no {what} are left on the training and validation chromosomes ({} were dropped)",
        of_kind.len()
    ));
    match of_kind.first() {
        Some(first) => problem
            .at(format!("e.g. line {} of the {what} file: {}", first.region.line, first.reason))
            .fix("compare contig names and lengths of genome, signal, regions and fold"),
        None => problem.fix(format!("give {what} on the fold's train and valid chromosomes")),
    }
}
