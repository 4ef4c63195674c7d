//! `*_predictions.h5`: profiles and counts of many regions, in the official layout.
//!
//! ```text
//! coords/coords_chrom   vlen str [n]            coords/coords_center  int64 [n]
//! coords/coords_peak    int64 [n], 1 = peak     (peak-or-nonpeak runs only)
//! predictions/profs     f64 [n, outputlen]      softmax of the logits
//! predictions/logcounts f64 [n]                 ln(1 + counts)
//! predictions/logits    f32 [n, outputlen]      (on request; not in official files)
//! ```
//!
//! Written batch by batch under a temporary name, so memory stays flat and the file appears when
//! it is complete. Source: official `write_predictions_h5py`, whose softmax subtracts the mean and
//! overflows on large logits; this one subtracts the maximum.

use std::path::Path;
use std::str::FromStr;

use anyhow::Result;
use hdf5_metno::types::VarLenUnicode;
use hdf5_metno::{Dataset, File, Group, H5Type};
use ndarray::{ArrayView1, ArrayView2};

use super::atomic::{self, Pending};
use super::h5_out::H5Out;
use crate::error::Problem;

/// gzip level of h5py's `compression="gzip"`.
const GZIP: u8 = 4;
/// About 256 KB of profile a chunk: large enough to compress well, small enough to read one region.
const CHUNK_BYTES: usize = 1 << 18;

/// Which of the optional datasets to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PredictionsOptions {
    /// `coords/coords_peak`
    pub peaks: bool,
    /// `predictions/logits`
    pub logits: bool,
}

/// Consecutive rows.
#[derive(Clone, Copy, Debug)]
pub struct PredictionRows<'a> {
    /// `[n]`
    pub chrom: &'a [&'a str],
    /// `[n]`, 0-based position of the window's centre
    pub center: &'a [i64],
    /// `[n]` where `PredictionsOptions::peaks`, else empty
    pub is_peak: &'a [bool],
    /// [n, outputlen], before the softmax
    pub logits: &'a [f32],
    /// `[n]`
    pub logcounts: &'a [f32],
}

/// Writes a predictions file of a known number of rows.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct PredictionsWriter {
    // Fields drop in order: datasets before their file.
    chrom: Dataset,
    center: Dataset,
    peak: Option<Dataset>,
    profs: Dataset,
    logcounts: Dataset,
    logits: Option<Dataset>,
    out: H5Out,
    rows: usize,
    outputlen: usize,
    written: usize,
}

impl PredictionsWriter {
    pub fn create(
        path: &Path,
        rows: usize,
        outputlen: usize,
        options: PredictionsOptions,
    ) -> Result<Self> {
        Self::try_create(path, rows, outputlen, options)
            .map_err(|error| atomic::unwritable(path, error))
    }

    fn try_create(
        path: &Path,
        rows: usize,
        outputlen: usize,
        options: PredictionsOptions,
    ) -> Result<Self> {
        let out = H5Out::create(path)?;
        let groups =
            |file: &File| Ok((file.create_group("coords")?, file.create_group("predictions")?));
        let (coords, predictions) = out.attempt(groups)?;
        let list = [rows];
        let table = [rows, outputlen];
        Ok(Self {
            chrom: dataset::<VarLenUnicode>(&coords, "coords_chrom", &list)?,
            center: dataset::<i64>(&coords, "coords_center", &list)?,
            peak: match options.peaks {
                true => Some(dataset::<i64>(&coords, "coords_peak", &list)?),
                false => None,
            },
            profs: dataset::<f64>(&predictions, "profs", &table)?,
            logcounts: dataset::<f64>(&predictions, "logcounts", &list)?,
            logits: match options.logits {
                true => Some(dataset::<f32>(&predictions, "logits", &table)?),
                false => None,
            },
            out,
            rows,
            outputlen,
            written: 0,
        })
    }

    /// Appends the next rows.
    pub fn append(&mut self, rows: PredictionRows) -> Result<()> {
        let appended = self.try_append(rows);
        self.out.attempt(|_| appended).map_err(|error| atomic::unwritable(self.out.path(), error))
    }

