//! Where an engine computes, and in which numbers.

use std::fmt;

use super::cuda::driver::Gpu;
use super::cuda::precision::Precision;

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
