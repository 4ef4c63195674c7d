//! Dilated convolution of width 3 with ReLU and cropped residual, three passes:
//! `kernels/dilated_{forward,dgrad,wgrad}.cu`, which have the mathematics.
//!
//! In:  addresses of tensors in the layouts of `engine::cuda`, and the layer's shape.
//! Out: launches. Which tile a launch takes, and into how many parts wgrad cuts its rows, is a function of the
//! shape alone, so every device sums in the same order.

use bytemuck::{Pod, Zeroable};

use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::fast_div::FastDiv;
use crate::engine::cuda::precision::Precision;

pub const TAPS: usize = 3;
/// Rows of a block's tile, in every kernel: of activations, or (wgrad) of `[3 * channels]` weights.
pub const TILE_ROWS: usize = 128;
/// Columns that a block's tile can have.
pub const TILE_COLUMNS: [usize; 3] = [128, 64, 32];

/// Blocks that fill the GPUs we know: two on each of the 132 multiprocessors of an H100.
const ENOUGH_BLOCKS: usize = 264;
/// wgrad cuts its rows until there are two rounds of them, so that the last round is a small loss,
const WGRAD_BLOCKS: usize = 2 * ENOUGH_BLOCKS;
/// but not into fewer rows than this: every part writes a whole set of partial sums.
const LEAST_SPLIT_ROWS: usize = 1536;

/// One layer's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// examples
    pub batch: usize,
    /// positions of x; the output has `2 * dilation` less
    pub length_in: usize,
    pub dilation: usize,
    /// filters, padded to a multiple of 32
    pub channels: usize,
    pub precision: Precision,
}

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
    /// out: u32 `[batch * length_out, channels / 32]`; `Address::NULL` where no gradient follows
    pub mask: Address,
}

/// Operands of the gradient with respect to the input.
#[derive(Clone, Copy, Debug)]
pub struct Dgrad {
    /// `[batch, length_out, channels]`: gradient of y where this layer's ReLU let through
    pub dz_out: Address,
    /// `[batch, length_out, channels]`: gradient of y
    pub g_out: Address,
    pub weights: Address,
    /// u32 `[batch * length_in, channels / 32]`: where the layer below let through
    pub mask: Address,
    /// out: gradient of x, `[batch, length_in, channels]`; `Address::NULL` where no residual needs it (layer 1)
    pub g: Address,
    /// out: the same where `mask` lets through
    pub dz: Address,
    /// out: f32 `[column_sum_tiles, channels]`, which add up to the bias gradient of the layer below
    pub column_sums: Address,
    /// u32, set to 1 if a gradient does not fit its type
    pub overflow: Address,
}

/// Operands of the gradient with respect to the weights.
#[derive(Clone, Copy, Debug)]
pub struct Wgrad {
    pub x: Address,
    pub dz_out: Address,
    /// out: f32 `[splits, 3 * channels, channels]`, which add up to the gradient
    pub partials: Address,
    /// u32, set to 1 if a sum is not finite
    pub overflow: Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Forward,
    Dgrad,
    Wgrad,
}

/// The least a pass can do: products and sums, and bytes to and from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    pub flop: u64,
    pub bytes: u64,
}

impl From<Floor> for super::Floor {
    fn from(Floor { flop, bytes }: Floor) -> Self {
        Self { flop: flop as f64, bytes: bytes as f64 }
    }
}

impl Layer {
    pub fn length_out(&self) -> usize {
        assert!(self.length_in > 2 * self.dilation, "{self:?}: no output is left");
        self.length_in - 2 * self.dilation
    }

    pub fn rows_in(&self) -> usize {
        self.batch * self.length_in
    }

    pub fn rows_out(&self) -> usize {
        self.batch * self.length_out()
    }

    /// Weights: `[3, channels, channels]`.
    pub fn weights_len(&self) -> usize {
        TAPS * self.channels * self.channels
    }

    /// Row tiles of dgrad: rows of its column sums.
    pub fn column_sum_tiles(&self) -> usize {
        self.rows_in().div_ceil(TILE_ROWS)
    }

    /// Parts into which wgrad cuts the rows.
    pub fn splits(&self) -> usize {
        let tiles = self.weight_tiles() * (self.channels / self.widest());
        let most = self.rows_out().div_ceil(LEAST_SPLIT_ROWS);
        WGRAD_BLOCKS.div_ceil(tiles).clamp(1, most)
    }

    /// The widest tile that still gives enough blocks, or else the narrowest. Results do not depend on it.
    pub fn columns(&self, pass: Pass) -> usize {
        let row_tiles = match pass {
            Pass::Forward => self.rows_out().div_ceil(TILE_ROWS),
            Pass::Dgrad => self.rows_in().div_ceil(TILE_ROWS),
            Pass::Wgrad => return self.widest(), // splits make the blocks
        };
        let enough = |n: &usize| row_tiles * (self.channels / n) >= ENOUGH_BLOCKS;
        self.possible_columns().find(enough).unwrap_or(32)
    }

