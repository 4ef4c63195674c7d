//! Stage 7: plans in, numbers out. An engine knows no files.

mod checks;
pub mod cpu;
pub mod cuda;
mod explain;

use std::fmt;
use std::ops::ControlFlow;

use anyhow::Result;

use self::cuda::cuda_device::CudaDevice;
use self::cuda::driver::Gpu;
#[cfg(feature = "emulate")]
use self::cuda::emulated::{EmulatedDevice, Options};
use self::cuda::engine::CudaEngine;
use self::cuda::precision::Precision;
pub use self::explain::{Contributions, Explain, Heads, Rule};
use crate::batch::{Example, Windows};
use crate::model::{Network, ParameterSet};
use crate::store::Tracks;

/// Where an engine computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    Cpu,
    Cuda {
        gpu: Gpu,
        precision: Precision,
    },
    /// The CUDA engine with its kernels built for the host: slow, for tests.
    #[cfg(feature = "emulate")]
    Emulated {
        precision: Precision,
    },
}

impl Device {
    /// The numbers that the large layers compute in.
    pub fn precision(&self) -> Precision {
        match self {
            Device::Cpu => Precision::F32,
            Device::Cuda { precision, .. } => *precision,
            #[cfg(feature = "emulate")]
            Device::Emulated { precision } => *precision,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu, f32"),
            Device::Cuda { gpu, precision } => {
                write!(f, "cuda:{}, {}, {precision}", gpu.ordinal, gpu.line())
            }
            #[cfg(feature = "emulate")]
            Device::Emulated { precision } => write!(f, "emulated, {precision}"),
        }
    }
}

/// Builds the engine of a device. Everything beyond this call is the same on every device.
pub fn open(device: &Device, spec: EngineSpec, tracks: &Tracks) -> Result<Box<dyn Engine>> {
    match device {
        Device::Cpu => Ok(Box::new(cpu::CpuEngine::new(spec, tracks.clone())?)),
        Device::Cuda { gpu, precision } => {
            let device = CudaDevice::open(gpu.clone())?;
            Ok(Box::new(CudaEngine::new(device, *precision, spec, tracks.clone())?))
        }
        #[cfg(feature = "emulate")]
        Device::Emulated { precision } => {
            let device = EmulatedDevice::new(Options::fast());
            Ok(Box::new(CudaEngine::new(device, *precision, spec, tracks.clone())?))
        }
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

impl EngineSpec {
    /// For predictions only: the optimizer never runs.
    pub fn for_prediction(main: Network, bias: Option<Network>) -> Self {
        Self {
            main,
            bias,
            learning_rate: 0.0,
            counts_loss_weight: 1.0,
            counts_head: CountsHead::Plain,
        }
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

/// The contract between the training loop and any device.
///
/// Engines are deterministic: the same calls give the same bits, for any number of threads.
pub trait Engine {
    /// Forward, backward, Adam on one batch; the losses are those before the update.
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
    /// Like `train_steps`, forward and losses only.
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
    /// Whether it does.
    fn keeps_bias(&self) -> bool {
        false
    }
    /// Appends the outputs of one batch to `out`. Counts are not read, so no signal is needed.
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()>;
    /// Like `predict`, for sequences that are in no pack (variants, inserted motifs): `codes` is
    /// `[n, inputlen]` of 0..=3 = ACGT, 4 = N. Any `n`; memory does not grow with it.
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()>;
    /// Appends contribution scores to `out`. Any number of sequences; working memory does not grow
    /// with it. Only models of one branch can be explained.
    fn contributions(&mut self, of: &Explain, out: &mut Contributions) -> Result<()>;
    /// Parameters of the trained branch.
    fn parameters(&mut self) -> Result<ParameterSet>;
    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()>;
    fn optimizer_state(&mut self) -> Result<OptimizerState>;
    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()>;
    /// Device memory that it has asked for; `None` on the CPU.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
    /// A line for each buffer on the device, with its bytes; `None` on the CPU.
    fn memory_plan(&self) -> Option<String> {
        None
    }
    /// Bytes that a training step has to move on the device when each tensor of each of its operations
    /// is touched once; `None` on the CPU, and before the first step.
    fn step_bytes(&self) -> Option<f64> {
        None
    }
    /// One line for the log: device, threads, instruction set.
    fn describe(&self) -> String;
}
