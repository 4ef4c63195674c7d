//! Stage 2: packs as they are used.

pub mod format;
pub mod genome;
pub mod mapped;
pub mod mapped_file;
pub mod signal;
pub mod stat;
pub mod tracks;

pub use genome::GenomePack;
pub use signal::SignalPack;
pub use tracks::Tracks;
