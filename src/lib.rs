//! cbp-fast: train bias-factorized ChromBPNet models from one native binary.
//!
//! The folders are the data flow; a stage uses only stages above it. `train::fit` is the one
//! place where batches, engine and files meet.
//!
//! ```text
//! FASTA, reads (BAM, fragments, tagAlign) or bigWig, narrowPeak, folds
//!    -> 1 input    readers: bytes in, records out, errors with file and line
//!    -> 2 store    packs as they are used: memory-mapped genome (*.cbg) and signal (*.cbs), windows out
//!    -> 3 pack     packs as they are made: FASTA -> *.cbg, reads or bigWig -> *.cbs, the cache of both; the shift of reads
//!    -> 4 prep     GC-matched nonpeaks, folds of chromosomes: what a training set needs beside peaks
//!         select   which regions train: edge and outlier filters, bias threshold, loss weight
//!    -> 5 batch    plans: 16 bytes an example, a pure function of (seed, epoch, index)
//!         sequence what is in no pack: shuffled references
//!    -> 6 model    layer table, parameters, initialisation
//!    -> 7 engine   plans in, numbers out: forward, backward, Adam
//!                  cpu   the definition of right
//!                  cuda  the same as one graph of launches: kernels/*.cu on a GPU, or emulated for tests
//!    -> 8 files    Keras .h5 models, prediction and contribution .h5, bigWig tracks, training state, tables
//!    -> 9 predict  predictions of regions and tiles, the official metrics
//!         footprint what a model predicts around a motif, and whether it still answers to the enzyme
//!         interpret contribution scores, streamed
//!         variants  what variants do to predictions: windows of alleles, scores, p-values
//!    -> 10 run     the life of a run: its place claimed, its record, its stages; what it goes on from
//!         preflight every input against every other, before the long work
//!         report    what a run left, as one page
//!    -> 11 train   the two models, from inputs to files: epochs, early stopping, logs, resume
//!    -> 12 pipeline what is made of trained models: evaluation, explanation, verdicts, report
//!         cohort    several trainings at the same time
//! On top: quality (verdicts on a model, after it), motifs (contributions through tfmodisco-lite),
//! commands, cli, demo, doctor, bench. console, error, defect, threads, signals and plot serve every
//! stage.
//! ```

// They panic where a stream cannot be written; `console` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod console;
pub mod defect;
pub mod error;
pub mod plot;
pub mod signals;
pub mod threads;

// 1
pub mod input;

// 2
pub mod store;

// 3
pub mod pack;

// 4
pub mod prep;
pub mod select;

// 5
pub mod batch;
pub mod sequence;

// 6
pub mod model;

// 7
pub mod engine;

// 8
pub mod files;

// 9
pub mod footprint;
pub mod interpret;
pub mod predict;
pub mod variants;

// 10
pub mod preflight;
pub mod report;
pub mod run;

// 11
pub mod train;

// 12
pub mod cohort;
pub mod pipeline;

// on top
pub mod bench;
pub mod cli;
pub mod commands;
pub mod demo;
pub mod doctor;
pub mod motifs;
pub mod quality;
