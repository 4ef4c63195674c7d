//! The CUDA engine: kernels as launch lists, on a GPU or, for tests, on the host.

pub mod device;
#[cfg(feature = "emulate")]
pub mod emulated;
pub mod fast_div;
pub mod ops;
pub mod precision;
