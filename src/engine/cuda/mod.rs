//! The CUDA engine: one launch list, run on a GPU or, for tests, on emulated ones.

pub mod arena;
pub mod binaries;
pub mod cuda_device;
pub mod device;
pub mod driver;
pub mod engine;
pub mod precision;
