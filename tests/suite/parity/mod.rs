//! The official implementation's numbers, read from the goldens folder.

mod batches;
mod data;
mod forward;
pub mod golden;
mod gradients;
mod loss;
mod metrics;
mod real_models;
mod sampler;
mod training_trace;
