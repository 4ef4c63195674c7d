//! The draw of nonpeaks: for every peak, background windows of the same GC content from the same
//! part of the fold.
//!
//! In: the peaks' windows (foreground), free windows (candidates), a fold, a seed. Out: nonpeaks in
//! the order of the draw, and a table by GC value of what was wanted and found.
//! Source: official `get_gc_matched_negatives`, draw for draw: the same seed gives the same
//! nonpeaks. All chromosomes of a split are one pool. A GC value without candidates left is left
//! for a neighbour by random steps of 0.01. The official search never ends when a split runs out;
//! here the rest is a shortfall.

use super::gc::{GC_VALUES, Window};
use crate::input::folds::{Folds, Split};
use crate::numpy::python_random::PythonRandom;
use crate::store::GenomePack;

/// How many nonpeaks a peak gets.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Nonpeaks for each train and valid peak; a test peak gets one.
    pub neg_to_pos_ratio_train: usize,
    pub seed: u64,
}

impl Draw {
    fn ratio(&self, split: Split) -> usize {
        match split {
            Split::Train | Split::Valid => self.neg_to_pos_ratio_train,
            Split::Test => 1,
        }
    }
}

/// What one fold got.
#[derive(Clone, Debug, Default)]
pub struct Nonpeaks {
    /// In the order of the draw: that of the peaks.
    pub windows: Vec<Window>,
    /// One row for each split and GC value that has peaks or nonpeaks.
    pub table: Vec<GcRow>,
    /// Peaks on chromosomes of no list of the fold.
    pub peaks_not_in_folds: usize,
}

/// Counts of one GC value in one split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcRow {
    pub split: Split,
    /// Hundredths.
    pub gc: u8,
    pub peaks: usize,
    /// Nonpeaks that these peaks ask for.
    pub wanted: usize,
    /// Windows that could be drawn.
    pub candidates: usize,
    /// Nonpeaks drawn that have this GC value, whatever value asked for them.
    pub drawn: usize,
    /// Nonpeaks that were wanted and could not be given any window.
    pub short: usize,
}

impl Nonpeaks {
    pub fn shortfall(&self) -> usize {
        self.table.iter().map(|row| row.short).sum()
    }
}

/// Draws the nonpeaks of one fold.
pub fn draw(
    foreground: &[Window],
    candidates: &[Window],
    genome: &GenomePack,
    folds: &Folds,
    how: Draw,
) -> Nonpeaks {
    let splits = folds.splits();
    let split_of: Vec<Option<Split>> =
        genome.contigs().iter().map(|c| splits.of(&c.name)).collect();
    let mut pools = Split::ALL.map(Pool::new);
    for &window in candidates {
        if let Some(split) = split_of[window.contig as usize] {
            pools[split as usize].add(window);
        }
    }
    let mut random = PythonRandom::new(how.seed);
    let mut found = Nonpeaks::default();
    for peak in foreground {
        let Some(split) = split_of[peak.contig as usize] else {
            found.peaks_not_in_folds += 1;
            continue;
        };
        let pool = &mut pools[split as usize];
        pool.rows[usize::from(peak.gc)].peaks += 1;
        for _ in 0..how.ratio(split) {
            found.windows.extend(pool.draw(peak.gc, &mut random));
        }
    }
    found.table = pools.into_iter().flat_map(|pool| pool.rows).filter(GcRow::is_used).collect();
    found
}

impl GcRow {
    fn is_used(&self) -> bool {
        self.peaks > 0 || self.drawn > 0
    }
}

/// Candidates of one split, by GC value.
struct Pool {
    bins: Vec<Bin>,
    rows: Vec<GcRow>,
    /// Windows left in the bins that steps can reach.
    within_reach: usize,
}

#[derive(Clone, Default)]
struct Bin {
    windows: Vec<Window>,
    used: Vec<bool>,
    left: usize,
}

/// Steps stop short of 0.0, which is unknown sequence, and of 1.0, as the official ones do.
fn is_within_reach(gc: u8) -> bool {
    0 < gc && gc < 100
}

impl Pool {
    fn new(split: Split) -> Self {
        let row = |gc| GcRow { split, gc, peaks: 0, wanted: 0, candidates: 0, drawn: 0, short: 0 };
        Self {
            bins: vec![Bin::default(); GC_VALUES],
            rows: (0..GC_VALUES as u8).map(row).collect(),
            within_reach: 0,
        }
    }

    fn add(&mut self, window: Window) {
        let bin = &mut self.bins[usize::from(window.gc)];
        bin.windows.push(window);
        bin.used.push(false);
        bin.left += 1;
        self.rows[usize::from(window.gc)].candidates += 1;
        self.within_reach += usize::from(is_within_reach(window.gc));
    }

