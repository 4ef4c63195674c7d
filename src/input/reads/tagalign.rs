//! tagAlign: six BED columns, the strand in the last. A row is one read.

use anyhow::Result;

use super::Strand;
use super::contigs::Lookup;
use super::records::{Records, shown};
use super::rows;
use crate::error::Problem;
use crate::input::lines::{self, Text};

pub(super) fn read(text: &mut Text, records: &mut Records) -> Result<()> {
    let mut lookup = Lookup::default();
    rows::for_each(text, records, |records, number, line| {
        let (contig, (start, end), strand) = match parse(line) {
            Ok(parsed) => parsed,
            Err(problem) => return rows::bad(records, number, line, problem),
        };
        let path = records.path;
        let place = || lines::place(path, number as usize);
        match lookup.id(records.contigs, contig).map_err(|p| p.at(place()))? {
            Some(id) => records.read(id, start, end, strand, place)?,
            None => records.unknown_contig(contig, place),
        }
        Ok(())
    })
}

type Row<'a> = (&'a [u8], (i64, i64), Strand);

fn parse(line: &[u8]) -> Result<Row<'_>, Problem> {
    let ([contig, start, end, _, _, strand], _) =
        rows::columns::<6>(line, "contig, start, end, name, score, strand")?;
    let strand = match strand {
        b"+" => Strand::Plus,
        b"-" => Strand::Minus,
        other => {
            return Err(Problem::new(format!(
                "strand (column 6) is {:?}, expected + or -",
                shown(other)
            )));
        }
    };
    Ok((contig, rows::interval(start, end)?, strand))
}
