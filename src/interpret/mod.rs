//! Stage 9: why a model predicts what it predicts.
//!
//! In: sequences, one or several models. Out: hypothetical contribution scores, streamed to a spool
//! of finished rows from which the official files are made at the end.

pub mod explainer;
pub mod head;
pub mod ism;
pub mod job;
pub mod reference_file;
pub mod stream;
pub mod writers;

pub use explainer::{Explainer, Method, References, Scores, SumCheck};
pub use head::Head;

use crate::engine::Heads;

/// The heads that are asked for, as files call them and in their order.
pub fn head_names(heads: Heads) -> Vec<&'static str> {
    let names = [(heads.counts, "counts"), (heads.profile, "profile")];
    names.into_iter().filter(|(asked, _)| *asked).map(|(_, name)| name).collect()
}
