//! BAM: binary alignments, of which cut sites need four numbers and the CIGAR.
//!
//! Decoded here, in place in the decompressed block, rather than through a record type: names,
//! bases, qualities and tags are never touched, which is most of the bytes, and a record that
//! claims gigabytes cannot make us reserve them. A read begins at its first aligned base (soft
//! clips do not count) and on the minus strand at its last one, where deletions and skips count
//! and insertions do not, as `bedtools bamtobed` has it. Source of the layout: SAM specification,
//! section 4.2.

use std::collections::HashMap;
use std::io::{BufRead, ErrorKind, Read};
use std::path::Path;

use anyhow::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::records::{Records, shown};
use super::{Contigs, Strand};
use crate::error::Problem;
use crate::input::lines::{self, Text};
use crate::input::sniff;

/// bytes of a record before its name
const FIXED: usize = 32;
/// Longest name and CIGAR: what the fixed part can announce, all that is ever copied.
const NEEDED: usize = FIXED + 255 + 4 * 65_535;
/// The longest contig name that is taken for one, bytes.
const LONGEST_NAME: usize = 1 << 16;
/// References that a header may list: several times what the most fragmented assemblies have.
const MOST_REFERENCES: u64 = 1 << 24;
/// Bytes that their names may have together.
const MOST_NAMES: usize = 1 << 28;

const UNMAPPED: u16 = 0x4;
const REVERSE: u16 = 0x10;
const PROPER_PAIR: u16 = 0x2;
const DUPLICATE: u16 = 0x400;

pub(super) fn read(text: &mut Text, records: &mut Records) -> Result<()> {
    let references = read_header(text, records)?;
    let mut copy = Vec::new();
    for number in 1u64.. {
        let chunk = text.fill_buf().map_err(|e| lines::unreadable(records.path, &e))?;
        if chunk.is_empty() {
            break;
        }
        // Mostly a record lies whole in the block that is at hand.
        if let Some((size, rest)) = chunk.split_first_chunk::<4>() {
            let size = record_size(*size, records, number)?;
            if let Some(record) = rest.get(..size) {
                take(record, size, number, &references, records)?;
                text.consume(4 + size);
                continue;
            }
        }
        let mut size = [0; 4];
        text.read_exact(&mut size).map_err(|e| cut(&e, records, number))?;
        let size = record_size(size, records, number)?;
        copy.resize(size.min(NEEDED), 0);
        text.read_exact(&mut copy).map_err(|e| cut(&e, records, number))?;
        skip(text, (size - copy.len()) as u64).map_err(|e| cut(&e, records, number))?;
        take(&copy, size, number, &references, records)?;
    }
    Ok(())
}

fn record_size(size: [u8; 4], records: &Records, number: u64) -> Result<usize, Problem> {
    let size = i32::from_le_bytes(size);
    usize::try_from(size).ok().filter(|&size| size >= FIXED).ok_or_else(|| {
        Problem::new(format!("BAM is damaged: a record of {size} bytes, expected at least {FIXED}"))
            .at(format!("{} record {number}", records.path.display()))
            .fix("copy the file or align the reads again; `samtools quickcheck` tests it")
    })
}

/// Counts one record; `record` holds at least its name and CIGAR, unless `size` is too small for
/// them.
fn take(
    record: &[u8],
    size: usize,
    number: u64,
    references: &[Reference],
    records: &mut Records,
) -> Result<()> {
    records.begin();
    let path = records.path;
    let place = || format!("{} record {number} (read {})", path.display(), read_name(record));
    let alignment = match parse(record, size) {
        Ok(Some(alignment)) => alignment,
        Ok(None) => {
            records.unmapped();
            return Ok(());
        }
        Err(problem) => return records.bad(problem.at(place())),
    };
    let Alignment { reference, start, end, mapq, flags } = alignment;
    let Some(reference) = usize::try_from(reference).ok().and_then(|id| references.get(id)) else {
        let problem = Problem::new(format!(
            "mapped alignment names reference {reference}, the header lists {}",
            references.len()
        ));
        return records.bad(problem.at(place()));
    };
    let filters = &records.options.filters;
    if mapq < filters.min_mapq
        || filters.skip_duplicates && flags & DUPLICATE != 0
        || filters.proper_pairs && flags & PROPER_PAIR == 0
    {
        records.filtered();
        return Ok(());
    }
    let strand = if flags & REVERSE != 0 { Strand::Minus } else { Strand::Plus };
    match reference {
        Reference::Known(contig) => records.read(*contig, start, end, strand, place),
        Reference::Unknown(name) => {
            records.unknown_contig(name, place);
            Ok(())
        }
        Reference::OtherLength(problem) => Err(problem.clone().at(place()).into()),
    }
}

