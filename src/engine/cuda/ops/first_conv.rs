//! `kernels/first_conv.cu`: the first convolution, from base codes, and its weight gradient.

use bytemuck::{Pod, Zeroable};

use super::{CHANNEL_UNIT, Element, Floor, MULTIPROCESSORS, SHARED_LIMIT, assert_channels, size};
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::fast_div::FastDiv;
use crate::model::arch::BASES;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct FirstConvForward {
    codes: Address,
    w: Address,
    bias: Address,
    x: Address,
    mask: Address,
    rows: u32,
    rows_per_block: u32,
    inputlen: u32,
    channels: u32,
    width: u32,
    table_groups: u32,
    length: FastDiv,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct FirstConvGradient {
    dz: Address,
    codes: Address,
    partials: Address,
    length: u32,
    inputlen: u32,
    channels: u32,
    width: u32,
    segments: u32,
    segment_len: u32,
    per_example: FastDiv,
    padding: u32,
}

/// Taps of a table, and its entries.
const GROUP: u32 = 3;
const ENTRIES: u32 = 64;
const PASS_ROWS: u32 = 128;
/// Rows of a block below which its table costs more than a quarter of it.
const MIN_ROWS: u32 = 1024;
/// Blocks that a multiprocessor holds at once.
const BLOCKS: u32 = 3;

const TAPS: u32 = 21;
const WARPS: u32 = 4;
/// Positions of a segment: 21 of the last one are read again.
const SEGMENT: usize = 256;

pub(super) const FORWARD_BLOCK: [u32; 3] = [256, 1, 1];

/// Shape of the layer.
#[derive(Clone, Copy, Debug)]
pub struct FirstConv {
    pub batch: usize,
    pub inputlen: usize,
    /// padded
    pub channels: usize,
    /// taps
    pub width: usize,
}

impl FirstConv {
    /// Rows of an example's feature map.
    pub fn length(&self) -> usize {
        assert!(self.width >= 1 && self.inputlen >= self.width);
        self.inputlen + 1 - self.width
    }

    fn channel_tiles(&self) -> u32 {
        assert_channels(size(self.channels));
        size(self.channels) / CHANNEL_UNIT
    }

    /// `codes` u8 [batch, inputlen], `w` f32 [width][4][channels], `bias` f32 [channels] ->
    /// `x` [batch, length, channels] and, where one is given, `mask` u32 [batch * length][channels / 32].
    pub fn forward(
        &self,
        element: Element,
        codes: Address,
        w: Address,
        bias: Address,
        x: Address,
        mask: Option<Address>,
    ) -> Launch {
        let floor = self.forward_floor(element, mask.is_some());
        let mask = mask.unwrap_or(Address::NULL);
        let (args, grid, shared) = self.forward_args(codes, w, bias, x, mask);
        let kernels =
            ["first_conv_forward_f16", "first_conv_forward_bf16", "first_conv_forward_f32"];
        let label = "first_conv forward";
        Launch::new(element.pick(kernels), grid, FORWARD_BLOCK, shared, &args, label)
            .with_floor(floor)
    }

    /// Arguments of the walk over all rows, its grid, and its shared memory in bytes.
    pub(super) fn forward_args(
        &self,
        codes: Address,
        w: Address,
        bias: Address,
        x: Address,
        mask: Address,
    ) -> (FirstConvForward, [u32; 3], u32) {
        let rows = size(self.batch * self.length());
        assert!(rows < 1 << 31, "{rows} rows");
        let tiles = self.channel_tiles();
        let splits = (BLOCKS * MULTIPROCESSORS / tiles).clamp(1, rows.div_ceil(MIN_ROWS));
        let rows_per_block = rows.div_ceil(splits).next_multiple_of(PASS_ROWS);
        let table_bytes = ENTRIES * CHANNEL_UNIT * 4;
        let groups = size(self.width).div_ceil(GROUP);
        let shared = |groups: u32| groups * table_bytes + groups.next_multiple_of(4) * PASS_ROWS;
        let table_groups = (1..=groups).rev().find(|&g| shared(g) <= SHARED_LIMIT).unwrap_or(1);
        let args = FirstConvForward {
            codes,
            w,
            bias,
            x,
            mask,
            rows,
            rows_per_block,
            inputlen: size(self.inputlen),
            channels: size(self.channels),
            width: size(self.width),
            table_groups,
            length: FastDiv::new(size(self.length())),
            padding: 0,
        };
        let grid = [tiles, rows.div_ceil(rows_per_block), 1];
        (args, grid, shared(table_groups))
    }

    /// Partials of the gradient, each [4 width + 1][channels] f32: the weights' rows, then the bias.
    pub fn splits(&self) -> usize {
        let tiles = self.channel_tiles() * size(self.width).div_ceil(TAPS);
        let wanted = BLOCKS * MULTIPROCESSORS / tiles;
        wanted.clamp(1, size(self.segments()).div_ceil(WARPS)) as usize
    }

    fn segments(&self) -> usize {
        self.batch * self.inputlen.div_ceil(SEGMENT)
    }

    /// f32 elements of one partial.
    pub fn partial_len(&self) -> usize {
        (BASES * self.width + 1) * self.channels
    }

    /// `dz` [batch, length, channels], `codes` -> `partials` f32 [splits][4 width + 1][channels].
    pub fn gradient(
        &self,
        element: Element,
        dz: Address,
        codes: Address,
        partials: Address,
    ) -> Launch {
        let segments = size(self.segments());
        assert!(segments < 1 << 31, "{segments} segments");
        let args = FirstConvGradient {
            dz,
            codes,
            partials,
            length: size(self.length()),
            inputlen: size(self.inputlen),
            channels: size(self.channels),
            width: size(self.width),
            segments,
            segment_len: size(SEGMENT),
            per_example: FastDiv::new(size(self.inputlen.div_ceil(SEGMENT))),
            padding: 0,
        };
        let kernels =
            ["first_conv_gradient_f16", "first_conv_gradient_bf16", "first_conv_gradient_f32"];
        let grid = [self.channel_tiles(), size(self.width).div_ceil(TAPS), size(self.splits())];
        let shared = WARPS * (4 * TAPS + 1) * 32 * 4;
        Launch::new(
            element.pick(kernels),
            grid,
            [32 * WARPS, 1, 1],
            shared,
            &args,
            "first_conv gradient",
        )
        .with_floor(self.gradient_floor(element))
    }

    fn values(&self) -> f64 {
        (self.batch * self.length() * self.channels) as f64
    }

    pub fn forward_floor(&self, element: Element, mask: bool) -> Floor {
        let bytes = element.bytes() as f64 + if mask { 0.125 } else { 0.0 };
        let codes = (self.batch * self.inputlen) as f64;
        let weights = (4 * self.partial_len()) as f64;
        Floor {
            flop: self.values() * (2 * BASES * self.width) as f64,
            bytes: self.values() * bytes + codes + weights,
        }
    }

    pub fn gradient_floor(&self, element: Element) -> Floor {
        let codes = (self.batch * self.inputlen) as f64;
        Floor {
            flop: self.values() * (2 * BASES * self.width) as f64,
            bytes: self.values() * element.bytes() as f64 + codes + (4 * self.partial_len()) as f64,
        }
    }
}
