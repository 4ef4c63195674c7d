//! bigWig, through bigtools: contigs with lengths, and the intervals of each.
//!
//! bigtools trusts a file's counts and offsets and stops the program on some damaged ones, so the
//! structure is checked first (`bigwig_check`), its calls are guarded against panics, and
//! what it returns is checked against the contig: sorted, apart, inside. A damaged file is an
//! error here, whatever the damage. bigtools looks a contig up by going through all of them, so it
//! is handed the one that is asked for: a scaffold-level assembly has hundreds of thousands.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bigtools::{BBIFileInfo, BigWigRead, ChromInfo, Value};

use super::assembly::Assembly;
use super::guard::guarded;
use super::{bigwig_check, lines, sniff};
use crate::error::Problem;

/// An open bigWig.
pub struct BigWig {
    path: PathBuf,
    file: BufReader<File>,
    /// The file's description without its contigs, which are in `chroms`.
    info: BBIFileInfo,
    chroms: Vec<ChromInfo>,
    contigs: Assembly,
}

impl BigWig {
    /// Errors: not a bigWig (says what it is instead), truncated, damaged, without any value.
    pub fn open(path: &Path) -> Result<Self> {
        let file = lines::open_file(path)?;
        if !bigwig_check::is_bigwig(&file).map_err(|e| lines::unreadable(path, &e))? {
            return Err(not_a_bigwig(path, &file).at(path.display()).into());
        }
        bigwig_check::check(&file).map_err(|p| p.at(path.display()))?;
        let read = guarded(|| BigWigRead::open(BufReader::new(file)))
            .map_err(|reason| damaged(path, &reason))?
            .map_err(|e| damaged(path, &e.to_string()))?;
        let mut info = read.info().clone();
        let chroms = std::mem::take(&mut info.chrom_info);
        let contigs = chroms.iter().map(|c| (c.name.as_str(), u64::from(c.length))).collect();
        let file = read.into_inner();
        Ok(Self { path: path.to_path_buf(), file, info, chroms, contigs })
    }

    /// Names and lengths (bp) in the file's order.
    pub fn contigs(&self) -> &Assembly {
        &self.contigs
    }

    /// bp of a contig; `None` for one that the file does not have.
    pub fn length(&self, contig: &str) -> Option<u64> {
        self.contigs.length(contig)
    }

    /// A reader that knows this contig alone.
    ///
    /// Errors: an unknown contig.
    fn of_contig(&mut self, contig: &str) -> Result<BigWigRead<&mut BufReader<File>>, Problem> {
        let Some(id) = self.contigs.id(contig) else {
            let problem = Problem::new(format!("bigWig has no contig {contig}"));
            return Err(problem.at(self.path.display()));
        };
        let info =
            BBIFileInfo { chrom_info: vec![self.chroms[id as usize].clone()], ..self.info.clone() };
        Ok(BigWigRead::with_info(info, &mut self.file))
    }

    /// Sum of all values, as the file's own summary has it; `None` where it has none that can be
    /// read. Nothing depends on it, so a damaged one is no error.
    pub fn total(&mut self) -> Option<f64> {
        let mut read = BigWigRead::with_info(self.info.clone(), &mut self.file);
        let summary = guarded(|| read.get_summary()).ok()?.ok()?;
        (summary.bases_covered > 0 && summary.sum.is_finite()).then_some(summary.sum)
    }

    /// Bases that have a value, as the file's own summary has it; `None` where it has none that can be
    /// read.
    pub fn bases_covered(&mut self) -> Option<u64> {
        let mut read = BigWigRead::with_info(self.info.clone(), &mut self.file);
        let summary = guarded(|| read.get_summary()).ok()?.ok()?;
        (summary.bases_covered > 0).then_some(summary.bases_covered)
    }

    /// Passes the values of `[start, end)` of a contig to `each`: how many bases share one, and it.
    /// For a few places of a large file; `intervals` reads all of a contig.
    ///
    /// Errors: an unknown contig, damaged data, those of `each`.
    pub fn values(
        &mut self,
        contig: &str,
        start: u32,
        end: u32,
        mut each: impl FnMut(u32, f32) -> Result<()>,
    ) -> Result<()> {
        self.runs(contig, start, end, |from, to, value| each(to - from, value))
    }

