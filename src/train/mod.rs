//! Stage 9: the whole loop.
pub mod early_stop;
