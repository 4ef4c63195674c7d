//! Stage 6: what a ChromBPNet network is, apart from any engine that runs it.

pub mod arch;
pub mod params;

pub use arch::Architecture;
pub use params::{ParameterSet, Tensor};

/// One BPNet branch: its shape and its weights. A bias model is one `Network`; a full ChromBPNet
/// model is two (main and frozen bias).
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub arch: Architecture,
    pub parameters: ParameterSet,
}
