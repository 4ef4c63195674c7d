//! How gradients update parameters, and what an optimizer remembers from one update to the next.

use crate::model::ParameterSet;

/// An update rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    Adam(Adam),
}

impl Optimizer {
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam(Adam { learning_rate })
    }
}

/// Adam with Keras's constants: those are what the kernels were compiled with (`kernels/adam.cuh`).
///
/// ```text
/// m += (g - m) (1 - BETA_1)        v += (g^2 - v) (1 - BETA_2)
/// w -= rate m / (sqrt(v) + EPSILON),   rate = learning_rate sqrt(1 - BETA_2^t) / (1 - BETA_1^t)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub learning_rate: f64,
}

impl Adam {
    pub const BETA_1: f64 = 0.9;
    pub const BETA_2: f64 = 0.999;
    pub const EPSILON: f64 = 1e-7;
}

/// Adam's memory: enough, with the parameters, to go on as if never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Updates done so far.
    pub step: u64,
    pub first_moment: ParameterSet,
    pub second_moment: ParameterSet,
    /// fp16 only.
    pub loss_scale: Option<LossScale>,
}

/// The power of two that losses are multiplied by before the backward pass, so that small gradients
/// do not vanish in fp16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    pub scale: f32,
    /// Updates since it last changed.
    pub clean_steps: u32,
}
