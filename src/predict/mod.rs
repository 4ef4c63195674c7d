//! Stage 10: predictions and the official metrics.

pub mod metrics;
