//! NumPy archives of one array each, `arr_0`, as `numpy.savez_compressed` leaves them:
//!
//! ```text
//! PREFIX.HEAD_scores.ohe.npz    i8  [n, 4, length]   one-hot sequences, rows A C G T
//! PREFIX.HEAD_scores.npz        f32 [n, 4, length]   hypothetical scores
//! ```
//!
//! bpnet-lite writes them so; `modisco motifs -s OHE -a SCORES` reads them. Source: NumPy's NEP 1.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{Row, ScoreWriter};
use crate::files::atomic::{self, OutFile, Pending};
use crate::run::prefix::suffixed;

/// Sequences, then scores.
pub fn files(stem: &Path) -> [PathBuf; 2] {
    [suffixed(stem, ".ohe.npz"), suffixed(stem, ".npz")]
}

pub struct Npz {
    sequences: Archive,
    scores: Archive,
}

impl Npz {
    pub fn create(stem: &Path, shape: (usize, usize)) -> Result<Self> {
        let [sequences, scores] = files(stem);
        Ok(Self {
            sequences: Archive::create(&sequences, "|i1", shape)?,
            scores: Archive::create(&scores, "<f4", shape)?,
        })
    }
}

impl ScoreWriter for Npz {
    fn rows(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let (mut onehot, mut scores) = (Vec::new(), Vec::new());
            for base in 0..4 {
                onehot.extend(row.codes.iter().map(|&code| u8::from(usize::from(code) == base)));
                let of_base = row.scores.iter().skip(base).step_by(4);
                scores.extend(of_base.flat_map(|score| score.to_le_bytes()));
            }
            self.sequences.write(&onehot)?;
            self.scores.write(&scores)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.sequences.finish()?;
        self.scores.finish()
    }
}

/// An archive of one array that is being written.
struct Archive {
    /// `None` once it is finished.
    zip: Option<ZipWriter<BufWriter<OutFile>>>,
    pending: Option<Pending>,
    path: PathBuf,
}

impl Archive {
    fn create(path: &Path, kind: &str, (n, length): (usize, usize)) -> Result<Self> {
        let pending = Pending::create(path)?;
        let zip = ZipWriter::new(BufWriter::new(pending.file()));
        let mut archive = Self { zip: Some(zip), pending: Some(pending), path: path.to_path_buf() };
        archive.attempt(|zip| {
            // More than 4 GB are possible, which has to be said in front.
            zip.start_file("arr_0.npy", SimpleFileOptions::default().large_file(true))?;
            Ok(zip.write_all(&header(kind, &[n, 4, length]))?)
        })?;
        Ok(archive)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.attempt(|zip| Ok(zip.write_all(bytes)?))
    }

    fn attempt(
        &mut self,
        write: impl FnOnce(&mut ZipWriter<BufWriter<OutFile>>) -> Result<()>,
    ) -> Result<()> {
        let zip = self.zip.as_mut().context("the archive is finished")?;
        write(zip).map_err(|error| atomic::unwritable(&self.path, error))
    }

    fn finish(mut self) -> Result<()> {
        let (zip, pending) = (self.zip.take(), self.pending.take());
        let (Some(zip), Some(pending)) = (zip, pending) else { return Ok(()) };
        let close = || -> Result<()> {
            zip.finish()?.flush()?;
            Ok(())
        };
        close().map_err(|error| atomic::unwritable(&self.path, error))?;
        pending.publish()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // Dropped by itself it would write its end, and say on stderr that it could not.
        if let Some(zip) = self.zip.take() {
            std::mem::forget(zip);
        }
    }
}

/// The head of a `.npy` file, version 1.0: what follows is 64-byte aligned.
fn header(kind: &str, shape: &[usize; 3]) -> Vec<u8> {
    let [n, rows, length] = shape;
    let mut text = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({n}, {rows}, {length}), }}"
    );
    const BEFORE: usize = 10;
    while !(BEFORE + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.into_bytes());
    header
}
