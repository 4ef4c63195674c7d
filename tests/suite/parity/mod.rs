//! The official implementation's numbers, read from the goldens folder.

mod data;
mod golden;
mod forward;
mod gradients;
mod loss;
mod metrics;
mod real_models;
mod sampler;
mod training_trace;
