//! The edge filter: a window must lie on its contig.
//!
//! Source: official `filter_edge_regions`, which takes contig lengths from the bigWig, so that a
//! contig without reads loses all its regions "on the edge". Here lengths come from the genome (the
//! two agree where both have them), and a contig that the signal or the genome lacks is a reason of
//! its own.

use super::{Dropped, Reason};
use crate::input::regions::Region;
use crate::store::Tracks;

/// Splits regions into those whose window of `width` bp fits and those that are dropped.
pub fn filter<'a>(
    regions: impl IntoIterator<Item = &'a Region>,
    tracks: &Tracks,
    width: usize,
    file: &'static str,
) -> (Vec<&'a Region>, Vec<Dropped<'a>>) {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for region in regions {
        match reason(region, tracks, width) {
            None => kept.push(region),
            Some(reason) => dropped.push(Dropped { file, region, reason }),
        }
    }
    (kept, dropped)
}

fn reason(region: &Region, tracks: &Tracks, width: usize) -> Option<Reason> {
    let Some(contig) = tracks.genome.contig_id(&region.chrom) else {
        return Some(Reason::MissingFromGenome);
    };
    if tracks.signal.as_ref().is_some_and(|signal| signal.contig_id(&region.chrom).is_none()) {
        return Some(Reason::MissingFromSignal);
    }
    let length = tracks.genome.contigs()[contig as usize].length;
    let half = width as u64 / 2;
    (region.center() < half || region.center() + half > length).then_some(Reason::Edge)
}
