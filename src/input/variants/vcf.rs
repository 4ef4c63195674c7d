//! VCF and BCF through noodles. A record becomes one variant for each of its ALTs.
//!
//! Only the contig names of a BCF are needed of a header, so that of a VCF is skipped unread:
//! odd headers are common, and nothing here depends on them. noodles reserves whatever lengths a
//! record announces and stops the program on some damaged ones: records are cut out here, within
//! limits and without their samples, and noodles, guarded, sees one at a time.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::Path;

use anyhow::Result;
use memchr::memchr;
use noodles_bcf as bcf;
use noodles_vcf::{self as vcf, variant::Record};

use super::{Entry, Variant};
use crate::error::Problem;
use crate::input::guard::guarded;
use crate::input::lines::Text;

/// Bytes of a record without its samples, and of a line of a header: INFO holds at most some
/// annotations, a header line of a million samples their names.
const LONGEST: usize = 64 << 20;
/// Bytes of a line of a VCF with its samples: some hundred for each of ten million.
const LONGEST_LINE: u64 = 1 << 30;
/// Columns of a VCF record without its samples.
const SITE_COLUMNS: usize = 8;
/// Bytes of a BCF's header: as much text as a VCF with that many samples and contigs has.
const LONGEST_HEADER: u64 = 256 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vcf,
    Bcf,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Vcf => "VCF",
            Kind::Bcf => "BCF",
        })
    }
}

/// What the first (decompressed) bytes say.
pub fn kind(start: &[u8]) -> Option<Kind> {
    match start {
        [b'B', b'C', b'F', 2, ..] => Some(Kind::Bcf),
        _ if start.starts_with(b"##fileformat=VCF") => Some(Kind::Vcf),
        _ => None,
    }
}

pub fn for_each(
    bytes: Text,
    kind: Kind,
    path: &Path,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    match kind {
        Kind::Vcf => for_each_vcf(bytes, path, each),
        Kind::Bcf => for_each_bcf(bytes, path, each),
    }
}

fn for_each_vcf(
    mut bytes: Text,
    path: &Path,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut number = skip_header(&mut bytes, path)?;
    let header = vcf::Header::default();
    let mut record = vcf::Record::default();
    let mut line = Vec::new();
    loop {
        number += 1;
        let place = || format!("{} line {number}", path.display());
        if !read_site(&mut bytes, &mut line).map_err(|e| broken(&e, place()))? {
            return Ok(());
        }
        // Blank lines, as editors leave at the end.
        if matches!(line[..], [b'\n'] | [b'\r', b'\n'] | [b'\r']) {
            continue;
        }
        let read = guarded(|| vcf::io::Reader::new(&line[..]).read_record(&mut record));
        sound(read, &place)?;
        split(&record, &header, number, &place, each)?;
    }
}

