//! A tab-separated table that is written row by row under a temporary name.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

use super::atomic::{self, OutFile, Pending};

/// Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub struct Table {
    out: BufWriter<OutFile>,
    pending: Pending,
}

impl Table {
    /// `header` has no line end.
    pub fn create(path: &Path, header: &str) -> Result<Self> {
        let create = || -> Result<Self> {
            let pending = Pending::create(path)?;
            Ok(Self { out: BufWriter::with_capacity(1 << 18, pending.file()), pending })
        };
        let mut table = create().map_err(|e| atomic::unwritable(path, e))?;
        table.row(header)?;
        Ok(table)
    }

    /// Appends a row without its line end.
    pub fn row(&mut self, row: &str) -> Result<()> {
        let mut write = || -> std::io::Result<()> {
            self.out.write_all(row.as_bytes())?;
            self.out.write_all(b"\n")
        };
        write().map_err(|e| atomic::unwritable(self.pending.path(), e.into()))
    }

    /// Gives the table its name.
    pub fn finish(mut self) -> Result<()> {
        let path = self.pending.path().to_path_buf();
        self.out
            .flush()
            .map_err(anyhow::Error::from)
            .and_then(|()| {
                let Self { out, pending } = self;
                drop(out);
                pending.finish()
            })
            .map_err(|e| atomic::unwritable(&path, e))
    }
}
