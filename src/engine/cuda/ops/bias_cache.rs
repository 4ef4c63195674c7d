//! `kernels/bias_cache.cu`: the frozen bias model's outputs, from a pass over long windows to a step's rows.

use bytemuck::{Pod, Zeroable};

use super::head::Head;
use super::loss::Outputs;
use super::{Element, Floor, assert_channels, size};
use crate::engine::cuda::device::{Address, Launch};

/// Mirror of `Keep`: where the outputs of a long window's windows go, and which of them are wanted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Keep {
    /// f32 elements from the beginning of what is kept
    pub logits: u64,
    pub logcounts: u64,
    pub first: u32,
    pub starts: u32,
}

/// Mirror of `Place` in the kernels: where a plan row's outputs lie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Place {
    pub logits: u64,
    pub logcount: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct BiasDense {
    x: Address,
    dense: Address,
    products: Address,
    rows: u32,
    channels: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct BiasKeep {
    state: Address,
    plan: Address,
    logits: Address,
    products: Address,
    dense_bias: Address,
    sums: Address,
    kept: Address,
    positions: u32,
    outputlen: u32,
    length: u32,
    window: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct BiasFetch {
    state: Address,
    plan: Address,
    kept: Address,
    logits: Address,
    logcounts: Address,
    outputlen: u32,
    padding: u32,
}

const THREADS: u32 = 256;
const WARPS: u32 = THREADS / 32;

/// A pass over long windows, each of `starts` usual ones.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The head over the long windows.
    pub head: Head,
    pub starts: usize,
}

/// What a pass leaves and what it needs of the model.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// The last feature map, [batch, length, channels] element type.
    pub x: Address,
    /// f32 [batch, outputlen], of the long windows
    pub logits: Address,
    /// f32 `[channels]`, `[1]`
    pub dense: Address,
    pub dense_bias: Address,
    /// `products_len` f32
    pub products: Address,
    /// `sums_len` f64
    pub sums: Address,
}

impl Pass {
    pub fn products_len(&self) -> usize {
        self.head.batch * self.head.length
    }

    pub fn sums_len(&self) -> usize {
        self.head.batch * (self.head.length + 1)
    }

    /// Puts the outputs of the rows of `plan`, [`Keep`] each, into `kept`.
    pub fn keep(
        &self,
        element: Element,
        state: Address,
        plan: Address,
        at: &Operands,
        kept: Address,
    ) -> [Launch; 2] {
        let Head { batch, length, channels, outputlen, .. } = self.head;
        assert_channels(size(channels));
        assert!(self.starts >= 1 && self.starts <= outputlen.min(length), "{self:?}");
        let dense = BiasDense {
            x: at.x,
            dense: at.dense,
            products: at.products,
            rows: size(self.products_len()),
            channels: size(channels),
        };
        let keep = BiasKeep {
            state,
            plan,
            logits: at.logits,
            products: at.products,
            dense_bias: at.dense_bias,
            sums: at.sums,
            kept,
            positions: size(outputlen),
            outputlen: size(outputlen + 1 - self.starts),
            length: size(length),
            window: size(length + 1 - self.starts),
        };
        let kernels = ["bias_dense_f16", "bias_dense_bf16", "bias_dense_f32"];
        let blocks = dense.rows.div_ceil(WARPS);
        let threads = [THREADS, 1, 1];
        let shared = 8 * THREADS;
        [
            Launch::new(element.pick(kernels), [blocks, 1, 1], threads, 0, &dense, "bias dense"),
            Launch::new("bias_keep", [size(batch), 1, 1], threads, shared, &keep, "bias keep"),
        ]
    }
}

/// Where the rows of a plan find what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// [`Place`] of each plan row
    pub plan: Address,
    pub kept: Address,
}

impl Fetch {
    /// Brings a batch's outputs to `out`.
    pub fn launch(&self, state: Address, batch: usize, outputlen: usize, out: Outputs) -> Launch {
        let args = BiasFetch {
            state,
            plan: self.plan,
            kept: self.kept,
            logits: out.logits,
            logcounts: out.logcounts,
            outputlen: size(outputlen),
            padding: 0,
        };
        let threads = [THREADS, 1, 1];
        Launch::new("bias_fetch", [size(batch), 1, 1], threads, 0, &args, "bias fetch")
            .with_floor(fetch_floor(batch, outputlen))
    }
}

/// Logits read and written.
fn fetch_floor(batch: usize, outputlen: usize) -> Floor {
    Floor { flop: 0.0, bytes: (8 * batch * (outputlen + 1)) as f64 }
}
