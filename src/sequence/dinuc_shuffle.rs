//! Shuffles that keep every dinucleotide count: the references of contribution scores.
//!
//! In: base codes (0..=3 = ACGT, 4 = N, a fifth symbol like the others). Out: a sequence with the
//! same first and last base and the same number of each of the 25 pairs, drawn uniformly from all
//! such sequences. The draw is a function of (seed, the sequence, index), so that neither the
//! order of regions nor batches matter, and equal sequences get equal references.
//!
//! Source: Altschul and Erickson (1985); the tree of last exits is drawn by Wilson's algorithm
//! (1996). The official tool keeps each base's last exit as it was in the sequence and shuffles
//! the others, and its generator has no seed; one exit in about 500 is free here and fixed there.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

/// Codes 0..=4.
const SYMBOLS: usize = 5;

/// Writes the `index`-th shuffle of `codes` to `out`; both have the same length.
///
/// Panics on a code above 4 and on lengths that differ.
pub fn shuffle(codes: &[u8], seed: u64, index: u32, out: &mut [u8]) {
    assert_eq!(codes.len(), out.len(), "a shuffle is as long as its sequence");
    let (Some(&first), Some(&last)) = (codes.first(), codes.last()) else { return };
    let mut rng = generator(codes, seed, index);
    let mut exits = Exits::of(codes);
    exits.draw_last_exits(last, &mut rng);
    exits.shuffle_others(last, &mut rng);

    let mut taken = [0; SYMBOLS];
    let mut at = first;
    out[0] = at;
    for base in &mut out[1..] {
        let symbol = usize::from(at);
        at = exits.of_symbol[symbol][taken[symbol]];
        taken[symbol] += 1;
        *base = at;
    }
}

/// `n` shuffles of `codes` one after another, [n, length].
pub fn shuffles(codes: &[u8], seed: u64, n: usize) -> Vec<u8> {
    let mut out = vec![0; n * codes.len()];
    if !codes.is_empty() {
        for (out, index) in out.chunks_exact_mut(codes.len()).zip(0..) {
            shuffle(codes, seed, index, out);
        }
    }
    out
}

fn generator(codes: &[u8], seed: u64, index: u32) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&xxh3_64(codes).to_le_bytes());
    key[16..20].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// What follows each symbol, once for every time it does: the edges of a graph on which the
/// sequence is a walk that uses each edge once.
struct Exits {
    of_symbol: [Vec<u8>; SYMBOLS],
}

impl Exits {
    fn of(codes: &[u8]) -> Self {
        let mut of_symbol: [Vec<u8>; SYMBOLS] = Default::default();
        for pair in codes.windows(2) {
            of_symbol[usize::from(pair[0])].push(pair[1]);
        }
        Self { of_symbol }
    }

    /// Puts an exit of every symbol but `root` last in its list, such that following last exits
    /// leads to `root` from anywhere: then, and only then, the walk does not get stuck early. The
    /// tree is drawn with a probability proportional to its number of edges' copies.
    fn draw_last_exits(&mut self, root: u8, rng: &mut ChaCha8Rng) {
        let mut in_tree = [false; SYMBOLS];
        in_tree[usize::from(root)] = true;
        for start in 0..SYMBOLS {
            if self.of_symbol[start].is_empty() {
                continue;
            }
            // A random walk until it meets the tree. Going over a symbol again replaces its exit,
            // which erases the loop.
            let mut at = start;
            while !in_tree[at] {
                let exits = &mut self.of_symbol[at];
                let last = exits.len() - 1;
                let drawn = rng.random_range(0..=last);
                exits.swap(drawn, last);
                at = usize::from(exits[last]);
            }
            let mut at = start;
            while !in_tree[at] {
                in_tree[at] = true;
                // A symbol outside the tree was walked over, so it has exits.
                at = usize::from(self.of_symbol[at][self.of_symbol[at].len() - 1]);
            }
        }
    }

