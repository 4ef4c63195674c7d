//! The test suite: one binary, many modules. Parity tests have `parity` in their path.

mod compress;
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
mod formats;
mod from_reads;
mod fuzz_corpus;
#[cfg(feature = "emulate")]
mod kernels;
mod library;
mod many_contigs;
mod model_files;
mod motifs;
mod output_folder;
mod outputs;
mod pack_cache;
mod packs;
mod parity;
mod pipeline;
mod predict;
mod prep;
mod report;
mod runs;
mod sampler;
mod select;
mod shift;
mod streams;
mod text_inputs;
mod training;
mod variants;
mod yeast;
