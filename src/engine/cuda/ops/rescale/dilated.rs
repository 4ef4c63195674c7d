//! `kernels/rescale_{forward,dgrad}.cu`: a dilated layer both ways.

use bytemuck::{Pod, Zeroable};

use super::{Keep, RescaleArgs};
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::ops::Floor;
use crate::engine::cuda::ops::dilated::{Layer, Pass, RowMap, TILE_ROWS, layer_kernel};

/// Operands of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// `[batch, length_in, channels]`
    pub x: Address,
    /// `[3, channels, channels]`, tap, in, out
    pub weights: Address,
    /// f32 `[channels]`
    pub bias: Address,
    /// out: `[batch, length_out, channels]`
    pub y: Address,
    /// of `[.., length_out, channels]`
    pub keep: Keep,
}

/// Operands of the way back.
#[derive(Clone, Copy, Debug)]
pub struct Dgrad {
    /// `[batch, length_out, channels]`: `g_out` times the ratio of this layer's ReLU
    pub dz_out: Address,
    /// `[batch, length_out, channels]`: multipliers of y
    pub g_out: Address,
    pub weights: Address,
    /// `[ratio_batch, length_in, channels]`: of the layer below
    pub ratio: Address,
    /// examples that `ratio` has: the batch, or half of it when two heads share them
    pub ratio_batch: usize,
    /// out: multipliers of x, `[batch, length_in, channels]`; `Address::NULL` where no residual needs it (layer 1)
    pub g: Address,
    /// out: the same times `ratio`
    pub dz: Address,
    /// u32, set to 1 if a multiplier does not fit its type
    pub overflow: Address,
}

impl Dgrad {
    pub(super) fn ratio_rows(&self, layer: &Layer) -> u32 {
        let n = self.ratio_batch;
        assert!(n == layer.batch || 2 * n == layer.batch, "{layer:?}: ratios of {n} examples");
        (n * layer.length_in) as u32
    }
}

/// y = relu(z) + cropped x with z = conv(x) + bias, and z or its ratio.
pub fn forward(layer: &Layer, at: &Forward, label: &str) -> Launch {
    forward_with(layer, layer.columns(Pass::Forward), at, label)
}

/// `forward` in tiles of `columns`.
pub fn forward_with(layer: &Layer, columns: usize, at: &Forward, label: &str) -> Launch {
    layer.check();
    let args = ForwardArgs {
        x: at.x,
        weights: at.weights,
        bias: at.bias,
        y: at.y,
        rescale: at.keep.args(),
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let kernel = layer_kernel!("rescale_forward", layer.precision, columns);
    let tiles = layer.rows_out().div_ceil(TILE_ROWS) * (layer.channels / columns);
    layer.launch(kernel, columns, [tiles, 1], &args, label)
}

/// g = transposed conv(dz_out) + padded g_out; dz = g times the ratio.
pub fn dgrad(layer: &Layer, at: &Dgrad, label: &str) -> Launch {
    dgrad_with(layer, layer.columns(Pass::Dgrad), at, label)
}

/// `dgrad` in tiles of `columns`.
pub fn dgrad_with(layer: &Layer, columns: usize, at: &Dgrad, label: &str) -> Launch {
    layer.check();
    let args = DgradArgs {
        dz_out: at.dz_out,
        g_out: at.g_out,
        weights: at.weights,
        ratio: at.ratio,
        g: at.g,
        dz: at.dz,
        overflow: at.overflow,
        map: layer.in_to_out(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        ratio_rows: at.ratio_rows(layer),
    };
    let kernel = layer_kernel!("rescale_dgrad", layer.precision, columns);
    let tiles = layer.column_sum_tiles() * (layer.channels / columns);
    layer.launch(kernel, columns, [tiles, 1], &args, label)
}

/// What `forward` has to do.
pub(super) fn forward_floor(layer: &Layer, keep: Keep) -> Floor {
    let floor = layer.floor(Pass::Forward);
    let outputs = layer.rows_out() * layer.channels;
    let kept = keep.bytes(outputs as f64, layer.precision.element());
    // in place of the mask
    Floor { flop: floor.flop as f64, bytes: (floor.bytes - outputs as u64 / 8) as f64 + kept }
}

/// What `dgrad` has to do.
pub(super) fn dgrad_floor(layer: &Layer, ratio_batch: usize) -> Floor {
    let floor = layer.floor(Pass::Dgrad);
    let inputs = (layer.rows_in() * layer.channels) as u64;
    let ratios = ratio_batch * layer.length_in * layer.channels * layer.precision.bytes();
    Floor { flop: floor.flop as f64, bytes: (floor.bytes - inputs / 8) as f64 + ratios as f64 }
}

/// Mirror of `RescaleForwardArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    x: Address,
    weights: Address,
    bias: Address,
    y: Address,
    rescale: RescaleArgs,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `RescaleDgradArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DgradArgs {
    dz_out: Address,
    g_out: Address,
    weights: Address,
    ratio: Address,
    g: Address,
    dz: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    ratio_rows: u32,
}
