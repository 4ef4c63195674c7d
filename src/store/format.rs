//! What both packs have in common: a 4 KiB header, then a body of named sections.
//!
//! ```text
//! byte  0     magic            8 bytes, CBPFGENO or CBPFSIGN
//!       8     version          u32
//!      12     section count    u32
//!      16     file length      u64
//!      24     body checksum    u64, xxh3 of the xxh3 of each MiB after the header
//!      32     header checksum  u64, xxh3 of these 4096 bytes with this field 0
//!      40     contig count     u64
//!      48     total            u64, bp (genome) or entries (signal)
//!      56     sum              f64, of all counts (signal)
//!      64     value type       u32, 0 = one-hot nibbles, 1 = u16, 2 = f32
//!      68     source length    u32, bytes of the JSON at 512
//!     128     layout           up to 8 x { name [u8; 16], offset u64, length u64 }
//!     512     source           JSON of a `Fingerprint`, or nothing
//!    4096     body             sections, each 128-byte aligned
//! ```
//!
//! All numbers are little-endian. Writers fill the body in order and the header last, so a pack
//! can be streamed. Opening a pack reads all of it once and compares it with its checksums: the body's
//! is made of one for each MiB, which several threads compute side by side.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::mapped::ReadBuffer;
use super::stat::Stat;
use crate::error::Problem;
use crate::input::lines;

// The casts below read the file's little-endian numbers as the machine's own.
const _: () = assert!(cfg!(target_endian = "little"), "packs need a little-endian machine");

/// Bytes of the header, one memory page.
pub const HEADER: usize = 4096;
/// Sections, and contigs within the bases, start at multiples of this: a GPU's widest load.
pub const ALIGN: usize = 128;
/// Version that this program writes and reads: raised with the layout, and when the readers make
/// another pack of the same bytes, so that packs in a cache are made anew.
pub const VERSION: u32 = 2;
/// Bytes of the body that are hashed together.
const BLOCK: usize = 1 << 20;

const SOURCE_AT: usize = 512;
const LAYOUT_AT: usize = 128;
const MAX_SECTIONS: usize = 8;

/// Which of the two packs a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Genome,
    Signal,
}

impl Kind {
    pub fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Genome => b"CBPFGENO",
            Kind::Signal => b"CBPFSIGN",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Genome => "genome pack",
            Kind::Signal => "signal pack",
        }
    }

    /// What makes such a pack.
    fn command(self) -> &'static str {
        match self {
            Kind::Genome => "cbp-fast pack genome -g FASTA -o OUT.cbg",
            Kind::Signal => "cbp-fast pack signal --bigwig BIGWIG -o OUT.cbs",
        }
    }

    /// The kind of pack that begins with `start`, if it is one.
    pub fn of(start: &[u8]) -> Option<Kind> {
        [Kind::Genome, Kind::Signal].into_iter().find(|kind| start.starts_with(kind.magic()))
    }
}

/// Type of a signal pack's values; genome packs have nibbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Nibbles,
    U16,
    F32,
}

impl ValueType {
    const ALL: [ValueType; 3] = [ValueType::Nibbles, ValueType::U16, ValueType::F32];

    fn code(self) -> u32 {
        self as u32
    }

    pub fn name(self) -> &'static str {
        match self {
            ValueType::Nibbles => "one-hot, 4 bits a base",
            ValueType::U16 => "u16",
            ValueType::F32 => "f32",
        }
    }
}

/// What a file was when it was read: its name without folder, size, time and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub name: String,
    /// bytes
    pub size: u64,
    /// Modification time, ns since 1970.
    pub mtime_ns: i64,
    /// xxh3 of all bytes (of a pack: of its header, which holds the body's), 16 hex digits.
    pub xxh3: String,
}

impl Fingerprint {
    /// Same content, whatever the name and time: a file that was touched or copied passes.
    pub fn same_content(&self, other: &Fingerprint) -> bool {
        self.size == other.size && self.xxh3 == other.xxh3
    }
}

/// Where a section lies, as written in the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct SectionRecord {
    name: [u8; 16],
    offset: u64,
    length: u64,
}

/// One row of the contig table; the name lies in the `names` section.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct ContigRecord {
    length: u64,
    /// Genome: byte offset in `bases`. Signal: index of the first bin.
    first: u64,
    name_offset: u32,
    name_length: u32,
}

/// A contig with the place of its data.
#[derive(Clone, Debug)]
pub struct ContigEntry {
    pub name: String,
    /// bp
    pub length: u64,
    /// Genome: byte offset in `bases`. Signal: index of the first bin.
    pub first: u64,
}

