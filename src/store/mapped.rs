//! The bytes of a pack: a read-only map of a file, or memory of our own with the same alignment.
//!
//! Both give one `&[u8]`, so packs on disk and packs made for the occasion (custom sequences,
//! simulations) share every line of the code above.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use bytemuck::{Pod, Zeroable};
use memmap2::{Mmap, UncheckedAdvice};

use super::format::{ALIGN, HEADER, Header, Kind};
use crate::error::Problem;
use crate::input::lines;

/// `ALIGN` bytes at a multiple of `ALIGN`.
#[repr(C, align(128))]
#[derive(Clone, Copy, Zeroable, Pod)]
struct Line([u8; ALIGN]);

/// Bytes of a map that may stay mapped before they are let go. Pages that were touched count as
/// memory of this process, and windows drawn at random would soon touch all of a genome: 1.5 GB
/// for hg38 where this keeps below 0.2 GB. The kernel keeps the pages cached, so touching them
/// again costs a microsecond.
const RESIDENT: usize = 128 << 20;
/// What one touch maps beside the bytes asked for: Linux's default `fault_around_bytes`.
const AROUND: usize = 64 << 10;

/// Bytes of a pack, aligned to `ALIGN`.
pub enum Bytes {
    /// A file, and about how many bytes were touched since it was last let go.
    Mapped(Mmap, AtomicUsize),
    Owned {
        lines: Lines,
        length: usize,
    },
}

/// Aligned memory; opaque, filled by `Memory`.
pub struct Lines(Vec<Line>);

impl Bytes {
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map, _) => map,
            Bytes::Owned { lines, length } => &bytemuck::cast_slice(&lines.0)[..*length],
        }
    }

    /// Notes that `n` bytes in one place were read, and lets the map go when that adds up.
    pub fn touched(&self, n: usize) {
        let Bytes::Mapped(map, touched) = self else { return };
        if touched.fetch_add(n + AROUND, Ordering::Relaxed) > RESIDENT {
            touched.store(0, Ordering::Relaxed);
            // SAFETY: the map is a file's and read-only, so a page that is let go comes back with
            // the same bytes for whoever reads it, also at this moment.
            // Without success the memory merely stays counted.
            let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }
}

/// Maps a pack of `kind` and checks its header.
///
/// Errors: not a file, not a pack, the other kind of pack, another version, truncated.
pub fn open(path: &Path, kind: Kind) -> Result<(Bytes, Header)> {
    let file = lines::open_file(path)?;
    let at = |problem: Problem| problem.at(path.display());
    // An empty file cannot be mapped; `parse` names it.
    let length = file.metadata().map_err(|e| lines::unreadable(path, &e))?.len();
    if length == 0 {
        return Err(match Header::parse(&[], 0) {
            Err(problem) => at(problem).into(),
            Ok(_) => anyhow::anyhow!("an empty file has no header"),
        });
    }
    // SAFETY: the map is read-only and private to this process. Packs are replaced by renaming and
    // never changed in place, so the bytes stay put while the map lives; whoever truncates a
    // mapped pack gets SIGBUS, as with every mapped file.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| lines::unreadable(path, &e))?;
    let header = Header::parse(&map[..map.len().min(HEADER)], map.len() as u64).map_err(at)?;
    if header.kind != kind {
        return Err(Problem::new(format!(
            "expected a {}, found a {}",
            kind.name(),
            header.kind.name()
        ))
        .at(path.display())
        .fix(match header.kind {
            Kind::Genome => "pass a genome pack as -g",
            Kind::Signal => "pass a signal pack as --bigwig (-bw)",
        })
        .into());
    }
    Ok((Bytes::Mapped(map, AtomicUsize::new(0)), header))
}

/// A pack being written into memory.
#[derive(Default)]
pub struct Memory(Cursor<Vec<u8>>);

impl Memory {
    /// The finished pack, moved to aligned memory.
    pub fn into_pack(self) -> Result<(Bytes, Header), Problem> {
        let bytes = self.0.into_inner();
        let mut lines = vec![Line::zeroed(); bytes.len().div_ceil(ALIGN)];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(&bytes);
        let header = Header::parse(&bytes, bytes.len() as u64)?;
        Ok((Bytes::Owned { lines: Lines(lines), length: bytes.len() }, header))
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}
