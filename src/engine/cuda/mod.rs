//! The CUDA engine: one schedule of launches, run on a GPU or, for tests, by kernels built for the host.

pub mod arena;
pub mod bias_cache;
pub mod binaries;
pub mod cuda_device;
pub mod device;
pub mod driver;
#[cfg(feature = "emulate")]
pub mod emulated;
pub mod engine;
mod explain;
pub mod fast_div;
pub mod gradients;
mod graph;
pub mod ops;
pub mod precision;
pub mod resident;
pub mod schedule;
mod session;
pub mod step;
mod steps;
pub mod tensor_map;
pub mod trainer;
pub mod weights;
pub mod workspace;
