//! Stage 4: which regions train a model, exactly as the official code decides.
//!
//! Source: official `find_bias_hyperparams` and `find_chrombpnet_hyperparams`. Everything here works
//! on references into the regions that were read; what leaves is remembered with its reason.

pub mod bias;
pub mod chrombpnet;
pub mod edges;
pub mod numpy_random;
pub mod quantile;

use std::fmt;

use rayon::prelude::*;

pub use bias::{BiasOptions, select_bias};
pub use chrombpnet::{
    ChrombpnetOptions, ChrombpnetSelection, bias_logcount_offset, select_chrombpnet,
};

use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::store::Tracks;

/// Why a region takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotInFold,
    MissingFromGenome,
    MissingFromSignal,
    Edge,
    AboveBiasThreshold,
    Outlier,
    NotSampled,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotInFold => "chromosome in no split of the fold",
            Reason::MissingFromGenome => "contig missing from the genome",
            Reason::MissingFromSignal => "contig missing from the signal",
            Reason::Edge => "window leaves the contig",
            Reason::AboveBiasThreshold => "counts not below the bias threshold",
            Reason::Outlier => "counts outside the outlier thresholds",
            Reason::NotSampled => "left out to have as many nonpeaks as peaks",
        })
    }
}

/// A region that takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped<'a> {
    /// `peaks`, `nonpeaks` or `regions`
    pub file: &'static str,
    pub region: &'a Region,
    pub reason: Reason,
}

/// What the filters leave, and what trains with it.
#[derive(Clone, Debug, Default)]
pub struct SelectedRegions<'a> {
    /// Train and valid.
    pub peaks: Vec<&'a Region>,
    /// Train and valid.
    pub nonpeaks: Vec<&'a Region>,
    pub test_peaks: Vec<&'a Region>,
    pub test_nonpeaks: Vec<&'a Region>,
    /// Regions with counts strictly between these two were kept.
    pub lower_threshold: f64,
    pub upper_threshold: f64,
    /// Counts strictly between the thresholds among those that set them.
    pub training_points: usize,
    /// Rounded to 2 decimals, as the official tool's table hands it to training.
    pub counts_loss_weight: f64,
    pub dropped: Vec<Dropped<'a>>,
    pub warnings: Vec<String>,
}

impl<'a> SelectedRegions<'a> {
    /// Train and valid, then test, as the filtered tables list them.
    pub fn all_peaks(&self) -> Vec<&'a Region> {
        self.peaks.iter().chain(&self.test_peaks).copied().collect()
    }

    /// Train and valid, then test.
    pub fn all_nonpeaks(&self) -> Vec<&'a Region> {
        self.nonpeaks.iter().chain(&self.test_nonpeaks).copied().collect()
    }

    /// Floors the loss weight at 1 and rounds it as the official table does.
    fn set_counts_loss_weight(&mut self, median: f64) {
        let mut weight = median / 10.0;
        if weight < 1.0 {
            self.warnings.push(format!(
                "low read depth: counts_loss_weight would be {weight}, training uses 1.0"
            ));
            weight = 1.0;
        }
        self.counts_loss_weight = round_2(weight);
    }
}

/// `round(x, 2)` of a NumPy float: scaled, rounded half to even, scaled back.
pub fn round_2(x: f64) -> f64 {
    (x * 100.0).round_ties_even() / 100.0
}

/// Train-and-valid regions, and test regions; the others are dropped.
fn by_fold<'a>(
    regions: &'a [Region],
    folds: &Folds,
    file: &'static str,
    dropped: &mut Vec<Dropped<'a>>,
) -> (Vec<&'a Region>, Vec<&'a Region>) {
    let (mut train_valid, mut test) = (Vec::new(), Vec::new());
    for region in regions {
        match folds.split_of(&region.chrom) {
            Some(Split::Train | Split::Valid) => train_valid.push(region),
            Some(Split::Test) => test.push(region),
            None => dropped.push(Dropped { file, region, reason: Reason::NotInFold }),
        }
    }
    (train_valid, test)
}

/// Total counts of each region's output window. The edge filter has passed every region.
fn total_counts(regions: &[&Region], tracks: &Tracks, outputlen: usize) -> Vec<f64> {
    let half = (outputlen / 2) as i64;
    regions
        .par_iter()
        .map(|region| {
            let center = region.center() as i64;
            tracks
                .genome
                .contig_id(&region.chrom)
                .map_or(0.0, |contig| tracks.total_counts(contig, center - half, center + half))
        })
        .collect()
}

/// Keeps the regions whose counts satisfy `keep`; the others are dropped for `reason`.
fn keep_by_counts<'a>(
    regions: Vec<&'a Region>,
    counts: &[f64],
    keep: impl Fn(f64) -> bool,
    file: &'static str,
    reason: Reason,
    dropped: &mut Vec<Dropped<'a>>,
) -> Vec<&'a Region> {
    let mut kept = Vec::with_capacity(regions.len());
    for (region, &count) in regions.into_iter().zip(counts) {
        match keep(count) {
            true => kept.push(region),
            false => dropped.push(Dropped { file, region, reason }),
        }
    }
    kept
}
