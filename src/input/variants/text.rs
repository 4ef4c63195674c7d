//! Text lists: one variant a line, columns as the schema says.

use std::path::Path;

use anyhow::Result;

use super::vcf::unusable;
use super::{Column, Entry, Schema, Variant};
use crate::error::Problem;
use crate::input::lines::{self, Text};

pub fn for_each(
    text: Text,
    path: &Path,
    schema: Schema,
    each: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    lines::for_each_of(text, path, |number, line| {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        each(parse(line, number, schema).map_err(|p| p.at(lines::place(path, number)))?)
    })
}

fn parse(line: &str, number: usize, schema: Schema) -> Result<Entry, Problem> {
    let wanted = schema.columns();
    let cells: Vec<&str> = line.split('\t').collect();
    if cells.len() != wanted.len() {
        return Err(wrong_width(line, &cells, schema));
    }
    let cell = |column: Column| wanted.iter().position(|c| *c == column).map_or("", |i| cells[i]);
    if let Some(empty) =
        wanted.iter().position(|c| *c != Column::Ignored && cells[at(wanted, *c)].is_empty())
    {
        return Err(Problem::new(format!(
            "{} (column {}) is empty",
            wanted[empty].name(),
            empty + 1
        ))
        .fix("write - for an allele without bases"));
    }
    for &column in wanted.iter().filter(|c| **c != Column::Ignored) {
        lines::used(
            cell(column),
            &format!("{} (column {})", column.name(), at(wanted, column) + 1),
        )?;
    }
    let pos = position(cell(Column::Pos), at(wanted, Column::Pos) + 1, schema)?;
    let [allele1, allele2] = [Column::Allele1, Column::Allele2].map(cell);
    let chrom = cell(Column::Chrom);
    let id = match cell(Column::Id) {
        "" => format!("{chrom}_{}_{allele1}_{allele2}", cell(Column::Pos)),
        id => id.to_string(),
    };
    let variant = Variant {
        row: number as u64,
        chrom: chrom.to_string(),
        pos,
        alleles: [allele1.to_string(), allele2.to_string()],
        id,
        end: cell(Column::End).to_string(),
    };
    let reason = |allele: &str| match allele {
        "-" => None,
        bases => unusable(bases),
    };
    Ok(match reason(allele1).or_else(|| reason(allele2)) {
        None => Entry::Variant(variant),
        Some(reason) => Entry::Unusable { variant, reason },
    })
}

fn at(columns: &[Column], column: Column) -> usize {
    columns.iter().position(|c| *c == column).unwrap_or(0)
}

/// Another schema has as many columns as were found, or the separator is not a tab.
fn wrong_width(line: &str, cells: &[&str], schema: Schema) -> Problem {
    let n = cells.len();
    let width = schema.columns().len();
    if n == 1 && line.contains([' ', ',']) {
        return Problem::new("columns are not separated by tabs")
            .fix("replace spaces or commas by tabs, for example with: tr -s ' ' '\\t'");
    }
    let s = if n == 1 { "" } else { "s" };
    let mut fix = format!("the columns of {schema} are: {}", schema.listed());
    let others = [Schema::Chrombpnet, Schema::Bed, Schema::Plink, Schema::Snps];
    for other in others.into_iter().filter(|o| o.columns().len() == n && *o != schema) {
        fix.push_str(&format!("; or is this --schema {other} ({})?", other.listed()));
    }
    Problem::new(format!("row has {n} column{s}, expected {width} (schema {schema})")).fix(fix)
}

