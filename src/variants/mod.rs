//! Stage 9: what a variant does to a model's prediction.
//!
//! ```text
//! list -> rows (a spool on disk) -> alleles (two windows, or why not) -> predict (both strands)
//!      -> scores (one row of metrics) -> tables
//!                 ^ peaks: quantiles of counts      ^ background: shuffled windows give p-values
//! ```
//!
//! Windows, metrics, their names and the order of columns are those of variant-scorer, whose tables
//! people's scripts read. Everything streams: what stays in memory is the peaks' counts and, sorted,
//! the scores of the shuffled windows.

pub mod alleles;
pub mod background;
pub mod batch;
pub mod job;
pub mod origin;
pub mod peaks;
pub mod predict;
pub mod rows;
pub mod scores;
pub mod tables;
