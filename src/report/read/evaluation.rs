//! Predictions of a test set (`*_predictions.h5`) beside what was observed.
//!
//! Out: a few numbers a region, and whole profiles of a few regions. The profiles of all regions are
//! read once, in their order, so memory is flat.

use std::path::Path;

use anyhow::Result;
use hdf5_metno::types::VarLenUnicode;
use ndarray::{Array2, s};
use rayon::prelude::*;

use super::h5;
use super::signal::Signal;
use crate::console::Console;
use crate::error::Problem;
use crate::numpy::random::RandomState;
use crate::predict::profile_distance::{profile_jsd, shuffled_jsd};

/// One predicted region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    pub chrom: String,
    /// 0-based
    pub center: i64,
    /// True of peaks, and of all regions of a file that does not say it (`predict` on one list).
    pub is_peak: bool,
    /// ln(1 + total observed counts)
    pub observed: f64,
    /// Predicted ln(1 + counts)
    pub predicted: f32,
    /// Distance of the predicted to the observed profile; NaN without counts.
    pub jsd: f64,
    /// Distance of the observed profile to itself in a random order; NaN where that has no counts.
    pub shuffled_jsd: f64,
}

/// A predictions file with its regions scored.
pub struct Evaluation {
    pub regions: Vec<Region>,
    pub outputlen: usize,
    /// Regions on contigs that the signal does not know, counted as empty.
    pub unknown_contigs: usize,
}

/// Rows of `*_predictions.h5` as far as they fit into memory whatever their number.
struct Rows {
    chrom: Vec<String>,
    center: Vec<i64>,
    is_peak: Vec<bool>,
    logcounts: Vec<f32>,
    profs: hdf5_metno::Dataset,
}

/// Scores every region; `None` where there is no such file.
pub fn read(path: &Path, signal: &mut Signal, console: &Console) -> Result<Option<Evaluation>> {
    let Some(rows) = open(path)? else { return Ok(None) };
    let outputlen = rows.profs.shape()[1];
    let n = rows.center.len();
    let step = h5::rows_at_once(&rows.profs, 16 << 20);
    let mut evaluation =
        Evaluation { regions: Vec::with_capacity(n), outputlen, unknown_contigs: 0 };
    let mut progress = console.progress("report: test regions", n as u64).unit("regions");
    for start in (0..n).step_by(step) {
        let end = (start + step).min(n);
        let profs = profiles(path, &rows, start, end)?;
        let counts = observed(&rows, start, end, outputlen, signal, &mut evaluation)?;
        let scored: Vec<(f64, f64)> = counts
            .par_chunks_exact(outputlen)
            .zip(profs.as_slice().unwrap_or_default().par_chunks_exact(outputlen))
            .enumerate()
            .map(|(i, (counts, profile))| {
                // Seeded by the row, so the result depends on no thread.
                let mut random = RandomState::new((start + i) as u32);
                (profile_jsd(counts, profile), shuffled_jsd(counts, &mut random))
            })
            .collect();
        for (i, (jsd, shuffled_jsd)) in (start..end).zip(scored) {
            let counts = &counts[(i - start) * outputlen..][..outputlen];
            let total: f64 = counts.iter().copied().map(f64::from).sum();
            evaluation.regions.push(Region {
                chrom: rows.chrom[i].clone(),
                center: rows.center[i],
                is_peak: rows.is_peak[i],
                observed: total.ln_1p(),
                predicted: rows.logcounts[i],
                jsd,
                shuffled_jsd,
            });
        }
        progress.advance((end - start) as u64, "");
    }
    progress.finish();
    Ok(Some(evaluation))
}

/// Predicted profiles (probabilities) of chosen rows, with where they lie; `None` where there is no
/// such file.
pub fn chosen(path: &Path, regions: &[(String, i64)]) -> Result<Option<Vec<Option<Vec<f64>>>>> {
    let Some(rows) = open(path)? else { return Ok(None) };
    let find = |(chrom, center): &(String, i64)| {
        (0..rows.center.len()).find(|&i| rows.center[i] == *center && rows.chrom[i] == *chrom)
    };
    let profile = |row: usize| -> Result<Vec<f64>> {
        Ok(profiles(path, &rows, row, row + 1)?.into_raw_vec_and_offset().0)
    };
    let found = regions.iter().map(|region| find(region).map(profile).transpose());
    Ok(Some(found.collect::<Result<_>>()?))
}

fn profiles(path: &Path, rows: &Rows, start: usize, end: usize) -> Result<Array2<f64>> {
    let read = rows.profs.read_slice_2d::<f64, _>(s![start..end, ..]);
    Ok(read.map_err(|error| h5::damaged(path, &error))?)
}

/// Observed counts of rows, [rows, outputlen], read in the order of the genome.
fn observed(
    rows: &Rows,
    start: usize,
    end: usize,
    outputlen: usize,
    signal: &mut Signal,
    evaluation: &mut Evaluation,
) -> Result<Vec<f32>> {
    let mut counts = vec![0.0f32; (end - start) * outputlen];
    let mut order: Vec<usize> = (start..end).collect();
    order.sort_by_key(|&i| (&rows.chrom[i], rows.center[i]));
    for i in order {
        let out = &mut counts[(i - start) * outputlen..][..outputlen];
        let first = rows.center[i] - (outputlen / 2) as i64;
        if !signal.counts(&rows.chrom[i], first, out)? {
            evaluation.unknown_contigs += 1;
        }
    }
    Ok(counts)
}

fn open(path: &Path) -> Result<Option<Rows>> {
    let Some(file) = h5::open(path)? else { return Ok(None) };
    let fail = |error: hdf5_metno::Error| h5::damaged(path, &error);
    let profs = h5::dataset(&file, path, "predictions/profs", 2)?;
    let chrom = h5::dataset(&file, path, "coords/coords_chrom", 1)?;
    let chrom: Vec<VarLenUnicode> = chrom.read_raw().map_err(fail)?;
    let center = h5::dataset(&file, path, "coords/coords_center", 1)?.read_raw().map_err(fail)?;
    let logcounts = h5::dataset(&file, path, "predictions/logcounts", 1)?;
    let logcounts: Vec<f32> = logcounts.read_raw().map_err(fail)?;
    let is_peak = match file.link_exists("coords/coords_peak") {
        true => {
            let peaks = h5::dataset(&file, path, "coords/coords_peak", 1)?;
            peaks.read_raw::<i64>().map_err(fail)?.into_iter().map(|p| p == 1).collect()
        }
        false => vec![true; logcounts.len()],
    };
    // Not `as_str`: what a file calls UTF-8 need not be.
    let text = |c: &VarLenUnicode| String::from_utf8_lossy(c.as_bytes()).into_owned();
    let chrom: Vec<String> = chrom.iter().map(text).collect();
    let rows = Rows { chrom, center, is_peak, logcounts, profs };
    let n = rows.logcounts.len();
    let lengths = [rows.chrom.len(), rows.center.len(), rows.is_peak.len(), rows.profs.shape()[0]];
    if lengths != [n; 4] || rows.profs.shape()[1] == 0 {
        return Err(Problem::new(format!(
            "coordinates, profiles and counts differ in number: {lengths:?} and {n}"
        ))
        .at(path.display())
        .fix("make the file again")
        .into());
    }
    Ok(Some(rows))
}
