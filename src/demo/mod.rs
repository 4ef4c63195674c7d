//! A small experiment whose truth is known: what a user can try, and what shows that training works.
//!
//! ```text
//! seed -> genome (random bases, planted motifs) -> biology (cut rate of each base, from its sequence
//!      alone) -> experiment (Poisson cuts, called peaks, nonpeaks, folds) -> files
//! models trained on those files -> check (what they learned, against the rates)
//! job: all of it, by the commands a user would type
//! ```
//!
//! Everything up to `files` is pure and seeded. The cut rate is a function of the sequence, so the
//! truth is known for any sequence, also one with a motif put in later.

pub mod biology;
pub mod check;
pub mod experiment;
pub mod files;
pub mod genome;
pub mod job;
pub mod table;
