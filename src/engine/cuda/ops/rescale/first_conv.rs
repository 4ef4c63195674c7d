//! `kernels/rescale_first.cu`: the first convolution both ways, and the scores.

use bytemuck::{Pod, Zeroable};

use super::head::Scales;
use super::{Keep, RescaleArgs};
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::ops::first_conv::{FORWARD_BLOCK, FirstConv, FirstConvForward};
use crate::engine::cuda::ops::{Element, Floor, assert_channels, size};
use crate::model::arch::BASES;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    conv: FirstConvForward,
    rescale: RescaleArgs,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BackwardArgs {
    dz: Address,
    w: Address,
    multipliers: Address,
    length: u32,
    inputlen: u32,
    channels: u32,
    width: u32,
    counts: u32,
    counts_unscale: f32,
    profile_unscale: f32,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ScoresArgs {
    multipliers: Address,
    codes: Address,
    sums: Address,
    inputlen: u32,
    references: u32,
    pairs: u32,
    begin: u32,
}

/// Warps of a block and positions it owns, as in the kernel file.
const MOST_WARPS: u32 = 4;
const POSITIONS: usize = 128;

/// Operands of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// u8 [batch, inputlen]
    pub codes: Address,
    /// f32 `[width][4][channels]`
    pub w: Address,
    /// f32 `[channels]`
    pub bias: Address,
    /// out: element type [batch, length, channels]
    pub x: Address,
    /// of [.., length, channels]
    pub keep: Keep,
}

/// x = relu(z), and z or its ratio.
pub fn forward(layer: &FirstConv, element: Element, at: &Forward) -> Launch {
    let (conv, grid, shared) = layer.forward_args(at.codes, at.w, at.bias, at.x, Address::NULL);
    let args = ForwardArgs { conv, rescale: at.keep.args() };
    let kernels =
        ["rescale_first_forward_f16", "rescale_first_forward_bf16", "rescale_first_forward_f32"];
    let label = "first_conv forward";
    Launch::new(element.pick(kernels), grid, FORWARD_BLOCK, shared, &args, label)
        .with_floor(forward_floor(layer, element, at.keep))
}

/// `dz` element type [batch, length, channels] of `counts` rows of the counts head, then of the profile head, times
/// `scales` -> `multipliers` f32 [batch, inputlen, 4], plain.
pub fn backward(
    layer: &FirstConv,
    element: Element,
    dz: Address,
    w: Address,
    (counts, scales): (usize, Scales),
    multipliers: Address,
) -> Launch {
    let channels = size(layer.channels);
    assert_channels(channels);
    assert!(layer.inputlen < 1 << 30 && layer.batch < 1 << 16, "{layer:?}");
    let args = BackwardArgs {
        dz,
        w,
        multipliers,
        length: size(layer.length()),
        inputlen: size(layer.inputlen),
        channels,
        width: size(layer.width),
        counts: size(counts),
        counts_unscale: 1.0 / scales.counts,
        profile_unscale: 1.0 / scales.profile,
        padding: 0,
    };
    let kernels =
        ["rescale_first_backward_f16", "rescale_first_backward_bf16", "rescale_first_backward_f32"];
    let grid = [size(layer.inputlen.div_ceil(POSITIONS)), size(layer.batch), 1];
    let warps = (channels / 32).min(MOST_WARPS);
    let shared = warps * size(POSITIONS * BASES * 4);
    Launch::new(
        element.pick(kernels),
        grid,
        [32 * warps, 1, 1],
        shared,
        &args,
        "first_conv multipliers",
    )
    .with_floor(backward_floor(layer, element))
}

/// Where scores are summed.
#[derive(Clone, Copy, Debug)]
pub struct Scores {
    pub heads: usize,
    pub sequences: usize,
    /// of a sequence, in this chunk
    pub references: usize,
    pub inputlen: usize,
}

impl Scores {
    /// `multipliers` f32 [heads, sequences * references, inputlen, 4] against the bases `codes` u8 [sequences *
    /// references, inputlen] (`None`: against nothing), added to `sums` f32 [heads, sequences, inputlen, 4],
    /// which begin at zero where `begin` says so.
    pub fn launch(
        &self,
        multipliers: Address,
        codes: Option<Address>,
        sums: Address,
        begin: bool,
    ) -> Launch {
        let args = ScoresArgs {
            multipliers,
            codes: codes.unwrap_or(Address::NULL),
            sums,
            inputlen: size(self.inputlen),
            references: size(self.references),
            pairs: size(self.sequences * self.references),
            begin: begin.into(),
        };
        let grid = [size(self.inputlen.div_ceil(128)), size(self.sequences), size(self.heads)];
        Launch::new("rescale_scores", grid, [128, 1, 1], 0, &args, "rescale scores")
            .with_floor(self.floor())
    }

    fn floor(&self) -> Floor {
        let pairs = (self.sequences * self.references * self.inputlen) as f64;
        let sums = (self.heads * self.sequences * self.inputlen * BASES * 8) as f64;
        Floor { flop: 0.0, bytes: pairs * (1 + 4 * self.heads * BASES) as f64 + sums }
    }
}

/// What `forward` has to do.
fn forward_floor(layer: &FirstConv, element: Element, keep: Keep) -> Floor {
    let floor = layer.forward_floor(element, false);
    let values = (layer.batch * layer.length() * layer.channels) as f64;
    Floor { bytes: floor.bytes + keep.bytes(values, element), ..floor }
}

/// What `backward` has to do.
fn backward_floor(layer: &FirstConv, element: Element) -> Floor {
    let values = (layer.batch * layer.length() * layer.channels) as f64;
    let multipliers = (layer.batch * layer.inputlen * BASES * 4) as f64;
    Floor {
        flop: values * (2 * BASES * layer.width) as f64,
        bytes: values * element.bytes() as f64 + multipliers + (4 * layer.partial_len()) as f64,
    }
}
