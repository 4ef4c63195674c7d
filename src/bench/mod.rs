//! Timings of the parts that matter, each beside the bound it is measured against.

pub mod ceiling;
pub mod contributions;
pub mod data;
pub mod kernels;
pub mod train;
