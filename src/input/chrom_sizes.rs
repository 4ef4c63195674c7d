//! Chromosome sizes: `name<TAB>length` a line, as `faidx` and UCSC's `fetchChromSizes` write them.
//!
//! In: a text file; columns after the second (of a `.fai`) are ignored. Out: the assembly, in
//! file order.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use anyhow::Result;

use super::assembly::Assembly;
use super::lines;
use super::sniff::{self, Kind};
use crate::error::Problem;

/// Reads `path`; empty lines and `#` lines are skipped.
///
/// Errors, with file and line: one column, a length that is no positive number, a name twice.
pub fn read(path: &Path) -> Result<Assembly> {
    let mut text = lines::open(path)?;
    let start = text.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    // Column 2 of these is a number too, and no length.
    if let Some(kind) = sniff::of(start).filter(|&kind| has_positions(kind)) {
        return Err(sniff::unexpected("chromosome sizes (2 columns)", kind)
            .at(path.display())
            .into());
    }
    let mut entries: Vec<(String, u64)> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    lines::for_each_of(text, path, |number, line| {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (name, length) = parse(line).map_err(|p| p.at(lines::place(path, number)))?;
        if let Some(first) = seen.insert(name.to_string(), number) {
            return Err(Problem::new(format!("chromosome {name} is listed twice"))
                .at(format!("{} lines {first} and {number}", path.display()))
                .fix("delete one of the two lines")
                .into());
        }
        entries.push((name.to_string(), length));
        Ok(())
    })
    .map_err(|e| sniff::explain(path, e, &[Kind::ChromSizes]))?;
    if entries.is_empty() {
        return Err(Problem::new("file lists no chromosomes")
            .at(path.display())
            .fix("write a name, a tab and a length in bp on each line")
            .into());
    }
    Ok(entries.into_iter().collect())
}

fn has_positions(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bed
            | Kind::BedGraph
            | Kind::Bedpe
            | Kind::BroadPeak
            | Kind::Fragments
            | Kind::HeadlessVcf
            | Kind::NarrowPeak
            | Kind::TagAlign
            | Kind::Vcf
    )
}

fn parse(line: &str) -> Result<(&str, u64), Problem> {
    let mut columns = line.split('\t');
    let (Some(name), Some(length)) = (columns.next(), columns.next()) else {
        let found = match line.split_ascii_whitespace().count() {
            1 => "line has 1 column, expected 2 (name and length)",
            _ => "columns are separated by spaces, expected a tab",
        };
        return Err(Problem::new(found).fix("write a name, a tab and a length in bp"));
    };
    if name.is_empty() {
        return Err(Problem::new("chromosome name (column 1) is empty"));
    }
    lines::used(name, "chromosome name (column 1)")?;
    match length.trim().parse::<u64>() {
        Ok(bp) if bp > 0 => Ok((name, bp)),
        _ => Err(Problem::new(format!(
            "length (column 2) of {name} is {length:?}, expected a number of bp above 0"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Assembly> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        read(file.path())
    }

    #[test]
    fn sizes_and_fai_lines() {
        let sizes = read_text("chr1\t100\r\n\n# x\nchr2\t7\t112\t60\t61").unwrap();
        let listed: Vec<_> = sizes.iter().map(|c| (c.name.as_str(), c.length)).collect();
        assert_eq!(listed, [("chr1", 100), ("chr2", 7)]);
        assert_eq!((sizes.length("chr2"), sizes.length("2")), (Some(7), None));
    }

    #[test]
    fn bad_lines() {
        for (text, wanted) in [
            ("chr1\t10\nchr2\n", "line 2"),
            ("chr1 10\n", "separated by spaces"),
            ("chr1\t0\n", "expected a number of bp above 0"),
            ("chr1\tx\n", "\"x\""),
            ("chr1\t-4\n", "\"-4\""),
            ("\t10\n", "is empty"),
            ("chr1\t1\nchr1\t1\n", "listed twice"),
            ("", "lists no chromosomes"),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{text:?}: {message}");
        }
    }
}