/// What counts of a mapped alignment.
#[derive(Debug, PartialEq)]
struct Alignment {
    reference: i32,
    /// 0-based, half-open on the reference.
    start: i64,
    end: i64,
    mapq: u8,
    flags: u16,
}

/// `None` for an unmapped read.
fn parse(record: &[u8], size: usize) -> Result<Option<Alignment>, Problem> {
    let i32_at = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| record[at + i]));
    let u16_at = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    let (reference, start) = (i32_at(0), i32_at(4));
    let (name, mapq, operations, flags) = (record[8] as usize, record[9], u16_at(12), u16_at(14));
    if flags & UNMAPPED != 0 {
        return Ok(None);
    }
    let cigar = FIXED + name..FIXED + name + 4 * usize::from(operations);
    let bases = usize::try_from(i32_at(16)).ok().map(|n| n.div_ceil(2) + n);
    if bases.is_none_or(|bases| cigar.end + bases > size) {
        return Err(Problem::new(format!(
            "BAM record of {size} bytes is too short for its name, CIGAR and bases"
        )));
    }
    let mut span = 0;
    for operation in record[cigar].chunks_exact(4) {
        let operation = u32::from_le_bytes(std::array::from_fn(|i| operation[i]));
        let length = i64::from(operation >> 4);
        match operation & 0xf {
            // M D N = X
            0 | 2 | 3 | 7 | 8 => span += length,
            // I S H P
            1 | 4 | 5 | 6 => {}
            other => return Err(Problem::new(format!("CIGAR has an operation of kind {other}"))),
        }
    }
    if start < 0 || reference < 0 {
        return Err(Problem::new("mapped alignment has no place on a reference"));
    }
    if span == 0 {
        return Err(Problem::new("mapped alignment has no CIGAR, or one that covers no base"));
    }
    let start = i64::from(start);
    Ok(Some(Alignment { reference, start, end: start + span, mapq, flags }))
}

fn read_name(record: &[u8]) -> String {
    let length = usize::from(record[8]).saturating_sub(1);
    shown(record.get(FIXED..FIXED + length).unwrap_or_default())
}

/// A row of the header's reference list.
enum Reference {
    Known(u32),
    Unknown(Box<[u8]>),
    /// Not as long as the genome's, which matters once a read lies on it.
    OtherLength(Box<Problem>),
}

/// Names and lengths (bp) of a header's references, the names in one allocation: a header may
/// list millions.
pub(super) struct References {
    names: Vec<u8>,
    /// Where each name ends, and the length.
    rows: Vec<(u32, u32)>,
}

impl References {
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.rows.len()).map(|i| (self.name(i), u64::from(self.rows[i].1)))
    }

    fn name(&self, i: usize) -> &[u8] {
        let begin = i.checked_sub(1).map_or(0, |before| self.rows[before].0 as usize);
        &self.names[begin..self.rows[i].0 as usize]
    }
}

