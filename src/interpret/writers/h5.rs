//! The official h5.

use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;

use super::{Row, ScoreWriter};
use crate::files::contributions_h5::{self, Chunks, Rows, ScoresFile};

/// Compresses rows on all threads, and writes them in turn.
pub struct H5<'a, R> {
    file: ScoresFile,
    names: &'a R,
}

impl<'a, R: Rows> H5<'a, R> {
    /// A file of `n` sequences of `length` bases, which `names` names. `sample` are some of the rows: they
    /// tell how much disk is needed.
    pub fn create(
        path: &Path,
        (n, length): (usize, usize),
        names: &'a R,
        sample: &[Row],
    ) -> Result<Self> {
        let size = |c: &Chunks| (c.raw.len() + c.shap.len() + c.projected.len()) as u64;
        let bytes: u64 = packed(sample).iter().map(size).sum();
        let bytes = bytes * n as u64 / sample.len().max(1) as u64;
        Ok(Self { file: ScoresFile::create(path, (n, length), bytes)?, names })
    }
}

fn packed(rows: &[Row]) -> Vec<Chunks> {
    rows.par_iter().map(|row| contributions_h5::pack(row.codes, row.scores)).collect()
}

impl<R: Rows> ScoreWriter for H5<'_, R> {
    fn rows(&mut self, rows: &[Row]) -> Result<()> {
        rows.iter()
            .zip(packed(rows))
            .try_for_each(|(row, chunks)| self.file.write(row.index, &chunks))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.file.finish(self.names)
    }
}
