//! Stage 9: the whole loop.
