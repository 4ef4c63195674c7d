//! `kernels/step.cu`: what a run keeps in device memory, and the kernels before and after a step.

use bytemuck::{Pod, Zeroable};

use crate::engine::Optimizer;
use crate::engine::cuda::device::{Address, Launch};

/// Mirror of `StepState` in `kernels/step.cuh`, where the fields are explained.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct StepState {
    pub adam_step: u64,
    pub learning_rate: f64,
    pub cursor: u32,
    pub plan_len: u32,
    pub batch: u32,
    pub examples: u32,
    pub row: u32,
    pub overflow: u32,
    pub bad_example: u32,
    pub stopped: u32,
    pub rate: f32,
    pub loss_scale: f32,
    pub dynamic_scale: u32,
    pub clean_steps: u32,
    pub skipped: u32,
    pub padding: u32,
}

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The loss (or, in a prediction, the output) of this plan row is not finite.
    ByLoss { row: u32 },
    /// A gradient is not finite, and no smaller loss scale can help.
    ByGradient,
}

impl StepState {
    const NO_EXAMPLE: u32 = u32::MAX;
    const STOPPED_BY_LOSS: u32 = 1;
    const STOPPED_BY_GRADIENT: u32 = 2;
    /// Where a dynamic loss scale begins; the first steps bring it down where it is too large.
    const FIRST_SCALE: f32 = 32768.0;

    /// A run that has not begun. `dynamic_scale` is for fp16.
    pub fn new(learning_rate: f64, batch: u32, dynamic_scale: bool) -> Self {
        assert!(batch > 0, "a batch without examples");
        Self {
            learning_rate,
            batch,
            bad_example: Self::NO_EXAMPLE,
            loss_scale: if dynamic_scale { Self::FIRST_SCALE } else { 1.0 },
            dynamic_scale: dynamic_scale.into(),
            ..Self::zeroed()
        }
    }

    /// These settings with the numbers of an optimizer.
    pub fn with(self, optimizer: &Optimizer) -> Self {
        Self { learning_rate: optimizer.learning_rate(), ..self }
    }

    /// These settings at the beginning of a plan of `plan_len` rows. Clears what stopped it.
    pub fn at_plan(self, plan_len: u32) -> Self {
        Self {
            plan_len,
            cursor: 0,
            row: 0,
            overflow: 0,
            bad_example: Self::NO_EXAMPLE,
            stopped: 0,
            ..self
        }
    }

    pub fn stopped(&self) -> Option<Stopped> {
        match self.stopped {
            Self::STOPPED_BY_LOSS => Some(Stopped::ByLoss { row: self.bad_example }),
            Self::STOPPED_BY_GRADIENT => Some(Stopped::ByGradient),
            _ => None,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct StepArgs {
    state: Address,
    train: u32,
    padding: u32,
}

/// First launch of a step: its examples and its step size.
pub fn begin(state: Address) -> Launch {
    let args = StepArgs { state, train: 0, padding: 0 };
    Launch::new("step_begin", [1, 1, 1], [32, 1, 1], 0, &args, "step begin")
}

/// Last launch of a step. `train`: the step had an update.
pub fn end(state: Address, train: bool) -> Launch {
    let args = StepArgs { state, train: train.into(), padding: 0 };
    Launch::new("step_end", [1, 1, 1], [32, 1, 1], 0, &args, "step end")
}
