//! The official implementation's numbers, read from the goldens folder.

mod batches;
mod contribs;
mod cut_sites;
mod data;
pub mod deepshap;
mod footprints;
mod forward;
pub mod golden;
mod gradients;
#[cfg(feature = "emulate")]
mod int8;
mod loss;
mod metrics;
pub mod pred_bw;
mod prep;
mod real_models;
mod sampler;
mod shift;
mod training_trace;
