//! Stage 7: plans in, numbers out. An engine knows no files.

pub mod cpu;
pub mod cuda;

use anyhow::Result;

use crate::batch::Example;
use crate::model::{Network, ParameterSet};
use crate::store::Tracks;

/// Where an engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Cpu,
}

/// Builds the engine of a device. Everything beyond this call is the same on every device.
pub fn open(device: Device, spec: EngineSpec, tracks: &Tracks) -> Result<Box<dyn Engine>> {
    match device {
        Device::Cpu => Ok(Box::new(cpu::CpuEngine::new(spec, tracks.clone())?)),
    }
}

/// What an engine is built from.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// The branch that is trained (a bias model, or ChromBPNet's main branch) or the only one.
    pub main: Network,
    /// Frozen: logits add, logcounts = logsumexp, no gradient flows into it.
    pub bias: Option<Network>,
    /// Adam's step size; the other constants are Keras's (0.9, 0.999, 1e-7).
    pub learning_rate: f64,
    /// Weight of the logcounts MSE.
    pub counts_loss_weight: f64,
}

impl EngineSpec {
    /// For predictions only: the optimizer never runs.
    pub fn for_prediction(main: Network, bias: Option<Network>) -> Self {
        Self { main, bias, learning_rate: 0.0, counts_loss_weight: 1.0 }
    }
}

/// Losses of one batch: `total = profile + counts_loss_weight * counts`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepLoss {
    pub total: f64,
    /// Multinomial NLL, combinatorial term included, mean over the batch.
    pub profile: f64,
    /// MSE of logcounts against ln(1 + total_counts), mean over the batch.
    pub counts: f64,
}

/// Model outputs, appended batch by batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// [n, outputlen], before the softmax
    pub logits: Vec<f32>,
    /// [n]
    pub logcounts: Vec<f32>,
}

/// Adam's memory: enough, with the parameters, to go on as if never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Updates done so far.
    pub step: u64,
    pub first_moment: ParameterSet,
    pub second_moment: ParameterSet,
}

/// The contract between the training loop and any device.
///
/// Engines are deterministic: the same calls give the same bits, for any number of threads.
pub trait Engine {
    /// Forward, backward, Adam on one batch; the losses are those before the update.
    fn train_step(&mut self, plan: &[Example]) -> Result<StepLoss>;
    /// Forward and losses only.
    fn evaluate(&mut self, plan: &[Example]) -> Result<StepLoss>;
    /// Appends the outputs of one batch to `out`. Counts are not read, so no signal is needed.
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()>;
    /// Parameters of the trained branch.
    fn parameters(&self) -> Result<ParameterSet>;
    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()>;
    fn optimizer_state(&self) -> Result<OptimizerState>;
    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()>;
    /// One line for the log: device, threads, instruction set.
    fn describe(&self) -> String;
}