/// The header, parsed and checked against the length of its file.
#[derive(Clone, Debug)]
pub struct Header {
    pub kind: Kind,
    pub version: u32,
    /// bytes
    pub file_length: u64,
    /// Checksum of the body, which with its tables is all that a pack holds.
    pub checksum: u64,
    pub contig_count: u64,
    /// bp (genome) or entries (signal)
    pub total: u64,
    /// Sum of all counts.
    pub sum: f64,
    pub value_type: ValueType,
    /// What the pack was made from; `None` for one made in memory.
    pub source: Option<Fingerprint>,
    /// Name and byte range of each section.
    pub sections: Vec<(String, Range<usize>)>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytemuck::pod_read_unaligned(&bytes[at..at + 4])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytemuck::pod_read_unaligned(&bytes[at..at + 8])
}

fn header_checksum(header: &[u8; HEADER]) -> u64 {
    let mut copy = *header;
    copy[32..40].fill(0);
    xxh3_64(&copy)
}

impl Header {
    /// Parses the first bytes of a pack whose file has `file_length` bytes.
    ///
    /// Errors: foreign magic, other version, truncated file, damaged header, sections that leave
    /// the file or are not aligned.
    pub fn parse(start: &[u8], file_length: u64) -> Result<Header, Problem> {
        let Some(kind) = Kind::of(start) else {
            let found = match start {
                [] => "an empty file".to_string(),
                _ => crate::input::sniff::of(start)
                    .map_or_else(|| "something else".to_string(), |kind| kind.to_string()),
            };
            return Err(Problem::new(format!("expected a cbp-fast pack, found {found}"))
                .fix(format!("make one with: {}", Kind::Genome.command())));
        };
        let again = || format!("make it again with: {}", kind.command());
        let Some(header) = start.first_chunk::<HEADER>() else {
            return Err(Problem::new(format!(
                "{} is truncated: {} bytes, its header alone has {HEADER}",
                kind.name(),
                start.len()
            ))
            .fix(again()));
        };
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(Problem::new(format!(
                "{} has layout version {version}, this program reads version {VERSION}",
                kind.name()
            ))
            .fix(again()));
        }
        if header_checksum(header) != u64_at(header, 32) {
            return Err(Problem::new(format!(
                "{} is damaged: its header does not match its checksum",
                kind.name()
            ))
            .fix(again()));
        }
        let wanted = u64_at(header, 16);
        if wanted != file_length {
            let how = if file_length < wanted { "truncated" } else { "followed by other bytes" };
            return Err(Problem::new(format!(
                "{} is {how}: {file_length} bytes, expected {wanted}",
                kind.name()
            ))
            .fix(again()));
        }
        // What follows cannot fail on a file of ours; it guards against a forged header.
        Self::parse_fields(kind, header, file_length)
            .ok_or_else(|| Problem::new(format!("{} is malformed", kind.name())).fix(again()))
    }

    fn parse_fields(kind: Kind, header: &[u8; HEADER], file_length: u64) -> Option<Header> {
        let count = u32_at(header, 12) as usize;
        if count > MAX_SECTIONS {
            return None;
        }
        let mut sections = Vec::with_capacity(count);
        for i in 0..count {
            let at = LAYOUT_AT + i * size_of::<SectionRecord>();
            let record: SectionRecord =
                bytemuck::pod_read_unaligned(&header[at..at + size_of::<SectionRecord>()]);
            let end = record.offset.checked_add(record.length)?;
            if record.offset < HEADER as u64
                || !record.offset.is_multiple_of(ALIGN as u64)
                || end > file_length
            {
                return None;
            }
            let name = record.name.split(|&b| b == 0).next()?;
            let name = std::str::from_utf8(name).ok()?.to_string();
            sections.push((name, usize::try_from(record.offset).ok()?..usize::try_from(end).ok()?));
        }
        let source = match u32_at(header, 68) as usize {
            0 => None,
            n => Some(serde_json::from_slice(header.get(SOURCE_AT..SOURCE_AT + n)?).ok()?),
        };
        let value_type = u32_at(header, 64);
        Some(Header {
            kind,
            version: VERSION,
            file_length,
            checksum: u64_at(header, 24),
            contig_count: u64_at(header, 40),
            total: u64_at(header, 48),
            sum: f64::from_bits(u64_at(header, 56)),
            value_type: ValueType::ALL.into_iter().find(|v| v.code() == value_type)?,
            source,
            sections,
        })
    }

    /// Byte range of a section that holds values of `T`.
    pub fn section<T>(&self, name: &str) -> Result<Range<usize>, Problem> {
        let (_, range) =
            self.sections.iter().find(|(n, _)| n == name).ok_or_else(|| {
                Problem::new(format!("{} has no section {name:?}", self.kind.name()))
            })?;
        if !range.len().is_multiple_of(size_of::<T>()) {
            return Err(Problem::new(format!(
                "section {name:?} of the {} has {} bytes, no multiple of {}",
                self.kind.name(),
                range.len(),
                size_of::<T>()
            )));
        }
        Ok(range.clone())
    }

    /// Reads the contig table out of the whole pack.
    pub fn contigs(&self, pack: &[u8]) -> Result<Vec<ContigEntry>, Problem> {
        let table = self.section::<ContigRecord>("contigs")?;
        let names = &pack[self.section::<u8>("names")?];
        let records: &[ContigRecord] = bytemuck::cast_slice(&pack[table]);
        if records.len() as u64 != self.contig_count {
            return Err(Problem::new(format!(
                "contig table has {} rows, its header says {}",
                records.len(),
                self.contig_count
            )));
        }
        records
            .iter()
            .enumerate()
            .map(|(i, record)| {
                let start = record.name_offset as usize;
                let name = names
                    .get(start..start.saturating_add(record.name_length as usize))
                    .and_then(|name| std::str::from_utf8(name).ok())
                    .ok_or_else(|| Problem::new(format!("name of contig {i} is damaged")))?;
                Ok(ContigEntry {
                    name: name.to_string(),
                    length: record.length,
                    first: record.first,
                })
            })
            .collect()
    }
}

