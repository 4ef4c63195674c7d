//! The official implementation's numbers, read from the goldens folder.

mod batches;
mod data;
mod forward;
mod golden;
mod gradients;
mod loss;
mod metrics;
mod prep;
mod real_models;
mod sampler;
mod training_trace;
