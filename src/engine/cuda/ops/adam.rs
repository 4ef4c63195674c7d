//! `kernels/adam.cu`: one update of every parameter tensor.

use bytemuck::{Pod, Zeroable};

use super::{Element, Floor, size};
use crate::engine::cuda::device::{Address, Launch};

/// Mirror of `AdamTensor`, a row of the table that lies in device memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct AdamTensor {
    w: Address,
    m: Address,
    v: Address,
    partials: Address,
    copy: Address,
    size: u32,
    splits: u32,
    stride: u32,
    first_block: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct AdamArgs {
    state: Address,
    tensors: Address,
    count: u32,
    padding: u32,
}

const THREADS: u32 = 256;
/// Up to that many partials a block has `WIDE` elements, beyond it `NARROW`.
const FEW_SPLITS: usize = 16;
const WIDE: usize = 1024;
const NARROW: usize = 32;

/// A tensor to update. All arrays are f32 of `len` elements but `copy`.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub w: Address,
    pub m: Address,
    pub v: Address,
    pub len: usize,
    /// Where the first partial of the gradient begins.
    pub partials: Address,
    /// How many there are, and how many elements lie from one to the next.
    pub splits: usize,
    pub stride: usize,
    /// In the element type, where the tensor cores read the tensor.
    pub copy: Option<Address>,
}

/// The table for device memory, and the launch that reads it.
#[derive(Clone, Debug)]
pub struct Table {
    pub tensors: Vec<AdamTensor>,
    blocks: u32,
}

impl Table {
    pub fn new(updates: &[Update]) -> Self {
        assert!(!updates.is_empty(), "nothing to update");
        let mut blocks = 0;
        let tensors = updates
            .iter()
            .map(|u| {
                assert!(u.len > 0 && u.splits > 0);
                assert!(u.splits == 1 || u.stride >= u.len, "partials overlap");
                let first_block = blocks;
                let block = if u.splits > FEW_SPLITS { NARROW } else { WIDE };
                blocks += size(u.len.div_ceil(block));
                AdamTensor {
                    w: u.w,
                    m: u.m,
                    v: u.v,
                    partials: u.partials,
                    copy: u.copy.unwrap_or(Address::NULL),
                    size: size(u.len),
                    splits: size(u.splits),
                    stride: size(u.stride),
                    first_block,
                }
            })
            .collect();
        Self { tensors, blocks }
    }

    /// `tensors` is where the table was uploaded to.
    pub fn launch(&self, element: Element, state: Address, tensors: Address) -> Launch {
        let args = AdamArgs { state, tensors, count: size(self.tensors.len()), padding: 0 };
        let kernel = element.pick(["adam_f16", "adam_bf16", "adam_f32"]);
        Launch::new(kernel, [self.blocks, 1, 1], [THREADS, 1, 1], 4 * THREADS, &args, "adam")
            .with_floor(self.floor(element))
    }

    pub fn floor(&self, element: Element) -> Floor {
        let bytes = |t: &AdamTensor| {
            let copy = if t.copy == Address::NULL { 0 } else { element.bytes() as u64 };
            // Weight and moments are read and written, each partial is read.
            u64::from(t.size) * (24 + 4 * u64::from(t.splits) + copy)
        };
        let flop = |t: &AdamTensor| u64::from(t.size) * (12 + u64::from(t.splits));
        Floor {
            flop: self.tensors.iter().map(flop).sum::<u64>() as f64,
            bytes: self.tensors.iter().map(bytes).sum::<u64>() as f64,
        }
    }
}
