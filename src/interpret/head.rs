//! The outputs of a model that contributions explain.

/// An output of a model that contributions explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Head {
    /// Log counts
    Counts,
    /// sum(softmax(l) * l), l = logits minus their mean
    Profile,
}

impl Head {
    pub const ALL: [Self; 2] = [Self::Profile, Self::Counts];

    /// What files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Profile => "profile",
        }
    }
}
