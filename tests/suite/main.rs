//! The test suite: one binary, many modules. Parity tests have `parity` in their path.

mod fixture;
mod html;
mod reads;
mod shared;

mod bad_reads;
mod check;
mod cli;
mod cohort;
mod contribs;
mod contribs_memory;
mod contributions;
mod corrupt;
#[cfg(feature = "emulate")]
mod cuda;
mod demo;
mod engine;
mod footprints;
mod from_reads;
#[cfg(feature = "emulate")]
mod kernels;
mod model_files;
mod motifs;
mod output_folder;
mod outputs;
mod packs;
mod parity;
mod pipeline;
mod predict;
mod prep;
mod report;
mod sampler;
mod select;
mod shift;
mod training;
mod variants;
mod yeast;
