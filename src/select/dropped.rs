//! Why a region is not used: one record for every input row that no output holds.

use std::fmt;
use std::sync::Arc;

use crate::input::regions::Region;

/// A region that was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// Which input: `peaks`, `nonpeaks` or `regions`.
    pub file: Arc<str>,
    /// Line in that file, from 1.
    pub line: usize,
    pub chrom: String,
    pub start: u64,
    pub end: u64,
    pub summit: u64,
    pub reason: DropReason,
}

impl Dropped {
    pub fn new(file: &Arc<str>, region: &Region, reason: DropReason) -> Self {
        Self {
            file: Arc::clone(file),
            line: region.line,
            chrom: region.chrom.clone(),
            start: region.start,
            end: region.end,
            summit: region.summit,
            reason,
        }
    }
}

/// What a region failed. Counts are sums over `outputlen` at the summit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DropReason {
    /// The chromosome is in no list of the fold file.
    NotInFolds,
    MissingFromGenome,
    MissingFromSignal,
    /// A window of `width` bp around the summit leaves the contig.
    Edge {
        width: usize,
    },
    /// Bias model only: counts reach `threshold`.
    AboveBiasThreshold {
        counts: f64,
        threshold: f64,
    },
    /// Counts are not above the lower outlier threshold.
    TooFewCounts {
        counts: f64,
        threshold: f64,
    },
    /// Counts are not below the upper outlier threshold.
    TooManyCounts {
        counts: f64,
        threshold: f64,
    },
    /// More nonpeaks than peaks were left, and the draw did not pick this one.
    NotDrawn,
}

impl DropReason {
    /// The reason without its numbers, to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotInFolds => "chromosome in no fold list",
            Self::MissingFromGenome => "contig missing from genome",
            Self::MissingFromSignal => "contig missing from signal",
            Self::Edge { .. } => "window leaves the contig",
            Self::AboveBiasThreshold { .. } => "counts not below the bias threshold",
            Self::TooFewCounts { .. } => "counts not above the lower outlier threshold",
            Self::TooManyCounts { .. } => "counts not below the upper outlier threshold",
            Self::NotDrawn => "not drawn: more nonpeaks than peaks",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge { width } => write!(f, "{width} bp window leaves the contig"),
            Self::AboveBiasThreshold { counts, threshold } => {
                write!(f, "counts {counts} not below the bias threshold {threshold:.2}")
            }
            Self::TooFewCounts { counts, threshold } => {
                write!(f, "counts {counts} not above the lower outlier threshold {threshold:.2}")
            }
            Self::TooManyCounts { counts, threshold } => {
                write!(f, "counts {counts} not below the upper outlier threshold {threshold:.2}")
            }
            plain => f.write_str(plain.kind()),
        }
    }
}
