//! The rows of a list, read once and kept in a temporary file, since every variant is wanted
//! several times: to see what chromosomes are called, to check it, to shuffle it, to score it.
//! Memory stays flat, a list may come through a pipe, and a VCF with a thousand samples is parsed
//! once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::error::Problem;
use crate::input::variants::{self, Entry, Schema, Variant};

use super::alleles::Skip;

/// All rows of a list, on disk.
pub struct Rows {
    file: File,
    pub schema: Schema,
    pub len: u64,
    /// Chromosomes as written, with their number of rows.
    pub chroms: BTreeMap<String, u64>,
}

impl Rows {
    /// Reads `list` into an unnamed file in `folder`.
    pub fn read(list: &Path, schema: Option<Schema>, folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|e| {
            Problem::new(format!("cannot write: {e}"))
                .at(folder.display())
                .fix("free space and permissions there, or choose another output prefix")
        })?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut len = 0;
        let mut chroms = BTreeMap::new();
        let schema = variants::for_each(list, schema, &mut |entry| {
            let (variant, reason) = match &entry {
                Entry::Variant(variant) => (variant, ""),
                Entry::Unusable { variant, reason } => (variant, *reason),
            };
            len += 1;
            match chroms.get_mut(&variant.chrom) {
                Some(rows) => *rows += 1,
                None => {
                    chroms.insert(variant.chrom.clone(), 1);
                }
            }
            let [allele1, allele2] = &variant.alleles;
            writeln!(
                out,
                "{}\t{}\t{}\t{allele1}\t{allele2}\t{}\t{}\t{reason}",
                variant.row, variant.chrom, variant.pos, variant.id, variant.end
            )
            .context("cannot write the temporary copy of the list")
        })?;
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        if len == 0 {
            return Err(Problem::new("the list has no variants")
                .at(list.display())
                .fix("pass a list with at least one row")
                .into());
        }
        Ok(Self { file, schema, len, chroms })
    }

    /// What belongs in front of the chromosome names: `chr` where no row has it, as variant-scorer
    /// does, unless the genome knows names without it.
    pub fn prefix(&self, known: impl Fn(&str) -> bool) -> &'static str {
        let any = self.chroms.keys().any(|c| c.to_ascii_lowercase().contains("chr") || known(c));
        if any { "" } else { "chr" }
    }

    /// A few chromosomes of the list, for messages.
    pub fn some_chroms(&self) -> String {
        let few: Vec<&str> = self.chroms.keys().take(5).map(String::as_str).collect();
        format!("{}{}", few.join(", "), if self.chroms.len() > 5 { ", ..." } else { "" })
    }

    /// The rows in order, each with the reason why it names nothing to score, if there is one.
    pub fn for_each(
        &mut self,
        mut each: impl FnMut(Variant, Option<Skip>) -> Result<()>,
    ) -> Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (variant, reason) = parse(line.trim_end_matches('\n'))
                .context("the temporary copy of the list is damaged")?;
            each(variant, reason)?;
        }
    }
}

fn parse(line: &str) -> Option<(Variant, Option<Skip>)> {
    let cells: Vec<&str> = line.split('\t').collect();
    let &[row, chrom, pos, allele1, allele2, id, end, reason] = cells.as_slice() else {
        return None;
    };
    let variant = Variant {
        row: row.parse().ok()?,
        chrom: chrom.to_string(),
        pos: pos.parse().ok()?,
        alleles: [allele1.to_string(), allele2.to_string()],
        id: id.to_string(),
        end: end.to_string(),
    };
    Some((variant, (!reason.is_empty()).then(|| Skip::Unusable(reason.to_string()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Rows {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.tsv");
        std::fs::write(&list, text).unwrap();
        Rows::read(&list, None, folder.path()).unwrap()
    }

    #[test]
    fn rows_come_back_as_often_as_wanted() {
        let mut rows = rows("chr1\t5\ta\t-\trs 1\nchr2\t9\tC\tGT\trs2\n");
        for _ in 0..2 {
            let mut seen = Vec::new();
            rows.for_each(|variant, reason| {
                assert_eq!(reason, None);
                seen.push((variant.row, variant.pos, variant.id.clone(), variant.alleles.clone()));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen[0], (1, 4, "rs 1".to_string(), ["a".to_string(), "-".to_string()]));
            assert_eq!(seen[1].1, 8);
            assert_eq!(seen.len() as u64, rows.len);
        }
    }

    #[test]
    fn chr_is_put_in_front_only_where_it_is_wanted() {
        let bare = rows("1\t5\tA\tC\trs1\nX\t5\tA\tC\trs1\n");
        assert_eq!(bare.prefix(|name| name == "chr1"), "chr");
        assert_eq!(bare.prefix(|name| name == "1"), "");
        let mixed = rows("1\t5\tA\tC\trs1\nChrX\t5\tA\tC\trs1\n");
        assert_eq!(mixed.prefix(|name| name == "chr1"), "");
    }
}
