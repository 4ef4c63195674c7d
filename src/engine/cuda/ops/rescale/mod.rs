//! DeepSHAP's rescale rule: `kernels/rescale_*.cu`, which have the mathematics.
//!
//! The sequences go forward first and leave the pre-activations of every ReLU, f32. Then pairs of a sequence and one of
//! its references are the batch: forward, which leaves a ratio for every unit of every ReLU, and backward through the same
//! layers with those ratios in place of masks. A backward batch holds the pairs of the counts head, then
//! those of the profile head, so that both go through the layers together.

pub mod dilated;
pub mod first_conv;
pub mod head;
pub mod hopper;

use bytemuck::{Pod, Zeroable};

use super::size;
use crate::engine::cuda::device::Address;
use crate::engine::cuda::fast_div::FastDiv;

/// What a forward layer leaves for the backward pass beside its output, [batch, length, channels].
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// The pre-activations of sequences.
    PreActivations {
        /// out: f32
        z: Address,
    },
    /// How the ReLUs of references changed against the sequences'.
    Ratios {
        /// in: f32 [batch / per_sequence, length, channels], what the sequences left
        of: Address,
        per_sequence: usize,
        /// out: element type
        ratio: Address,
    },
    /// Where the ReLUs of sequences let through, as 1 and 0: the plain gradient.
    Derivatives {
        /// out: element type
        ratio: Address,
    },
}

/// Mirror of `Rescale` in `kernels/rescale.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RescaleArgs {
    kept: Address,
    x: Address,
    ratio: Address,
    per_sequence: FastDiv,
    padding: u32,
}

impl Keep {
    fn args(self) -> RescaleArgs {
        let none = RescaleArgs {
            kept: Address::NULL,
            x: Address::NULL,
            ratio: Address::NULL,
            per_sequence: FastDiv::new(1),
            padding: 0,
        };
        match self {
            Keep::PreActivations { z } => RescaleArgs { kept: z, ..none },
            Keep::Ratios { of, per_sequence, ratio } => {
                let per_sequence = FastDiv::new(size(per_sequence));
                RescaleArgs { x: of, ratio, per_sequence, ..none }
            }
            Keep::Derivatives { ratio } => RescaleArgs { ratio, ..none },
        }
    }

    /// Bytes that it adds to a layer of `values` outputs.
    fn bytes(self, values: f64, element: super::Element) -> f64 {
        let element = element.bytes() as f64;
        match self {
            Keep::PreActivations { .. } => 4.0 * values,
            Keep::Ratios { per_sequence, .. } => (element + 4.0 / per_sequence as f64) * values,
            Keep::Derivatives { .. } => element * values,
        }
    }
}
