//! Peaks of 3 to 10 columns, as variant-scorer takes them: with 10 the last is the summit, with
//! fewer the summit is the middle.

use std::io::BufRead;
use std::path::Path;

use anyhow::Result;

use super::sniff::{self, Kind};
use super::{lines, regions};
use crate::error::Problem;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    pub chrom: String,
    pub start: u64,
    pub end: u64,
    /// bp after `start`
    pub summit: u64,
    /// Columns 6 to 9, `.` where the file has none.
    pub rest: [String; 4],
}

impl Peak {
    /// Column 9, by which one of several equal peaks is chosen.
    pub fn rank(&self) -> &str {
        &self.rest[3]
    }
}

/// Reads all peaks of `path`; `#`, `track` and `browser` lines and empty lines are skipped.
pub fn read(path: &Path) -> Result<Vec<Peak>> {
    let mut text = lines::open(path)?;
    let start = text.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    // Rows of these begin like peaks and mean something else.
    let foreign = [Kind::Bedpe, Kind::Fragments, Kind::HeadlessVcf, Kind::Vcf];
    if let Some(kind) = sniff::of(start).filter(|kind| foreign.contains(kind)) {
        return Err(sniff::unexpected("peaks (BED or narrowPeak)", kind).at(path.display()).into());
    }
    let mut peaks = Vec::new();
    lines::for_each_of(text, path, |number, line| {
        if !regions::is_header(line) {
            peaks.push(parse(line).map_err(|p| p.at(lines::place(path, number)))?);
        }
        Ok(())
    })
    .map_err(|e| {
        let wanted = [Kind::Bed, Kind::BroadPeak, Kind::NarrowPeak, Kind::TagAlign];
        sniff::explain(path, e, &wanted)
    })?;
    if peaks.is_empty() {
        return Err(Problem::new("file has no peaks")
            .at(path.display())
            .fix("pass a BED or narrowPeak file with at least one row")
            .into());
    }
    Ok(peaks)
}

fn parse(line: &str) -> Result<Peak, Problem> {
    let columns: Vec<&str> = line.split('\t').collect();
    let n = columns.len();
    if n < 3 && line.split_ascii_whitespace().count() >= 3 {
        return Err(Problem::new("columns are separated by spaces, expected tabs")
            .fix("replace the spaces, for example with: tr -s ' ' '\\t' < in.bed > out.bed"));
    }
    if !(3..=10).contains(&n) {
        let s = if n == 1 { "" } else { "s" };
        return Err(Problem::new(format!("peak has {n} column{s}, expected 3 to 10")));
    }
    if columns[0].is_empty() {
        return Err(Problem::new("chromosome name (column 1) is empty"));
    }
    lines::used(columns[0], "chromosome name (column 1)")?;
    let start = regions::number_in(columns[1], "start (column 2)")?;
    let end = regions::number_in(columns[2], "end (column 3)")?;
    if start >= end {
        return Err(Problem::new(format!("start {start} is not below end {end}")));
    }
    let summit = match columns.get(9) {
        None => (end - start) / 2,
        Some(summit) => regions::number_in(summit, "summit (column 10)").map_err(|p| {
            p.fix("leave out columns 4 to 10, and the middle of each peak is taken")
        })?,
    };
    let rest = [5, 6, 7, 8].map(|i| columns.get(i).copied().unwrap_or(".").to_string());
    Ok(Peak { chrom: columns[0].to_string(), start, end, summit, rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_to_ten_columns() {
        let bare = parse("chr1\t10\t21").unwrap();
        assert_eq!((bare.summit, bare.rank()), (5, "."));
        let nine = parse("chr1\t10\t21\tp\t7\t+\t1\t2\t3.5").unwrap();
        assert_eq!((nine.summit, nine.rank(), nine.rest[0].as_str()), (5, "3.5", "+"));
        let full = parse("chr1\t10\t21\tp\t7\t.\t1\t2\t3.5\t9").unwrap();
        assert_eq!((full.summit, full.rest.join(" ").as_str()), (9, ". 1 2 3.5"));
        for (row, wanted) in [
            ("chr1\t10", "2 columns, expected 3 to 10"),
            ("chr1 10 20", "separated by spaces"),
            ("chr1\t20\t20", "start 20 is not below end 20"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\t-1", "summit (column 10) is -1"),
            ("chr1\t10\t20\t.\t.\t.\t.\t.\t.\t1\t2", "11 columns"),
        ] {
            let message = parse(row).unwrap_err().to_string();
            assert!(message.contains(wanted), "{row}: {message}");
        }
    }
}
