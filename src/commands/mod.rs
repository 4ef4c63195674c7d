//! One file per subcommand: its Args and its run(); no science in here.

mod any_training;
pub mod bench;
pub mod bias;
pub mod check;
pub mod cohort;
pub mod completions;
pub mod contribs;
pub mod demo;
pub mod doctor;
pub mod footprints;
pub mod man;
pub mod motifs;
pub mod pack;
pub mod pipeline;
pub mod predict;
pub mod prep;
pub mod qc;
pub mod report;
pub mod train;
pub mod variants;

mod shift_qc;
