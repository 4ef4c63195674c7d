//! Sequencing reads, as far as cut sites need them: where each read begins, and on which strand.
//!
//! In: BAM, fragment or tagAlign files and the genome's contigs. Out: one `ReadEnd` for each read, in
//! the files' order (no sorting is asked for), and a tally of what was seen. What counts is what
//! the official pipe counts: every mapped alignment (secondary, supplementary, duplicate and low
//! quality ones too), both ends of every fragment line. Filters are ours, and off by default.
//!
//! | found in a file | what happens |
//! |---|---|
//! | malformed record: missing column, no number, negative coordinate, start >= end, unknown strand, a mapped alignment without a place or a CIGAR | error with its place and content; `skip_bad_records` lets that many pass, counted |
//! | damaged or truncated compression, a BAM record that cannot be delimited | error, always |
//! | contig that the genome lacks | counted, reported with an example; error with `strict` |
//! | read that reaches past the end of its contig | counted in, reported; error with `strict` |
//! | no read at all on the genome's contigs, no contig name in common | error |
//! | another format, by its first bytes or rows: BEDPE as fragments, a narrowPeak as tagAlign | error that names it, always |
//! | BAM header with another length for a contig of the genome | a warning; error where a read lies on it: another assembly |
//! | BAM header with one name twice, or more references than any assembly has | error |

mod bam;
mod contigs;
mod filters;
mod fragments;
pub mod peek;
mod records;
mod rows;
mod tagalign;
mod tally;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use contigs::Contigs;
pub use filters::{Barcodes, Filters};
pub use tally::{Noted, Tally};

use super::sniff::{self, Kind};
use super::{lines, pipe};
use crate::error::Problem;
use records::Records;

/// Strand of a read on the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strand {
    Plus,
    Minus,
}

/// The 5' end of one read, as the file has it: no shift applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// Index into the contig list that the reader was opened with (the genome's).
    pub contig: u32,
    /// 0-based position of the first sequenced base: the alignment's start on the plus strand,
    /// its end - 1 on the minus strand.
    pub position: i64,
    pub strand: Strand,
}

/// The three formats that reads come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Bam,
    Fragments,
    TagAlign,
}

impl Format {
    /// The official flag that names a file of this format.
    pub fn flag(self) -> &'static str {
        match self {
            Format::Bam => "-ibam",
            Format::Fragments => "-ifrag",
            Format::TagAlign => "-itag",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Format::Bam => "BAM",
            Format::Fragments => "fragment file",
            Format::TagAlign => "tagAlign",
        }
    }

    /// True of rows that are read as this format: those of it, and those that may be.
    fn takes(self, kind: Kind) -> bool {
        match self {
            Format::Bam => kind == Kind::Bam,
            // Fragments need no barcode; rows without one are like any BED.
            Format::Fragments => matches!(kind, Kind::Fragments | Kind::Bed),
            // The strand of each row is asked for, which says more than "a BED".
            Format::TagAlign => matches!(kind, Kind::TagAlign | Kind::Bed),
        }
    }

    /// The problem of a file of `kind` that was given as this format.
    fn recognised(self, kind: Kind) -> Problem {
        match self {
            Format::Bam => sniff::unexpected("a BAM", kind),
            _ => sniff::unexpected(&format!("a {} (text)", self.name()), kind),
        }
    }

    /// What one record is called in messages.
    fn record(self) -> &'static str {
        match self {
            Format::Bam => "alignments",
            Format::Fragments => "fragments",
            Format::TagAlign => "reads",
        }
    }
}

/// Files of one format; several are replicates, whose reads are pooled.
#[derive(Clone, Debug)]
pub struct Sources {
    pub format: Format,
    pub files: Vec<PathBuf>,
}

/// What is left out and what is forgiven; the default is the official behaviour.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub filters: Filters,
    /// Malformed records that may be skipped, over all files.
    pub skip_bad_records: u64,
    /// Reads on unknown contigs or past a contig's end are errors.
    pub strict: bool,
}

/// How far a reader is: bytes of the files as they lie on disk.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    pub file: &'a Path,
    pub bytes: u64,
    pub total: u64,
}

/// Passes every read end of `sources` to `each`; `progress` hears every 65,536 records.
///
/// Memory: a few blocks of compressed data, whatever the files hold.
/// Errors: as in the table above; those of `each`.
pub fn read(
    sources: &Sources,
    contigs: &Contigs,
    options: &Options,
    progress: &mut dyn FnMut(Position),
    each: &mut dyn FnMut(ReadEnd) -> Result<()>,
) -> Result<Tally> {
    options.filters.check(sources.format)?;
    let sizes = sources.files.iter().map(|path| size(path)).collect::<Result<Vec<u64>>>()?;
    let total = sizes.iter().sum();
    let mut tally = Tally::new(sources.format);
    let mut before = 0;
    for (path, size) in sources.files.iter().zip(sizes) {
        let (mut text, hash) = lines::open_hashed(path)?;
        let mut report = || {
            progress(Position { file: path, bytes: before + hash.bytes(), total });
        };
        let mut records = Records::new(path, contigs, options, &mut tally, &mut report, each);
        match sources.format {
            Format::Bam => bam::read(&mut text, &mut records)?,
            Format::Fragments => fragments::read(&mut text, &mut records)?,
            Format::TagAlign => tagalign::read(&mut text, &mut records)?,
        }
        records.finish()?;
        tally.contents.push((hash.bytes() == size).then(|| hash.digest()));
        before += size;
    }
    if let Some(barcodes) = &options.filters.barcodes {
        tally.unseen_barcodes = barcodes.unseen(&tally.seen_barcodes);
    }
    Ok(tally)
}

/// Bytes of a file, which must be one: detection and counting read it more than once, and it may be
/// too large to be kept from a pipe.
fn size(path: &Path) -> Result<u64> {
    pipe::refuse(path, "reads")?;
    Ok(lines::open_file(path)?.metadata().map_err(|e| lines::unreadable(path, &e))?.len())
}
