//! Stage 8: what is left on disk for people and other tools.

pub mod atomic;
pub mod bigwig;
pub mod keras_h5;
pub mod params_tsv;
pub mod predictions_h5;
pub mod train_state;
