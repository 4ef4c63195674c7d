//! Finished rows of a long run, one record each, appended as they come: what survives when the run
//! is stopped, killed or loses power.
//!
//! ```text
//! magic     8 bytes, CBPROWS1
//! key      16 bytes, names the run that the rows belong to
//! parts     u32, parts of a record
//! records   part lengths u32 x parts, xxh3 of lengths and parts u64, the parts
//! ```
//!
//! A row counts once its record is whole. Opening looks at every record and cuts off what a kill
//! or a power failure left half-written, so that the rows are always a prefix of the run's. The last
//! part of a row is its note, of a few bytes, and stays in memory beside where the row lies.
//! Numbers are little-endian.
//!
//! The file is opened in place, so it is never opened through a symbolic link, and a file that does
//! not begin with the magic is never written to.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::fs::OFlags;
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3;

use super::atomic;
use crate::error::Problem;

const MAGIC: &[u8; 8] = b"CBPROWS1";
/// Magic, key and number of parts.
const HEADER: u64 = 8 + 16 + 4;
/// A longer part is no part: the bytes are garbage.
const MAX_PART: u32 = 1 << 30;
/// A power failure costs no more than this; a killed process loses no finished record at all.
const SYNC_EVERY: Duration = Duration::from_secs(20);

/// An open spool. The file stays when this is dropped: see [`remove`](Self::remove).
pub struct RowSpool {
    file: File,
    path: PathBuf,
    parts: usize,
    /// First byte of each record.
    starts: Vec<u64>,
    /// Last part of each record.
    notes: Vec<Box<[u8]>>,
    /// First byte after the last record.
    end: u64,
    synced: Instant,
    /// The folder knows the file, whatever happens to the power.
    folder_synced: bool,
}

impl RowSpool {
    /// Opens the spool of run `key` (16 bytes), or makes one; the rows that are there are `len()`.
    ///
    /// Errors: a file of another run or of no run, a file that another process writes, anything
    /// that the disk says.
    pub fn open(path: &Path, key: &str, parts: usize) -> Result<Self> {
        Self::open_or_replace(path, key, parts, false)
    }

    /// Makes the spool of run `key` in place of another run's.
    ///
    /// Errors: a file of no run, a file that another process writes, anything that the disk says.
    pub fn replace(path: &Path, key: &str, parts: usize) -> Result<Self> {
        Self::open_or_replace(path, key, parts, true)
    }

