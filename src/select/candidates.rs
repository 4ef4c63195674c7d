//! The steps that both selections share: split by fold, drop what does not fit, count, threshold.

use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;

use super::columns::ColumnTypes;
use super::dropped::{DropReason, Dropped};
use super::edges;
use super::selected::{SelectedRegions, Thresholds};
use crate::error::Problem;
use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::numpy::float_text;
use crate::numpy::quantile::{median, quantile};
use crate::store::Tracks;

/// A train or valid region that passed the edge filter.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub region: &'a Region,
    pub split: Split,
    /// Sum of the signal over `outputlen` at the summit.
    pub counts: f64,
}

/// One input file, sorted out.
pub struct Candidates<'a> {
    pub file: Arc<str>,
    pub train_valid: Vec<Candidate<'a>>,
    pub test: Vec<&'a Region>,
    pub dropped: Vec<Dropped>,
    pub warnings: Vec<String>,
    /// Rows on train and on valid chromosomes, before the edge filter.
    found: [usize; 2],
    /// The fold's train and valid chromosomes.
    chroms: [Vec<String>; 2],
}

/// bp of the edge filter: jittered windows need more room than test windows.
#[derive(Clone, Copy)]
pub struct Widths {
    pub train_valid: usize,
    pub test: usize,
}

impl<'a> Candidates<'a> {
    /// Splits `regions` by fold, applies the edge filter and counts what stays.
    pub fn gather(
        file: &str,
        regions: &'a [Region],
        folds: &Folds,
        tracks: &Tracks,
        widths: Widths,
        outputlen: usize,
    ) -> Self {
        let mut all = Self {
            file: file.into(),
            train_valid: Vec::new(),
            test: Vec::new(),
            dropped: Vec::new(),
            warnings: Vec::new(),
            found: [0; 2],
            chroms: [folds.train.clone(), folds.valid.clone()],
        };
        let splits = folds.splits();
        let mut placed = Vec::new();
        for region in regions {
            let Some(split) = splits.of(&region.chrom) else {
                all.drop(region, DropReason::NotInFolds);
                continue;
            };
            let width = if split == Split::Test { widths.test } else { widths.train_valid };
            match split {
                Split::Train => all.found[0] += 1,
                Split::Valid => all.found[1] += 1,
                Split::Test => {}
            }
            match edges::place(tracks, region, width) {
                Err(reason) => all.drop(region, reason),
                Ok(_) if split == Split::Test => all.test.push(region),
                Ok(contig) => placed.push((region, split, contig)),
            }
        }
        let half = (outputlen / 2) as i64;
        let count = |(region, split, contig): (&'a Region, Split, u32)| {
            let center = region.center() as i64;
            let counts = tracks.total_counts(contig, center - half, center + half);
            Candidate { region, split, counts }
        };
        all.train_valid = placed.into_par_iter().map(count).collect();
        all.warnings = edges::missing_contig_warnings(&all.dropped, regions.len());
        all
    }

    pub fn drop(&mut self, region: &Region, reason: DropReason) {
        self.dropped.push(Dropped::new(&self.file, region, reason));
    }

    pub fn counts(&self) -> Vec<f64> {
        self.train_valid.iter().map(|c| c.counts).collect()
    }

    /// Keeps what lies strictly between the thresholds; the rest is dropped with its side.
    pub fn keep_within(&mut self, thresholds: &Thresholds) {
        self.keep(|counts| {
            if thresholds.holds(counts) {
                None
            } else if counts < thresholds.upper {
                Some(DropReason::TooFewCounts { counts, threshold: thresholds.lower })
            } else {
                Some(DropReason::TooManyCounts { counts, threshold: thresholds.upper })
            }
        });
    }

    /// Keeps the candidates for whose counts `verdict` has no reason to drop them.
    pub fn keep(&mut self, verdict: impl Fn(f64) -> Option<DropReason>) {
        let candidates = std::mem::take(&mut self.train_valid);
        for candidate in candidates {
            match verdict(candidate.counts) {
                None => self.train_valid.push(candidate),
                Some(reason) => self.drop(candidate.region, reason),
            }
        }
    }

    /// An error where no region is left on train or on valid chromosomes, by what took the last.
    pub fn require_both_splits(&self) -> Result<(), Problem> {
        for (i, split) in [Split::Train, Split::Valid].into_iter().enumerate() {
            if !self.train_valid.iter().any(|c| c.split == split) {
                let chroms = &self.chroms[i];
                let place = format!("{split} chromosomes ({})", some_of(chroms));
                return Err(self.nothing_left(&place, self.found[i], chroms));
            }
        }
        Ok(())
    }

    /// An error where no region is left on train and valid chromosomes together.
    pub fn require_some(&self) -> Result<(), Problem> {
        if self.train_valid.is_empty() {
            let chroms = self.chroms.concat();
            let place = format!("train and valid chromosomes ({})", some_of(&chroms));
            return Err(self.nothing_left(&place, self.found[0] + self.found[1], &chroms));
        }
        Ok(())
    }

