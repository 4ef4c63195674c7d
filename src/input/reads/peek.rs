//! Which contigs files of reads name, as far as that is told without reading them whole.

use std::collections::HashSet;
use std::io::{Cursor, Read as _};
use std::path::Path;

use anyhow::Result;
use memchr::memrchr;

use super::records::Records;
use super::{Contigs, Format, Options, Sources, Tally, bam, fragments, tagalign};
use crate::input::lines::{self, Text};

/// Text that is looked at: some 100,000 rows, well under a second.
const PEEKED: u64 = 4 << 20;

/// Contigs of a file of reads: name, and length (bp) where the file states it.
pub type Named = Vec<(String, Option<u64>)>;

/// What a file names, and whether that is all it names: of a long text only the first rows are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    pub contigs: Named,
    pub is_all: bool,
}

/// Contigs of each file: all of a BAM's header, those in the first rows of a text file, which are read as the
/// file's readers read them.
///
/// Errors: a file that cannot be opened, a BAM whose header is damaged, and what `reads::read` says of those rows.
pub fn contigs(sources: &Sources, options: &Options) -> Result<Vec<Peeked>> {
    options.filters.check(sources.format)?;
    sources.files.iter().map(|path| of_file(sources.format, path, options)).collect()
}

fn of_file(format: Format, path: &Path, options: &Options) -> Result<Peeked> {
    super::size(path)?;
    let mut text = lines::open(path)?;
    if format == Format::Bam {
        let references = bam::references(&mut text, path)?;
        let named = |(name, length): (&[u8], u64)| {
            (String::from_utf8_lossy(name).into_owned(), Some(length))
        };
        return Ok(Peeked { contigs: references.iter().map(named).collect(), is_all: true });
    }
    let mut rows = Vec::new();
    let read = text.take(PEEKED).read_to_end(&mut rows).map_err(|e| lines::unreadable(path, &e))?;
    let is_all = (read as u64) < PEEKED;
    if !is_all && let Some(end) = memrchr(b'\n', &rows) {
        // The limit cut the last row.
        rows.truncate(end + 1);
    }
    try_rows(format, path, &rows, is_all, options)?;

    let mut names: Named = Vec::new();
    let mut seen = HashSet::new();
    lines::for_each_bytes(&mut text_of(&rows), path, |_, line| {
        let mut columns = line.split(|&b| b == b'\t');
        // Comments and headers have one column.
        let (Some(name), Some(_)) = (columns.next(), columns.next()) else { return Ok(()) };
        if name.first() == Some(&b'#') || names.last().is_some_and(|l| l.0.as_bytes() == name) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if seen.insert(name.clone()) {
            names.push((name, None));
        }
        Ok(())
    })?;
    Ok(Peeked { contigs: names, is_all })
}

fn text_of(rows: &[u8]) -> Text {
    Box::new(Cursor::new(rows.to_vec()))
}

/// Reads rows for what is wrong with them. No contig is known here, so none is asked for.
fn try_rows(
    format: Format,
    path: &Path,
    rows: &[u8],
    is_all: bool,
    options: &Options,
) -> Result<()> {
    let (contigs, mut tally) = (Contigs::default(), Tally::new(format));
    let (mut report, mut each) = (|| {}, |_| Ok(()));
    let mut records = Records::new(path, &contigs, options, &mut tally, &mut report, &mut each);
    match format {
        Format::TagAlign => tagalign::read(&mut text_of(rows), &mut records)?,
        _ => fragments::read(&mut text_of(rows), &mut records)?,
    }
    match is_all && records.tally.records == 0 {
        true => records.finish(),
        false => Ok(records.judge()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rows_and_none_of_comments() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.tsv");
        std::fs::write(&path, "# id=x\tno contig\nchr2\t1\t5\nchr2\t3\t9\nchr1\t0\t4\nchr2\t7\t8")
            .unwrap();
        let files = vec![path.clone(), path];
        let found =
            contigs(&Sources { format: Format::Fragments, files }, &Options::default()).unwrap();
        let named = vec![("chr2".into(), None), ("chr1".into(), None)];
        let wanted = Peeked { contigs: named, is_all: true };
        assert_eq!(found, [wanted.clone(), wanted]);

        let long = folder.path().join("long.tsv");
        let row = |i| format!("chr{}\t1\t5000\n", 1 + u64::from(i > PEEKED / 11));
        let rows = (0..PEEKED / 10).map(row);
        std::fs::write(&long, rows.collect::<String>()).unwrap();
        let found =
            contigs(&Sources { format: Format::Fragments, files: vec![long] }, &Options::default())
                .unwrap();
        assert_eq!((found[0].contigs.len(), found[0].is_all), (1, false));
    }
}
