//! The test suite: one binary, many modules. Parity tests have `parity` in their path.

mod fixture;
mod shared;

mod cli;
mod corrupt;
mod demo;
mod engine;
#[cfg(feature = "emulate")]
mod kernels;
mod model_files;
mod packs;
mod parity;
mod sampler;
mod select;
mod training;
mod yeast;
