//! A uniform sample of read ends that does not depend on who reads them when.
//!
//! Every read has a number, its hash under the seed is its ticket, and the sample is the reads with
//! the lowest tickets. So the sample is a function of the seed and the numbers alone: threads may
//! read parts of a file in any order and merge what they have.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::input::reads::ReadEnd;

/// Reads that are kept beyond the sample's size before the highest tickets are thrown out again.
const SPARE: usize = 4096;

/// Collects a sample of read ends. Memory: at most 32 bytes for each of 4 x `num_samples` + 4,096.
#[derive(Clone, Debug)]
pub struct Sample {
    size: usize,
    seed: u64,
    /// Number of the next read.
    next: u64,
    seen: u64,
    /// Tickets above this are not in the sample.
    highest: u64,
    kept: Vec<(u64, u64, ReadEnd)>,
}

impl Sample {
    /// A sample of `num_samples` reads a strand, 2 x `num_samples` in all: reads are drawn
    /// whatever their strand, as the official detection draws them (its default: 10,000).
    pub fn new(num_samples: usize, seed: u64) -> Self {
        let size = num_samples.saturating_mul(2);
        Self { size, seed, next: 0, seen: 0, highest: u64::MAX, kept: Vec::new() }
    }

    /// An empty sample of the same size and seed for one part of the input, to be merged later.
    /// Parts are told apart by `part`: a number that is the same in every run, such as the number of
    /// a file or of a block in it. Part 0 is where a sample begins. At most 2^24 parts of 2^40 reads.
    pub fn part(&self, part: u32) -> Self {
        Self { next: u64::from(part) << 40, seen: 0, highest: u64::MAX, kept: Vec::new(), ..*self }
    }

    /// Takes the next read of this part.
    pub fn observe(&mut self, end: ReadEnd) {
        let number = self.next;
        self.next += 1;
        self.seen += 1;
        let ticket = xxh3_64_with_seed(&number.to_le_bytes(), self.seed);
        if ticket <= self.highest {
            self.kept.push((ticket, number, end));
            if self.kept.len() >= self.size.saturating_mul(2).saturating_add(SPARE) {
                self.trim();
            }
        }
    }

    /// Adds what another part saw.
    pub fn merge(&mut self, other: Sample) {
        self.seen += other.seen;
        self.highest = self.highest.min(other.highest);
        self.kept.extend(other.kept);
        self.trim();
    }

    fn trim(&mut self) {
        if self.kept.len() > self.size {
            self.kept
                .select_nth_unstable_by_key(self.size, |&(ticket, number, _)| (ticket, number));
            self.kept.truncate(self.size);
            let highest = self.kept.iter().map(|&(ticket, ..)| ticket).max();
            self.highest = highest.unwrap_or(0);
        }
    }

    /// Reads seen, of all parts.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The sampled reads, by number.
    pub fn reads(&self) -> Vec<ReadEnd> {
        let mut kept = self.kept.clone();
        if kept.len() > self.size {
            kept.select_nth_unstable_by_key(self.size, |&(ticket, number, _)| (ticket, number));
            kept.truncate(self.size);
        }
        kept.sort_unstable_by_key(|&(_, number, _)| number);
        kept.into_iter().map(|(_, _, end)| end).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::reads::Strand;

    fn read(position: i64) -> ReadEnd {
        ReadEnd { contig: 0, position, strand: Strand::Plus }
    }

    fn drawn(num_samples: usize, seed: u64, reads: i64) -> Vec<i64> {
        let mut sample = Sample::new(num_samples, seed);
        (0..reads).for_each(|i| sample.observe(read(i)));
        assert_eq!(sample.seen(), reads as u64);
        sample.reads().iter().map(|r| r.position).collect()
    }

    #[test]
    fn small_inputs_are_taken_whole() {
        assert_eq!(drawn(10, 1, 20), (0..20).collect::<Vec<_>>());
        assert_eq!(drawn(usize::MAX, 1, 5), [0, 1, 2, 3, 4]);
        assert!(drawn(10, 1, 0).is_empty());
        assert!(drawn(0, 1, 9).is_empty());
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let first = drawn(50, 7, 30_000);
        assert_eq!(first.len(), 100);
        assert_eq!(first, drawn(50, 7, 30_000));
        assert_ne!(first, drawn(50, 8, 30_000));
    }

    /// Ten equal parts of the input get about a tenth of the sample each: chi-square with 9 degrees
    /// of freedom stays below its 99.9 % point, 27.9, for these fixed seeds.
    #[test]
    fn every_read_has_the_same_chance() {
        for seed in 0..5 {
            let mut tenths = [0.0f64; 10];
            for position in drawn(5_000, seed, 200_000) {
                tenths[position as usize / 20_000] += 1.0;
            }
            let chi: f64 = tenths.iter().map(|n| (n - 1000.0).powi(2) / 1000.0).sum();
            // without replacement, so a little less than chi-square; zero would be no sample at all
            assert!(chi > 0.1 && chi < 27.9, "seed {seed}: {chi} {tenths:?}");
        }
    }

    #[test]
    fn parts_merge_in_any_order() {
        let whole = Sample::new(300, 3);
        let parts: Vec<Sample> = (0..6)
            .map(|p| {
                let mut part = whole.part(p);
                (0..7_000 * i64::from(p))
                    .for_each(|i| part.observe(read(i + 1_000_000 * i64::from(p))));
                part
            })
            .collect();
        let merged = |order: &[usize]| {
            let mut sample = whole.clone();
            order.iter().for_each(|&i| sample.merge(parts[i].clone()));
            (sample.seen(), sample.reads())
        };
        let wanted = merged(&[0, 1, 2, 3, 4, 5]);
        assert_eq!((wanted.0, wanted.1.len()), (105_000, 600));
        assert_eq!(wanted, merged(&[5, 3, 1, 0, 2, 4]));
        // merged into a part that went on reading, it is still the same sample
        let mut last = parts[5].clone();
        parts[..5].iter().for_each(|p| last.merge(p.clone()));
        assert_eq!(wanted, (last.seen(), last.reads()));
    }
}
