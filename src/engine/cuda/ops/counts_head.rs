//! `kernels/counts_head.cu`: the update of a centered counts head.

use bytemuck::{Pod, Zeroable};

use super::size;
use crate::engine::cuda::device::{Address, Launch};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct CountsHeadArgs {
    state: Address,
    kernel: [Address; 3],
    bias: Address,
    dense: Address,
    features: Address,
    dlogcounts: Address,
    bias_rate: f64,
    channels: u32,
    splits: u32,
    stride: u32,
    batch: u32,
}

const THREADS: u32 = 256;
const WARPS: u32 = THREADS / 32;

/// What the update reads and writes. All arrays are f32.
#[derive(Clone, Copy, Debug)]
pub struct CountsHead {
    /// Weights, first and second moments, `[channels]`.
    pub kernel: [Address; 3],
    /// `[1]`
    pub bias: Address,
    /// First partial of the kernel's gradient and of the sums of its features, `[channels]`.
    pub dense: Address,
    pub features: Address,
    /// Partials of both, and how many elements lie from one to the next.
    pub splits: usize,
    pub stride: usize,
    /// Gradient by log counts, `[batch]`.
    pub by_logcounts: Address,
    /// `engine::CountsHead::bias_rate`
    pub bias_rate: f64,
    pub channels: usize,
    pub batch: usize,
}

impl CountsHead {
    pub fn launch(&self, state: Address) -> Launch {
        let args = CountsHeadArgs {
            state,
            kernel: self.kernel,
            bias: self.bias,
            dense: self.dense,
            features: self.features,
            dlogcounts: self.by_logcounts,
            bias_rate: self.bias_rate,
            channels: size(self.channels),
            splits: size(self.splits),
            stride: size(self.stride),
            batch: size(self.batch),
        };
        let shared = 2 * 8 * WARPS;
        let label = "counts head";
        Launch::new("counts_head", [1, 1, 1], [THREADS, 1, 1], shared, &args, label)
    }
}
