//! What a user may leave out of the reads; nothing by default, as in the official tool.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Format;
use crate::error::Problem;
use crate::input::lines;

/// Filters; all off by default.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// BAM: alignments below this mapping quality are left out; 255 (not available) stays.
    pub min_mapq: u8,
    /// BAM: leave out alignments flagged as duplicates (0x400).
    pub skip_duplicates: bool,
    /// BAM: keep only alignments flagged as properly paired (0x2).
    pub proper_pairs: bool,
    /// Fragments: keep only these cells.
    pub barcodes: Option<Barcodes>,
}

impl Filters {
    /// Refuses a filter that the format has nothing to apply it to.
    pub(super) fn check(&self, format: Format) -> Result<(), Problem> {
        let bam = [
            ("--min-mapq", self.min_mapq > 0),
            ("--skip-duplicates", self.skip_duplicates),
            ("--proper-pairs", self.proper_pairs),
        ];
        let wrong =
            bam.iter().find(|(_, set)| *set && format != Format::Bam).map(|(flag, _)| *flag);
        if let Some(flag) = wrong {
            return Err(Problem::new(format!(
                "{flag} needs alignments, a {} does not have what it looks at",
                format.name()
            ))
            .fix(format!("leave {flag} out, or pass the BAM with -ibam")));
        }
        if self.barcodes.is_some() && format != Format::Fragments {
            return Err(Problem::new(format!(
                "--barcodes needs a fragment file, a {} has no column of barcodes",
                format.name()
            ))
            .fix("leave --barcodes out, or pass the fragments with -ifrag"));
        }
        Ok(())
    }
}

/// A list of cell barcodes.
#[derive(Clone, Debug)]
pub struct Barcodes {
    path: PathBuf,
    /// Barcode -> its place in the list.
    known: HashMap<Box<[u8]>, usize>,
}

impl Barcodes {
    /// Reads one barcode a line: the first column, up to a tab or comma. Empty lines and lines
    /// beginning with `#` are skipped.
    ///
    /// Errors: those of `lines::for_each`, a list without a barcode.
    pub fn read(path: &Path) -> Result<Self> {
        let mut known = HashMap::new();
        lines::for_each(path, |number, line| {
            let barcode = line.split(['\t', ',']).next().unwrap_or_default().trim();
            if !barcode.is_empty() && !barcode.starts_with('#') {
                let barcode = lines::used(barcode, "barcode")
                    .map_err(|p| p.at(lines::place(path, number)))?;
                let next = known.len();
                known.entry(barcode.as_bytes().into()).or_insert(next);
            }
            Ok(())
        })?;
        if known.is_empty() {
            return Err(Problem::new("list of barcodes is empty")
                .at(path.display())
                .fix("write one barcode a line, as column 4 of the fragment file has them")
                .into());
        }
        Ok(Self { path: path.to_path_buf(), known })
    }

    /// Place in the list.
    pub(super) fn find(&self, barcode: &[u8]) -> Option<usize> {
        self.known.get(barcode).copied()
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sorted, so that it does not matter how the list was ordered.
    pub fn sorted(&self) -> Vec<&[u8]> {
        let mut all: Vec<&[u8]> = self.known.keys().map(|b| &**b).collect();
        all.sort_unstable();
        all
    }

    /// One barcode, for messages.
    pub(super) fn example(&self) -> String {
        let first = self.known.iter().min_by_key(|(_, place)| **place);
        first.map_or_else(String::new, |(b, _)| String::from_utf8_lossy(b).into_owned())
    }

    pub(super) fn unseen(&self, seen: &[bool]) -> usize {
        self.known.len() - seen.iter().filter(|&&s| s).count()
    }
}
