//! What the rows of a prediction are called: regions of a file, or tiles.

use super::outputs::Subject;
use crate::batch::Example;
use crate::input::regions::Region;

/// Where the names of rows come from.
pub enum Rows {
    /// `Example::row` is an index.
    Regions(Vec<Region>),
    /// A row is its output window.
    Tiles,
}

/// One row, as in a regions file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    pub chrom: &'a str,
    pub start: u64,
    pub end: u64,
    pub summit: u64,
}

impl Rows {
    pub fn row<'a>(&'a self, subject: &Subject<'a>, example: &Example) -> Row<'a> {
        match self {
            Self::Regions(rows) => {
                let Region { chrom, start, end, summit, .. } = &rows[example.row as usize];
                Row { chrom, start: *start, end: *end, summit: *summit }
            }
            Self::Tiles => {
                let (inputlen, outputlen) = (subject.arch.inputlen, subject.arch.outputlen);
                let start = u64::from(example.start) + ((inputlen - outputlen) / 2) as u64;
                Row {
                    chrom: &subject.tracks.genome.contigs()[example.contig as usize].name,
                    start,
                    end: start + outputlen as u64,
                    summit: (outputlen / 2) as u64,
                }
            }
        }
    }
}