/// Reads magic, text and references; leaves `text` at the first record.
///
/// Errors: another format, a damaged or truncated header, a name twice, no reference at all, more
/// of them than a limit. Memory follows what the file holds, not what its header announces.
pub(super) fn references(text: &mut Text, path: &Path) -> Result<References> {
    let start = text.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    if !start.starts_with(b"BAM\x01") {
        return Err(not_a_bam(start).at(path.display()).into());
    }
    let mut header = Header { text, path };
    header.text.consume(4);
    let length = header.length("its text", u64::MAX)?;
    skip(header.text, length).map_err(|e| header.error(&e))?;
    let count = header.length("its list of references", u64::MAX)?;
    if count == 0 {
        return Err(Problem::new(
            "the BAM's header lists no references (@SQ), so no read has a place",
        )
        .at(path.display())
        .fix("align the reads, or put the @SQ lines back (samtools reheader)")
        .into());
    }
    if count > MOST_REFERENCES {
        return Err(header.too_much(format!("lists {count} references")).into());
    }
    let mut found = References { names: Vec::new(), rows: Vec::new() };
    // By the hash of its name; two names with one hash are told apart.
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for i in 0..count as usize {
        let length = header.reference(&mut found.names)?;
        if found.names.len() > MOST_NAMES {
            return Err(header.too_much("lists names of more than 256 MB".to_string()).into());
        }
        found.rows.push((found.names.len() as u32, length));
        let earlier = seen.entry(xxh3_64(found.name(i))).or_insert(i);
        if *earlier != i && found.name(*earlier) == found.name(i) {
            return Err(Problem::new(format!(
                "BAM header is damaged: reference {} is listed twice",
                shown(found.name(i))
            ))
            .at(path.display())
            .fix("copy the file or align the reads again")
            .into());
        }
    }
    Ok(found)
}

fn read_header(text: &mut Text, records: &mut Records) -> Result<Vec<Reference>> {
    let path = records.path;
    let listed = self::references(text, path)?;
    let contigs = records.contigs;
    let mut references = Vec::with_capacity(listed.rows.len());
    let mut known = 0;
    for (name, length) in listed.iter() {
        let Some(id) = contigs.id(name) else {
            references.push(Reference::Unknown(name.into()));
            continue;
        };
        known += 1;
        references.push(
            match contigs.dispute(id).cloned().or_else(|| other_length(contigs, id, length)) {
                None => Reference::Known(id),
                Some(problem) => {
                    records.tally.other_length.note(|| problem.what().to_string());
                    Reference::OtherLength(Box::new(problem))
                }
            },
        );
    }
    if known == 0 {
        let here = crate::input::assembly::some_names(
            listed.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok()),
        );
        return Err(Problem::new(format!(
            "the BAM shares no contig name with the genome (genome: {}; here: {here})",
            contigs.some_names()
        ))
        .at(path.display())
        .fix("name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere")
        .into());
    }
    Ok(references)
}

fn other_length(contigs: &Contigs, id: u32, here: u64) -> Option<Problem> {
    (contigs.length(id) != here as i64).then(|| {
        Problem::new(format!(
            "{} is {} bp long in the genome but {here} bp in the BAM header: another assembly?",
            contigs.name(id),
            contigs.length(id)
        ))
        .fix("pass the genome that the reads were aligned to")
    })
}

fn not_a_bam(start: &[u8]) -> Problem {
    const WANTED: &str = "a BAM";
    if let Some(kind) = sniff::of(start) {
        return sniff::unexpected(WANTED, kind);
    }
    let text = start.iter().take(100).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    let (found, fix) = match (start, text) {
        ([], _) => ("an empty file", "check how the file was made"),
        (_, true) => {
            ("a text file", "pass a BAM, or this file with -ifrag (fragments) or -itag (tagAlign)")
        }
        (_, false) => ("something else", "pass a BAM"),
    };
    Problem::new(format!("expected {WANTED}, found {found}")).fix(fix)
}

struct Header<'a> {
    text: &'a mut Text,
    path: &'a Path,
}

