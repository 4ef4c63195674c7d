//! What `prep nonpeaks` leaves: the official files, column for column, and a table by GC value.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::exclude::{Exclusions, Interval};
use super::gc::{GC_VALUES, Window, fraction};
use super::nonpeaks::GcRow;
use crate::files::atomic;
use crate::input::intervals::BedRow;
use crate::input::regions::Region;
use crate::store::GenomePack;

/// `chrom start end gc`: `genomewide_gc.bed`, `foreground.gc.bed`, `candidates.bed`,
/// `negatives.bed`. Windows are `width` bp.
pub fn write_gc(path: &Path, windows: &[Window], genome: &GenomePack, width: usize) -> Result<()> {
    let fractions: Vec<String> = (0..GC_VALUES as u8).map(fraction).collect();
    atomic::write(path, |out| {
        for w in windows {
            let chrom = &genome.contigs()[w.contig as usize].name;
            let (start, end) = (w.start as usize, w.start as usize + width);
            writeln!(out, "{chrom}\t{start}\t{end}\t{}", fractions[usize::from(w.gc)])?;
        }
        Ok(())
    })
}

/// `*_negatives.bed`: 10 columns, the summit in the middle.
pub fn write_regions(
    path: &Path,
    windows: &[Window],
    genome: &GenomePack,
    width: usize,
) -> Result<()> {
    atomic::write(path, |out| {
        for w in windows {
            let chrom = &genome.contigs()[w.contig as usize].name;
            let (start, end) = (w.start as usize, w.start as usize + width);
            writeln!(out, "{chrom}\t{start}\t{end}\t.\t.\t.\t.\t.\t.\t{}", width / 2)?;
        }
        Ok(())
    })
}

/// `peaks_slop.bed`: the peaks' rows with the widened places.
pub fn write_widened_peaks(path: &Path, peaks: &[Region], widened: &[Interval]) -> Result<()> {
    atomic::write(path, |out| {
        for (peak, Interval { chrom, start, end }) in peaks.iter().zip(widened) {
            writeln!(out, "{chrom}\t{start}\t{end}\t{}\t{}", peak.extra, peak.summit)?;
        }
        Ok(())
    })
}

/// `blacklist_slop.bed`: the rows of the blacklist, widened, with the columns that the blacklist has.
pub fn write_widened_rows(path: &Path, rows: &[BedRow], widened: &[Interval]) -> Result<()> {
    atomic::write(path, |out| {
        for (row, Interval { chrom, start, end }) in rows.iter().zip(widened) {
            write!(out, "{chrom}\t{start}\t{end}")?;
            if !row.rest.is_empty() {
                write!(out, "\t{}", row.rest)?;
            }
            writeln!(out)?;
        }
        Ok(())
    })
}

/// `exclude_unmerged.bed`
pub fn write_intervals(path: &Path, intervals: &[Interval]) -> Result<()> {
    atomic::write(path, |out| {
        for Interval { chrom, start, end } in intervals {
            writeln!(out, "{chrom}\t{start}\t{end}")?;
        }
        Ok(())
    })
}

/// `exclude.bed`
pub fn write_exclusions(path: &Path, exclusions: &Exclusions) -> Result<()> {
    atomic::write(path, |out| {
        for (chrom, start, end) in exclusions.iter() {
            writeln!(out, "{chrom}\t{start}\t{end}")?;
        }
        Ok(())
    })
}

/// `negatives_gc.tsv`: one row for each split and GC value.
pub fn write_table(path: &Path, table: &[GcRow]) -> Result<()> {
    atomic::write(path, |out| {
        writeln!(out, "split\tgc\tpeaks\twanted\tcandidates\tdrawn\tshort")?;
        for GcRow { split, gc, peaks, wanted, candidates, drawn, short } in table {
            let gc = fraction(*gc);
            writeln!(out, "{split}\t{gc}\t{peaks}\t{wanted}\t{candidates}\t{drawn}\t{short}")?;
        }
        Ok(())
    })
}
