//! Stage 7: plans and sequences in, numbers out. An engine knows no files.
//!
//! An engine is opened for what it is asked to do, and holds no more than that takes:
//!
//! | role | opened by | holds |
//! |---|---|---|
//! | [`Explain`]: sequences | [`open_explain`] | weights |
//! | [`Predict`]: windows, and sequences | [`open_predict`] | weights, genome |
//! | [`Train`]: batches, and all that `Predict` does | [`open_train`] | weights, genome, signal, the optimizer's state |

mod checks;
mod chosen;
pub mod cpu;
pub mod cuda;
mod device;
mod explain;
mod optimizer;
mod predict;
mod train;

use anyhow::Result;

pub use self::chosen::Chosen;
use self::cpu::{CpuEngine, CpuTrainer};
use self::cuda::cuda_device::CudaDevice;
#[cfg(feature = "emulate")]
use self::cuda::emulated::{EmulatedDevice, Options};
use self::cuda::engine::CudaEngine;
use self::cuda::trainer::CudaTrainer;
pub use self::device::Device;
pub use self::explain::{Contributions, Explain, Heads, Rule, ToExplain};
pub use self::optimizer::{Adam, Granularity, LossScale, Optimizer, OptimizerState};
pub use self::predict::{Engine, Predict, Predictions};
pub use self::train::{AfterBatch, ComingPlans, CountsHead, StepLoss, Train, TrainSpec};
use crate::model::Branches;
use crate::store::Tracks;

/// Makes a `$cpu` or, on other devices, a `$cuda` of the arguments.
macro_rules! on {
    ($device:expr, $cpu:ident | $cuda:ident, $($argument:expr),+) => {
        Ok(match $device {
            Device::Cpu => Box::new($cpu::new($($argument),+)?),
            Device::Cuda { gpu, precision } => {
                let device = CudaDevice::open(gpu.clone())?;
                Box::new($cuda::new(device, *precision, $($argument),+)?)
            }
            #[cfg(feature = "emulate")]
            Device::Emulated { precision } => {
                let device = EmulatedDevice::new(Options::fast());
                Box::new($cuda::new(device, *precision, $($argument),+)?)
            }
        })
    };
}

/// Opens a model for sequences: predictions of them, and contribution scores where it has one branch.
///
/// Errors: tensors that do not fit their shape or are not finite, branches of different lengths, no room on the device.
pub fn open_explain(device: &Device, branches: impl Into<Branches>) -> Result<Box<dyn Explain>> {
    on!(device, CpuEngine | CudaEngine, branches.into(), None)
}

/// Opens a model for windows of a genome. Errors: those of `open_explain`.
pub fn open_predict(
    device: &Device,
    branches: impl Into<Branches>,
    tracks: &Tracks,
) -> Result<Box<dyn Predict>> {
    on!(device, CpuEngine | CudaEngine, branches.into(), Some(tracks.clone()))
}

/// Opens a model for training on windows of a genome and a signal. Errors: those of `open_explain`.
pub fn open_train(device: &Device, spec: TrainSpec, tracks: &Tracks) -> Result<Box<dyn Train>> {
    on!(device, CpuTrainer | CudaTrainer, spec, tracks.clone())
}
