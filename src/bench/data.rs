//! How fast plans are made and turned into tensors, with the engine off.
//!
//! Floor: a plan is 16 bytes an example and a window reads inputlen / 2 bytes of the genome pack, so
//! a million examples a second is about 1 GB/s of memory.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::ceiling;
use crate::batch::sampler::{Sampler, Site};
use crate::preflight::machine::peak_rss;
use crate::store::{GenomePack, SignalPack, Tracks};

const CONTIG: usize = 32 << 20;
const INPUTLEN: usize = 2114;
const OUTPUTLEN: usize = 1000;
/// That an example moves at least: nibbles in, codes and f32 counts out; the signal's own are few.
const BYTES: usize = INPUTLEN / 2 + INPUTLEN + 4 * OUTPUTLEN;

/// Plans an epoch of `peaks` peaks (and twice as many nonpeaks to draw from) and assembles every
/// window of it, on a random genome in memory. Rates are the best of three.
pub fn run(peaks: usize) -> Result<Value> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let bases: Vec<u8> = (0..CONTIG).map(|_| b"ACGT"[rng.random_range(0..4)]).collect();
    let mut signal = vec![0.0f32; CONTIG];
    for _ in 0..CONTIG / 30 {
        signal[rng.random_range(0..CONTIG)] += 1.0;
    }
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([("chr1", &signal[..])]))),
    );
    let mut sites = |n: usize| -> Vec<Site> {
        (0..n)
            .map(|row| Site {
                contig: 0,
                center: rng.random_range(2_000..CONTIG as u32 - 2_000),
                row: row as u32,
            })
            .collect()
    };
    let sampler = Sampler::new(1, INPUTLEN, 500, 0.1, sites(peaks), sites(2 * peaks))?;

    let (mut planned, mut assembled) = (0.0f64, 0.0f64);
    for epoch in 0..3 {
        let start = Instant::now();
        let plan = sampler.epoch(epoch);
        planned = planned.max(plan.len() as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        let sums: f64 = plan
            .par_chunks(64)
            .map(|batch| {
                let (mut codes, mut counts) = (vec![0u8; INPUTLEN], vec![0.0f32; OUTPUTLEN]);
                let mut sum = 0.0;
                for example in batch {
                    tracks.fill_codes(example, &mut codes);
                    tracks.fill_counts(example, INPUTLEN, &mut counts);
                    // Read what was written, so that it cannot be left out.
                    sum += f64::from(codes[INPUTLEN / 2]) + f64::from(counts[OUTPUTLEN / 2]);
                }
                sum
            })
            .sum();
        anyhow::ensure!(sums > 0.0, "the assembled windows are empty");
        assembled = assembled.max(plan.len() as f64 / start.elapsed().as_secs_f64());
    }
    // Before the buffers of the copies come to it.
    let peak_rss = peak_rss();
    Ok(json!({
        "peaks": peaks,
        "examples_per_epoch": sampler.examples_per_epoch(),
        "sampler_examples_per_s": planned,
        "assembly_examples_per_s": assembled,
        "assembly_gb_per_s": 1e-9 * assembled * BYTES as f64,
        "copy_gb_per_s": 1e3 * ceiling::copy(3),
        "peak_rss_bytes": peak_rss,
        "threads": rayon::current_num_threads(),
    }))
}
