//! Stage 5: sequences that are in no pack, made from others.

pub mod dinuc_shuffle;
