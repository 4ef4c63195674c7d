//! What goes into an epoch, as a pure function of (seed, epoch, index).
//!
//! Source: official batch generator. Every peak once, cropped at a uniform start within
//! +-max_jitter; `int(ratio x peaks)` nonpeaks drawn afresh without replacement and never jittered;
//! exactly `int(n/2)` examples reverse-complemented; all shuffled. A bias run has nonpeaks only
//! and takes all of them. Differs in the generator (ChaCha instead of NumPy's global one), and
//! flips do not accumulate over epochs as they do there in bias runs.

use rand::SeedableRng;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::{Example, Windows};
use crate::error::Problem;

/// The centre of a region, ready to become examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Index into the genome pack's contig table.
    pub contig: u32,
    /// Summit position, 0-based.
    pub center: u32,
    /// Row of the caller's region table.
    pub row: u32,
}

impl Site {
    /// The unjittered, forward example of this site. The caller's edge filter has made sure that
    /// the window lies inside the contig.
    pub fn example(&self, inputlen: usize, is_peak: bool) -> Example {
        Example {
            contig: self.contig,
            start: self.center - (inputlen / 2) as u32,
            flags: if is_peak { Example::PEAK } else { 0 },
            row: self.row,
        }
    }
}

/// Peaks, then nonpeaks, at their summits and forward: validation and test plans.
pub fn fixed_plan(inputlen: usize, peaks: &[Site], nonpeaks: &[Site]) -> Vec<Example> {
    let peaks = peaks.iter().map(|s| s.example(inputlen, true));
    peaks.chain(nonpeaks.iter().map(|s| s.example(inputlen, false))).collect()
}

/// Makes the training plan of any epoch.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    inputlen: usize,
    max_jitter: u32,
    nonpeaks_per_epoch: usize,
    peaks: Vec<Site>,
    nonpeaks: Vec<Site>,
}

/// One ChaCha stream per purpose, so that none depends on how much another consumes.
#[derive(Clone, Copy)]
enum Stream {
    Nonpeaks,
    Revcomp,
    Order,
    Jitter,
}

impl Sampler {
    /// `negative_sampling_ratio` below 1 draws that share of the number of peaks; 1 and above, or
    /// no peaks at all, takes every nonpeak (as the official generator does).
    ///
    /// Errors when the draw asks for more nonpeaks than there are, or nothing is left to train on.
    pub fn new(
        seed: u64,
        inputlen: usize,
        max_jitter: u32,
        negative_sampling_ratio: f64,
        peaks: Vec<Site>,
        nonpeaks: Vec<Site>,
    ) -> Result<Self, Problem> {
        let nonpeaks_per_epoch = if peaks.is_empty() || negative_sampling_ratio >= 1.0 {
            nonpeaks.len()
        } else {
            (negative_sampling_ratio * peaks.len() as f64) as usize
        };
        if nonpeaks_per_epoch > nonpeaks.len() {
            return Err(Problem::new(format!(
                "an epoch draws {nonpeaks_per_epoch} nonpeaks ({negative_sampling_ratio} x {} training peaks), but only {} are left after the filters",
                peaks.len(),
                nonpeaks.len()
            ))
            .fix("give more nonpeaks, or lower --negative-sampling-ratio"));
        }
        if peaks.len() + nonpeaks_per_epoch == 0 {
            return Err(Problem::new("no region is left to train on"));
        }
        Ok(Self { seed, inputlen, max_jitter, nonpeaks_per_epoch, peaks, nonpeaks })
    }

    /// Examples in every epoch.
    pub fn examples_per_epoch(&self) -> usize {
        self.peaks.len() + self.nonpeaks_per_epoch
    }

    /// The shuffled examples of one epoch; batches are its consecutive chunks.
    pub fn epoch(&self, epoch: u64) -> Vec<Example> {
        let mut plan = Vec::with_capacity(self.examples_per_epoch());
        let mut jitter = self.rng(epoch, Stream::Jitter);
        for site in &self.peaks {
            let mut example = site.example(self.inputlen, true);
            if self.max_jitter > 0 {
                // start - max_jitter + uniform(0..=2 max_jitter)
                let shift = jitter.random_range(0..=2 * self.max_jitter);
                example.start = example.start + shift - self.max_jitter;
            }
            plan.push(example);
        }
        for index in self.drawn_nonpeaks(epoch) {
            plan.push(self.nonpeaks[index as usize].example(self.inputlen, false));
        }

        let flips = plan.len() / 2;
        let mut order: Vec<u32> = (0..plan.len() as u32).collect();
        partial_shuffle(&mut order, flips, &mut self.rng(epoch, Stream::Revcomp));
        for &index in &order[..flips] {
            plan[index as usize].flags |= Example::REVCOMP;
        }
        let n = plan.len();
        partial_shuffle(&mut plan, n, &mut self.rng(epoch, Stream::Order));
        plan
    }

    /// What comes again in every epoch: peaks at any start within +-max_jitter; nonpeaks where all are taken.
    pub fn windows(&self) -> Vec<Windows> {
        let peaks = self.peaks.iter().map(|site| {
            let start = site.example(self.inputlen, true).start;
            let first_start = start.saturating_sub(self.max_jitter);
            let starts = start - first_start + self.max_jitter + 1;
            Windows { contig: site.contig, first_start, starts, both_strands: true }
        });
        let nonpeaks = self.nonpeaks.iter().filter(|_| self.drawn_afresh() == 0).map(|site| {
            let window = Windows::of(&site.example(self.inputlen, false));
            Windows { both_strands: true, ..window }
        });
        peaks.chain(nonpeaks).collect()
    }

