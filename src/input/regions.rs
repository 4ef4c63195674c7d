//! Peaks and nonpeaks: 10-column narrowPeak, plain or compressed.
//!
//! In: lines `chrom start end name score strand signal p q summit`. Out: `Region`s in file order.
//! Columns 4-9 play no part in training and are kept as they stand, for tables that repeat the
//! rows. A summit outside its interval is an error here, since every later window hangs on it.

use std::path::Path;

use anyhow::Result;

use super::lines;
use super::sniff::{self, Kind};
use crate::error::Problem;

/// One row of a regions file. Coordinates are 0-based, half-open, in bp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    pub chrom: String,
    pub start: u64,
    pub end: u64,
    /// Column 10: bp after `start`.
    pub summit: u64,
    /// Columns 4-9 as written.
    pub extra: Extra,
    /// Line in the file, from 1.
    pub line: usize,
}

impl Region {
    /// The base that every window of this region is centred on.
    pub fn center(&self) -> u64 {
        self.start + self.summit
    }
}

/// Columns 4-9 of a row, in one allocation: a run holds millions of rows, and a string a cell
/// would triple their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra(Box<str>);

impl Extra {
    /// `cells` hold no tabs.
    pub fn new(cells: [&str; 6]) -> Self {
        Self(cells.join("\t").into())
    }

    pub fn cells(&self) -> [&str; 6] {
        let mut cells = self.0.split('\t');
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    }
}

/// Six empty cells.
impl Default for Extra {
    fn default() -> Self {
        Self::new([""; 6])
    }
}

/// The six cells, tabs between them.
impl std::fmt::Display for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads all regions of `path`; `#`, `track` and `browser` lines and empty lines are skipped.
///
/// Errors: any row that is not a region, with file and line; a file without a region.
pub fn read(path: &Path) -> Result<Vec<Region>> {
    rows(path).map_err(|e| sniff::explain(path, e, &[Kind::NarrowPeak, Kind::Bed]))
}

fn rows(path: &Path) -> Result<Vec<Region>> {
    let mut regions = Vec::new();
    lines::for_each(path, |number, line| {
        if !is_header(line) {
            let region = parse(line, number).map_err(|p| p.at(lines::place(path, number)))?;
            regions.push(region);
        }
        Ok(())
    })?;
    if regions.is_empty() {
        return Err(Problem::new("file has no regions")
            .at(path.display())
            .fix("pass a narrowPeak file with at least one row")
            .into());
    }
    Ok(regions)
}

pub(super) fn is_header(line: &str) -> bool {
    let first = line.split_ascii_whitespace().next();
    line.starts_with('#') || matches!(first, None | Some("track" | "browser"))
}

fn parse(line: &str, number: usize) -> Result<Region, Problem> {
    let columns: Vec<&str> = line.split('\t').collect();
    let words = line.split_ascii_whitespace().count();
    if columns.len() < 3 && words >= 3 {
        return Err(Problem::new("columns are separated by spaces, expected tabs")
            .fix("replace the spaces, for example with: tr -s ' ' '\\t' < in.bed > out.bed"));
    }
    let &[chrom, start, end, c4, c5, c6, c7, c8, c9, summit] = columns.as_slice() else {
        let n = columns.len();
        let s = if n == 1 { "" } else { "s" };
        return Err(Problem::new(format!("region has {n} column{s}, expected 10 (narrowPeak)"))
            .fix("pass the caller's .narrowPeak file, or add the summit offset as column 10"));
    };
    if chrom.is_empty() {
        return Err(Problem::new("chromosome name (column 1) is empty"));
    }
    lines::used(chrom, "chromosome name (column 1)")?;
    let start = number_in(start, "start (column 2)")?;
    let end = number_in(end, "end (column 3)")?;
    if start >= end {
        return Err(Problem::new(format!("start {start} is not below end {end}")).fix(
            "coordinates are 0-based and half-open: the end is the first base after the region",
        ));
    }
    if summit == "-1" || summit.eq_ignore_ascii_case("nan") || summit == "." || summit.is_empty() {
        return Err(Problem::new(format!(
            "summit (column 10) is {summit:?}, so the caller reported none"
        ))
        .fix("call peaks with summits, or set column 10 to the middle: (end - start) / 2"));
    }
    let summit = number_in(summit, "summit (column 10)")?;
    if summit > end - start {
        return Err(Problem::new(format!(
            "summit {summit} lies outside its region, which is {} bp long",
            end - start
        ))
        .fix("column 10 is the summit's offset from start in bp, not its position"));
    }
    Ok(Region {
        chrom: chrom.to_string(),
        start,
        end,
        summit,
        extra: Extra::new([c4, c5, c6, c7, c8, c9]),
        line: number,
    })
}

