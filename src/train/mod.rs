//! Stage 10: training, from inputs to models. `bias::Job` and `chrombpnet::Job` say what will happen;
//! `fit` is the loop that both go through.

pub mod bias;
pub mod chrombpnet;
pub mod counts_head;
pub mod early_stop;
pub mod fit;
pub mod pace;
pub mod run;
pub mod setup;

pub use run::{Trained, TrainingRun};
pub use setup::{Options, Setup};
