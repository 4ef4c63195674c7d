//! `PREFIX_predicted_counts.tsv`: one row per prediction, with the observed counts where known.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

use super::count_transform::CountTransform;
use super::outputs::Subject;
use super::rows::{Row, Rows};
use crate::batch::Example;
use crate::files::atomic::{self, OutFile, Pending};

/// A table that is being written.
pub struct CountsTable<'a> {
    rows: &'a Rows,
    transform: CountTransform,
    // Closed before the temporary file under it goes.
    out: BufWriter<OutFile>,
    pending: Pending,
}

/// Columns that only some tables have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// Standard deviation of the log counts of several models.
    pub spread: Option<f64>,
    /// Observed total counts.
    pub observed: Option<f64>,
}

impl<'a> CountsTable<'a> {
    /// `spread` and `observed`: whether rows will have these columns.
    pub fn create(
        path: &Path,
        rows: &'a Rows,
        transform: CountTransform,
        spread: bool,
        observed: bool,
    ) -> Result<Self> {
        let create = || -> Result<Self> {
            let pending = Pending::create(path)?;
            let mut out = BufWriter::new(pending.file());
            out.write_all(b"chrom\tstart\tend\tsummit\tis_peak\tlogcounts\tpredicted_counts")?;
            out.write_all(if spread { b"\tlogcounts_sd" } else { b"" })?;
            out.write_all(if observed { b"\tobserved_counts\n" } else { b"\n" })?;
            Ok(Self { rows, transform, out, pending })
        };
        create().map_err(|error| atomic::unwritable(path, error))
    }

    /// Adds a row.
    pub fn row(
        &mut self,
        subject: &Subject,
        example: &Example,
        logcount: f32,
        extra: Extra,
    ) -> Result<()> {
        let Row { chrom, start, end, summit } = self.rows.row(subject, example);
        let is_peak = u8::from(example.is_peak());
        let predicted = self.transform.counts(logcount);
        let mut write = || -> std::io::Result<()> {
            write!(
                self.out,
                "{chrom}\t{start}\t{end}\t{summit}\t{is_peak}\t{logcount}\t{predicted:.3}"
            )?;
            if let Some(spread) = extra.spread {
                write!(self.out, "\t{spread:.6}")?;
            }
            if let Some(observed) = extra.observed {
                write!(self.out, "\t{observed}")?;
            }
            self.out.write_all(b"\n")
        };
        write().map_err(|error| atomic::unwritable(self.pending.path(), error.into()))
    }

    /// Flushes; the file still lacks its name.
    pub fn complete(mut self) -> Result<Pending> {
        match self.out.flush() {
            Ok(()) => Ok(self.pending),
            Err(error) => Err(atomic::unwritable(self.pending.path(), error.into())),
        }
    }
}