/// What `finish` needs beside the body.
pub struct Summary {
    pub kind: Kind,
    pub total: u64,
    pub sum: f64,
    pub value_type: ValueType,
    pub source: Option<Fingerprint>,
}

/// The checksum of a body that comes in pieces of any size.
#[derive(Default)]
struct BodyHash {
    blocks: Xxh3,
    block: Xxh3,
    /// Bytes in `block`.
    filled: usize,
}

impl BodyHash {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.block.update(now);
            self.filled += now.len();
            if self.filled == BLOCK {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.blocks.update(&self.block.digest().to_le_bytes());
        self.block.reset();
        self.filled = 0;
    }

    fn finish(mut self) -> u64 {
        if self.filled > 0 {
            self.end_block();
        }
        self.blocks.digest()
    }
}

/// Writes a pack front to back; only the header is written at the end.
pub struct PackWriter<W> {
    out: W,
    at: u64,
    hash: BodyHash,
    sections: Vec<SectionRecord>,
}

impl<W: Write + Seek> PackWriter<W> {
    pub fn new(mut out: W) -> Result<Self> {
        out.write_all(&[0; HEADER])?;
        Ok(Self { out, at: HEADER as u64, hash: BodyHash::default(), sections: Vec::new() })
    }

    /// Ends the section before and begins this one, aligned.
    pub fn begin_section(&mut self, name: &str) -> Result<()> {
        self.end_section();
        self.align()?;
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        self.sections.push(SectionRecord { name: bytes, offset: self.at, length: u64::MAX });
        Ok(())
    }

    fn end_section(&mut self) {
        if let Some(section) = self.sections.last_mut().filter(|s| s.length == u64::MAX) {
            section.length = self.at - section.offset;
        }
    }

    /// Pads to the next multiple of `ALIGN`.
    pub fn align(&mut self) -> Result<()> {
        let pad = (ALIGN - (self.at % ALIGN as u64) as usize) % ALIGN;
        self.write(&[0; ALIGN][..pad])
    }

    /// Offset of the next byte within the current section.
    pub fn section_offset(&self) -> u64 {
        self.sections.last().map_or(0, |section| self.at - section.offset)
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes the contig table and the header.
    ///
    /// Errors: the disk's; more than 4 GiB of contig names.
    pub fn finish(mut self, contigs: &[ContigEntry], summary: Summary) -> Result<W> {
        self.begin_section("contigs")?;
        let mut names = Vec::new();
        for contig in contigs {
            let record = ContigRecord {
                length: contig.length,
                first: contig.first,
                name_offset: u32::try_from(names.len())?,
                name_length: u32::try_from(contig.name.len())?,
            };
            names.extend_from_slice(contig.name.as_bytes());
            self.write(bytemuck::bytes_of(&record))?;
        }
        self.begin_section("names")?;
        self.write(&names)?;
        self.end_section();

        let mut header = [0u8; HEADER];
        header[..8].copy_from_slice(summary.kind.magic());
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.sections.len() as u32).to_le_bytes());
        put(16, &self.at.to_le_bytes());
        put(24, &self.hash.finish().to_le_bytes());
        put(40, &(contigs.len() as u64).to_le_bytes());
        put(48, &summary.total.to_le_bytes());
        put(56, &summary.sum.to_le_bytes());
        put(64, &summary.value_type.code().to_le_bytes());
        put(LAYOUT_AT, bytemuck::cast_slice(&self.sections));
        if let Some(source) = &summary.source {
            let json = serde_json::to_vec(source)?;
            anyhow::ensure!(json.len() <= HEADER - SOURCE_AT, "name of the source is too long");
            put(68, &(json.len() as u32).to_le_bytes());
            put(SOURCE_AT, &json);
        }
        let checksum = header_checksum(&header);
        header[32..40].copy_from_slice(&checksum.to_le_bytes());
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads and checks the header of a pack on disk.
pub fn read_header(path: &Path) -> Result<Header> {
    header_of(&lines::open_file(path)?, path)
}

/// The header of an open file; `path` names it.
pub fn header_of(file: &File, path: &Path) -> Result<Header> {
    let unreadable = |e: io::Error| lines::unreadable(path, &e);
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut start).map_err(unreadable)?;
    Header::parse(&start, length).map_err(|p| p.at(path.display()).into())
}