/// 0-based, from the text of the file.
fn position(text: &str, column: usize, schema: Schema) -> Result<u64, Problem> {
    let Ok(pos) = text.parse::<i64>() else {
        let header = text.eq_ignore_ascii_case("pos") || text.eq_ignore_ascii_case("position");
        let fix = match header {
            true => "lists have no header: delete this line".to_string(),
            false => format!("the columns of {schema} are: {}", schema.listed()),
        };
        return Err(Problem::new(format!(
            "pos (column {column}) is {text:?}, expected a whole number"
        ))
        .fix(fix));
    };
    let first = schema.first_position();
    if pos < first as i64 {
        let fix = match first {
            0 => "positions of this schema are 0-based",
            _ => "positions of this schema are 1-based; 0-based ones want --schema bed",
        };
        return Err(Problem::new(format!(
            "pos (column {column}) is {pos}, expected {first} or more"
        ))
        .fix(fix));
    }
    if pos > i64::from(u32::MAX) {
        return Err(Problem::new(format!(
            "pos (column {column}) is {pos}, longer than any chromosome"
        )));
    }
    Ok(pos as u64 - first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::variants;

    fn read(text: &str, schema: Schema) -> Result<Vec<Variant>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        let mut out = Vec::new();
        variants::for_each(file.path(), Some(schema), &mut |entry| {
            match entry {
                Entry::Variant(variant) => out.push(variant),
                Entry::Unusable { variant, reason } => panic!("{variant:?}: {reason}"),
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The rows of variant-scorer's own examples: one variant in every schema.
    #[test]
    fn every_schema_says_the_same() {
        for (schema, line) in [
            (Schema::Chrombpnet, "chr1\t976215\tA\tG\trs7417106\n"),
            (Schema::Bed, "chr1\t976214\t976215\tA\tG\trs7417106\r\n"),
            (Schema::Plink, "chr1\trs7417106\t0\t976215\tA\tG"),
            (Schema::Plink2, "# note\n\nchr1\trs7417106\t976215\tA\tG\n"),
            (Schema::Original, "chr1\t976215\trs7417106\tA\tG\n"),
        ] {
            let variants = read(line, schema).unwrap();
            let [v] = variants.as_slice() else { panic!("{schema}: {variants:?}") };
            assert_eq!((v.chrom.as_str(), v.pos, v.id.as_str()), ("chr1", 976_214, "rs7417106"));
            assert_eq!((v.bases(0), v.bases(1)), (&b"A"[..], &b"G"[..]));
        }
        let snps = read("chr1\t976214\tA\t-\n", Schema::Snps).unwrap();
        assert_eq!((snps[0].pos, snps[0].id.as_str()), (976_214, "chr1_976214_A_-"));
        assert_eq!(snps[0].bases(1), b"");
        assert_eq!(read("", Schema::Bed).unwrap(), []);
    }

    /// Such alleles are no error, as in a VCF, and the rows around them count.
    #[test]
    fn alleles_without_a_sequence_have_a_reason() {
        for (alleles, wanted) in [
            ("N\tG", Some("letters other than")),
            ("A\tR", Some("letters other than")),
            ("A-\tG", Some("letters other than")),
            ("A\t<DEL>", Some("symbolic allele")),
            ("A\t*", Some("overlapping variant")),
            (".\tG", Some("no alternative allele")),
            ("a\t-", None),
        ] {
            let line = format!("chr1\t5\t{alleles}\trs1");
            let found = match parse(&line, 7, Schema::Chrombpnet).unwrap() {
                Entry::Variant(_) => None,
                Entry::Unusable { variant, reason } => {
                    assert_eq!((variant.row, variant.pos), (7, 4), "{line}");
                    assert_eq!(variant.alleles.join("\t"), alleles);
                    Some(reason)
                }
            };
            assert_eq!(found.is_some(), wanted.is_some(), "{line}: {found:?}");
            assert!(found.unwrap_or_default().contains(wanted.unwrap_or_default()), "{found:?}");
        }
    }

    #[test]
    fn every_bad_row_names_its_line_and_value() {
        for (schema, row, wanted) in [
            (Schema::Chrombpnet, "chr1\t5\tA\tG", "row has 4 columns, expected 5"),
            (Schema::Chrombpnet, "chr1\t4\t5\tA\tG\trs1", "or is this --schema bed"),
            (Schema::Chrombpnet, "chr1 5 A G rs1", "not separated by tabs"),
            (Schema::Chrombpnet, "chr1,5,A,G,rs1", "not separated by tabs"),
            (Schema::Chrombpnet, "chr\tpos\tallele1\tallele2\tid", "no header"),
            (Schema::Chrombpnet, "chr1\t0\tA\tG\trs1", "pos (column 2) is 0, expected 1 or more"),
            (Schema::Bed, "chr1\t-1\t0\tA\tG\trs1", "pos (column 2) is -1, expected 0 or more"),
            (Schema::Chrombpnet, "chr1\t5e3\tA\tG\trs1", "is \"5e3\", expected a whole number"),
            (Schema::Chrombpnet, "chr1\t99999999999\tA\tG\trs1", "longer than any chromosome"),
            (Schema::Chrombpnet, "chr1\t5\t\tG\trs1", "allele1 (column 3) is empty"),
            (Schema::Plink, "\trs1\t0\t5\tA\tG", "chr (column 1) is empty"),
        ] {
            let good = match schema {
                Schema::Bed => "chr1\t4\t5\tA\tG\trs0\n",
                Schema::Plink => "chr1\trs0\t0\t5\tA\tG\n",
                Schema::Original => "chr1\t5\trs0\tA\tG\n",
                _ => "chr1\t5\tA\tG\trs0\n",
            };
            let message = read(&format!("{good}{row}\n"), schema).unwrap_err().to_string();
            assert!(message.contains(wanted), "{row}: {message}");
            assert!(message.contains(" line 2"), "{row}: {message}");
        }
    }
}
