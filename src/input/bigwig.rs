//! bigWig, through bigtools: contigs with lengths, and the intervals of each.
//!
//! bigtools trusts a file's counts and offsets and stops the program on some damaged ones, so the
//! structure is checked first (`bigwig_check`), its calls are guarded against panics, and
//! what it returns is checked against the contig: sorted, apart, inside. A damaged file is an
//! error here, whatever the damage.

use std::cell::Cell;
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::Result;
use bigtools::{BigWigRead, Value};

use super::{bigwig_check, lines};
use crate::error::Problem;

/// An open bigWig.
pub struct BigWig {
    path: PathBuf,
    read: BigWigRead<BufReader<File>>,
    contigs: Vec<(String, u64)>,
}

impl BigWig {
    /// Errors: not a bigWig (says what it is instead), truncated, damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = lines::open_file(path)?;
        bigwig_check::check(&file).map_err(|p| p.at(path.display()))?;
        let read = guarded(|| BigWigRead::open(BufReader::new(file)))
            .map_err(|reason| damaged(path, &reason))?
            .map_err(|e| damaged(path, &e.to_string()))?;
        let contigs = read.chroms().iter().map(|c| (c.name.clone(), u64::from(c.length))).collect();
        Ok(Self { path: path.to_path_buf(), read, contigs })
    }

    /// Names and lengths (bp) in the file's order.
    pub fn contigs(&self) -> &[(String, u64)] {
        &self.contigs
    }

    /// Sum of all values, as the file's own summary has it; `None` where it has none that can be
    /// read. Nothing depends on it, so a damaged one is no error.
    pub fn total(&mut self) -> Option<f64> {
        let read = &mut self.read;
        let summary = guarded(|| read.get_summary()).ok()?.ok()?;
        (summary.bases_covered > 0 && summary.sum.is_finite()).then_some(summary.sum)
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
        let read = &mut self.read;
        let mut values = guarded(|| read.get_interval(contig, start, end))
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
        let Some(&(_, length)) = self.contigs.iter().find(|(name, _)| name == contig) else {
            return Err(Problem::new(format!("bigWig has no contig {contig}"))
                .at(self.path.display())
                .into());
        };
        let path = self.path.clone();
        let fail = |reason: &str| damaged(&path, &format!("contig {contig}: {reason}"));
        let read = &mut self.read;
        // Asking beyond the contig keeps bigtools from trimming what lies outside of it.
        let mut values = guarded(|| read.get_interval(contig, 0, u32::MAX))
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

fn damaged(path: &Path, reason: &str) -> Problem {
    Problem::new(format!("bigWig is damaged: {reason}"))
        .at(path.display())
        .fix("copy or make the file again")
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`; a panic inside becomes its message, and nothing is printed.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    // What `call` borrowed is not used again: every error ends the reading.
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("its data cannot be decoded").to_string()
    })
}