/// Reads the whole body once and compares it with the checksum in the header.
pub fn verify(path: &Path) -> Result<Header> {
    let file = lines::open_file(path)?;
    let header = header_of(&file, path)?;
    compare_body(&file, &header, path)?;
    Ok(header)
}

/// `verify` of an open file, for those about to use it: a file that this process has found intact and
/// that has not changed since is not read again.
pub fn check_body(file: &File, header: &Header, path: &Path) -> Result<()> {
    static INTACT: Mutex<Option<HashSet<Stat>>> = Mutex::new(None);
    let stat = Stat::of(file).map_err(|e| lines::unreadable(path, &e))?;
    let begun = SystemTime::now();
    let known = INTACT.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref().is_some_and(|known| known.contains(&stat)) {
        return Ok(());
    }
    drop(known);
    compare_body(file, header, path)?;
    if stat.is_settled(begun) {
        let mut known = INTACT.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_default().insert(stat);
    }
    Ok(())
}

fn compare_body(file: &File, header: &Header, path: &Path) -> Result<()> {
    let length = header.file_length - HEADER as u64;
    let found = hash_body(file, length).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Problem::new(format!("{} is truncated: it ends while it is read", header.kind.name()))
                .at(path.display())
        }
        _ => lines::unreadable(path, &error),
    })?;
    if found != header.checksum {
        return Err(Problem::new(format!(
            "{} is damaged: its body hashes to {found:016x}, its header says {:016x}",
            header.kind.name(),
            header.checksum
        ))
        .at(path.display())
        .fix(format!("make it again with: {}", header.kind.command()))
        .into());
    }
    Ok(())
}

/// Bodies of fewer blocks are hashed sooner than threads begin.
const WORTH_THREADS: usize = 32;

/// The checksum of the `length` bytes after the header.
///
/// Read rather than mapped: a failing disk is an error here, and memory stays at a MiB a thread.
fn hash_body(file: &File, length: u64) -> io::Result<u64> {
    let blocks = length.div_ceil(BLOCK as u64) as usize;
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, u64)>> {
        let mut buffer = ReadBuffer::new(BLOCK.min(length as usize));
        let mut hashes = Vec::new();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                return Ok(hashes);
            }
            let start = (block * BLOCK) as u64;
            let bytes = &mut buffer.bytes()[..(length - start).min(BLOCK as u64) as usize];
            file.read_exact_at(bytes, HEADER as u64 + start)?;
            hashes.push((block, xxh3_64(bytes)));
        }
    };
    // Threads of our own: one of rayon's that waits here could take up other work that wants a pack.
    let helpers = match blocks < WORTH_THREADS {
        true => 0,
        false => rayon::current_num_threads().min(blocks / 8).saturating_sub(1),
    };
    let mut hashes = std::thread::scope(|scope| {
        // Where no thread can be had, this one does all of it.
        let begun: Vec<_> = (0..helpers)
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut hashes = work()?;
        for helper in begun {
            let theirs = helper.join().map_err(|_| io::Error::other("a thread ended early"))?;
            hashes.extend(theirs?);
        }
        Ok::<_, io::Error>(hashes)
    })?;
    hashes.sort_unstable();
    let mut all = Xxh3::new();
    hashes.iter().for_each(|(_, hash)| all.update(&hash.to_le_bytes()));
    Ok(all.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However a body comes, and however many threads read it back, it has one checksum.
    #[test]
    fn a_body_in_pieces_and_in_blocks_has_one_checksum() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, (WORTH_THREADS + 3) * BLOCK + 77] {
            let body: Vec<u8> = (0..length).map(|i| (i * 31 + i / 257) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[0; HEADER]).unwrap();
            file.write_all(&body).unwrap();
            let wanted = hash_body(&file, length as u64).unwrap();
            for piece in [3_001, BLOCK, 2 * BLOCK + 5] {
                let mut hash = BodyHash::default();
                body.chunks(piece).for_each(|piece| hash.update(piece));
                assert_eq!(hash.finish(), wanted, "{length} bytes in pieces of {piece}");
            }
            if length > 0 {
                file.set_len((HEADER + length - 1) as u64).unwrap();
                let error = hash_body(&file, length as u64).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}
