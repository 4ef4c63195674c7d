//! Stage 3: packs as they are made.

pub mod cache;
pub mod cut_sites;
pub mod describe;
pub mod genome;
pub mod inputs;
pub mod job;
pub mod reads;
pub mod shift;
pub mod signal;