    /// Examples of an epoch that are in none of `windows`.
    pub fn drawn_afresh(&self) -> usize {
        match self.nonpeaks_per_epoch < self.nonpeaks.len() {
            true => self.nonpeaks_per_epoch,
            false => 0,
        }
    }

    fn drawn_nonpeaks(&self, epoch: u64) -> Vec<u32> {
        let mut indices: Vec<u32> = (0..self.nonpeaks.len() as u32).collect();
        if self.nonpeaks_per_epoch < indices.len() {
            let mut rng = self.rng(epoch, Stream::Nonpeaks);
            partial_shuffle(&mut indices, self.nonpeaks_per_epoch, &mut rng);
            indices.truncate(self.nonpeaks_per_epoch);
        }
        indices
    }

    fn rng(&self, epoch: u64, stream: Stream) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch * 4 + stream as u64);
        rng
    }
}

/// Fisher-Yates from the front: the first `count` items become a uniform draw in uniform order.
fn partial_shuffle<T>(items: &mut [T], count: usize, rng: &mut impl Rng) {
    let n = items.len();
    for i in 0..count.min(n.saturating_sub(1)) {
        let j = rng.random_range(i..n);
        items.swap(i, j);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn sites(n: u32) -> Vec<Site> {
        (0..n).map(|row| Site { contig: row % 3, center: 10_000 + 7 * row, row }).collect()
    }

    fn sampler(seed: u64) -> Sampler {
        Sampler::new(seed, 2114, 500, 0.3, sites(101), sites(77)).unwrap()
    }

    #[test]
    fn an_epoch_holds_every_peak_once_and_a_fresh_draw_of_nonpeaks() {
        let s = sampler(1);
        let draw = |epoch| {
            let plan = s.epoch(epoch);
            assert_eq!(plan.len(), 101 + 30);
            assert_eq!(plan.iter().filter(|e| e.is_revcomp()).count(), 131 / 2);
            let peaks: HashSet<u32> = plan.iter().filter(|e| e.is_peak()).map(|e| e.row).collect();
            assert_eq!(peaks.len(), 101);
            let mut nonpeaks: Vec<u32> =
                plan.iter().filter(|e| !e.is_peak()).map(|e| e.row).collect();
            nonpeaks.sort_unstable();
            nonpeaks.dedup();
            assert_eq!(nonpeaks.len(), 30, "drawn without replacement");
            nonpeaks
        };
        assert_ne!(draw(0), draw(1));
    }

    #[test]
    fn only_peaks_are_jittered_and_within_bounds() {
        let mut seen = HashSet::new();
        for example in (0..50).flat_map(|e| sampler(2).epoch(e)) {
            let offset = i64::from(example.start) - (10_000 + 7 * i64::from(example.row) - 1057);
            if example.is_peak() {
                assert!((-500..=500).contains(&offset));
                seen.insert(offset);
            } else {
                assert_eq!(offset, 0);
            }
        }
        assert!(seen.contains(&-500) && seen.contains(&500), "both ends are reached");
    }

    #[test]
    fn windows_hold_all_examples_but_those_drawn_afresh() {
        let all = Sampler::new(4, 2114, 500, 1.0, sites(31), sites(20)).unwrap();
        assert_eq!((sampler(4).drawn_afresh(), all.drawn_afresh()), (30, 0));
        for sampler in [sampler(4), all] {
            let windows: HashSet<(u32, u32)> = sampler
                .windows()
                .iter()
                .inspect(|w| assert!(w.both_strands))
                .flat_map(|w| (0..w.starts).map(|i| (w.contig, w.first_start + i)))
                .collect();
            let outside = |e: &&Example| !windows.contains(&(e.contig, e.start));
            // The sites of nonpeaks are peaks' here, but an unjittered peak's window is one of its windows.
            let plan = sampler.epoch(3);
            assert_eq!(plan.iter().filter(|e| e.is_peak()).filter(outside).count(), 0);
            assert!(plan.iter().filter(outside).count() <= sampler.drawn_afresh());
        }
        // At the beginning of a contig
        let site = Site { contig: 0, center: 1157, row: 0 };
        let edge = Sampler::new(1, 2114, 500, 0.0, vec![site], vec![]).unwrap().windows();
        assert_eq!((edge[0].first_start, edge[0].starts), (0, 601));
    }

    #[test]
    fn the_same_key_gives_the_same_plan_and_another_key_another() {
        assert_eq!(sampler(3).epoch(4), sampler(3).epoch(4));
        assert_ne!(sampler(3).epoch(4), sampler(3).epoch(5));
        assert_ne!(sampler(3).epoch(4), sampler(4).epoch(4));
    }

    #[test]
    fn a_bias_run_takes_every_nonpeak() {
        let s = Sampler::new(1, 2114, 0, 1.0, vec![], sites(9)).unwrap();
        let mut rows: Vec<u32> = s.epoch(0).iter().map(|e| e.row).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn too_few_nonpeaks_is_an_error_with_the_numbers() {
        let error = Sampler::new(1, 2114, 0, 0.5, sites(100), sites(49)).unwrap_err().to_string();
        assert!(error.contains("draws 50 nonpeaks") && error.contains("only 49"), "{error}");
    }
}
