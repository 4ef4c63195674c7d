//! Stage 9: marginal footprints. What a model predicts around a motif when nothing else speaks for
//! it: the motif is put into the middle of many background sequences and the predicted profiles are
//! averaged.
//!
//! ```text
//! background windows (genome, plan) --+
//! motifs (built in, or name TAB bases) -+-> both strands -> mean profile, mean counts -> h5, figures
//!                                                            enzyme motifs -> response -> corrected | uncorrected
//! ```

pub mod figure;
pub mod h5;
pub mod job;
pub mod made;
mod marginal;
pub mod motifs;
mod response;

pub use marginal::{Ask, Footprint, footprints, marginal};
pub use motifs::Motif;
pub use response::{BiasResponse, LIMIT};
