//! Where nonpeaks must not lie: peaks and blacklisted regions, widened and merged.
//!
//! Source: the official chain of `bedtools slop`, `sort`, `merge` and `intersect -v`.

use std::collections::BTreeMap;

use super::gc::Window;
use crate::store::GenomePack;

/// An interval of a named contig, 0-based and half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    pub chrom: String,
    pub start: u64,
    pub end: u64,
}

impl Interval {
    /// `flank` bp wider on either side, cut to a contig of `length` bp.
    pub fn widened(&self, flank: u64, length: u64) -> Self {
        let start = self.start.saturating_sub(flank).min(length);
        let end = (self.end + flank).min(length);
        Self { chrom: self.chrom.clone(), start, end: end.max(start) }
    }
}

/// Merged intervals by contig, contigs in the order of their names, intervals by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    by_chrom: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Exclusions {
    /// Intervals that overlap or touch become one; empty ones hold nothing.
    pub fn merge(intervals: &[Interval]) -> Self {
        let mut by_chrom: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
        for interval in intervals.iter().filter(|i| i.start < i.end) {
            let places = match by_chrom.get_mut(&interval.chrom) {
                Some(places) => places,
                None => by_chrom.entry(interval.chrom.clone()).or_default(),
            };
            places.push((interval.start, interval.end));
        }
        for places in by_chrom.values_mut() {
            places.sort_unstable();
            places.dedup_by(|next, last| {
                let touches = next.0 <= last.1;
                if touches {
                    last.1 = last.1.max(next.1);
                }
                touches
            });
        }
        Self { by_chrom }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.by_chrom.iter().flat_map(|(chrom, places)| {
            places.iter().map(move |&(start, end)| (chrom.as_str(), start, end))
        })
    }

    /// Does `[start, end)` share a base with an interval?
    pub fn overlaps(&self, chrom: &str, start: u64, end: u64) -> bool {
        self.by_chrom.get(chrom).is_some_and(|places| overlaps(places, start, end))
    }

    /// The windows of `width` bp that share no base with any interval, in order.
    pub fn keep_free(&self, windows: &[Window], width: usize, genome: &GenomePack) -> Vec<Window> {
        let places: Vec<&[(u64, u64)]> = genome
            .contigs()
            .iter()
            .map(|c| self.by_chrom.get(&c.name).map_or(&[][..], Vec::as_slice))
            .collect();
        let is_free = |window: &&Window| {
            let start = u64::from(window.start);
            !overlaps(places[window.contig as usize], start, start + width as u64)
        };
        windows.iter().filter(is_free).copied().collect()
    }
}

/// `places` are sorted and apart.
fn overlaps(places: &[(u64, u64)], start: u64, end: u64) -> bool {
    let next = places.partition_point(|&(_, e)| e <= start);
    places.get(next).is_some_and(|&(s, _)| s < end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(chrom: &str, start: u64, end: u64) -> Interval {
        Interval { chrom: chrom.into(), start, end }
    }

    #[test]
    fn merged_by_name_then_position() {
        let merged = Exclusions::merge(&[
            interval("chr2", 5, 9),
            interval("chr10", 7, 8),
            interval("chr2", 0, 3),
            interval("chr2", 3, 4),
            interval("chr2", 6, 7),
        ]);
        let all: Vec<_> = merged.iter().collect();
        assert_eq!(all, [("chr10", 7, 8), ("chr2", 0, 4), ("chr2", 5, 9)]);
        assert!(!merged.overlaps("chr2", 4, 5) && merged.overlaps("chr2", 4, 6));
        assert!(!merged.overlaps("chr1", 0, 100) && !merged.overlaps("chr2", 9, 100));
    }

    #[test]
    fn widened_within_the_contig() {
        assert_eq!(interval("a", 10, 20).widened(15, 100), interval("a", 0, 35));
        assert_eq!(interval("a", 90, 95).widened(15, 100), interval("a", 75, 100));
        // past the contig's end
        assert_eq!(interval("a", 130, 140).widened(15, 100), interval("a", 100, 100));
    }

    proptest! {
        /// Kept windows share no base with any interval, dropped ones share one.
        #[test]
        fn keeps_what_is_free_and_nothing_else(
            intervals in prop::collection::vec((0u64..400, 0u64..40), 0..30),
            width in 1usize..60,
            stride in 1usize..50,
        ) {
            let bases = [b'A'; 400];
            let genome = GenomePack::from_sequences([("a", &bases[..]), ("b", &bases[..])]);
            let intervals: Vec<Interval> =
                intervals.iter().map(|&(s, n)| interval("a", s, (s + n).min(400))).collect();
            let windows = super::super::gc::genome_windows(&genome, width, stride);
            let kept = Exclusions::merge(&intervals).keep_free(&windows, width, &genome);
            for window in &windows {
                let (start, end) = (u64::from(window.start), u64::from(window.start) + width as u64);
                let hit = window.contig == 0
                    && intervals.iter().any(|i| i.start.max(start) < i.end.min(end));
                prop_assert_eq!(kept.contains(window), !hit);
            }
        }
    }
}
