//! Which of the two models a run is of, and what its files are called after.

use std::fmt;

/// The model that a run trains or looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bias,
    Chrombpnet,
}

impl Kind {
    /// Stem of the run's own files, and of the model that is evaluated on the test set.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::Chrombpnet => "chrombpnet",
        }
    }

    /// Stem of the model that footprints and contributions are made of.
    pub fn explained(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::Chrombpnet => "chrombpnet_nobias",
        }
    }

    /// The other of the two models.
    pub fn other(self) -> Self {
        match self {
            Self::Bias => Self::Chrombpnet,
            Self::Chrombpnet => Self::Bias,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stem())
    }
}