    fn try_append(&mut self, rows: PredictionRows) -> Result<()> {
        let n = rows.logcounts.len();
        let peaks = if self.peak.is_some() { n } else { 0 };
        let lengths = [rows.chrom.len(), rows.center.len(), rows.is_peak.len(), rows.logits.len()];
        if lengths != [n, n, peaks, n * self.outputlen] || self.written + n > self.rows {
            return Err(Problem::new(format!(
                "{n} rows after {} of {} with lists of {lengths:?} do not fit together",
                self.written, self.rows
            ))
            .into());
        }
        if n == 0 {
            return Ok(());
        }
        let at = self.written..self.written + n;
        let chrom: Vec<VarLenUnicode> =
            rows.chrom.iter().map(|c| VarLenUnicode::from_str(c)).collect::<Result<_, _>>()?;
        self.chrom.write_slice(ArrayView1::from(&chrom), at.clone())?;
        self.center.write_slice(ArrayView1::from(rows.center), at.clone())?;
        if let Some(dataset) = &self.peak {
            let peaks: Vec<i64> = rows.is_peak.iter().map(|&p| i64::from(p)).collect();
            dataset.write_slice(ArrayView1::from(&peaks), at.clone())?;
        }
        let logcounts: Vec<f64> = rows.logcounts.iter().map(|&c| f64::from(c)).collect();
        self.logcounts.write_slice(ArrayView1::from(&logcounts), at.clone())?;
        let shape = (n, self.outputlen);
        let mut profs = Vec::with_capacity(rows.logits.len());
        for logits in rows.logits.chunks_exact(self.outputlen) {
            softmax_into(logits, &mut profs);
        }
        self.profs.write_slice(ArrayView2::from_shape(shape, &profs)?, (at.clone(), ..))?;
        if let Some(dataset) = &self.logits {
            dataset.write_slice(ArrayView2::from_shape(shape, rows.logits)?, (at, ..))?;
        }
        self.written += n;
        Ok(())
    }

    /// Flushes, checks that every row came, and gives the file its name.
    pub fn finish(self) -> Result<()> {
        self.complete()?.publish()
    }

    /// Flushes and checks that every row came; the file still lacks its name.
    pub fn complete(self) -> Result<Pending> {
        let path = self.out.path().to_path_buf();
        self.try_complete().map_err(|error| atomic::unwritable(&path, error))
    }

    fn try_complete(self) -> Result<Pending> {
        if self.written != self.rows {
            let what = format!("{} rows were predicted, expected {}", self.written, self.rows);
            return Err(Problem::new(what).into());
        }
        let Self { chrom, center, peak, profs, logcounts, logits, out, .. } = self;
        drop((chrom, center, peak, profs, logcounts, logits));
        out.complete()
    }
}

/// A gzipped dataset of `shape`, chunked along the first axis; plain when it has no rows.
pub(super) fn dataset<T: H5Type>(group: &Group, name: &str, shape: &[usize]) -> Result<Dataset> {
    let builder = group.new_dataset::<T>().shape(shape).obj_track_times(false);
    if shape.contains(&0) {
        return Ok(builder.create(name)?);
    }
    let width: usize = shape[1..].iter().product();
    let mut chunk = shape.to_vec();
    chunk[0] = (CHUNK_BYTES / (width * size_of::<T>())).clamp(1, shape[0]);
    Ok(builder.chunk(chunk).shuffle().deflate(GZIP).create(name)?)
}

