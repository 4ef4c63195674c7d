//! Stage 9: predictions and the official metrics.

pub mod correlation;
pub mod metrics;
pub mod profile_distance;
pub mod score;
