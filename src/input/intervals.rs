//! BED files of which only the place counts (blacklists): 3 columns or more, plain or compressed.
//!
//! In: lines `chrom start end ...`. Out: the intervals, and the columns after the third as they
//! stand.

use std::io::BufRead;
use std::path::Path;

use anyhow::Result;

use super::lines;
use super::regions::{is_header, number_in};
use super::sniff::{self, Kind};
use crate::error::Problem;

/// What has rows of contig, start, end.
const ROWS: &[Kind] = &[
    Kind::Bed,
    Kind::BedGraph,
    Kind::BroadPeak,
    Kind::Fragments,
    Kind::NarrowPeak,
    Kind::TagAlign,
];

/// One row. Coordinates are 0-based and half-open, in bp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BedRow {
    pub chrom: String,
    pub start: u64,
    pub end: u64,
    /// Columns after the third, tabs between them; empty where there are none.
    pub rest: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// Reads all rows of `path`; `#`, `track` and `browser` lines and empty lines are skipped. A file
/// without rows is no error: a genome may have no blacklist.
///
/// Errors: any row that is no interval, with file and line.
pub fn read(path: &Path) -> Result<Vec<BedRow>> {
    const WANTED: &str = "intervals (BED)";
    let mut text = lines::open(path)?;
    let start = text.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    // Rows of these begin like intervals and mean something else.
    if let Some(kind @ (Kind::Bedpe | Kind::Vcf | Kind::HeadlessVcf)) = sniff::of(start) {
        return Err(sniff::unexpected(WANTED, kind).at(path.display()).into());
    }
    let mut rows = Vec::new();
    lines::for_each_of(text, path, |number, line| {
        if !is_header(line) {
            rows.push(parse(line, number).map_err(|p| p.at(lines::place(path, number)))?);
        }
        Ok(())
    })
    .map_err(|e| sniff::explain(path, e, ROWS))?;
    Ok(rows)
}

fn parse(line: &str, number: usize) -> Result<BedRow, Problem> {
    let mut columns = line.splitn(4, '\t');
    let (Some(chrom), Some(start), Some(end)) = (columns.next(), columns.next(), columns.next())
    else {
        if line.split_ascii_whitespace().count() >= 3 {
            return Err(Problem::new("columns are separated by spaces, expected tabs")
                .fix("replace the spaces, for example with: tr -s ' ' '\\t' < in.bed > out.bed"));
        }
        let n = line.split('\t').count();
        return Err(Problem::new(format!("row has {n} columns, expected 3 or more"))
            .fix("write chromosome, start and end, tabs between them"));
    };
    if chrom.is_empty() {
        return Err(Problem::new("chromosome name (column 1) is empty"));
    }
    lines::used(chrom, "chromosome name (column 1)")?;
    let start = number_in(start, "start (column 2)")?;
    let end = number_in(end, "end (column 3)")?;
    if start > end {
        return Err(Problem::new(format!("start {start} is above end {end}")));
    }
    let rest = columns.next().unwrap_or_default().to_string();
    Ok(BedRow { chrom: chrom.to_string(), start, end, rest, line: number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<BedRow>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        read(file.path())
    }

    #[test]
    fn three_columns_or_more() {
        let rows = read_text("track x\n#c\nchr1\t1\t5\r\n\nchr2\t0\t9\tHigh Signal\t7").unwrap();
        let row = |chrom: &str, start, end, rest: &str, line| BedRow {
            chrom: chrom.into(),
            start,
            end,
            rest: rest.into(),
            line,
        };
        assert_eq!(rows, [row("chr1", 1, 5, "", 3), row("chr2", 0, 9, "High Signal\t7", 5)]);
        assert!(read_text("").unwrap().is_empty());
    }

    #[test]
    fn bad_rows() {
        for (text, wanted) in [
            ("chr1\t1\n", "row has 2 columns"),
            ("chr1 1 5\n", "separated by spaces"),
            ("chr1\t9\t5\n", "start 9 is above end 5"),
            ("chr1\t-1\t5\n", "start (column 2) is -1"),
            ("chr1\t1\tx\n", "end (column 3) is \"x\""),
            ("\t1\t5\n", "is empty"),
        ] {
            let message = read_text(&format!("chr1\t0\t1\n{text}")).unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains("line 2"), "{text:?}: {message}");
        }
    }
}