/// Appends softmax(`logits`) to `out`, in f64.
pub fn softmax_into(logits: &[f32], out: &mut Vec<f64>) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let start = out.len();
    out.extend(logits.iter().map(|&v| (f64::from(v) - f64::from(max)).exp()));
    let sum: f64 = out[start..].iter().sum();
    for value in &mut out[start..] {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<'a>(n: usize, chrom: &'a [&'a str], logits: &'a [f32]) -> PredictionRows<'a> {
        const CENTERS: [i64; 4] = [5, 1 << 40, 7, 8];
        const PEAKS: [bool; 4] = [true, false, true, true];
        const COUNTS: [f32; 4] = [0.5, -1.0, 2.0, 3.25];
        PredictionRows {
            chrom: &chrom[..n],
            center: &CENTERS[..n],
            is_peak: &PEAKS[..n],
            logits: &logits[..n * 2],
            logcounts: &COUNTS[..n],
        }
    }

    #[test]
    fn batches_append_and_large_logits_stay_finite() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_predictions.h5");
        let options = PredictionsOptions { peaks: true, logits: true };
        let mut writer = PredictionsWriter::create(&path, 5, 2, options).unwrap();
        let chroms = ["chr1", "chrÜ", "", "chr2"];
        let logits = [0.0, 0.0, 1000.0, 0.0, -1.0, 1.0, 3.0, 3.0];
        writer.append(rows(4, &chroms, &logits)).unwrap();
        writer.append(rows(0, &chroms, &logits)).unwrap();
        assert!(!path.exists(), "the name appears at the end only");
        writer.append(rows(1, &["chrM"], &[2.0, 2.0])).unwrap();
        writer.finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let file = File::open(&path).unwrap();
        let chrom: Vec<VarLenUnicode> =
            file.dataset("coords/coords_chrom").unwrap().read_raw().unwrap();
        let chrom: Vec<&str> = chrom.iter().map(|c| c.as_str()).collect();
        assert_eq!(chrom, ["chr1", "chrÜ", "", "chr2", "chrM"]);
        let center: Vec<i64> = file.dataset("coords/coords_center").unwrap().read_raw().unwrap();
        assert_eq!(center, [5, 1 << 40, 7, 8, 5]);
        let peak: Vec<i64> = file.dataset("coords/coords_peak").unwrap().read_raw().unwrap();
        assert_eq!(peak, [1, 0, 1, 1, 1]);
        let profs = file.dataset("predictions/profs").unwrap();
        assert_eq!(profs.shape(), [5, 2]);
        assert!(profs.dtype().unwrap().is::<f64>());
        let profs: Vec<f64> = profs.read_raw().unwrap();
        assert_eq!(&profs[..4], &[0.5, 0.5, 1.0, 0.0]);
        assert!((profs[5] - 1.0 / (1.0 + (-2.0f64).exp())).abs() < 1e-15);
        let counts: Vec<f64> = file.dataset("predictions/logcounts").unwrap().read_raw().unwrap();
        assert_eq!(counts, [0.5, -1.0, 2.0, 3.25, 0.5]);
        let raw: Vec<f32> = file.dataset("predictions/logits").unwrap().read_raw().unwrap();
        assert_eq!(raw, [0.0, 0.0, 1000.0, 0.0, -1.0, 1.0, 3.0, 3.0, 2.0, 2.0]);
    }

    #[test]
    fn optional_datasets_are_absent_and_no_rows_are_fine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.h5");
        let writer = PredictionsWriter::create(&path, 0, 1000, Default::default()).unwrap();
        writer.finish().unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(file.group("coords").unwrap().member_names().unwrap().len(), 2);
        assert_eq!(file.dataset("predictions/profs").unwrap().shape(), [0, 1000]);
        assert!(!file.link_exists("predictions/logits"));
    }

    #[test]
    fn incomplete_or_misfit_rows_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let options = PredictionsOptions { peaks: true, logits: false };
        let mut writer = PredictionsWriter::create(&path, 2, 2, options).unwrap();
        let chroms = ["a", "b", "c", "d"];
        writer.append(rows(1, &chroms, &[0.0; 8])).unwrap();
        let too_many = writer.append(rows(2, &chroms, &[0.0; 8])).unwrap_err();
        assert!(format!("{too_many:#}").contains("2 rows after 1 of 2"), "{too_many:#}");
        let missing = writer.finish().unwrap_err();
        assert!(format!("{missing:#}").contains("1 rows were predicted, expected 2"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("no/such/folder/x.h5");
        assert!(PredictionsWriter::create(&nowhere, 1, 2, options).is_err());
    }
    #[test]
    fn a_disk_that_fails_anywhere_is_an_error() {
        let logits: Vec<f32> = (0..40_000).map(|i| (i % 97) as f32).collect();
        let steps = crate::files::atomic::faults::every_step("x.h5", |path| {
            let options = PredictionsOptions { peaks: false, logits: true };
            let mut writer = PredictionsWriter::create(path, 40, 1000, options)?;
            for batch in logits.chunks(20_000) {
                writer.append(PredictionRows {
                    chrom: &["chr1"; 20],
                    center: &[7; 20],
                    is_peak: &[],
                    logits: batch,
                    logcounts: &[1.0; 20],
                })?;
            }
            writer.finish()
        });
        assert!(steps > 10, "{steps}");
    }
}
