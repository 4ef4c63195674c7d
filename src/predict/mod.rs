//! Stage 9: predictions and the official metrics.

pub mod metrics;
pub mod score;
