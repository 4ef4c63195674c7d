//! Where an engine computes, and in which numbers.

use std::fmt;

use super::cuda::driver::{self, Gpu};
use super::cuda::precision::Precision;
use crate::error::Problem;

/// Where an engine computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// Every core, in f32.
    Cpu,
    /// A GPU.
    Cuda {
        /// The GPU as the driver describes it.
        gpu: Gpu,
        /// The numbers that the large layers compute in.
        precision: Precision,
    },
    /// The CUDA engine with its kernels built for the host: slow, for tests.
    #[cfg(feature = "emulate")]
    Emulated { precision: Precision },
}

impl Device {
    /// The first GPU that can be used, in tf32; the CPU where the machine has none.
    ///
    /// Errors: a GPU that is there and cannot be used, so that nobody computes on a CPU without knowing. Ask for
    /// [`Device::Cpu`] then.
    pub fn auto() -> Result<Self, Problem> {
        let precision = Precision::DEFAULT;
        match driver::gpus() {
            Ok(gpus) if !gpus.is_empty() => match driver::choose(None) {
                Ok(gpu) => Ok(Self::Cuda { gpu, precision }),
                Err(reason) => Err(Problem::new(format!("the GPU cannot be used: {reason}"))
                    .fix("see `cbp-fast doctor`, or ask for Device::Cpu")),
            },
            _ => Ok(Self::Cpu),
        }
    }

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
