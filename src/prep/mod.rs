//! Stage 4: what a training set needs beside signal and peaks: background regions matched to the
//! peaks by GC content, and folds of chromosomes.

pub mod bed;
pub mod exclude;
pub mod gc;
pub mod job;
pub mod nonpeaks;
pub mod splits;
