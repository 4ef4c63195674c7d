//! Stage 9: predictions and the official metrics.

pub mod count_transform;
pub mod counts_table;
pub mod job;
pub mod metrics;
pub mod models;
pub mod outputs;
pub mod profile_distance;
pub mod regions;
pub mod rows;
pub mod score;
pub mod spread;
pub mod test_groups;
pub mod tiles;
