//! cbp-fast: train bias-factorized ChromBPNet models from one native binary, and ask them from Rust.
//!
//! A prediction takes three statements:
//!
//! ```no_run
//! use cbp_fast::{Device, Genome, Model};
//!
//! let genome = Genome::open("hg38.fa.gz")?;
//! let mut model = Model::open("chrombpnet_nobias.h5")?.on(Device::auto()?)?;
//! let predictions = model.predict(&[genome.around("chr1", 1_000_000, model.input_length())?])?;
//! # Ok::<(), cbp_fast::Error>(())
//! ```
//!
//! The types below are the library's face; `examples/` has five programs on them: predict a sequence, predict
//! regions to a bigWig, contribution scores, variants, training from packs. [`jobs`] holds what the commands `train`
//! and `bias train` do, as plain values. Everything else is the inside of the program: it can be reached, but may
//! change with any commit.
//!
//! # Inside
//!
//! The folders are the data flow; a stage uses only stages above it. `train::fit` is the one
//! place where batches, engine and files meet.
//!
//! ```text
//! FASTA, reads (BAM, fragments, tagAlign) or bigWig, narrowPeak, folds
//!    -> 1 input    readers: bytes in, records out, errors with file and line
//!         numpy    draws, quantiles, correlations and float text as NumPy, SciPy and Python have them
//!         sequence the letters and strands of codes a base; shuffled references
//!    -> 2 store    packs as they are used: memory-mapped genome (*.cbg) and signal (*.cbs), windows out
//!    -> 3 pack     packs as they are made: FASTA -> *.cbg, reads or bigWig -> *.cbs, the cache of both; the shift of reads
//!    -> 4 prep     GC-matched nonpeaks, folds of chromosomes: what a training set needs beside peaks
//!         select   which regions train: edge and outlier filters, bias threshold, loss weight
//!    -> 5 batch    plans: 16 bytes an example, a pure function of (seed, epoch, index)
//!    -> 6 model    layer table, parameters, initialisation
//!    -> 7 engine   plans in, numbers out: forward, backward, Adam
//!                  cpu   the definition of right
//!                  cuda  the same as one graph of launches: kernels/*.cu on a GPU, or emulated for tests
//!    -> 8 files    Keras .h5 models, prediction and contribution .h5, bigWig tracks, training logs and state, tables
//!    -> 9 predict  predictions of regions and tiles, the official metrics
//!         footprint what a model predicts around a motif, and whether it still answers to the enzyme
//!         interpret contribution scores, streamed
//!         variants  what variants do to predictions: windows of alleles, scores, p-values
//!    -> 10 run     the life of a run: its place claimed, its record, its stages; what it goes on from
//!         preflight every input against every other, before the long work
//!         report    what a run left, as one page; figures are its pictures, run_files the names of all it may leave
//!    -> 11 train   the two models, from inputs to files: epochs, early stopping, logs, resume
//!    -> 12 pipeline what is made of trained models: evaluation, explanation, verdicts, report
//!         cohort    several trainings at the same time
//! On top: quality (verdicts on a model, after it), motifs (contributions through tfmodisco-lite),
//! commands, cli, demo, doctor, bench. console, error, defect, threads, signals and plot serve every
//! stage.
//! ```

// They panic where a stream cannot be written; `console` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
#![deny(missing_docs, rustdoc::broken_intra_doc_links)]

mod face;
pub mod jobs;

pub use engine::Device;
pub use face::{
    Contributions, Error, Genome, LoadedModel, Method, Model, Predictions, Result, Sequence,
    Signal, Track, VariantEffect,
};
pub use pack::cache::FOLDER as CACHE_FOLDER;

#[doc(hidden)]
pub mod console;
#[doc(hidden)]
pub mod defect;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod plot;
#[doc(hidden)]
pub mod signals;
#[doc(hidden)]
pub mod threads;

// 1
#[doc(hidden)]
pub mod input;
#[doc(hidden)]
pub mod numpy;
#[doc(hidden)]
pub mod sequence;

// 2
#[doc(hidden)]
pub mod store;

// 3
#[doc(hidden)]
pub mod pack;

// 4
#[doc(hidden)]
pub mod prep;
#[doc(hidden)]
pub mod select;

// 5
#[doc(hidden)]
pub mod batch;

// 6
#[doc(hidden)]
pub mod model;

// 7
#[doc(hidden)]
pub mod engine;

// 8
#[doc(hidden)]
pub mod files;

// 9
#[doc(hidden)]
pub mod footprint;
#[doc(hidden)]
pub mod interpret;
#[doc(hidden)]
pub mod predict;
#[doc(hidden)]
pub mod variants;

#[doc(hidden)]
pub mod figures;

// 10
#[doc(hidden)]
pub mod preflight;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod run_files;

// 11
#[doc(hidden)]
pub mod train;

// 12
#[doc(hidden)]
pub mod cohort;
#[doc(hidden)]
pub mod pipeline;

// on top
#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod commands;
#[doc(hidden)]
pub mod demo;
#[doc(hidden)]
pub mod doctor;
#[doc(hidden)]
pub mod motifs;
#[doc(hidden)]
pub mod quality;