/// A coordinate; contigs of any pack are shorter than 2^32, which also keeps sums from overflowing.
pub(super) fn number_in(text: &str, column: &str) -> Result<u64, Problem> {
    match text.parse::<i64>() {
        Ok(n) if n < 0 => Err(Problem::new(format!("{column} is {text}, expected 0 or more"))),
        Ok(n) if n > i64::from(u32::MAX) => {
            Err(Problem::new(format!("{column} is {text}, longer than any chromosome")))
        }
        Ok(n) => Ok(n as u64),
        Err(_) => Err(Problem::new(format!("{column} is {text:?}, expected a whole number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Region>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        read(file.path())
    }

    fn error(text: &str) -> String {
        read_text(text).unwrap_err().to_string()
    }

    #[test]
    fn rows_with_headers_and_line_ends() {
        let text = "track name=x\nbrowser position chr1\n# comment\n\n\
                    chr1\t10\t20\tp1\t5\t.\t5.0\t9.0\t-1\t4\r\nchr2\t0\t8\t.\t.\t.\t.\t.\t.\t8";
        let regions = read_text(text).unwrap();
        assert_eq!(regions.len(), 2);
        assert_eq!((regions[0].center(), regions[0].line), (14, 5));
        assert_eq!(regions[0].extra.cells(), ["p1", "5", ".", "5.0", "9.0", "-1"]);
        assert_eq!((regions[1].chrom.as_str(), regions[1].center()), ("chr2", 8));
    }

    #[test]
    fn three_columns_is_the_message_of_the_house_style() {
        let message = error("chr1\t10\t20\n");
        let mut lines = message.lines();
        assert_eq!(lines.next(), Some("region has 3 columns, expected 10 (narrowPeak)"));
        assert!(lines.next().is_some_and(|l| l.starts_with("  where: ") && l.ends_with(" line 1")));
        assert_eq!(
            lines.next(),
            Some(
                "  fix: pass the caller's .narrowPeak file, or add the summit offset as column 10"
            )
        );
    }

    #[test]
    fn every_bad_row_names_its_line_and_value() {
        let good = "chr1\t10\t20\t.\t.\t.\t.\t.\t.\t4\n";
        for (row, wanted) in [
            ("chr1 10 20 . . . . . . 4", "spaces, expected tabs"),
            ("chr1\t1e3\t20\t.\t.\t.\t.\t.\t.\t4", "start (column 2) is \"1e3\""),
            ("chr1\t-10\t20\t.\t.\t.\t.\t.\t.\t4", "start (column 2) is -10"),
            ("chr1\t10\t20.5\t.\t.\t.\t.\t.\t.\t4", "end (column 3) is \"20.5\""),
            ("chr1\t10\t99999999999\t.\t.\t.\t.\t.\t.\t4", "longer than any chromosome"),
            ("chr1\t20\t20\t.\t.\t.\t.\t.\t.\t0", "start 20 is not below end 20"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\t-1", "caller reported none"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\tNaN", "caller reported none"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\t11", "summit 11 lies outside its region"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\t4\t5", "region has 11 columns"),
            ("\t10\t20\t.\t.\t.\t.\t.\t.\t4", "chromosome name (column 1) is empty"),
        ] {
            let message = error(&format!("{good}{row}\n"));
            assert!(message.contains(wanted), "{row}: {message}");
            assert!(message.contains(" line 2"), "{row}: {message}");
        }
        assert!(error("").contains("no regions"));
        assert!(error("# only a comment\n").contains("no regions"));
    }
}
