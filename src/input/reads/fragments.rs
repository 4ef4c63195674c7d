//! Fragment files: contig, start, end, and possibly barcode, count and more.
//!
//! A row is one fragment and gives two read ends: plus at `start`, minus at `end - 1`. The count of
//! column 5 (how many read pairs the row stands for) is ignored, as the official tool ignores it:
//! those are copies of one molecule. Cell Ranger and SnapATAC write the same first five columns. Rows
//! with a strand in column 6, as SnapATAC writes them for single-end data, are reads with one end
//! each and are refused: counted here, their other ends would become cut sites.

use anyhow::Result;

use super::contigs::Lookup;
use super::records::{Records, shown};
use super::rows;
use crate::error::Problem;
use crate::input::lines::Text;

pub(super) fn read(text: &mut Text, records: &mut Records) -> Result<()> {
    let mut lookup = Lookup::default();
    let barcodes = records.options.filters.barcodes.as_ref();
    if let Some(barcodes) = barcodes {
        records.tally.seen_barcodes.resize(barcodes.len(), false);
    }
    rows::for_each(text, records, |records, number, line| {
        let parsed = rows::columns::<3>(line, "contig, start, end").and_then(
            |([contig, start, end], rest)| Ok((contig, rows::interval(start, end)?, rest)),
        );
        let (contig, (start, end), rest) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return rows::bad(records, number, line, problem),
        };
        if let Some(barcodes) = barcodes {
            let Some(barcode) = rest.and_then(|rest| rest.split(|&b| b == b'\t').next()) else {
                let problem = Problem::new("row has no barcode (column 4), which --barcodes needs");
                return rows::bad(records, number, line, problem);
            };
            let Some(place) = barcodes.find(barcode) else {
                if records.unlisted.is_none() {
                    records.unlisted = Some(shown(barcode));
                }
                records.filtered();
                return Ok(());
            };
            records.tally.seen_barcodes[place] = true;
        }
        let path = records.path;
        let place = || crate::input::lines::place(path, number as usize);
        match lookup.id(records.contigs, contig).map_err(|p| p.at(place()))? {
            Some(id) => records.fragment(id, start, end, place)?,
            None => records.unknown_contig(contig, place),
        }
        Ok(())
    })
}
