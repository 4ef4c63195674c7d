//! Regions of a ChromBPNet model: peaks, and background beside them.
//!
//! Source: official `find_chrombpnet_hyperparams`. Quantiles over peak counts pooled with a draw of
//! `int(ratio x peaks)` nonpeak counts; peaks and nonpeaks strictly between them; then no more
//! nonpeaks than peaks (pandas `sample(random_state=1)`). The loss weight's median is over the pool
//! *including* the thresholds. The official draw is unseeded, so that thresholds and weight differ
//! from run to run; ours follows the run's seed.

use anyhow::Result;

use super::candidates::{
    Candidate, Candidates, Widths, assemble, check_outlier_threshold, loss_weight, thresholds,
};
use super::columns::ColumnTypes;
use super::dropped::DropReason;
use super::selected::ChrombpnetSelection;
use crate::error::Problem;
use crate::input::folds::Folds;
use crate::input::regions::Region;
use crate::numpy::float_text;
use crate::numpy::random::RandomState;
use crate::store::Tracks;

/// The seed of the official down-sampling, fixed there.
const DOWN_SAMPLING_SEED: u32 = 1;

#[derive(Clone, Debug)]
pub struct ChrombpnetOptions {
    /// bp
    pub inputlen: usize,
    /// bp
    pub outputlen: usize,
    /// Quantile on total counts, used at both ends.
    pub outlier_threshold: f64,
    /// bp to either side; train and valid peaks need room for it.
    pub max_jitter: usize,
    /// Nonpeaks drawn divided by peaks.
    pub negative_sampling_ratio: f64,
    /// Seed of the draw that decides the thresholds.
    pub seed: u32,
}

/// Selects the regions of a ChromBPNet model; the draw of nonpeak counts follows `options.seed`.
///
/// Errors: no peaks on train or on valid chromosomes, no nonpeaks on either, fewer nonpeaks than
/// the draw takes, nothing between the thresholds, a median count of 0.
pub fn select_chrombpnet(
    peaks: &[Region],
    nonpeaks: &[Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &ChrombpnetOptions,
) -> Result<ChrombpnetSelection> {
    select_chrombpnet_with_draw(peaks, nonpeaks, folds, tracks, options, |counts, size| {
        let drawn = RandomState::new(options.seed).choice(counts.len(), size);
        drawn.into_iter().map(|i| counts[i]).collect()
    })
}

/// Selects as `select_chrombpnet` does, with a draw of one's own: `draw(counts, size)` returns `size` of the edge-filtered
/// train and valid nonpeaks' `counts`, without replacement. Not called where the ratio is 0.
pub fn select_chrombpnet_with_draw(
    peaks: &[Region],
    nonpeaks: &[Region],
    folds: &Folds,
    tracks: &Tracks,
    options: &ChrombpnetOptions,
    draw: impl FnOnce(&[f64], usize) -> Vec<f64>,
) -> Result<ChrombpnetSelection> {
    check_outlier_threshold(options.outlier_threshold)?;
    let ratio = options.negative_sampling_ratio;
    if !(0.0..f64::INFINITY).contains(&ratio) {
        return Err(Problem::new(format!(
            "--negative-sampling-ratio is {ratio}, expected 0 or more"
        ))
        .fix("0.1 is the default: one nonpeak for ten peaks")
        .into());
    }
    let gather = |file, regions, train_valid| {
        let widths = Widths { train_valid, test: options.inputlen };
        Candidates::gather(file, regions, folds, tracks, widths, options.outputlen)
    };
    let peak_types = ColumnTypes::of(peaks);
    let nonpeak_types = ColumnTypes::of(nonpeaks);
    let mut peaks = gather("peaks", peaks, options.inputlen + 2 * options.max_jitter);
    let mut nonpeaks = gather("nonpeaks", nonpeaks, options.inputlen);
    peaks.require_both_splits()?;
    nonpeaks.require_some()?;

    let mut pool = peaks.counts();
    if ratio > 0.0 {
        let counts = nonpeaks.counts();
        let size = (ratio * pool.len() as f64) as usize;
        if size > counts.len() {
            return Err(Problem::new(format!(
                "thresholds need a draw of {size} nonpeaks ({ratio} x {} peaks), but only {} nonpeaks are on train and valid chromosomes and inside the contigs",
                pool.len(),
                counts.len()
            ))
            .fix("give more nonpeaks, or lower --negative-sampling-ratio")
            .into());
        }
        pool.extend(draw(&counts, size));
    }
    let thresholds = thresholds(&pool, options.outlier_threshold)?;
    peaks.keep_within(&thresholds);
    nonpeaks.keep_within(&thresholds);
    peaks.require_both_splits()?;
    if nonpeaks.train_valid.is_empty() {
        return Err(Problem::new(format!(
            "no nonpeak has counts strictly between the outlier thresholds {} and {}, so the bias model cannot be scaled to this data",
            float_text::repr(float_text::round2(thresholds.lower)),
            float_text::repr(float_text::round2(thresholds.upper)),
        ))
        .fix("give more nonpeaks, or raise --negative-sampling-ratio so that they count in the thresholds")
        .into());
    }
    let within: Vec<f64> =
        pool.iter().copied().filter(|&c| thresholds.lower <= c && c <= thresholds.upper).collect();
    let weight = loss_weight(&within)?;

    let scaling_nonpeaks = nonpeaks.train_valid.iter().map(|c| c.region.clone()).collect();
    let scaling_counts = nonpeaks.counts();
    down_sample(&mut nonpeaks, peaks.train_valid.len());

    let types = [&peak_types, &nonpeak_types];
    Ok(ChrombpnetSelection {
        regions: assemble(peaks, nonpeaks, types, thresholds, weight),
        scaling_nonpeaks,
        scaling_counts,
    })
}

/// Leaves at most `n` nonpeaks, in the order of the draw.
fn down_sample(nonpeaks: &mut Candidates, n: usize) {
    if nonpeaks.train_valid.len() <= n {
        return;
    }
    let all: Vec<Candidate> = std::mem::take(&mut nonpeaks.train_valid);
    let order = RandomState::new(DOWN_SAMPLING_SEED).permutation(all.len());
    let (drawn, left) = order.split_at(n);
    nonpeaks.train_valid = drawn.iter().map(|&i| all[i]).collect();
    for &i in left {
        nonpeaks.drop(all[i].region, DropReason::NotDrawn);
    }
}

/// What to add to the bias model's log counts so that they fit this data on average: the mean of
/// `ln(1 + counts) - predicted`, in f64.
///
/// Shapes: both `[n]`, n > 0; of no region the mean is NaN, as NumPy's.
/// Source: official `adjust_bias_model_logcounts`. NumPy then adds it to the float32 Dense bias in
/// float32, so the caller rounds it first: `bias + offset as f32`.
pub fn bias_logcount_offset(counts: &[f64], predicted_logcounts: &[f32]) -> f64 {
    let differences =
        counts.iter().zip(predicted_logcounts).map(|(c, p)| (1.0 + c).ln() - f64::from(*p));
    differences.sum::<f64>() / counts.len() as f64
}