    fn open_or_replace(path: &Path, key: &str, parts: usize, replace: bool) -> Result<Self> {
        assert_eq!(key.len(), 16, "the key of a run has 16 bytes");
        let open = || -> Result<Self> {
            let mut file = open_in_place(path)?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                return Err(Problem::new("another process is writing the same output")
                    .at(path.display())
                    .fix("wait for it, or choose another output prefix")
                    .into());
            }
            check_magic(&mut file, path)?;
            if replace {
                file.set_len(0)?;
            }
            let mut spool = Self {
                file,
                path: path.to_path_buf(),
                parts,
                starts: Vec::new(),
                notes: Vec::new(),
                end: HEADER,
                synced: Instant::now(),
                folder_synced: false,
            };
            spool.recover(key)?;
            Ok(spool)
        };
        open().map_err(|error| atomic::unwritable(path, error))
    }

    fn recover(&mut self, key: &str) -> Result<()> {
        let mut header = Vec::from(MAGIC);
        header.extend_from_slice(key.as_bytes());
        header.extend_from_slice(&(self.parts as u32).to_le_bytes());
        let length = self.file.metadata()?.len();
        if length < HEADER {
            // New, or killed before its first row.
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header)?;
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut found = vec![0; HEADER as usize];
        reader.read_exact(&mut found)?;
        if found != header {
            return Err(Problem::new("holds the rows of a run with other settings or inputs")
                .at(self.path.display())
                .fix("pass --force to start over, or choose another output prefix")
                .into());
        }
        let mut record = Vec::new();
        while let Some(size) = read_record(&mut reader, self.parts, length - self.end, &mut record)?
        {
            self.starts.push(self.end);
            self.notes.push(note(&record, self.parts));
            self.end += size;
        }
        self.file.set_len(self.end)?;
        Ok(())
    }

    /// Whole rows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Last parts of the rows, in order.
    pub fn notes(&self) -> impl Iterator<Item = &[u8]> {
        self.notes.iter().map(|note| &**note)
    }

    /// Forgets rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) -> Result<()> {
        if let Some(&end) = self.starts.get(rows) {
            self.file.set_len(end).map_err(|e| atomic::unwritable(&self.path, e.into()))?;
            self.starts.truncate(rows);
            self.notes.truncate(rows);
            self.end = end;
        }
        Ok(())
    }

    /// Adds the next row. When this returns, a killed process has not lost it.
    pub fn append(&mut self, parts: &[&[u8]]) -> Result<()> {
        assert_eq!(parts.len(), self.parts, "a row has all its parts");
        let mut record = Vec::with_capacity(
            self.parts * 4 + 8 + parts.iter().map(|part| part.len()).sum::<usize>(),
        );
        for part in parts {
            let length = u32::try_from(part.len()).ok().filter(|&n| n <= MAX_PART);
            let length = length.ok_or_else(|| Problem::new("a row is larger than 1 GiB"))?;
            record.extend_from_slice(&length.to_le_bytes());
        }
        record.extend_from_slice(&[0; 8]);
        parts.iter().for_each(|part| record.extend_from_slice(part));
        let checksum = checksum(&record, self.parts);
        record[self.parts * 4..][..8].copy_from_slice(&checksum.to_le_bytes());
        let write = || -> Result<()> {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(self.end))?;
            Ok(file.write_all(&record)?)
        };
        write().map_err(|error| atomic::unwritable(&self.path, error))?;
        self.starts.push(self.end);
        self.notes.push(note(&record, self.parts));
        self.end += record.len() as u64;
        match self.synced.elapsed() > SYNC_EVERY {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// The parts of row `row`.
    pub fn read(&self, row: usize) -> Result<Vec<Vec<u8>>> {
        let read = || -> Result<Vec<Vec<u8>>> {
            let start = self.starts[row];
            let end = self.starts.get(row + 1).copied().unwrap_or(self.end);
            let mut record = vec![0; (end - start) as usize];
            let mut file = &self.file;
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut record)?;
            let mut rest = &record[self.parts * 4 + 8..];
            let mut parts = Vec::with_capacity(self.parts);
            for length in lengths(&record, self.parts) {
                let (part, others) = rest.split_at(length);
                parts.push(part.to_vec());
                rest = others;
            }
            Ok(parts)
        };
        read().map_err(|error| {
            Problem::new(format!("cannot read row {row} back: {error:#}"))
                .at(self.path.display())
                .into()
        })
    }

    /// Brings every row to the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        let mut sync = || -> std::io::Result<()> {
            self.file.sync_data()?;
            if !self.folder_synced {
                atomic::sync_folder(atomic::folder_of(&self.path))?;
                self.folder_synced = true;
            }
            Ok(())
        };
        sync().map_err(|error| atomic::unwritable(&self.path, error.into()))
    }

    /// Removes the spool of a run that is complete, where one is left.
    ///
    /// Errors: a file that is no spool, anything that the disk says.
    pub fn sweep(path: &Path) -> Result<()> {
        let sweep = || -> Result<()> {
            if std::fs::symlink_metadata(path).is_err() {
                return Ok(());
            }
            check_magic(&mut open_in_place(path)?, path)?;
            Ok(std::fs::remove_file(path)?)
        };
        sweep().map_err(|error| atomic::unwritable(path, error))
    }

    /// The rows are elsewhere now.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path)
            .map_err(|error| atomic::unwritable(&self.path, error.into()))
    }
}

/// Opens a file that will be written where it is, or makes it.
///
/// Errors: a symbolic link, a name that is no file's.
fn open_in_place(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
            return Err(foreign("is a symbolic link, and rows are not written through one", path));
        }
        file => file?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(foreign("is a pipe or device, and rows are kept in a file", path)),
    }
}

/// Errors for a file that this module did not begin. An empty one has nothing to lose.
fn check_magic(file: &mut File, path: &Path) -> Result<()> {
    let mut start = Vec::with_capacity(MAGIC.len());
    file.seek(SeekFrom::Start(0))?;
    Read::take(&mut *file, MAGIC.len() as u64).read_to_end(&mut start)?;
    match MAGIC.starts_with(&start) {
        true => Ok(()),
        false => Err(foreign("is not a file of finished rows", path)),
    }
}

fn foreign(what: &str, path: &Path) -> anyhow::Error {
    Problem::new(what)
        .at(path.display())
        .fix("move it away, or choose another output prefix; --force does not write over it either")
        .into()
}

fn note(record: &[u8], parts: usize) -> Box<[u8]> {
    let length = lengths(record, parts).last().unwrap_or(0);
    record[record.len() - length..].into()
}

/// Lengths of the parts, from the beginning of a record.
fn lengths(record: &[u8], parts: usize) -> impl Iterator<Item = usize> {
    let (lengths, _) = record[..parts * 4].as_chunks::<4>();
    lengths.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize)
}

fn checksum(record: &[u8], parts: usize) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&record[..parts * 4]);
    hash.update(&record[parts * 4 + 8..]);
    hash.digest()
}

