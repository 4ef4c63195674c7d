//! The bytes of a pack: a read-only map of a file, or memory of our own with the same alignment.
//!
//! Both give one `&[u8]`, so packs on disk and packs made for the occasion (custom sequences,
//! simulations) share every line of the code above.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use bytemuck::{Pod, Zeroable};

use super::format::{self, ALIGN, HEADER, Header, Kind};
use super::mapped_file::MappedFile;
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
    Mapped(MappedFile, AtomicUsize),
    Owned {
        lines: Lines,
        length: usize,
    },
}

/// Aligned memory; opaque, filled by `Memory`.
pub struct Lines(Vec<Line>);

/// Memory to read large pieces of a file into, at a multiple of `ALIGN`. Large allocations begin 16
/// bytes into a page as a rule, where the kernel copies a page of a file five times slower than here
/// (0.40 ms a MiB against 0.09).
pub struct ReadBuffer(Vec<Line>);

impl ReadBuffer {
    pub fn new(bytes: usize) -> Self {
        Self(vec![Line::zeroed(); bytes.div_ceil(ALIGN)])
    }

    /// At least as long as was asked for.
    pub fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

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
            map.let_go();
        }
    }
}

/// What to do about a pack that is lost while it is read.
const LOST: &str = "run the same command again: training goes on from its last saved state, and a damaged pack in the cache is made anew";

/// Maps a pack of `kind` and compares all of it with the checksums in its header, so that whatever is
/// read from it later is what was written.
///
/// Errors: not a file, not a pack, the other kind of pack, another version, truncated, damaged.
pub fn open(path: &Path, kind: Kind) -> Result<(Bytes, Header)> {
    let file = lines::open_file(path)?;
    let header = format::header_of(&file, path)?;
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
    format::check_body(&file, &header, path)?;
    let map = MappedFile::open(&file, path, LOST).map_err(|e| lines::unreadable(path, &e))?;
    // The file was as long as this a moment ago; a map of another length is of another file.
    if map.len() < HEADER || map.len() as u64 != header.file_length {
        return Err(Problem::new(format!("{} changed while it was opened", kind.name()))
            .at(path.display())
            .fix("run the same command again")
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
