//! The edge filter: a region stays when its window fits into its contig.
//!
//! Source: official `filter_edge_regions`, which keeps `center - width // 2 >= 0` and
//! `center + width // 2 <= length`. There the length comes from the bigWig alone, so that a contig
//! without reads reads as "edge"; here a contig must be in the genome and, where there is one, in
//! the signal, and a missing contig is a reason of its own. The same regions stay.

use std::sync::Arc;

use super::dropped::{DropReason, Dropped};
use crate::input::regions::Region;
use crate::store::Tracks;

/// Genome contig of a region whose window of `width` bp fits, or why it does not. A contig ends where the
/// shorter of genome and signal does.
pub fn place(tracks: &Tracks, region: &Region, width: usize) -> Result<u32, DropReason> {
    let id = tracks.genome.contig_id(&region.chrom).ok_or(DropReason::MissingFromGenome)?;
    let mut length = tracks.genome.contigs()[id as usize].length;
    if let Some(signal) = &tracks.signal {
        let id = tracks.signal_contig(id).ok_or(DropReason::MissingFromSignal)?;
        length = length.min(signal.contigs()[id as usize].length);
    }
    let (center, half) = (region.center(), width as u64 / 2);
    if center < half || center + half > length {
        return Err(DropReason::Edge { width });
    }
    Ok(id)
}

/// Splits `regions` into those whose window of `width` bp fits into the contig, in order, and the
/// others. `file` names the input in the records.
pub fn filter(
    regions: &[Region],
    tracks: &Tracks,
    width: usize,
    file: &str,
) -> (Vec<Region>, Vec<Dropped>) {
    let file: Arc<str> = file.into();
    let (mut kept, mut dropped) = (Vec::with_capacity(regions.len()), Vec::new());
    for region in regions {
        match place(tracks, region, width) {
            Ok(_) => kept.push(region.clone()),
            Err(reason) => dropped.push(Dropped::new(&file, region, reason)),
        }
    }
    (kept, dropped)
}

/// One line for each kind of missing contig in `dropped`, with a count and an example: a contig
/// without reads is easily missing from a bigWig, and its regions would vanish unseen.
/// `total` is the number of regions that were looked at.
pub fn missing_contig_warnings(dropped: &[Dropped], total: usize) -> Vec<String> {
    [(DropReason::MissingFromGenome, "genome"), (DropReason::MissingFromSignal, "signal")]
        .into_iter()
        .filter_map(|(reason, place)| {
            let mut missing = dropped.iter().filter(|d| d.reason == reason);
            let first = missing.next()?;
            Some(format!(
                "{} of {total} {} lie on contigs missing from the {place}, e.g. {} (line {})",
                1 + missing.count(),
                first.file,
                first.chrom,
                first.line
            ))
        })
        .collect()
}
