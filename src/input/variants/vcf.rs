//! VCF and BCF through noodles. A record becomes one variant for each of its ALTs.
//!
//! Of the header only the contig names of a BCF are needed, so that of a VCF is skipped unread:
//! odd headers are common, and nothing here depends on them.

use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use anyhow::Result;
use noodles_bcf as bcf;
use noodles_vcf::{self as vcf, variant::Record};

use super::{Entry, Variant};
use crate::error::Problem;
use crate::input::lines::Text;

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
    let mut line = skip_header(&mut bytes, path)?;
    let header = vcf::Header::default();
    let mut reader = vcf::io::Reader::new(bytes);
    let mut record = vcf::Record::default();
    loop {
        line += 1;
        let place = || format!("{} line {line}", path.display());
        // Blank lines, as editors leave at the end.
        match reader.get_mut().fill_buf().map_err(|e| broken(&e, place()))?.first() {
            Some(b'\n' | b'\r') => {
                reader
                    .get_mut()
                    .read_until(b'\n', &mut Vec::new())
                    .map_err(|e| broken(&e, place()))?;
                continue;
            }
            None => return Ok(()),
            Some(_) => {}
        }
        reader.read_record(&mut record).map_err(|e| broken(&e, place()))?;
        split(&record, &header, line, &place, each)?;
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
        bytes.read_until(b'\n', &mut line).map_err(|e| broken(&e, place()))?;
        lines += 1;
        if line.starts_with(b"#CHROM") {
            return Ok(lines);
        }
    }
}

fn for_each_bcf(bytes: Text, path: &Path, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
    let mut reader = bcf::io::Reader::from(bytes);
    let header =
        reader.read_header().map_err(|e| broken(&e, format!("{}, header", path.display())))?;
    let mut record = bcf::Record::default();
    for number in 1.. {
        let place = || format!("{}, record {number}", path.display());
        if reader.read_record(&mut record).map_err(|e| broken(&e, place()))? == 0 {
            break;
        }
        split(&record, &header, number, &place, each)?;
    }
    Ok(())
}

/// One entry for each ALT of a record.
fn split(
    record: &dyn Record,
    header: &vcf::Header,
    row: u64,
    place: &dyn Fn() -> String,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let bad = |e: io::Error| broken(&e, place());
    let chrom = record.reference_sequence_name(header).map_err(bad)?.to_string();
    let position = record.variant_start().transpose().map_err(bad)?.map(usize::from);
    let reference: Vec<u8> =
        record.reference_bases().iter().collect::<io::Result<_>>().map_err(bad)?;
    let reference = String::from_utf8_lossy(&reference).into_owned();
    let ids: Vec<String> = record.ids().iter().map(String::from).collect();
    let id = ids.join(";");
    let alternates: Vec<String> = record
        .alternate_bases()
        .iter()
        .map(|a| a.map(String::from))
        .collect::<io::Result<_>>()
        .map_err(bad)?;
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
