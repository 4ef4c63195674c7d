//! Keras 2 model files (`.h5`): the contract with TensorFlow, bpnet-lite and variant-scorer.
//!
//! A file is one BPNet branch (`bias.h5`, `bias_model_scaled.h5`, `chrombpnet_nobias.h5`) or two
//! nested ones (`chrombpnet.h5`). In memory both branches carry the parameter names of
//! `Architecture::parameter_shapes`; [`Naming`] says how the file spells them.
//!
//! HDF5 goes through the C library. The wrapper crate turns off the library's own error printing
//! on every thread that calls it, so a damaged file speaks to the user through our errors only.

mod archive;
mod layout;
mod names;
mod read;
mod read_config;
mod write;
mod write_config;

pub use names::Naming;
pub use read::{read, read_role};
pub use write::{write_full, write_single};

use crate::model::{Architecture, Branches, Network};

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The enzyme's bias; a scaled bias model cannot be told from a bias model.
    Bias,
    /// Both branches.
    Full,
    /// The main branch.
    WithoutBias,
}

impl Role {
    /// The official file stem: `bias`, `chrombpnet` or `chrombpnet_nobias`.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::Full => "chrombpnet",
            Self::WithoutBias => "chrombpnet_nobias",
        }
    }
}

/// What a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum KerasModel {
    /// One branch: a bias model, or ChromBPNet without its bias.
    Single { network: Network, naming: Naming },
    /// Main branch and frozen bias: logits add, logcounts = logsumexp.
    Full { main: Network, bias: Network },
}

impl KerasModel {
    /// The official file stem of this kind of model, for messages.
    pub fn role(&self) -> &'static str {
        self.kind().stem()
    }

    /// What this model is for, by its layers.
    pub fn kind(&self) -> Role {
        match self {
            Self::Single { naming: Naming::Bias, .. } => Role::Bias,
            Self::Single { naming: Naming::WithoutBias, .. } => Role::WithoutBias,
            Self::Full { .. } => Role::Full,
        }
    }

    /// The only branch, or the main one.
    pub fn main(&self) -> &Network {
        match self {
            Self::Single { network, .. } => network,
            Self::Full { main, .. } => main,
        }
    }

    /// The frozen bias branch of a full model.
    pub fn bias(&self) -> Option<&Network> {
        match self {
            Self::Single { .. } => None,
            Self::Full { bias, .. } => Some(bias),
        }
    }

    /// What an engine takes.
    pub fn into_branches(self) -> Branches {
        match self {
            Self::Single { network, .. } => network.into(),
            Self::Full { main, bias } => Branches { main, bias: Some(bias) },
        }
    }

    /// Shape of the main branch; both branches share inputlen and outputlen.
    pub fn arch(&self) -> &Architecture {
        &self.main().arch
    }

    /// Number of weights, both branches.
    pub fn parameter_count(&self) -> usize {
        let count = |n: &Network| n.parameters.tensors.iter().map(|t| t.data.len()).sum::<usize>();
        count(self.main()) + self.bias().map_or(0, count)
    }
}