    fn nothing_left(&self, place: &str, found: usize, chroms: &[String]) -> Problem {
        let file = &self.file;
        if found == 0 {
            return Problem::new(format!("no row of the {file} file lies on the {place}"))
                .fix("check that folds and regions name chromosomes alike and belong together");
        }
        let reasons = self.reasons(chroms);
        Problem::new(format!("none of the {found} {file} on the {place} is left{reasons}"))
            .fix("check that regions and signal belong together; lower --inputlen or --max-jitter where windows leave the contigs, or raise --outlier-threshold")
    }

    /// The most frequent reasons among the dropped rows, e.g. `: 3 x contig missing from signal`.
    fn reasons(&self, chroms: &[String]) -> String {
        let chroms: HashSet<&str> = chroms.iter().map(String::as_str).collect();
        let mut tally: Vec<(&'static str, usize)> = Vec::new();
        for dropped in self.dropped.iter().filter(|d| chroms.contains(d.chrom.as_str())) {
            let kind = dropped.reason.kind();
            match tally.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, n)) => *n += 1,
                None => tally.push((kind, 1)),
            }
        }
        tally.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
        let shown: Vec<String> = tally.iter().map(|(kind, n)| format!("{n} x {kind}")).collect();
        if shown.is_empty() { String::new() } else { format!(": {}", shown.join(", ")) }
    }
}

/// Quantile thresholds at both ends of `counts`, which are not empty.
/// Source: official `np.quantile(counts, q)` and `np.quantile(counts, 1 - q)`.
pub fn thresholds(counts: &[f64], outlier_threshold: f64) -> Result<Thresholds, Problem> {
    let nothing = || Problem::new("no counts to take quantiles of");
    let upper = quantile(counts, outlier_threshold).ok_or_else(nothing)?;
    let lower = quantile(counts, 1.0 - outlier_threshold).ok_or_else(nothing)?;
    let points = counts.iter().filter(|&&c| lower < c && c < upper).count();
    Ok(Thresholds { lower, upper, points })
}

/// `counts_loss_weight` from the counts that define it, and a warning where it had to be raised.
pub fn loss_weight(counts: &[f64]) -> Result<(f64, Option<String>), Problem> {
    let weight = median(counts).map(|m| m / 10.0).filter(|w| *w > 0.0).ok_or_else(|| {
        Problem::new(format!(
            "the median total count of {} regions is 0, so counts_loss_weight would be 0",
            counts.len()
        ))
        .fix("check that signal and regions belong to the same sample; the data may be too shallow to train on")
    })?;
    if weight < 1.0 {
        let warning = format!(
            "low read depth: counts_loss_weight {} (median total count / 10) is raised to 1",
            float_text::repr(float_text::round2(weight))
        );
        return Ok((1.0, Some(warning)));
    }
    Ok((float_text::round2(weight), None))
}

/// A quantile must lie in 0..=1 for NumPy and for us; below 0.5 the two ends would cross.
pub fn check_outlier_threshold(value: f64) -> Result<(), Problem> {
    if (0.5..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Problem::new(format!("--outlier-threshold is {value}, expected a quantile from 0.5 to 1"))
        .fix("0.9999 is the default"))
}

/// What a selection hands on, from what the filters left of each file; `types` are the peaks' and
/// the nonpeaks' columns, `weight` is what `loss_weight` gave.
pub fn assemble(
    peaks: Candidates,
    nonpeaks: Candidates,
    types: [&ColumnTypes; 2],
    thresholds: Thresholds,
    weight: (f64, Option<String>),
) -> SelectedRegions {
    let (counts_loss_weight, low_depth) = weight;
    let mut warnings = peaks.warnings;
    warnings.extend(nonpeaks.warnings);
    warnings.extend(low_depth);
    let test_peaks_from = peaks.train_valid.len();
    let test_nonpeaks_from = nonpeaks.train_valid.len();
    let peak_rows = peaks.train_valid.iter().map(|c| c.region).chain(peaks.test);
    let nonpeak_rows = nonpeaks.train_valid.iter().map(|c| c.region).chain(nonpeaks.test);
    SelectedRegions {
        peaks: peak_rows.map(|r| types[0].apply(r)).collect(),
        test_peaks_from,
        nonpeaks: nonpeak_rows.map(|r| types[1].apply(r)).collect(),
        test_nonpeaks_from,
        thresholds,
        counts_loss_weight,
        dropped: collect_dropped(peaks.dropped, nonpeaks.dropped),
        warnings,
    }
}

/// By file, then line: the order a reader of `dropped.tsv` looks rows up in.
fn collect_dropped(peaks: Vec<Dropped>, nonpeaks: Vec<Dropped>) -> Vec<Dropped> {
    let sorted = |mut rows: Vec<Dropped>| {
        rows.sort_by_key(|d| d.line);
        rows
    };
    let mut all = sorted(peaks);
    all.extend(sorted(nonpeaks));
    all
}
/// Names for a message: a draft genome has 100,000 of them.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 30;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
