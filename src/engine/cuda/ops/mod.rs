//! The operations of a step: for each, the mirrors of its kernels' argument structs, and pure
//! functions from shapes and addresses to launches.
//!
//! Shapes are asserted here, since a kernel trusts them. No function looks at the device, so that
//! the order of every sum, and with it every bit of a result, depends on the shapes alone.

pub mod adam;
pub mod batch;
pub mod bias_cache;
pub mod ceiling;
pub mod counts_head;
pub mod dilated;
pub mod first_conv;
pub mod head;
pub mod hopper;
pub mod int8;
pub mod loss;
pub mod partial_sums;
pub mod rescale;
pub mod step;

/// What activations, their gradients and weight copies are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F16,
    Bf16,
    F32,
}

impl Element {
    pub const ALL: [Element; 3] = [Element::F16, Element::Bf16, Element::F32];

    pub fn bytes(self) -> usize {
        match self {
            Element::F16 | Element::Bf16 => 2,
            Element::F32 => 4,
        }
    }

    /// The kernel of this element type, of three in the order of the enum.
    fn pick(self, kernels: [&'static str; 3]) -> &'static str {
        kernels[self as usize]
    }
}

/// What an operation has to do whatever its kernel: arithmetic, and bytes to and from memory when
/// each tensor is touched once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    pub flop: f64,
    pub bytes: f64,
}

impl Floor {
    /// The floor of what only has latency.
    pub const NONE: Self = Self { flop: 0.0, bytes: 0.0 };
}

/// Channels as they lie in memory: a whole number of mask words. The padding is zero and stays so.
pub fn padded_channels(filters: usize) -> usize {
    filters.next_multiple_of(CHANNEL_UNIT as usize)
}

const CHANNEL_UNIT: u32 = 32;

/// Multiprocessors of the GPU that grids are sized for (H100, H200). Others run the same blocks.
const MULTIPROCESSORS: u32 = 132;

/// Dynamic shared memory that every GPU from sm_80 on gives a block.
const SHARED_LIMIT: u32 = 99 << 10;

/// Sizes are counted in u32 in the kernels, rows below 2^31.
fn size(n: usize) -> u32 {
    u32::try_from(n).expect("sizes of a launch fit in 32 bits")
}

fn assert_channels(channels: u32) {
    assert!(
        channels > 0 && channels.is_multiple_of(CHANNEL_UNIT),
        "{channels} channels are not padded"
    );
}
