//! The test suite: one binary, many modules. Parity tests have `parity` in their path.

mod fixture;
mod reads;
mod shared;

mod bad_reads;
mod check;
mod cli;
mod corrupt;
mod demo;
mod engine;
mod from_reads;
mod model_files;
mod output_folder;
mod packs;
mod parity;
mod prep;
mod sampler;
mod select;
mod shift;
mod training;
mod yeast;
