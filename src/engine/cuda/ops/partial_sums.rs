//! `kernels/partial_sums.cu`: the parts of a weight gradient as one.

use bytemuck::{Pod, Zeroable};

use super::dilated::Layer;
use super::{Floor, size};
use crate::engine::cuda::device::{Address, Launch};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PartialSumsArgs {
    partials: Address,
    splits: u32,
    len: u32,
}

const THREADS: usize = 256;
const PER_THREAD: usize = 4;

/// f32 `[splits][len]`, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct PartialSums {
    pub splits: usize,
    /// a multiple of 4
    pub len: usize,
}

impl PartialSums {
    /// The partial sums of a layer's wgrad.
    pub fn of(layer: &Layer) -> Self {
        Self { splits: layer.splits(), len: layer.weights_len() }
    }

    /// The first part becomes the sum of all; `None` where it is already.
    pub fn launch(&self, partials: Address, label: &str) -> Option<Launch> {
        assert!(self.len.is_multiple_of(PER_THREAD), "{self:?}");
        let args = PartialSumsArgs { partials, splits: size(self.splits), len: size(self.len) };
        let grid = [size(self.len.div_ceil(THREADS * PER_THREAD)), 1, 1];
        (self.splits > 1).then(|| {
            Launch::new("partial_sums", grid, [THREADS as u32, 1, 1], 0, &args, label)
                .with_floor(self.floor())
        })
    }

    pub fn floor(&self) -> Floor {
        let (splits, len) = (self.splits as f64, self.len as f64);
        Floor { flop: (splits - 1.0) * len, bytes: 4.0 * (splits + 1.0) * len }
    }
}
