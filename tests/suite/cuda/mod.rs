//! The CUDA engine on emulated GPUs: whole steps against the CPU engine in double precision.

mod commands;
mod gradients;
mod runs;

use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::engine::EngineSpec;
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::engine::CudaEngine;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::model::{Architecture, Network, ParameterSet};
use cbp_fast::store::{GenomePack, SignalPack, Tracks};

use crate::fixture::Lcg;

pub const CONTIG: usize = 3000;

/// Two contigs of random bases with Ns; sparse counts, none on the second.
pub fn tracks(seed: u64) -> Tracks {
    let mut rng = Lcg::new(seed);
    let mut bases = |n: usize| -> Vec<u8> {
        (0..n).map(|_| b"ACGTACGTACGTN"[rng.below(13) as usize]).collect()
    };
    let (a, b) = (bases(CONTIG), bases(400));
    let counts: Vec<f32> = (0..CONTIG)
        .map(|_| if rng.below(3) == 0 { 1.0 + rng.below(8) as f32 } else { 0.0 })
        .collect();
    Tracks::new(
        Arc::new(GenomePack::from_sequences([("chrA", &a[..]), ("chrB", &b[..])])),
        Some(Arc::new(SignalPack::from_dense([("chrA", &counts[..])]))),
    )
}

/// Glorot weights, and biases away from zero.
pub fn network(arch: (usize, usize, usize, usize), seed: u64) -> Network {
    let (inputlen, outputlen, filters, layers) = arch;
    let arch = Architecture::new(inputlen, outputlen, filters, layers).unwrap();
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    let mut rng = Lcg::new(seed ^ 0xb1a5);
    for tensor in parameters.tensors.iter_mut().filter(|t| t.name.ends_with("/bias")) {
        tensor.data.iter_mut().for_each(|v| *v = rng.below(1000) as f32 * 4e-4 - 0.2);
    }
    Network { arch, parameters }
}

pub fn spec(main: Network, bias: Option<Network>) -> EngineSpec {
    EngineSpec { main, bias, learning_rate: 1e-3, counts_loss_weight: 2.5 }
}

/// `n` examples: both strands, odd starts, one that hangs over the contig's end, one on the contig
/// without counts.
pub fn plan(n: u32, inputlen: usize) -> Vec<Example> {
    let example = |row: u32| match row {
        1 => Example { contig: 0, start: (CONTIG - inputlen / 2) as u32, flags: 1, row },
        3 => Example { contig: 1, start: 40, flags: 0, row },
        _ => Example { contig: 0, start: 17 + 93 * row, flags: row % 2, row },
    };
    (0..n).map(example).collect()
}

pub fn engine(
    options: Options,
    precision: Precision,
    spec: &EngineSpec,
    tracks: &Tracks,
) -> CudaEngine<EmulatedDevice> {
    let device = EmulatedDevice::new(options);
    CudaEngine::new(device, precision, spec.clone(), tracks.clone()).unwrap()
}

/// Relative L2 distance and cosine of two tensors.
pub fn compare(found: &[f32], wanted: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), wanted.len());
    let (mut difference, mut dot, mut found_2, mut wanted_2) = (0.0, 0.0, 1e-300, 1e-300);
    for (&f, &w) in found.iter().zip(wanted) {
        let f = f64::from(f);
        difference += (f - w) * (f - w);
        dot += f * w;
        found_2 += f * f;
        wanted_2 += w * w;
    }
    ((difference / wanted_2 as f64).sqrt(), dot / f64::sqrt(found_2 * wanted_2))
}
