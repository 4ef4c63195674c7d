//! What a selection hands on: the regions, the numbers of the parameter tables, the rows left out.

use super::dropped::Dropped;
use crate::input::regions::Region;

/// Regions of one run, in the official order: train and valid rows as the input has them, then
/// test rows, which no count filter touches. Columns 4-9 read as the official tables print them.
#[derive(Clone, Debug)]
pub struct SelectedRegions {
    pub peaks: Vec<Region>,
    /// The first row of `peaks` that belongs to the test chromosomes.
    pub test_peaks_from: usize,
    pub nonpeaks: Vec<Region>,
    /// The first row of `nonpeaks` that belongs to the test chromosomes.
    pub test_nonpeaks_from: usize,
    pub thresholds: Thresholds,
    /// Median total count / 10, at least 1, rounded to 2 decimals: the official tool trains with
    /// what it reads back from its table.
    pub counts_loss_weight: f64,
    /// Every input row that is in neither list, by file and line.
    pub dropped: Vec<Dropped>,
    /// Surprises worth a line to the user.
    pub warnings: Vec<String>,
}

/// The outlier rule: regions strictly between the two stay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub lower: f64,
    pub upper: f64,
    /// How many of the counts that made the quantiles lie strictly between.
    pub points: usize,
}

impl Thresholds {
    pub fn holds(&self, counts: f64) -> bool {
        self.lower < counts && counts < self.upper
    }
}

/// `*_data_params.tsv`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataParams {
    pub counts_sum_min_thresh: f64,
    pub counts_sum_max_thresh: f64,
    pub trainings_pts_post_thresh: usize,
}

impl SelectedRegions {
    /// Train, valid and test peaks: the rows of `filtered.peaks.bed`.
    pub fn all_peaks(&self) -> &[Region] {
        &self.peaks
    }

    /// Train, valid and test nonpeaks: the rows of `filtered.nonpeaks.bed`.
    pub fn all_nonpeaks(&self) -> &[Region] {
        &self.nonpeaks
    }

    pub fn data_params(&self) -> DataParams {
        DataParams {
            counts_sum_min_thresh: self.thresholds.lower,
            counts_sum_max_thresh: self.thresholds.upper,
            trainings_pts_post_thresh: self.thresholds.points,
        }
    }
}

/// A bias model's training regions.
#[derive(Clone, Debug)]
pub struct BiasSelection {
    pub regions: SelectedRegions,
    /// 1st percentile of peak counts times the factor; nonpeaks lie strictly below.
    pub counts_threshold: f64,
}

/// A ChromBPNet model's training regions.
#[derive(Clone, Debug)]
pub struct ChrombpnetSelection {
    pub regions: SelectedRegions,
    /// Train and valid nonpeaks within the thresholds, before the down-sampling: these scale the
    /// bias model.
    pub scaling_nonpeaks: Vec<Region>,
    /// Total counts of each of them.
    pub scaling_counts: Vec<f64>,
}