    /// Fisher and Yates on everything but the last exits; `root` has none.
    fn shuffle_others(&mut self, root: u8, rng: &mut ChaCha8Rng) {
        for (symbol, exits) in self.of_symbol.iter_mut().enumerate() {
            let free = match symbol == usize::from(root) {
                true => exits.len(),
                false => exits.len().saturating_sub(1),
            };
            for i in (1..free).rev() {
                exits.swap(i, rng.random_range(0..=i));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn codes(text: &str) -> Vec<u8> {
        text.bytes().map(|b| "ACGTN".bytes().position(|s| s == b).unwrap() as u8).collect()
    }

    fn one(sequence: &[u8], seed: u64, index: u32) -> Vec<u8> {
        let mut out = vec![9; sequence.len()];
        shuffle(sequence, seed, index, &mut out);
        out
    }

    fn pairs(sequence: &[u8]) -> BTreeMap<(u8, u8), usize> {
        let mut counts = BTreeMap::new();
        for pair in sequence.windows(2) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        counts
    }

    /// Every sequence with the first base and the dinucleotide counts of `sequence`.
    fn arrangements(sequence: &[u8]) -> BTreeSet<Vec<u8>> {
        fn extend(
            left: &mut BTreeMap<(u8, u8), usize>,
            so_far: &mut Vec<u8>,
            length: usize,
            found: &mut BTreeSet<Vec<u8>>,
        ) {
            if so_far.len() == length {
                found.insert(so_far.clone());
                return;
            }
            let at = *so_far.last().unwrap();
            for next in 0..SYMBOLS as u8 {
                if left.get(&(at, next)).is_some_and(|&n| n > 0) {
                    *left.get_mut(&(at, next)).unwrap() -= 1;
                    so_far.push(next);
                    extend(left, so_far, length, found);
                    so_far.pop();
                    *left.get_mut(&(at, next)).unwrap() += 1;
                }
            }
        }
        let mut found = BTreeSet::new();
        extend(&mut pairs(sequence), &mut vec![sequence[0]], sequence.len(), &mut found);
        found
    }

    proptest! {
        #[test]
        fn dinucleotides_and_ends_stay(
            sequence in prop::collection::vec(0u8..5, 0..400),
            seed: u64,
            index: u32,
        ) {
            let shuffled = one(&sequence, seed, index);
            prop_assert_eq!(pairs(&shuffled), pairs(&sequence));
            prop_assert_eq!(shuffled.first(), sequence.first());
            prop_assert_eq!(shuffled.last(), sequence.last());
        }

        /// Few symbols make graphs where a wrong last exit gets stuck.
        #[test]
        fn few_symbols_never_get_stuck(
            sequence in prop::collection::vec(prop::sample::select(vec![1u8, 3, 4]), 1..30),
            seed: u64,
        ) {
            prop_assert_eq!(pairs(&one(&sequence, seed, 0)), pairs(&sequence));
        }
    }

    #[test]
    fn nothing_and_single_bases() {
        assert!(one(&[], 1, 0).is_empty());
        for sequence in ["A", "N", "AA", "AC", "NNNNNNNN", "ACGTN"] {
            let sequence = codes(sequence);
            assert_eq!(one(&sequence, 1, 0), sequence, "there is no other arrangement");
        }
    }

    /// A chi-square test over every arrangement of sequences small enough to list them all. The
    /// second one has few visits of T, whose last exit must not be stuck to the sequence's own.
    #[test]
    fn every_arrangement_is_equally_likely() {
        for text in ["ACAGATACCAG", "TATCTGTATTA", "NACNGACNANC"] {
            let sequence = codes(text);
            let all = arrangements(&sequence);
            assert!((20..3000).contains(&all.len()), "{text}: {} arrangements", all.len());
            let mut seen: BTreeMap<Vec<u8>, usize> = all.iter().map(|s| (s.clone(), 0)).collect();
            let expected = 60.0;
            for index in 0..(all.len() * 60) as u32 {
                *seen.get_mut(&one(&sequence, 7, index)).expect("one of the arrangements") += 1;
            }
            let chi_square: f64 =
                seen.values().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
            let degrees = (all.len() - 1) as f64;
            // The normal approximation of chi-square: 4 sigma each side.
            let sigmas = (chi_square - degrees) / (2.0 * degrees).sqrt();
            assert!(sigmas.abs() < 4.0, "{text}: chi-square {chi_square} of {degrees}");
        }
    }

    #[test]
    fn the_draw_depends_on_seed_sequence_and_index_only() {
        let sequence = codes(&"ACGTTGCANACCGT".repeat(20));
        let again = sequence.clone();
        assert_eq!(one(&sequence, 3, 5), one(&again, 3, 5));
        assert_ne!(one(&sequence, 3, 5), one(&sequence, 4, 5));
        assert_ne!(one(&sequence, 3, 5), one(&sequence, 3, 6));
        let all = shuffles(&sequence, 3, 7);
        for (shuffled, index) in all.chunks(sequence.len()).zip(0..) {
            assert_eq!(shuffled, one(&sequence, 3, index), "alone or among others");
        }
        assert!(shuffles(&[], 3, 7).is_empty());
    }

    /// Frozen: another generator, hash or order of draws would change every published score.
    #[test]
    fn the_draw_is_frozen() {
        let sequence = codes("ACGTACCGGTTANCATGCATTAGC");
        let shuffled = one(&sequence, 1234, 0);
        let text: String = shuffled.iter().map(|&c| b"ACGTN"[c as usize] as char).collect();
        assert_eq!(text, "ANCGCACAGTATTATTACGTGGCC");
    }
}
