//! The official implementation's numbers, read from the goldens folder.

mod batches;
mod cut_sites;
mod data;
pub mod deepshap;
mod forward;
pub mod golden;
mod gradients;
mod loss;
mod metrics;
mod prep;
mod real_models;
mod sampler;
mod shift;
mod training_trace;
