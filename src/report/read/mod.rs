//! Readers of what a run left: logs, predictions, contributions, motifs. A file that is not there is
//! `None`; one that cannot be read is an error that names it.

pub mod contributions;
pub mod evaluation;
pub mod h5;
pub mod logs;
pub mod modisco;
pub mod signal;
pub mod tables;
