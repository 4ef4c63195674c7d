//! Layer names of the two official branches.
//!
//! Source: official `bpnet_model` (bias) and `chrombpnet_with_bias_model` (main branch). The main
//! branch puts `wo_bias_` before every name, `wo_bias_bpnet_` before those that lack `bpnet_`, and
//! calls the cropped profile by a name of its own.

/// How a file spells the layers of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `bpnet_1conv`, `logcount_predictions`: a bias model.
    Bias,
    /// `wo_bias_bpnet_1conv`, `wo_bias_bpnet_logcount_predictions`: ChromBPNet's main branch.
    WithoutBias,
}

impl Naming {
    /// The file's name of a layer that `Architecture::parameter_shapes` names `layer`.
    pub fn layer(self, layer: &str) -> String {
        match self {
            Self::Bias => layer.to_string(),
            Self::WithoutBias if layer.starts_with("bpnet_") => format!("wo_bias_{layer}"),
            Self::WithoutBias => format!("wo_bias_bpnet_{layer}"),
        }
    }

    /// Name of the profile after the crop and before Flatten.
    pub fn cropped_profile(self) -> &'static str {
        match self {
            Self::Bias => "logits_profile_predictions_preflatten",
            Self::WithoutBias => "wo_bias_bpnet_logitt_before_flatten",
        }
    }

    /// Name of the Flatten layer: the profile output.
    pub fn profile(self) -> String {
        self.layer("logits_profile_predictions")
    }

    /// By the first layer's name.
    pub fn of(layer: &str) -> Self {
        if layer.starts_with("wo_bias_") { Self::WithoutBias } else { Self::Bias }
    }
}

/// What a convolution does, told by its name in either naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvRole {
    First,
    /// Counted from 1.
    Dilated(usize),
    Profile,
}

impl ConvRole {
    pub fn of(layer: &str) -> Option<Self> {
        let name = layer.strip_prefix("wo_bias_").unwrap_or(layer);
        let name = name.strip_prefix("bpnet_").unwrap_or(name);
        match name {
            "1st_conv" => Some(Self::First),
            "prof_out_precrop" => Some(Self::Profile),
            _ => {
                let index: usize = name.strip_suffix("conv")?.parse().ok()?;
                (index > 0).then_some(Self::Dilated(index))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_names_and_back() {
        for naming in [Naming::Bias, Naming::WithoutBias] {
            assert_eq!(ConvRole::of(&naming.layer("bpnet_1st_conv")), Some(ConvRole::First));
            assert_eq!(ConvRole::of(&naming.layer("bpnet_12conv")), Some(ConvRole::Dilated(12)));
            assert_eq!(ConvRole::of(&naming.layer("prof_out_precrop")), Some(ConvRole::Profile));
            assert_eq!(Naming::of(&naming.layer("bpnet_1st_conv")), naming);
        }
        assert_eq!(Naming::WithoutBias.layer("bpnet_8conv"), "wo_bias_bpnet_8conv");
        assert_eq!(
            Naming::WithoutBias.layer("logcount_predictions"),
            "wo_bias_bpnet_logcount_predictions"
        );
        for other in ["add_3", "conv", "bpnet_0conv", "bpnet_xconv", "", "bpnet_1crop"] {
            assert_eq!(ConvRole::of(other), None, "{other}");
        }
    }
}
