//! Stage 3: packs as they are made.

pub mod cache;
pub(crate) mod content;
pub mod cut_sites;
pub mod genome;
pub mod inputs;
pub mod reads;
pub mod shift;
pub mod signal;
