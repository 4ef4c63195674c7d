//! Regions, thresholds and loss weight of the bias-factorized model.
//!
//! Source: official `find_chrombpnet_hyperparams`. Thresholds come from the peaks' counts and one
//! draw of nonpeak counts (unseeded there, seeded here); regions must lie strictly between them,
//! while the loss weight's median includes the thresholds themselves.

use super::bias::none_left;
use super::numpy_random::RandomState;
use super::quantile::{median, quantile};
use super::{Dropped, Reason, SelectedRegions, by_fold, edges, keep_by_counts, total_counts};
use crate::error::Problem;
use crate::input::folds::Folds;
use crate::input::regions::Region;
use crate::store::Tracks;

/// The official knobs.
#[derive(Clone, Copy, Debug)]
pub struct ChrombpnetOptions {
    pub inputlen: usize,
    pub outputlen: usize,
    pub outlier_threshold: f64,
    pub max_jitter: usize,
    pub negative_sampling_ratio: f64,
    pub seed: u32,
}

/// What the main model trains on, and what scales its bias model.
#[derive(Clone, Debug)]
pub struct ChrombpnetSelection<'a> {
    pub regions: SelectedRegions<'a>,
    /// Nonpeaks between the thresholds, before they are cut down to the number of peaks.
    pub scaling_nonpeaks: Vec<&'a Region>,
    /// Their total counts.
    pub scaling_counts: Vec<f64>,
}

/// Selects the regions of a main run with a draw seeded by `options.seed`.
pub fn select_chrombpnet<'a>(
    peaks: &'a [Region],
    nonpeaks: &'a [Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &ChrombpnetOptions,
) -> Result<ChrombpnetSelection<'a>, Problem> {
    let draw = |counts: &[f64], size: usize| -> Vec<f64> {
        let chosen = RandomState::new(options.seed).choice(counts.len(), size);
        chosen.into_iter().map(|i| counts[i]).collect()
    };
    select_with_draw(peaks, nonpeaks, folds, tracks, options, draw)
}

/// Like `select_chrombpnet`, with the draw of nonpeak counts given: `draw(counts, size)`.
///
/// Errors: no peaks or nonpeaks left, fewer nonpeaks than the draw asks for, a median of zero,
/// nothing between the thresholds.
pub fn select_with_draw<'a>(
    peaks: &'a [Region],
    nonpeaks: &'a [Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &ChrombpnetOptions,
    draw: impl FnOnce(&[f64], usize) -> Vec<f64>,
) -> Result<ChrombpnetSelection<'a>, Problem> {
    let mut dropped = Vec::new();
    let (peaks, test_peaks) = by_fold(peaks, folds, "peaks", &mut dropped);
    let (nonpeaks, test_nonpeaks) = by_fold(nonpeaks, folds, "nonpeaks", &mut dropped);
    let mut fit = |regions: Vec<&'a Region>, width, file| {
        let (kept, gone) = edges::filter(regions, tracks, width, file);
        dropped.extend(gone);
        kept
    };
    let jittered = options.inputlen + 2 * options.max_jitter;
    let peaks = fit(peaks, jittered, "peaks");
    let test_peaks = fit(test_peaks, options.inputlen, "peaks");
    let nonpeaks = fit(nonpeaks, options.inputlen, "nonpeaks");
    let test_nonpeaks = fit(test_nonpeaks, options.inputlen, "nonpeaks");
    if peaks.is_empty() {
        return Err(none_left("peaks", &dropped));
    }

    let peak_counts = total_counts(&peaks, tracks, options.outputlen);
    let nonpeak_counts = total_counts(&nonpeaks, tracks, options.outputlen);
    let wanted = (options.negative_sampling_ratio * peaks.len() as f64) as usize;
    if wanted > nonpeaks.len() {
        return Err(Problem::new(format!(
            "not enough nonpeaks: {wanted} are drawn ({} x {} peaks), {} are on the training and validation chromosomes",
            options.negative_sampling_ratio,
            peaks.len(),
            nonpeaks.len()
        ))
        .fix("give more nonpeaks, or lower --negative-sampling-ratio"));
    }
    let mut counts = peak_counts.clone();
    if wanted > 0 {
        counts.extend(draw(&nonpeak_counts, wanted));
    }

    let upper = quantile(&counts, options.outlier_threshold);
    let lower = quantile(&counts, 1.0 - options.outlier_threshold);
    let inside = |c: f64| c < upper && c > lower;
    let training_points = counts.iter().filter(|&&c| inside(c)).count();
    let within: Vec<f64> = counts.into_iter().filter(|&c| c <= upper && c >= lower).collect();
    let median = median(&within);
    if median == 0.0 {
        return Err(Problem::new(
            "the median region has no counts, so the counts loss would have no weight",
        )
        .fix("check that peaks and signal belong to the same sample and assembly"));
    }

    let peaks =
        keep_by_counts(peaks, &peak_counts, inside, "peaks", Reason::Outlier, &mut dropped);
    let scaling_nonpeaks = keep_by_counts(
        nonpeaks,
        &nonpeak_counts,
        inside,
        "nonpeaks",
        Reason::Outlier,
        &mut dropped,
    );
    if peaks.is_empty() {
        return Err(Problem::new(format!(
            "no peak has counts strictly between the outlier thresholds {lower} and {upper}"
        ))
        .fix("give more peaks, or check that the signal belongs to them"));
    }
    if scaling_nonpeaks.is_empty() {
        return Err(Problem::new(format!(
            "no nonpeak has counts strictly between the outlier thresholds {lower} and {upper}, so the bias model cannot be scaled"
        ))
        .fix("give more nonpeaks, or raise --negative-sampling-ratio above 0"));
    }
    let scaling_counts = nonpeak_counts.into_iter().filter(|&c| inside(c)).collect();
    let nonpeaks = down_sampled(&scaling_nonpeaks, peaks.len(), &mut dropped);

    let mut regions = SelectedRegions {
        peaks,
        nonpeaks,
        test_peaks,
        test_nonpeaks,
        lower_threshold: lower,
        upper_threshold: upper,
        training_points,
        dropped,
        ..SelectedRegions::default()
    };
    regions.set_counts_loss_weight(median);
    Ok(ChrombpnetSelection { regions, scaling_nonpeaks, scaling_counts })
}

/// At most `n` nonpeaks: pandas' `sample(n, random_state=1)`, in its order.
fn down_sampled<'a>(
    nonpeaks: &[&'a Region],
    n: usize,
    dropped: &mut Vec<Dropped<'a>>,
) -> Vec<&'a Region> {
    if nonpeaks.len() <= n {
        return nonpeaks.to_vec();
    }
    let order = RandomState::new(1).permutation(nonpeaks.len());
    let (taken, left) = order.split_at(n);
    let mut left = left.to_vec();
    left.sort_unstable();
    dropped.extend(left.into_iter().map(|i| Dropped {
        file: "nonpeaks",
        region: nonpeaks[i],
        reason: Reason::NotSampled,
    }));
    taken.iter().map(|&i| nonpeaks[i]).collect()
}

/// What is added to a bias model's log counts so that it fits this data's depth: the mean of
/// ln(1 + count) minus the prediction.
pub fn bias_logcount_offset(counts: &[f64], predicted_logcounts: &[f32]) -> f64 {
    let sum: f64 = counts
        .iter()
        .zip(predicted_logcounts)
        .map(|(count, predicted)| count.ln_1p() - f64::from(*predicted))
        .sum();
    sum / counts.len() as f64
}
