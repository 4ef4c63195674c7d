//! Lists of variants: the text schemas of variant-scorer, VCF and BCF.
//!
//! In: a path (plain, gzip, bgzip, a pipe). Out: `Entry`s in file order: a variant, or a row
//! whose alleles name nothing to score and why. A row of a text list that lacks columns or has no
//! position is an error with file and line; positions are 0-based from here on.

mod schema;
mod text;
mod vcf;

use std::io::BufRead;
use std::path::Path;

use anyhow::Result;

pub use self::schema::{Column, Schema};
use super::lines;
use super::sniff::{self, Kind};
use crate::error::Problem;

/// Longest line of a VCF that begins so, bytes: a record may have genotypes of millions of samples,
/// and one line of the header their names.
fn longest_line(start: &[u8]) -> usize {
    match start.starts_with(b"##") {
        true => lines::LONGEST_LINE,
        false => 64 << 20,
    }
}

/// One pair of alleles at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Line of the file, or record of a BCF, from 1.
    pub row: u64,
    /// The contig as written; a list without any `chr` may want one in front.
    pub chrom: String,
    /// 0-based position of the first base of allele1.
    pub pos: u64,
    /// The alleles as written: ACGT in either case, or `-` for no base at all; anything where `Unusable`.
    pub alleles: [String; 2],
    pub id: String,
    /// The `end` column of the bed schema, which plays no part.
    pub end: String,
}

impl Variant {
    /// Bases of an allele; none for `-`.
    pub fn bases(&self, allele: usize) -> &[u8] {
        match self.alleles[allele].as_str() {
            "-" => &[],
            bases => bases.as_bytes(),
        }
    }
}

/// What a row of the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Variant(Variant),
    /// A row, or one ALT of a VCF record, that has no sequence of its own.
    Unusable {
        variant: Variant,
        reason: &'static str,
    },
}

/// Calls `each` with every entry of `path`, in order, and returns the schema they came in: the one
/// asked for, else VCF or BCF where the content says so, else `chrombpnet`.
///
/// Errors: unreadable or truncated files, rows that are no variant, content that is not of the
/// schema asked for, and those of `each`.
pub fn for_each(
    path: &Path,
    schema: Option<Schema>,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<Schema> {
    let mut bytes = lines::open(path)?;
    let start = bytes.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    let found = vcf::kind(start);
    let behind = start.trim_ascii_start();
    if behind.len() < start.len() && vcf::kind(behind) == Some(vcf::Kind::Vcf) {
        return Err(Problem::new("blank lines stand in front of ##fileformat=VCF...")
            .at(path.display())
            .fix("remove them: a VCF begins with that line")
            .into());
    }
    match (found, schema) {
        (Some(kind), None | Some(Schema::Vcf)) => {
            let bytes = match kind {
                vcf::Kind::Vcf => lines::normalized(bytes, longest_line),
                vcf::Kind::Bcf => bytes,
            };
            vcf::for_each(bytes, kind, path, each)?;
            Ok(Schema::Vcf)
        }
        (Some(kind), Some(other)) => {
            Err(Problem::new(format!("found a {kind}, expected the schema {other}"))
                .at(path.display())
                .fix("leave --schema out, or pass --schema vcf")
                .into())
        }
        (None, None | Some(Schema::Vcf)) if sniff::head(start) == Some(Kind::HeadlessVcf) => {
            Err(Problem::new("this is a VCF, but its first line is not ##fileformat=VCF...")
                .at(path.display())
                .fix("put the line ##fileformat=VCFv4.2 in front, as every VCF begins")
                .into())
        }
        (None, Some(Schema::Vcf)) => Err(Problem::new(
            "neither VCF nor BCF: the file begins with neither ##fileformat=VCF nor the BCF magic",
        )
        .at(path.display())
        .fix("pass the --schema of a text list, or give the VCF its header")
        .into()),
        // Five columns, as a list may have them, of which none is an allele.
        (None, _) if sniff::of(start) == Some(Kind::Fragments) => {
            Err(sniff::unexpected("a list of variants", Kind::Fragments).at(path.display()).into())
        }
        (None, schema) => {
            let schema = schema.unwrap_or(Schema::Chrombpnet);
            text::for_each(bytes, path, schema, each).map_err(|e| {
                sniff::explain(path, e, &[Kind::Fragments, Kind::Bed, Kind::BedGraph])
            })?;
            Ok(schema)
        }
    }
}