    /// Fills `out` with the values of a contig from `start` on; bases without a value, also those
    /// outside the contig, are 0.
    ///
    /// Errors: as `values`.
    pub fn counts(&mut self, contig: &str, start: i64, out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        let end = start + out.len() as i64;
        let (from, to) = (start.max(0) as u32, end.clamp(0, i64::from(u32::MAX)) as u32);
        if from >= to {
            return Ok(());
        }
        self.runs(contig, from, to, |from, to, value| {
            let at = |position: u32| (i64::from(position) - start) as usize;
            out[at(from)..at(to)].fill(if value.is_nan() { 0.0 } else { value });
            Ok(())
        })
    }

    /// Passes the runs of equal values in `[start, end)`, cut to it, to `each`: start, end, value.
    fn runs(
        &mut self,
        contig: &str,
        start: u32,
        end: u32,
        mut each: impl FnMut(u32, u32, f32) -> Result<()>,
    ) -> Result<()> {
        let path = self.path.clone();
        let fail = |reason: &str| damaged(&path, &format!("contig {contig}: {reason}"));
        let read = self.of_contig(contig)?;
        let mut values = guarded(|| read.get_interval_move(contig, start, end))
            .map_err(|reason| fail(&reason))?
            .map_err(|e| fail(&e.to_string()))?;
        while let Some(value) = guarded(|| values.next()).map_err(|reason| fail(&reason))? {
            let value = value.map_err(|e| fail(&e.to_string()))?;
            let (from, to) = (value.start.max(start), value.end.min(end));
            if from < to {
                each(from, to, value.value)?;
            }
        }
        Ok(())
    }

    /// Passes the intervals of a contig to `each`: start, end (0-based, half-open), value; sorted
    /// and apart. Bases without an interval have no value.
    ///
    /// Errors: an unknown contig, damaged data, those of `each`.
    pub fn intervals(
        &mut self,
        contig: &str,
        mut each: impl FnMut(u32, u32, f32) -> Result<()>,
    ) -> Result<()> {
        let length = self.length(contig).unwrap_or_default();
        let path = self.path.clone();
        let fail = |reason: &str| damaged(&path, &format!("contig {contig}: {reason}"));
        let read = self.of_contig(contig)?;
        // Asking beyond the contig keeps bigtools from trimming what lies outside of it.
        let mut values = guarded(|| read.get_interval_move(contig, 0, u32::MAX))
            .map_err(|reason| fail(&reason))?
            .map_err(|e| fail(&e.to_string()))?;
        let mut last = 0;
        loop {
            let next = guarded(|| values.next()).map_err(|reason| fail(&reason))?;
            let Some(value) = next else { return Ok(()) };
            let Value { start, end, value } = value.map_err(|e| fail(&e.to_string()))?;
            if start >= end || u64::from(end) > length {
                return Err(fail(&format!("interval {start}-{end} in {length} bp")).into());
            }
            if start < last {
                return Err(fail(&format!("interval {start}-{end} begins before {last}")).into());
            }
            last = end;
            each(start, end, value)?;
        }
    }
}

fn not_a_bigwig(path: &Path, file: &File) -> Problem {
    const WANTED: &str = "a bigWig";
    if file.metadata().is_ok_and(|m| m.len() == 0) {
        return Problem::new(format!("expected {WANTED}, found an empty file"))
            .fix("check how the file was made");
    }
    match sniff::of_file(path) {
        // A bigWig that was compressed on top is one when it is decompressed.
        Some(sniff::Kind::BigWig) => {
            Problem::new(format!("expected {WANTED}, found one that was compressed with gzip"))
                .fix("unpack it once (gunzip)")
        }
        Some(kind) => sniff::unexpected(WANTED, kind),
        None => Problem::new(format!("expected {WANTED}, found something else"))
            .fix("pass a bigWig of insertion counts per base (.bw)"),
    }
}

fn damaged(path: &Path, reason: &str) -> Problem {
    Problem::new(format!("bigWig is damaged: {reason}"))
        .at(path.display())
        .fix("copy or make the file again")
}
