//! The CUDA engine on emulated GPUs: whole steps against the CPU engine in double precision.

mod bias_cache;
mod commands;
mod contributions;
mod gradients;
mod int8;
mod resident;
mod runs;
mod sequences;

use cbp_fast::doctor::selftest::{self, Shape};
use cbp_fast::engine::TrainSpec;
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::model::Network;
use cbp_fast::store::Tracks;

pub use crate::engine::spec;

/// A model and data of the selftest's kind.
pub fn network(arch: Shape, seed: u64) -> Network {
    selftest::network(arch, seed).unwrap()
}

pub fn engine(
    options: Options,
    precision: Precision,
    spec: &TrainSpec,
    tracks: &Tracks,
) -> CudaTrainer<EmulatedDevice> {
    let device = EmulatedDevice::new(options);
    CudaTrainer::new(device, precision, spec.clone(), tracks.clone()).unwrap()
}

/// Relative L2 distance of two tensors.
pub fn compare(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let (mut difference, mut size) = (0.0, 1e-300);
    for (&f, &w) in found.iter().zip(wanted) {
        difference += (f64::from(f) - w).powi(2);
        size += w * w;
    }
    f64::sqrt(difference / size)
}