    /// Tile widths that there are kernels for and that divide the channels, widest first.
    pub fn possible_columns(&self) -> impl Iterator<Item = usize> + use<> {
        let widest = match self.precision {
            Precision::Plain => 32,
            Precision::F32 => 64, // wider, the parts of operands and sums do not fit the registers
            _ => 128,
        };
        let channels = self.channels;
        TILE_COLUMNS.into_iter().filter(move |n| *n <= widest && channels.is_multiple_of(*n))
    }

    fn widest(&self) -> usize {
        self.possible_columns().next().expect("channels are a multiple of 32")
    }

    /// Row tiles of `[3 * channels, channels]`.
    fn weight_tiles(&self) -> usize {
        (TAPS * self.channels).div_ceil(TILE_ROWS)
    }

    pub fn floor(&self, pass: Pass) -> Floor {
        let weights = self.weights_len();
        let element = self.precision.bytes();
        let (x, y) = (self.rows_in() * self.channels, self.rows_out() * self.channels);
        let bytes = match pass {
            // x, y, weights and a bit an output
            Pass::Forward => (x + y + weights) * element + y / 8,
            // dz and g of the output, g and dz of x, weights and a bit an input
            Pass::Dgrad => (2 * y + 2 * x + weights) * element + x / 8,
            // x, dz and the partial sums
            Pass::Wgrad => (x + y) * element + self.splits() * weights * size_of::<f32>(),
        };
        Floor { flop: 2 * (self.rows_out() * weights) as u64, bytes: bytes as u64 }
    }

    pub(super) fn check(&self) {
        assert!(self.batch > 0 && self.dilation > 0, "{self:?}: batch and dilation are positive");
        assert!(
            self.channels > 0 && self.channels.is_multiple_of(32),
            "{self:?}: channels are padded to 32"
        );
        // FastDiv and the kernels' row numbers.
        assert!(self.rows_in() <= 1 << 29, "{self:?}: too many rows for 32-bit positions");
    }

    /// Rows of y, seen from x.
    pub(super) fn out_to_in(&self) -> RowMap {
        RowMap::new(self.batch, self.length_out(), self.length_in)
    }

    /// Rows of x, seen from y.
    pub(super) fn in_to_out(&self) -> RowMap {
        RowMap::new(self.batch, self.length_in, self.length_out())
    }

    /// Launches a kernel on the core that this precision runs on.
    pub(super) fn launch(
        &self,
        kernel: &'static str,
        columns: usize,
        grid: [usize; 2],
        args: &impl bytemuck::NoUninit,
        label: &str,
    ) -> Launch {
        let (threads, shared) = match self.precision {
            Precision::Plain => (64, PLAIN_SHARED_BYTES),
            _ => (128, shared_bytes(columns)),
        };
        let grid = grid.map(|n| u32::try_from(n).expect("rows fit 32 bits, so tiles do"));
        Launch::new(kernel, [grid[0], grid[1], 1], [threads, 1, 1], shared as u32, args, label)
    }
}

/// y = relu(conv(x) + bias) + cropped x.
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
        mask: at.mask,
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let tiles = layer.rows_out().div_ceil(TILE_ROWS) * (layer.channels / columns);
    let kernel = symbol(Pass::Forward, layer.precision, columns);
    layer.launch(kernel, columns, [tiles, 1], &args, label)
}

/// g = transposed conv(dz_out) + padded g_out; dz = g where the mask lets through; column sums of dz.
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
        mask: at.mask,
        g: at.g,
        dz: at.dz,
        column_sums: at.column_sums,
        overflow: at.overflow,
        map: layer.in_to_out(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let tiles = layer.column_sum_tiles() * (layer.channels / columns);
    let kernel = symbol(Pass::Dgrad, layer.precision, columns);
    layer.launch(kernel, columns, [tiles, 1], &args, label)
}

/// The weights' gradient, in `layer.splits()` parts.
pub fn wgrad(layer: &Layer, at: &Wgrad, label: &str) -> Launch {
    layer.check(); // before its shape is asked for a number of parts
    wgrad_with(layer, layer.columns(Pass::Wgrad), layer.splits(), at, label)
}

/// `wgrad` in tiles of `columns` and `splits` parts.
pub fn wgrad_with(layer: &Layer, columns: usize, splits: usize, at: &Wgrad, label: &str) -> Launch {
    layer.check();
    let args = WgradArgs {
        x: at.x,
        dz_out: at.dz_out,
        partials: at.partials,
        overflow: at.overflow,
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let tiles = layer.weight_tiles() * (layer.channels / columns);
    let kernel = symbol(Pass::Wgrad, layer.precision, columns);
    layer.launch(kernel, columns, [tiles, splits], &args, label)
}

/// Shared memory of a ring of stages, 64 bytes of k deep (`kernels/core/tile.cuh`).
fn shared_bytes(columns: usize) -> usize {
    let stages = if columns == 128 { 3 } else { 4 };
    stages * 64 * (TILE_ROWS + columns)
}

/// `kernels/core/plain_core.cuh`: 32 rows of each operand, padded by 4 floats.
const PLAIN_SHARED_BYTES: usize = 32 * ((TILE_ROWS + 4) + (32 + 4)) * size_of::<f32>();

/// Mirror of `RowMap` in `kernels/core/operands.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct RowMap {
    length: FastDiv,
    rows: u32,
    source_length: u32,
}