    /// One unused window for a peak of GC `wanted`, or none when nothing is in reach.
    fn draw(&mut self, wanted: u8, random: &mut PythonRandom) -> Option<Window> {
        self.rows[usize::from(wanted)].wanted += 1;
        let mut gc = wanted;
        while self.bins[usize::from(gc)].left == 0 {
            if self.within_reach == 0 {
                self.rows[usize::from(wanted)].short += 1;
                return None;
            }
            gc = step(gc, random);
        }
        let bin = &mut self.bins[usize::from(gc)];
        let chosen = loop {
            let i = random.below(bin.windows.len() as u32) as usize;
            if !bin.used[i] {
                break i;
            }
        };
        bin.used[chosen] = true;
        bin.left -= 1;
        let window = bin.windows[chosen];
        self.within_reach -= usize::from(is_within_reach(gc));
        self.rows[usize::from(gc)].drawn += 1;
        Some(window)
    }
}

/// 0.01 up or down; a step onto or over an end is taken back.
fn step(gc: u8, random: &mut PythonRandom) -> u8 {
    let moved = if random.random() > 0.5 { i16::from(gc) + 1 } else { i16::from(gc) - 1 };
    match moved {
        ..=0 => (moved + 1) as u8,
        100.. => (moved - 1) as u8,
        _ => moved as u8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn genome() -> GenomePack {
        GenomePack::from_sequences(["a", "b", "c", "d"].map(|name| (name, &b"ACGT"[..])))
    }

    fn folds() -> Folds {
        Folds { train: vec!["a".into()], valid: vec!["b".into()], test: vec!["c".into()] }
    }

    fn windows(places: &[(u32, u8)]) -> Vec<Window> {
        (0..).zip(places).map(|(start, &(contig, gc))| Window { contig, start, gc }).collect()
    }

    const HOW: Draw = Draw { neg_to_pos_ratio_train: 2, seed: 7 };

    #[test]
    fn ratio_by_split_and_chromosomes_of_no_list() {
        let peaks = windows(&[(0, 50), (1, 50), (2, 50), (3, 50)]);
        let candidates = windows(&[50; 40].map(|gc| (gc as u32 % 4, gc)));
        let candidates: Vec<Window> =
            (0..).zip(candidates).map(|(i, w)| Window { contig: i % 4, ..w }).collect();
        let found = draw(&peaks, &candidates, &genome(), &folds(), HOW);
        let contigs: Vec<u32> = found.windows.iter().map(|w| w.contig).collect();
        assert_eq!(contigs, [0, 0, 1, 1, 2]);
        assert_eq!((found.peaks_not_in_folds, found.shortfall()), (1, 0));
    }

    #[test]
    fn a_split_that_runs_out_is_a_shortfall_with_its_bins() {
        let peaks = windows(&[(0, 30), (0, 30), (0, 80), (2, 50)]);
        // 0.0 and 1.0 are out of reach of steps
        let candidates = windows(&[(0, 31), (0, 90), (0, 0), (0, 100), (0, 29)]);
        let found = draw(&peaks, &candidates, &genome(), &folds(), HOW);
        assert_eq!(found.windows.len(), 3);
        let short: Vec<_> =
            found.table.iter().filter(|r| r.short > 0).map(|r| (r.split, r.gc, r.short)).collect();
        assert_eq!(short, [(Split::Train, 30, 1), (Split::Train, 80, 2), (Split::Test, 50, 1)]);
        assert_eq!(found.shortfall(), 4);
    }

    #[test]
    fn a_peak_of_unknown_sequence_takes_its_like() {
        let found = draw(&windows(&[(2, 0)]), &windows(&[(2, 0)]), &genome(), &folds(), HOW);
        assert_eq!(found.windows, windows(&[(2, 0)]));
    }

    proptest! {
        /// Whatever the candidates: it ends, draws each window at most once and from the right
        /// split, and what is not drawn is accounted for.
        #[test]
        fn ends_and_draws_each_window_once(
            peaks in prop::collection::vec((0u32..4, 0u8..=100), 0..60),
            candidates in prop::collection::vec((0u32..4, 0u8..=100), 0..60),
            ratio in 0usize..4,
            seed: u64,
        ) {
            let (peaks, candidates) = (windows(&peaks), windows(&candidates));
            let how = Draw { neg_to_pos_ratio_train: ratio, seed };
            let found = draw(&peaks, &candidates, &genome(), &folds(), how);
            let unique: HashSet<u32> = found.windows.iter().map(|w| w.start).collect();
            prop_assert_eq!(unique.len(), found.windows.len());
            prop_assert!(found.windows.iter().all(|w| candidates.contains(w) && w.contig < 3));
            let wanted: usize = found.table.iter().map(|r| r.wanted).sum();
            let drawn: usize = found.table.iter().map(|r| r.drawn).sum();
            prop_assert_eq!(drawn, found.windows.len());
            prop_assert_eq!(wanted, drawn + found.shortfall());
            for contig in 0..3u32 {
                let of = |windows: &[Window]| windows.iter().filter(|w| w.contig == contig).count();
                let split = Split::ALL[contig as usize];
                let short: usize =
                    found.table.iter().filter(|r| r.split == split).map(|r| r.short).sum();
                prop_assert_eq!(of(&found.windows) + short, of(&peaks) * how.ratio(split));
                // short only when nothing that steps reach is left
                let left = candidates.iter().filter(|w| w.contig == contig
                    && is_within_reach(w.gc) && !found.windows.contains(w)).count();
                prop_assert!(short == 0 || left == 0);
            }
        }
    }
}