impl Header<'_> {
    fn error(&self, error: &std::io::Error) -> Problem {
        match error.kind() {
            ErrorKind::UnexpectedEof => Problem::new("BAM ends inside its header (truncated)")
                .at(self.path.display())
                .fix("copy the file or align the reads again"),
            _ => lines::unreadable(self.path, error),
        }
    }

    fn i32(&mut self) -> Result<i32, Problem> {
        let mut bytes = [0; 4];
        self.text.read_exact(&mut bytes).map_err(|e| self.error(&e))?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn length(&mut self, what: &str, largest: u64) -> Result<u64, Problem> {
        let value = self.i32()?;
        u64::try_from(value).ok().filter(|&value| value <= largest).ok_or_else(|| {
            Problem::new(format!("BAM header is damaged: {what} has length {value}"))
                .at(self.path.display())
                .fix("copy the file or align the reads again")
        })
    }

    /// Appends a name without its NUL to `names`; returns the length in bp.
    fn reference(&mut self, names: &mut Vec<u8>) -> Result<u32, Problem> {
        let length = self.length("a reference's name", LONGEST_NAME as u64)? as usize;
        let begin = names.len();
        names.resize(begin + length, 0);
        self.text.read_exact(&mut names[begin..]).map_err(|e| self.error(&e))?;
        if length > 0 && names.last() == Some(&0) {
            names.pop();
        }
        Ok(self.length("a reference", u64::MAX)? as u32)
    }

    fn too_much(&self, what: String) -> Problem {
        Problem::new(format!("BAM header is damaged: it {what}, more than any assembly has"))
            .at(self.path.display())
            .fix("copy the file or align the reads again")
    }
}

fn skip(text: &mut Text, mut bytes: u64) -> std::io::Result<()> {
    while bytes > 0 {
        let here = text.fill_buf()?.len() as u64;
        if here == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let step = here.min(bytes);
        text.consume(step as usize);
        bytes -= step;
    }
    Ok(())
}

fn cut(error: &std::io::Error, records: &Records, number: u64) -> Problem {
    match error.kind() {
        ErrorKind::UnexpectedEof => Problem::new("BAM ends inside a record (truncated)")
            .at(format!("{} record {number}", records.path.display()))
            .fix("copy the file or align the reads again"),
        _ => lines::unreadable(records.path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record from its fields, without its size.
    fn record(reference: i32, start: i32, flags: u16, cigar: &[(u32, u32)], bases: i32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(reference.to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend([3, 42, 0, 0]);
        out.extend((cigar.len() as u16).to_le_bytes());
        out.extend(flags.to_le_bytes());
        out.extend(bases.to_le_bytes());
        out.extend([0xff; 12]);
        out.extend(b"r1\0");
        for (length, kind) in cigar {
            out.extend((length << 4 | kind).to_le_bytes());
        }
        out.extend(vec![0; (bases.max(0) as usize).div_ceil(2) + bases.max(0) as usize]);
        out
    }

    fn parsed(record: &[u8]) -> Result<Option<Alignment>, String> {
        parse(record, record.len()).map_err(|p| p.to_string())
    }

    #[test]
    fn ends_honour_the_cigar() {
        // 5S 10M 3D 2I 20N 8= 1X 4H: the reference span is 10+3+20+8+1
        let cigar = [(5, 4), (10, 0), (3, 2), (2, 1), (20, 3), (8, 7), (1, 8), (4, 5), (6, 6)];
        let bytes = record(1, 100, 0x10, &cigar, 26);
        let wanted = Alignment { reference: 1, start: 100, end: 142, mapq: 42, flags: 0x10 };
        assert_eq!(parsed(&bytes), Ok(Some(wanted)));
        assert_eq!(read_name(&bytes), "r1");
        // A read with a reference but flagged as unmapped is its mate's neighbour, no more.
        assert_eq!(parsed(&record(1, 100, 4, &[], 0)), Ok(None));
    }

    #[test]
    fn malformed_alignments() {
        for (bytes, wanted) in [
            (record(-1, 5, 0, &[(5, 0)], 5), "no place on a reference"),
            (record(0, -1, 0, &[(5, 0)], 5), "no place on a reference"),
            (record(0, 5, 0, &[], 5), "no CIGAR"),
            (record(0, 5, 0, &[(5, 4)], 5), "covers no base"),
            (record(0, 5, 0, &[(5, 9)], 5), "operation of kind 9"),
            (record(0, 5, 0, &[(5, 0)], -7), "too short"),
            (record(0, 5, 0, &[(5, 0)], 5)[..36].to_vec(), "too short"),
        ] {
            let text = parsed(&bytes).unwrap_err();
            assert!(text.contains(wanted), "{text}");
        }
    }
}
