//! A random genome with motifs planted in it. In: a seed. Out: contigs as base codes.

use std::ops::{Range, RangeInclusive};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::biology::{Effect, MOTIFS, Motif};
use crate::sequence;

/// chr1..chr8.
pub const CONTIGS: usize = 8;
/// bp of a contig; tests take shorter ones.
pub const CONTIG_BP: RangeInclusive<usize> = 380_000..=460_000;
/// N at both ends, bp, as assemblies have at telomeres.
const END_N: usize = 1_500;
/// No motif is planted nearer to an end than this, so that windows fit.
const MARGIN: usize = 3_500;

/// One contig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoContig {
    pub name: String,
    /// 0..3 = ACGT, 4 = N
    pub codes: Vec<u8>,
    /// Written in lower case, as repeats are; the models read both alike.
    pub masked: Vec<Range<usize>>,
}

impl DemoContig {
    /// The sequence as letters, masked ranges in lower case.
    pub fn letters(&self) -> Vec<u8> {
        let mut letters = sequence::letters(&self.codes).into_bytes();
        for range in &self.masked {
            letters[range.clone()].make_ascii_lowercase();
        }
        letters
    }
}

/// Makes every contig; each has its own ChaCha stream.
pub fn simulate(seed: u64, contig_bp: RangeInclusive<usize>) -> Vec<DemoContig> {
    (0..CONTIGS).map(|index| contig(seed, index, contig_bp.clone())).collect()
}

fn contig(seed: u64, index: usize, bp: RangeInclusive<usize>) -> DemoContig {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(2 * index as u64);
    let length = rng.random_range(bp);
    let mut codes = random_bases(&mut rng, length);
    let mut at = MARGIN;
    while at < length - MARGIN {
        plant_cluster(&mut rng, &mut codes, at);
        let next = (at + rng.random_range(2_600..=5_000)).min(length - MARGIN);
        // Protecting motifs are as frequent in closed chromatin as beside openers: they must not
        // tell a model what is open.
        let mut spot = at + 300;
        while spot + 300 < next {
            let motif = pick(&mut rng, |m| m.effect == Effect::Protects);
            plant(&mut rng, &mut codes, spot, motif);
            spot += rng.random_range(200..700);
        }
        at = next;
    }
    codes[..END_N].fill(4);
    codes[length - END_N..].fill(4);
    let gap = rng.random_range(length / 4..length / 2);
    codes[gap..gap + 400].fill(4);
    let masked = masked_ranges(&mut rng, length);
    DemoContig { name: format!("chr{}", index + 1), codes, masked }
}

/// Bases whose GC content drifts between about 36 % and 54 % along the contig.
fn random_bases(rng: &mut ChaCha8Rng, length: usize) -> Vec<u8> {
    let phase = rng.random::<f64>();
    let period = rng.random_range(40_000.0..90_000.0);
    (0..length)
        .map(|x| {
            let turn = std::f64::consts::TAU * (x as f64 / period + phase);
            let gc = 0.45 + 0.09 * turn.sin();
            let second = rng.random_bool(0.5);
            match (rng.random_bool(gc), second) {
                (true, false) => 1,
                (true, true) => 2,
                (false, false) => 0,
                (false, true) => 3,
            }
        })
        .collect()
}

/// One or two opening motifs within 130 bp of `centre`, and one to three protecting ones.
fn plant_cluster(rng: &mut ChaCha8Rng, codes: &mut [u8], centre: usize) {
    let openers = rng.random_range(1..=2);
    let protectors = rng.random_range(1..=3);
    // 13 slots of 20 bp keep motifs, 12 bp long, from overwriting one another.
    let mut slots: Vec<usize> = (0..13).collect();
    for number in 0..openers + protectors {
        let slot = slots.swap_remove(rng.random_range(0..slots.len()));
        let spot = centre - 130 + slot * 20 + rng.random_range(0..8);
        let motif = if number < openers {
            pick(rng, |m| m.effect != Effect::Protects)
        } else {
            pick(rng, |m| m.effect == Effect::Protects)
        };
        plant(rng, codes, spot, motif);
    }
}

fn pick(rng: &mut ChaCha8Rng, wanted: impl Fn(&Motif) -> bool) -> &'static Motif {
    let found: Vec<&Motif> = MOTIFS.iter().filter(|m| wanted(m)).collect();
    found[rng.random_range(0..found.len())]
}

/// Writes one instance of a motif, on a random strand.
fn plant(rng: &mut ChaCha8Rng, codes: &mut [u8], start: usize, motif: &Motif) {
    let masks = motif.admits(rng.random_bool(0.5));
    for (code, mask) in codes[start..start + masks.len()].iter_mut().zip(masks) {
        let allowed: Vec<u8> = (0..4).filter(|b| mask >> b & 1 == 1).collect();
        *code = allowed[rng.random_range(0..allowed.len())];
    }
}

/// About a fifth of the contig in stretches of 200 to 800 bp.
fn masked_ranges(rng: &mut ChaCha8Rng, length: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = rng.random_range(0..2_000);
    loop {
        let end = at + rng.random_range(200..800);
        if end > length {
            return ranges;
        }
        ranges.push(at..end);
        at = end + rng.random_range(1_000..3_000);
    }
}
