//! The library's face: what a program needs to ask a model, in a handful of types.
//!
//! A [`Model`] is read from a file and put [`on`](Model::on) a [`Device`]; the [`LoadedModel`] answers for
//! [`Sequence`]s, which are written by hand or cut out of a [`Genome`]. Everything is plain data: nothing here
//! prints, and every call can be made from several threads that hold a model each.

mod contributions;
mod error;
mod genome;
mod model;
mod predictions;
mod sequence;
mod signal;
mod track;

pub use self::contributions::{Contributions, Method};
pub use self::error::{Error, Result};
pub use self::genome::Genome;
pub use self::model::{LoadedModel, Model, VariantEffect};
pub use self::predictions::Predictions;
pub use self::sequence::Sequence;
pub use self::signal::Signal;
pub use self::track::Track;
