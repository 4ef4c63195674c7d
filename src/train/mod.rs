//! Stage 10: the whole loop.

pub mod counts_head;
pub mod early_stop;
pub mod fit;
pub mod log;
pub mod output;
pub mod pace;
pub mod record;
pub mod stop;
