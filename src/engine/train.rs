//! What training asks of an engine.

use std::ops::ControlFlow;

use anyhow::Result;

use super::optimizer::{Optimizer, OptimizerState};
use super::predict::Predict;
use crate::batch::{Example, Windows};
use crate::model::{Branches, ParameterSet};

/// What is trained, and how.
#[derive(Clone, Debug)]
pub struct TrainSpec {
    /// The main branch is trained, a bias branch is frozen.
    pub branches: Branches,
    pub optimizer: Optimizer,
    /// Weight of the logcounts MSE.
    pub counts_loss_weight: f64,
    /// How `logcount_predictions` is updated.
    pub counts_head: CountsHead,
}

/// How the Dense layer of the counts, `y = w f + b` of pooled features `f`, is updated.
///
/// `Centered` updates the same function as `y = w (f - F) + b'`, F being the mean of f over the batch (ours; why,
/// and what it does to training: `train::counts_head`):
///
/// ```text
/// w    Adam, by dw - F db
/// b'   a tenth of Newton's step to a mean error of zero: b' -= 0.1 db / (2 counts_loss_weight)
/// b  = b' - w F, so b moves by what b' does less the move of w times F
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CountsHead {
    /// By what tells examples apart; learns from any seed
    Centered,
    /// By Adam, as the official tool does
    Plain,
}

impl CountsHead {
    pub fn name(self) -> &'static str {
        match self {
            CountsHead::Centered => "centered",
            CountsHead::Plain => "plain",
        }
    }

    /// What `CountsHead::Centered` takes from the bias per unit of the loss's gradient by it.
    pub fn bias_rate(counts_loss_weight: f64) -> f64 {
        0.1 / (2.0 * counts_loss_weight)
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

/// What plans will ask for, told ahead.
#[derive(Clone, Copy, Debug)]
pub struct ComingPlans<'a> {
    /// Windows that come again and again.
    pub windows: &'a [Windows],
    /// The most rows that one plan has in none of them.
    pub others: usize,
    /// Rows of the longest plan.
    pub rows: usize,
    pub batch_size: usize,
}

/// Told the losses of a batch and how many examples it had; `Break` asks to stop.
pub type AfterBatch<'a> = dyn FnMut(StepLoss, usize) -> ControlFlow<()> + 'a;

/// An engine that trains the main branch of its model; it has a genome and a signal.
pub trait Train: Predict {
    /// Forward, backward, update on one batch; the losses are those before the update.
    fn train_step(&mut self, plan: &[Example]) -> Result<StepLoss>;
    /// Forward and losses only.
    fn evaluate(&mut self, plan: &[Example]) -> Result<StepLoss>;
    /// Trains on consecutive batches of `plan`, telling `after` of each, in order. A device works
    /// ahead of what it tells: after `Break` it tells of the batches already under way and stops
    /// there, so that on return its state is that after the last batch told of. On an error the
    /// batches told of are good and the one after them is the bad one.
    fn train_steps(
        &mut self,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        for batch in plan.chunks(batch_size) {
            let loss = self.train_step(batch)?;
            if after(loss, batch.len()).is_break() {
                break;
            }
        }
        Ok(())
    }
    /// Runs steps as `train_steps` does, forward and losses only.
    fn evaluate_steps(
        &mut self,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        for batch in plan.chunks(batch_size) {
            let loss = self.evaluate(batch)?;
            if after(loss, batch.len()).is_break() {
                break;
            }
        }
        Ok(())
    }
    /// Told ahead what `train_steps` and `evaluate_steps` will get, so that a device with room for it can keep the
    /// frozen bias model's outputs. Losses and weights are then the same up to rounding.
    fn keep_bias(&mut self, _coming: &ComingPlans) -> Result<()> {
        Ok(())
    }
    /// True when the frozen bias model's outputs are kept.
    fn keeps_bias(&self) -> bool {
        false
    }
    /// Parameters of the main branch.
    fn parameters(&mut self) -> Result<ParameterSet>;
    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()>;
    fn optimizer_state(&mut self) -> Result<OptimizerState>;
    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()>;
    /// Bytes that a training step has to move on the device when each tensor of each of its operations
    /// is touched once; `None` on the CPU, and before the first step.
    fn step_bytes(&self) -> Option<f64> {
        None
    }
}
