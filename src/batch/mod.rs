//! Stage 5: which examples go into which step.

pub mod plan;
pub mod sampler;

pub use plan::{Example, Windows};
