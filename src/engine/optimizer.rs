//! How gradients update parameters, and what an optimizer remembers from one update to the next.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::error::Problem;
use crate::model::{Architecture, ParameterSet, Tensor};

/// An update rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    Adam(Adam),
}

impl Optimizer {
    pub fn adam(learning_rate: f64) -> Self {
        Self::Adam(Adam { learning_rate })
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Adam(_) => "Adam",
        }
    }

    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adam(rule) => rule.learning_rate,
        }
    }

    /// Names of the tensors that it keeps for a parameter of `shape`, each of that shape. Files have them.
    pub fn state(&self, _shape: &[usize]) -> &'static [&'static str] {
        match self {
            Self::Adam(_) => &["first_moment", "second_moment"],
        }
    }

    /// What an update of a parameter of `shape` has to see at once.
    pub fn granularity(&self, _shape: &[usize]) -> Granularity {
        match self {
            Self::Adam(_) => Granularity::Element,
        }
    }
}

/// How much of a parameter one task updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// Elements do not know of each other: any piece will do.
    Element,
    /// The update of an element depends on its whole matrix.
    Matrix,
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

/// An optimizer's memory: enough, with the parameters, to go on as if never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Updates done so far.
    pub step: u64,
    /// By the names of [`Optimizer::state`]: one tensor for each parameter that has it, under the parameter's name.
    pub tensors: BTreeMap<String, ParameterSet>,
    /// fp16 only.
    pub loss_scale: Option<LossScale>,
}

impl OptimizerState {
    /// Gathers a state from an engine: `get` is given the positions of a parameter and of a tensor in its state.
    pub fn gather(
        optimizer: &Optimizer,
        arch: &Architecture,
        step: u64,
        loss_scale: Option<LossScale>,
        mut get: impl FnMut(usize, usize) -> Result<Vec<f32>>,
    ) -> Result<Self> {
        let mut tensors = BTreeMap::<String, ParameterSet>::new();
        for (parameter, (name, shape)) in arch.parameter_shapes().into_iter().enumerate() {
            for (at, of) in optimizer.state(&shape).iter().enumerate() {
                let data = get(parameter, at)?;
                let tensor = Tensor { name: name.clone(), shape: shape.clone(), data };
                tensors.entry(of.to_string()).or_default().tensors.push(tensor);
            }
        }
        Ok(Self { step, tensors, loss_scale })
    }

    /// Hands every tensor to `set`, with the positions of its parameter and of the tensor in that one's state.
    ///
    /// Errors when the tensors are not those that `optimizer` keeps for a model of `arch`; `set` has had none then.
    pub fn scatter(
        &self,
        optimizer: &Optimizer,
        arch: &Architecture,
        mut set: impl FnMut(usize, usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for (parameter, (name, shape)) in arch.parameter_shapes().iter().enumerate() {
            for (at, of) in optimizer.state(shape).iter().enumerate() {
                let found = self.tensors.get(*of).and_then(|tensors| tensors.get(name));
                let Some(tensor) = found.filter(|tensor| tensor.shape == *shape) else {
                    return Err(Problem::new(format!(
                        "the optimizer's state has no {of}/{name} of shape {shape:?}, which {} needs for this model",
                        optimizer.name()
                    ))
                    .into());
                };
                wanted.push((parameter, at, tensor));
            }
        }
        let found: usize = self.tensors.values().map(|set| set.tensors.len()).sum();
        if found != wanted.len() {
            return Err(Problem::new(format!(
                "the optimizer's state has {found} tensors, and {} has {} for this model",
                optimizer.name(),
                wanted.len()
            ))
            .into());
        }
        wanted.into_iter().try_for_each(|(parameter, at, tensor)| set(parameter, at, &tensor.data))
    }
}

/// The power of two that losses are multiplied by before the backward pass, so that small gradients
/// do not vanish in fp16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    pub scale: f32,
    /// Updates since it last changed.
    pub clean_steps: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(arch: &Architecture) -> OptimizerState {
        let mut number = 0.0;
        let count = |parameter: usize, _: usize| {
            number += 1.0;
            let len = arch.parameter_shapes()[parameter].1.iter().product();
            Ok(vec![number; len])
        };
        OptimizerState::gather(&Optimizer::adam(1e-3), arch, 3, None, count).unwrap()
    }

    #[test]
    fn a_state_goes_back_to_where_it_came_from() {
        let arch = Architecture::new(160, 24, 3, 2).unwrap();
        let state = gathered(&arch);
        assert_eq!(state.tensors.keys().collect::<Vec<_>>(), ["first_moment", "second_moment"]);
        assert!(state.tensors.values().all(|set| set.matches(&arch)));
        let mut seen = Vec::new();
        let note = |parameter: usize, at: usize, values: &[f32]| {
            seen.push((parameter, at, values[0]));
            Ok(())
        };
        state.scatter(&Optimizer::adam(1e-3), &arch, note).unwrap();
        let wanted = |i: usize| (i / 2, i % 2, (i + 1) as f32);
        assert_eq!(seen, (0..seen.len()).map(wanted).collect::<Vec<_>>());
        assert_eq!(seen.len(), 2 * arch.parameter_shapes().len());
    }

    #[test]
    fn the_state_of_another_optimizer_or_model_is_refused_whole() {
        let arch = Architecture::new(160, 24, 3, 2).unwrap();
        let message = |state: &OptimizerState| {
            let untouched = |_: usize, _: usize, _: &[f32]| -> Result<()> { panic!("touched") };
            state.scatter(&Optimizer::adam(1e-3), &arch, untouched).unwrap_err().to_string()
        };
        let mut missing = gathered(&arch);
        missing.tensors.get_mut("second_moment").unwrap().tensors.pop();
        let said = message(&missing);
        assert!(said.contains("no second_moment/logcount_predictions/bias"), "{said}");
        let mut other = gathered(&arch);
        other.tensors.insert("momentum".into(), ParameterSet::zeros(&arch));
        assert!(message(&other).contains("has 30 tensors, and Adam has 20"), "{}", message(&other));
        let wider = Architecture::new(160, 24, 4, 2).unwrap();
        assert!(
            message(&gathered(&wider)).contains("no first_moment/bpnet_1st_conv/kernel of shape")
        );
    }
}
