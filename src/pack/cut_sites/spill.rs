//! Counts on disk: a run holds the bins that were in memory when it was written, in order.
//!
//! Layout, little-endian: for each bin its index (u32) and number of entries (u32), then an offset
//! (u16) and a count (u32) each. Scratch files have no name, so nothing is left behind.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::SpooledTempFile;

use super::bins;

/// bytes of the counts' values that wait in memory until their type is known.
const SPOOLED: usize = 128 << 20;
/// bytes read ahead in each run while they are merged.
const BUFFER: usize = 256 << 10;

/// The spool of a signal pack: in memory while it is small, then a scratch file.
pub fn spool(folder: &Path) -> SpooledTempFile {
    tempfile::spooled_tempfile_in(SPOOLED, folder)
}

fn cannot_spill(folder: &Path) -> String {
    format!(
        "cannot write counts to a scratch file in {} (--tmpdir names another)",
        folder.display()
    )
}

/// Writes one run.
pub struct RunWriter<'a> {
    out: BufWriter<File>,
    folder: &'a Path,
    entries: Vec<u8>,
}

impl<'a> RunWriter<'a> {
    pub fn new(folder: &'a Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| cannot_spill(folder))?;
        Ok(Self { out: BufWriter::with_capacity(BUFFER, file), folder, entries: Vec::new() })
    }

    /// Adds a bin, in order of their indices; leaves `sums` at zero.
    pub fn bin(&mut self, index: usize, sums: &mut [u32]) -> Result<()> {
        self.entries.clear();
        bins::drain(sums, |offset, count| {
            self.entries.extend(offset.to_le_bytes());
            self.entries.extend(count.to_le_bytes());
            Ok(())
        })?;
        let mut head = [0; 8];
        head[..4].copy_from_slice(&u32::try_from(index)?.to_le_bytes());
        head[4..].copy_from_slice(&((self.entries.len() / 6) as u32).to_le_bytes());
        self.out
            .write_all(&head)
            .and_then(|()| self.out.write_all(&self.entries))
            .with_context(|| cannot_spill(self.folder))
    }

    pub fn finish(self) -> Result<SpilledRun> {
        let folder = self.folder;
        let rewound = self.out.into_inner().map_err(|e| e.into_error()).and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        });
        let file = rewound.with_context(|| cannot_spill(folder))?;
        let mut run = SpilledRun {
            input: BufReader::with_capacity(BUFFER, file),
            next: None,
            entries: Vec::new(),
        };
        run.advance()?;
        Ok(run)
    }
}

/// A run that is read back, bin by bin.
pub struct SpilledRun {
    input: BufReader<File>,
    /// Index and number of entries of the bin that comes next.
    next: Option<(usize, usize)>,
    entries: Vec<u8>,
}

impl SpilledRun {
    /// Adds the run's counts of a bin, if it has any, to `sums`. Bins are asked for in order.
    pub fn add_bin(&mut self, index: usize, sums: &mut [u32]) -> Result<()> {
        let Some((_, entries)) = self.next.filter(|(next, _)| *next == index) else {
            return Ok(());
        };
        self.entries.resize(6 * entries, 0);
        self.input.read_exact(&mut self.entries).context("cannot read a scratch file back")?;
        for entry in self.entries.chunks_exact(6) {
            let offset = u16::from_le_bytes([entry[0], entry[1]]);
            let count = u32::from_le_bytes([entry[2], entry[3], entry[4], entry[5]]);
            bins::add(sums, offset, count);
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<()> {
        let mut head = [0; 8];
        self.next = match self.input.read_exact(&mut head) {
            Ok(()) => {
                let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head[at + i]));
                Some((number(0) as usize, number(4) as usize))
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(e).context("cannot read a scratch file back"),
        };
        Ok(())
    }
}