/// Reads the next record and returns its size; `None` at the end and at bytes that are no whole
/// record.
fn read_record(
    from: &mut impl Read,
    parts: usize,
    left: u64,
    record: &mut Vec<u8>,
) -> Result<Option<u64>> {
    let head = parts * 4 + 8;
    if left < head as u64 {
        return Ok(None);
    }
    record.resize(head, 0);
    from.read_exact(record)?;
    if lengths(record, parts).any(|length| length > MAX_PART as usize) {
        return Ok(None);
    }
    let size = head + lengths(record, parts).sum::<usize>();
    if size as u64 > left {
        return Ok(None);
    }
    record.resize(size, 0);
    from.read_exact(&mut record[head..])?;
    let (stored, _) = record[parts * 4..head].as_chunks::<8>();
    Ok((checksum(record, parts) == u64::from_le_bytes(stored[0])).then_some(size as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn row(i: usize) -> [Vec<u8>; 2] {
        [vec![i as u8; i * 3 % 7], vec![!(i as u8); 40]]
    }

    fn filled(path: &Path, rows: std::ops::Range<usize>) -> RowSpool {
        let mut spool = RowSpool::open(path, KEY, 2).unwrap();
        assert_eq!(spool.len(), rows.start);
        for i in rows {
            let [a, b] = row(i);
            spool.append(&[&a, &b]).unwrap();
        }
        spool
    }

    #[test]
    fn rows_come_back_in_any_order_and_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let spool = filled(&path, 0..5);
        assert_eq!(spool.read(4).unwrap(), row(4));
        assert_eq!(
            spool.notes().collect::<Vec<_>>(),
            (0..5).map(|i| row(i)[1].clone()).collect::<Vec<_>>()
        );
        assert_eq!(spool.read(0).unwrap(), row(0));
        drop(spool);
        let mut spool = filled(&path, 5..9);
        for i in [8, 3, 5] {
            assert_eq!(spool.read(i).unwrap(), row(i));
        }
        spool.truncate(20).unwrap();
        assert_eq!(spool.len(), 9);
        spool.truncate(2).unwrap();
        drop(spool);
        let spool = filled(&path, 2..3);
        assert_eq!(spool.notes().count(), 3);
        assert_eq!(spool.notes().last().unwrap(), row(2)[1]);
        spool.remove().unwrap();
        assert!(!path.exists());
    }

    /// A kill can stop a write after any byte, a power failure can leave any garbage.
    #[test]
    fn a_torn_tail_is_cut_off_and_the_rows_before_it_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        drop(filled(&path, 0..3));
        let two_rows = std::fs::metadata(&path).unwrap().len();
        drop(filled(&path, 3..4));
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let rows = RowSpool::open(&path, KEY, 2).unwrap().len();
            assert!(rows < 4 && (cut < two_rows as usize) == (rows < 3), "{rows} rows of {cut} B");
        }
        for damaged in two_rows as usize..whole.len() {
            let mut bytes = whole.clone();
            bytes[damaged] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(RowSpool::open(&path, KEY, 2).unwrap().len(), 3, "byte {damaged}");
        }
        drop(filled(&path, 3..4));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn other_files_and_other_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let open = |key: &str| RowSpool::open(&path, key, 2).map(|_| ()).unwrap_err().to_string();
        let spool = filled(&path, 0..2);
        assert!(open(KEY).contains("another process"), "{}", open(KEY));
        drop(spool);
        assert!(open("fedcba9876543210").contains("other settings"));
        let spool = RowSpool::replace(&path, KEY, 2).unwrap();
        assert!(spool.is_empty() && RowSpool::replace(&path, KEY, 2).is_err());
        drop(spool);
        drop(filled(&path, 0..2));

        // What is nobody's rows stays as it is, whatever its length and whatever is asked for.
        let at = |name: &str| folder.path().join(name);
        for victim in [&b"precious\n"[..], &[7; 100], b"CBPROWX"] {
            std::fs::write(at("victim"), victim).unwrap();
            for make in [RowSpool::open, RowSpool::replace] {
                let refused = |path: &Path, wanted: &str| {
                    let message = make(path, KEY, 2).map(|_| ()).unwrap_err().to_string();
                    assert!(message.contains(wanted), "{message}");
                    assert_eq!(std::fs::read(at("victim")).unwrap(), victim);
                };
                refused(&at("victim"), "not a file of finished rows");
                let _ = std::os::unix::fs::symlink("victim", at("link"));
                refused(&at("link"), "is a symbolic link");
            }
        }
        let _ = std::os::unix::fs::symlink("nothing", at("dangling"));
        assert!(RowSpool::open(&at("dangling"), KEY, 2).is_err() && !at("nothing").exists());

        let nowhere = folder.path().join("no/such/rows");
        assert!(RowSpool::open(&nowhere, KEY, 2).is_err_and(|e| format!("{e}").contains("cannot")));
    }
}