/// Reads a line up to its samples into `line`, with its line end, and past them. False at the end
/// of the file.
fn read_site(bytes: &mut Text, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let (mut columns, mut length) = (0, 0u64);
    loop {
        let chunk = bytes.fill_buf()?;
        if chunk.is_empty() {
            // The last line may lack its end, but not one of the columns before the samples.
            return match line.is_empty() || columns + 1 >= SITE_COLUMNS {
                true => Ok(!line.is_empty()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let end = memchr(b'\n', chunk);
        let here = &chunk[..end.unwrap_or(chunk.len())];
        let mut rest = here;
        while columns < SITE_COLUMNS {
            match memchr(b'\t', rest) {
                Some(tab) => {
                    columns += 1;
                    // The tab behind INFO would announce samples.
                    line.extend_from_slice(&rest[..tab + usize::from(columns < SITE_COLUMNS)]);
                    rest = &rest[tab + 1..];
                }
                None => {
                    line.extend_from_slice(rest);
                    break;
                }
            }
        }
        length += here.len() as u64;
        let taken = here.len() + usize::from(end.is_some());
        bytes.consume(taken);
        if line.len() > LONGEST || length > LONGEST_LINE {
            return Err(io::Error::other("line is longer than any record"));
        }
        if end.is_some() {
            line.push(b'\n');
            return Ok(true);
        }
    }
}

/// Leaves `bytes` at the first record and returns the number of lines read.
fn skip_header(bytes: &mut Text, path: &Path) -> Result<u64> {
    let mut lines = 0;
    let mut line = Vec::new();
    loop {
        let place = || format!("{} line {}", path.display(), lines + 1);
        if bytes.fill_buf().map_err(|e| broken(&e, place()))?.first() != Some(&b'#') {
            return Err(Problem::new("the header has no #CHROM line")
                .at(place())
                .fix("restore the line #CHROM POS ID REF ALT ... in front of the records; a truncated file wants copying again")
                .into());
        }
        line.clear();
        bytes
            .by_ref()
            .take(LONGEST as u64)
            .read_until(b'\n', &mut line)
            .map_err(|e| broken(&e, place()))?;
        if line.len() == LONGEST {
            let error = io::Error::other("line is longer than any of a header");
            return Err(broken(&error, place()).into());
        }
        lines += 1;
        if line.starts_with(b"#CHROM") {
            return Ok(lines);
        }
    }
}

fn for_each_bcf(
    mut bytes: Text,
    path: &Path,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let place = || format!("{}, header", path.display());
    let header = bcf_header(&mut bytes).map_err(|e| broken(&e, place()))?;
    let header = sound(guarded(|| bcf::io::Reader::from(&header[..]).read_header()), &place)?;
    let mut record = bcf::Record::default();
    let mut site = Vec::new();
    for number in 1.. {
        let place = || format!("{}, record {number}", path.display());
        if !read_bcf_site(&mut bytes, &mut site).map_err(|e| broken(&e, place()))? {
            break;
        }
        let read = guarded(|| bcf::io::Reader::from(&site[..]).read_record(&mut record));
        sound(read, &place)?;
        split(&record, &header, number, &place, each)?;
    }
    Ok(())
}

/// The header of a BCF: magic, length, text. Source: VCF 4.3, section 6.2.
fn bcf_header(bytes: &mut Text) -> io::Result<Vec<u8>> {
    let mut header = vec![0; 9];
    bytes.read_exact(&mut header)?;
    let length = u32::from_le_bytes(std::array::from_fn(|i| header[5 + i]));
    if u64::from(length) > LONGEST_HEADER {
        return Err(io::Error::other(format!("the header announces {length} bytes")));
    }
    let read = bytes.by_ref().take(u64::from(length)).read_to_end(&mut header)?;
    if read < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(header)
}

/// Reads a record of a BCF without its samples into `site`: both lengths, that of the samples 0,
/// and the rest. False at the end of the file. Source: VCF 4.3, section 6.3.1.
fn read_bcf_site(bytes: &mut Text, site: &mut Vec<u8>) -> io::Result<bool> {
    if bytes.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let mut lengths = [0; 8];
    bytes.read_exact(&mut lengths)?;
    let [shared, samples] =
        [0, 4].map(|at| u32::from_le_bytes(std::array::from_fn(|i| lengths[at + i])));
    // CHROM, POS, rlen, QUAL and two words of counts are always there.
    if shared < 24 || shared as usize > LONGEST {
        return Err(io::Error::other(format!("it announces {shared} bytes")));
    }
    site.clear();
    site.extend(shared.to_le_bytes());
    site.extend(0u32.to_le_bytes());
    let wanted = 8 + shared as usize;
    bytes.by_ref().take(u64::from(shared)).read_to_end(site)?;
    let skipped = io::copy(&mut bytes.by_ref().take(u64::from(samples)), &mut io::sink())?;
    if site.len() < wanted || skipped < u64::from(samples) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

/// What a guarded call of noodles gave.
fn sound<T>(read: Result<io::Result<T>, String>, place: &dyn Fn() -> String) -> Result<T, Problem> {
    read.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(|e| broken(&e, place()))
}

/// One entry for each ALT of a record.
fn split(
    record: &dyn Record,
    header: &vcf::Header,
    row: u64,
    place: &dyn Fn() -> String,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let Site { chrom, position, id, reference, alternates } =
        sound(guarded(|| Site::of(record, header)), place)?;
    let mut give = |alternate: &str| {
        let id = match id.as_str() {
            "" | "." => format!("{chrom}_{}_{reference}_{alternate}", position.unwrap_or(0)),
            id => id.to_string(),
        };
        let variant = Variant {
            row,
            chrom: chrom.clone(),
            pos: position.unwrap_or(1) as u64 - 1,
            alleles: [reference.clone(), alternate.to_string()],
            id,
            end: String::new(),
        };
        let reason = match position {
            None => Some("position 0, before the first base"),
            Some(p) if p > u32::MAX as usize => Some("position beyond any chromosome"),
            Some(_) => unusable(&reference).or_else(|| unusable(alternate)),
        };
        each(match reason {
            None => Entry::Variant(variant),
            Some(reason) => Entry::Unusable { variant, reason },
        })
    };
    match alternates.is_empty() {
        true => give("."),
        false => alternates.iter().try_for_each(|alternate| give(alternate)),
    }
}

/// The columns of a record that name its alleles.
struct Site {
    chrom: String,
    /// From 1; `None` for position 0.
    position: Option<usize>,
    id: String,
    reference: String,
    alternates: Vec<String>,
}

impl Site {
    fn of(record: &dyn Record, header: &vcf::Header) -> io::Result<Self> {
        let bases: Vec<u8> = record.reference_bases().iter().collect::<io::Result<_>>()?;
        let ids: Vec<String> = record.ids().iter().map(String::from).collect();
        Ok(Self {
            chrom: record.reference_sequence_name(header)?.to_string(),
            position: record.variant_start().transpose()?.map(usize::from),
            id: ids.join(";"),
            reference: String::from_utf8_lossy(&bases).into_owned(),
            alternates: record
                .alternate_bases()
                .iter()
                .map(|a| a.map(String::from))
                .collect::<io::Result<_>>()?,
        })
    }
}

/// Why an allele has no sequence, in a VCF or elsewhere. Source: VCF 4.4, section 1.6.1.
pub fn unusable(allele: &str) -> Option<&'static str> {
    match allele.as_bytes() {
        [] | b"." => Some("no alternative allele"),
        b"*" => Some("allele deleted by an overlapping variant (*)"),
        [b'<', ..] => Some("symbolic allele"),
        bases if bases.iter().any(|b| b"[].".contains(b)) => Some("breakend"),
        bases if bases.iter().all(|b| b"ACGTacgt".contains(b)) => None,
        _ => Some("allele with letters other than A, C, G and T"),
    }
}

fn broken(error: &io::Error, place: String) -> Problem {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Problem::new("the file ends in the middle of a record (truncated)")
        }
        _ if error.to_string() == "unexpected EOL" => {
            return Problem::new("record has fewer than 8 columns")
                .at(place)
                .fix("a VCF record is CHROM POS ID REF ALT QUAL FILTER INFO, tabs between them");
        }
        _ => Problem::new(format!("not a valid record: {error}")),
    };
    problem.at(place).fix("copy the file again; `bcftools view` tests it")
}
