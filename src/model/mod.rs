//! Stage 6: what a ChromBPNet network is, apart from any engine that runs it.

pub mod arch;
pub mod params;
pub mod reference;

pub use arch::Architecture;
pub use params::{ParameterSet, Tensor};

/// One BPNet branch: its shape and its weights. A bias model is one `Network`; a full ChromBPNet
/// model is two (main and frozen bias).
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub arch: Architecture,
    pub parameters: ParameterSet,
}

/// A whole model: the branch that predicts, and what adds the enzyme's bias to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Branches {
    /// The only branch of a bias model or of `chrombpnet_nobias`, ChromBPNet's main branch; the one that is trained.
    pub main: Network,
    /// Frozen: logits add, logcounts = logsumexp, no gradient flows into it.
    pub bias: Option<Network>,
}

impl From<Network> for Branches {
    /// A model of one branch.
    fn from(main: Network) -> Self {
        Self { main, bias: None }
    }
}
