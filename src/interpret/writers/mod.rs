//! Files of contribution scores. A further format is a file in this folder and its lines in [`Format`].

mod bigwig;
mod h5;
mod npz;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use bigwig::BigWig;
pub use h5::H5;

/// Scores of one sequence and head.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Its place in the list of what is explained.
    pub index: usize,
    /// `[length]`, 0..=3 = ACGT, anything else an N.
    pub codes: &'a [u8],
    /// Hypothetical scores, `[length, 4]`.
    pub scores: &'a [f32],
}

/// Takes the rows of one head, and makes a file of them that appears when it is complete.
pub trait ScoreWriter {
    /// The next rows.
    fn rows(&mut self, rows: &[Row]) -> Result<()>;

    /// All rows are written.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Formats that are written when they are asked for, beside the h5 and the bigWig.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One-hot sequences and scores as NumPy archives, as bpnet-lite writes them and modisco reads them
    Npz,
}

impl Format {
    /// What the files of `stem` (`PREFIX.HEAD_scores`) are called.
    pub fn files(self, stem: &Path) -> Vec<PathBuf> {
        match self {
            Self::Npz => npz::files(stem).into(),
        }
    }

    /// Begins the files of `stem`, for `n` sequences of `length` bases.
    pub fn create(self, stem: &Path, shape: (usize, usize)) -> Result<Box<dyn ScoreWriter>> {
        Ok(match self {
            Self::Npz => Box::new(npz::Npz::create(stem, shape)?),
        })
    }
}