impl RowMap {
    fn new(batch: usize, length: usize, source_length: usize) -> Self {
        Self {
            length: FastDiv::new(length as u32),
            rows: (batch * length) as u32,
            source_length: source_length as u32,
        }
    }
}

/// Mirror of `DilatedForwardArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    x: Address,
    weights: Address,
    bias: Address,
    y: Address,
    mask: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `DilatedDgradArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DgradArgs {
    dz_out: Address,
    g_out: Address,
    weights: Address,
    mask: Address,
    g: Address,
    dz: Address,
    column_sums: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `DilatedWgradArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WgradArgs {
    x: Address,
    dz_out: Address,
    partials: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Bytes of a pass's arguments, to compare with the kernels'.
pub fn args_bytes(pass: Pass) -> usize {
    match pass {
        Pass::Forward => size_of::<ForwardArgs>(),
        Pass::Dgrad => size_of::<DgradArgs>(),
        Pass::Wgrad => size_of::<WgradArgs>(),
    }
}

/// `{op}_{type}_n{columns}`, the kernel of a layer for a precision and a tile's width.
///
/// Panics when there is none of these columns (`Layer::possible_columns`).
macro_rules! layer_kernel {
    ($op:literal, $precision:expr, $columns:expr) => {{
        use $crate::engine::cuda::precision::Precision;
        macro_rules! by_columns {
            ($kind:literal) => {
                match $columns {
                    128 => concat!($op, "_", $kind, "_n128"),
                    64 => concat!($op, "_", $kind, "_n64"),
                    32 => concat!($op, "_", $kind, "_n32"),
                    columns => panic!("no kernel for tiles of {columns} columns"),
                }
            };
        }
        match $precision {
            Precision::Fp16 => by_columns!("f16"),
            Precision::Bf16 => by_columns!("bf16"),
            Precision::Tf32 => by_columns!("tf32"),
            Precision::F32 if $columns <= 64 => by_columns!("f32x3"),
            Precision::Plain if $columns == 32 => concat!($op, "_f32"),
            precision => panic!("no {precision} kernel for tiles of {} columns", $columns),
        }
    }};
}
pub(super) use layer_kernel;

/// The kernel of a pass.
///
/// Panics when there is none of these `columns` (`Layer::possible_columns`).
pub fn symbol(pass: Pass, precision: Precision, columns: usize) -> &'static str {
    match pass {
        Pass::Forward => layer_kernel!("dilated_forward", precision, columns),
        Pass::Dgrad => layer_kernel!("dilated_dgrad", precision, columns),
        Pass::Wgrad => layer_kernel!("dilated_wgrad", precision, columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(i: u32, precision: Precision) -> Layer {
        let length_in = 2094 - (1..i).map(|i| 2 << i).sum::<usize>();
        Layer { batch: 64, length_in, dilation: 1 << i, channels: 512, precision }
    }

    #[test]
    fn floors_of_the_standard_model() {
        // kernels' design, layer 1 of 512 filters, batch 64: 210.4 GFLOP; 284, 557 (dgrad that writes g), 309 MB
        let first = layer(1, Precision::Bf16);
        assert_eq!(first.length_out(), 2090);
        assert_eq!(first.floor(Pass::Forward).flop, 210_386_288_640);
        let megabytes = |pass| first.floor(pass).bytes / 1_000_000;
        assert_eq!([Pass::Forward, Pass::Dgrad, Pass::Wgrad].map(megabytes), [284, 558, 308]);
        let flop: u64 = (1..=8).map(|i| layer(i, Precision::Bf16).floor(Pass::Forward).flop).sum();
        assert_eq!(flop / 1_000_000_000, 1484);
    }

    #[test]
    fn tiles_follow_the_shape() {
        let wide = layer(1, Precision::Fp16);
        assert_eq!(wide.columns(Pass::Forward), 128);
        assert_eq!(wide.splits(), 11); // 48 tiles, 528 blocks
        let one = Layer { batch: 1, ..wide };
        assert_eq!(one.columns(Pass::Forward), 32); // 17 row tiles: 272 blocks
        assert_eq!(one.splits(), 2);
        assert_eq!(Layer { channels: 192, ..wide }.columns(Pass::Dgrad), 64);
        assert_eq!(Layer { channels: 96, ..wide }.columns(Pass::Wgrad), 32);
        assert_eq!(layer(1, Precision::Plain).columns(Pass::Forward), 32);
    }

    #[test]
    #[should_panic(expected = "no output is left")]
    fn a_dilation_too_long_for_the_input() {
        let at = Wgrad {
            x: Address::NULL,
            dz_out: Address::NULL,
            partials: Address::NULL,
            overflow: Address::NULL,
        };
        wgrad(&Layer { length_in: 4, ..layer(1, Precision::F32) }, &at, "");
    }
}
