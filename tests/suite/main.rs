//! The test suite: one binary, many modules. Parity tests have `parity` in their path.

mod fixture;
mod shared;

mod check;
mod cli;
mod corrupt;
mod demo;
mod engine;
mod model_files;
mod packs;
mod parity;
mod prep;
mod sampler;
mod select;
mod training;
mod yeast;
