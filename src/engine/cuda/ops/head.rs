//! `kernels/head.cu` and, for 16-bit elements, `kernels/head_tensor.cu` and `kernels/head_tensor_gradient.cu`: profile
//! and counts head of a branch, and their gradients.

use bytemuck::{Pod, Zeroable};

use super::{Element, Floor, MULTIPROCESSORS, assert_channels, size};
use crate::engine::cuda::device::{Address, Launch};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadForward {
    x: Address,
    w: Address,
    dense: Address,
    diagonals: Address,
    pooled: Address,
    batch: u32,
    length: u32,
    channels: u32,
    width: u32,
    crop: u32,
    outputlen: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadSplit {
    w: Address,
    dense: Address,
    split: Address,
    unscale: Address,
    channels: u32,
    width: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadTensorForward {
    x: Address,
    split: Address,
    unscale: Address,
    diagonals: Address,
    pooled: Address,
    batch: u32,
    length: u32,
    channels: u32,
    width: u32,
    crop: u32,
    outputlen: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadGather {
    diagonals: Address,
    pooled: Address,
    profile_bias: Address,
    dense_bias: Address,
    logits: Address,
    logcounts: Address,
    batch: u32,
    length: u32,
    crop: u32,
    outputlen: u32,
    rows: u32,
    row_tiles: u32,
    column_tiles: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadInputGradient {
    dlogits: Address,
    dlogcounts: Address,
    w: Address,
    dense: Address,
    mask: Address,
    g: Address,
    dz: Address,
    column_sums: Address,
    overflow: Address,
    length: u32,
    channels: u32,
    width: u32,
    crop: u32,
    outputlen: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HeadWeightGradient {
    state: Address,
    x: Address,
    dlogits: Address,
    dlogcounts: Address,
    partials: Address,
    batch: u32,
    length: u32,
    channels: u32,
    width: u32,
    crop: u32,
    outputlen: u32,
}

/// Rows and columns of a tile, channels of a gradient's tile, and so on: as in `head.cu`.
const ROWS: usize = 128;
const COLUMNS: usize = 80;
const CHANNELS: usize = 64;
const DEPTH: usize = 16;
const THREADS: u32 = 128;
/// Rows of a tile of `head_tensor.cu`, channels of a stage, and stages.
const TENSOR_ROWS: usize = 192;
const TENSOR_DEPTH: usize = 32;
const TENSOR_STAGES: usize = 3;
const TENSOR_THREADS: u32 = 192;
const SPLIT_THREADS: u32 = 128;
/// As in `head_tensor_gradient.cu`: tiles of rows that a block of the input gradient does; taps and channels of a tile
/// of the weight gradient, rows and number of its stages; words in which a block finds a largest.
const INPUT_RUN: usize = 3;
const TENSOR_W_TAPS: usize = 79;
const TENSOR_W_CHANNELS: usize = 128;
const TENSOR_W_ROWS: usize = 64;
const TENSOR_W_STAGES: usize = 3;
const OF_WARPS: usize = THREADS as usize / 32;
const W_THREADS: u32 = 64;
const W_ROWS: usize = 32;
/// Blocks of the weight gradient that a multiprocessor holds at once.
const W_BLOCKS: u32 = 4;

/// Shape of both heads.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub batch: usize,
    /// rows of an example in the last feature map
    pub length: usize,
    /// padded
    pub channels: usize,
    /// taps of the profile convolution
    pub width: usize,
    /// `Architecture::profile_crop`
    pub crop: usize,
    pub outputlen: usize,
}

/// Weights of both heads, f32.
#[derive(Clone, Copy, Debug)]
pub struct HeadWeights {
    /// `[width][channels]`
    pub profile: Address,
    /// `[1]`
    pub profile_bias: Address,
    /// `[channels]`
    pub dense: Address,
    /// `[1]`
    pub dense_bias: Address,
}

/// What a forward launch leaves for the next one.
#[derive(Clone, Copy, Debug)]
pub struct HeadScratch {
    /// `diagonals_len` elements, f32
    pub diagonals: Address,
    /// `pooled_len` elements, f32
    pub pooled: Address,
    /// `split_bytes`; `Address::NULL` for f32
    pub split: Address,
}

/// What the input gradient writes.
#[derive(Clone, Copy, Debug)]
pub struct InputGradient {
    /// [batch, length, channels] element type; without dilated layers nobody wants it
    pub g: Option<Address>,
    /// [batch, length, channels] element type
    pub dz: Address,
    /// f32 `[batch * row_tiles][channels]`
    pub column_sums: Address,
    /// `StepState::overflow`
    pub overflow: Address,
}

impl Head {
    pub(super) fn check(&self) {
        assert_channels(size(self.channels));
        assert!(self.width >= 1 && self.outputlen >= 1);
        assert!(self.crop + self.outputlen + self.width - 1 <= self.length, "{self:?}");
        assert!(self.length < 1 << 30 && self.batch < 1 << 16, "{self:?}");
    }

    /// Tiles of an example's rows in the input gradient.
    pub fn row_tiles(&self) -> usize {
        self.length.div_ceil(ROWS)
    }

    /// Rows of a tile of the forward pass.
    fn forward_rows(element: Element) -> usize {
        if element == Element::F32 { ROWS } else { TENSOR_ROWS }
    }

    fn forward_tiles(&self, element: Element) -> usize {
        self.length.div_ceil(Self::forward_rows(element))
    }

    fn column_tiles(&self) -> usize {
        (self.width + 1).div_ceil(COLUMNS)
    }

    pub fn diagonals_len(&self, element: Element) -> usize {
        let of_tile = Self::forward_rows(element) + COLUMNS - 1;
        self.column_tiles() * self.batch * self.forward_tiles(element) * of_tile
    }

    pub fn pooled_len(&self, element: Element) -> usize {
        self.batch * self.forward_tiles(element)
    }

    /// Bytes of the weights' two parts, of the element type [column tiles][2 * COLUMNS][channels].
    fn parts_bytes(&self, element: Element) -> usize {
        self.column_tiles() * 2 * COLUMNS * self.channels * element.bytes()
    }

    /// Bytes of the parts and, behind them, of what a column's products are to be multiplied by. None for f32, whose
    /// weights are used as they are.
    pub fn split_bytes(&self, element: Element) -> usize {
        match element {
            Element::F32 => 0,
            _ => self.parts_bytes(element) + 4 * self.column_tiles() * COLUMNS,
        }
    }

    /// `x` [batch, length, channels] -> `logits` f32 [batch, outputlen], `logcounts` f32 [batch].
    pub fn forward(
        &self,
        element: Element,
        x: Address,
        weights: &HeadWeights,
        scratch: HeadScratch,
        logits: Address,
        logcounts: Address,
    ) -> Vec<Launch> {
        self.check();
        let mut list = match element {
            Element::F32 => vec![self.plain_product(x, weights, scratch)],
            _ => self.tensor_product(element, x, weights, scratch).into(),
        };
        let gather = HeadGather {
            diagonals: scratch.diagonals,
            pooled: scratch.pooled,
            profile_bias: weights.profile_bias,
            dense_bias: weights.dense_bias,
            logits,
            logcounts,
            batch: size(self.batch),
            length: size(self.length),
            crop: size(self.crop),
            outputlen: size(self.outputlen),
            rows: size(Self::forward_rows(element)),
            row_tiles: size(self.forward_tiles(element)),
            column_tiles: size(self.column_tiles()),
            padding: 0,
        };
        let grid = [size(self.batch), 1, 1];
        list.push(Launch::new("head_gather", grid, [256, 1, 1], 0, &gather, "head gather"));
        list
    }

    fn plain_product(&self, x: Address, weights: &HeadWeights, scratch: HeadScratch) -> Launch {
        let args = HeadForward {
            x,
            w: weights.profile,
            dense: weights.dense,
            diagonals: scratch.diagonals,
            pooled: scratch.pooled,
            batch: size(self.batch),
            length: size(self.length),
            channels: size(self.channels),
            width: size(self.width),
            crop: size(self.crop),
            outputlen: size(self.outputlen),
        };
        let tiles = size(self.forward_tiles(Element::F32));
        let grid = [tiles, size(self.batch), size(self.column_tiles())];
        // The operands of the product, then in their place the products.
        let shared = 4 * (DEPTH * (ROWS + COLUMNS + 2)).max(ROWS * (COLUMNS + 1));
        Launch::new("head_forward_f32", grid, [THREADS, 1, 1], size(shared), &args, "head forward")
            .with_floor(self.forward_floor(Element::F32))
    }

    /// The weights in two parts, then the product.
    fn tensor_product(
        &self,
        element: Element,
        x: Address,
        weights: &HeadWeights,
        scratch: HeadScratch,
    ) -> [Launch; 2] {
        let unscale = scratch.split.offset(self.parts_bytes(element));
        let split = HeadSplit {
            w: weights.profile,
            dense: weights.dense,
            split: scratch.split,
            unscale,
            channels: size(self.channels),
            width: size(self.width),
        };
        let forward = HeadTensorForward {
            x,
            split: scratch.split,
            unscale,
            diagonals: scratch.diagonals,
            pooled: scratch.pooled,
            batch: size(self.batch),
            length: size(self.length),
            channels: size(self.channels),
            width: size(self.width),
            crop: size(self.crop),
            outputlen: size(self.outputlen),
        };
        let [split_kernel, forward_kernel] = match element {
            Element::Bf16 => ["head_split_bf16", "head_forward_bf16"],
            _ => ["head_split_f16", "head_forward_f16"],
        };
        let grid = [size(self.forward_tiles(element)), size(self.batch), size(self.column_tiles())];
        let shared = TENSOR_STAGES * (TENSOR_ROWS + 2 * COLUMNS) * TENSOR_DEPTH * element.bytes();
        [
            Launch::new(
                split_kernel,
                [size(self.column_tiles() * COLUMNS), 1, 1],
                [SPLIT_THREADS, 1, 1],
                4 * SPLIT_THREADS / 32,
                &split,
                "head split",
            ),
            Launch::new(
                forward_kernel,
                grid,
                [TENSOR_THREADS, 1, 1],
                size(shared),
                &forward,
                "head forward",
            )
            .with_floor(self.forward_floor(element)),
        ]
    }

    /// Gradient of the last feature map, before and behind its ReLU's mask.
    pub fn input_gradient(
        &self,
        element: Element,
        dlogits: Address,
        dlogcounts: Address,
        weights: &HeadWeights,
        mask: Address,
        out: &InputGradient,
    ) -> Launch {
        self.check();
        let args = HeadInputGradient {
            dlogits,
            dlogcounts,
            w: weights.profile,
            dense: weights.dense,
            mask,
            g: out.g.unwrap_or(Address::NULL),
            dz: out.dz,
            column_sums: out.column_sums,
            overflow: out.overflow,
            length: size(self.length),
            channels: size(self.channels),
            width: size(self.width),
            crop: size(self.crop),
            outputlen: size(self.outputlen),
            padding: 0,
        };
        let label = "head input gradient";
        let floor = self.input_gradient_floor(element);
        let kernel = match element {
            Element::F32 => {
                return self
                    .gradient_launch("head_input_gradient_f32", &args, label)
                    .with_floor(floor);
            }
            Element::F16 => "head_input_gradient_f16",
            Element::Bf16 => "head_input_gradient_bf16",
        };
        let tiles = size(self.channels.div_ceil(CHANNELS));
        let grid = [tiles, size(self.row_tiles().div_ceil(INPUT_RUN)), size(self.batch)];
        // Weights in two parts, column sums of two warps in two turns.
        let shared = 2 * COLUMNS * CHANNELS * element.bytes() + 4 * (4 * CHANNELS + OF_WARPS);
        Launch::new(kernel, grid, [THREADS, 1, 1], size(shared), &args, label).with_floor(floor)
    }

    /// Launches a kernel in tiles of the last feature map's gradient.
    pub(super) fn gradient_launch(
        &self,
        kernel: &'static str,
        args: &impl bytemuck::NoUninit,
        label: &str,
    ) -> Launch {
        let tiles = size(self.channels.div_ceil(CHANNELS));
        let grid = [tiles, size(self.row_tiles()), size(self.batch)];
        let shared = 4 * (COLUMNS * CHANNELS + ROWS + COLUMNS - 1);
        Launch::new(kernel, grid, [THREADS, 1, 1], size(shared), args, label)
    }

    /// Partials of the weight gradient, each [width + 2][channels] f32: the profile's taps, the dense
    /// layer, then sums over examples of the features that it reads.
    pub fn splits(&self) -> usize {
        let tiles = self.channels.div_ceil(CHANNELS) * self.width.div_ceil(COLUMNS);
        ((W_BLOCKS * MULTIPROCESSORS) as usize / tiles).clamp(1, self.batch)
    }

    /// f32 elements of one partial.
    pub fn partial_len(&self) -> usize {
        (self.width + 2) * self.channels
    }

    /// Where in a partial the dense layer's gradient and the features begin, in f32 elements.
    pub fn dense_and_features(&self) -> [usize; 2] {
        [self.width * self.channels, (self.width + 1) * self.channels]
    }

    /// `x`, `dlogits` f32 [batch, outputlen], `dlogcounts` f32 [batch] -> `partials` f32
    /// [splits][width + 2][channels].
    pub fn weight_gradient(
        &self,
        element: Element,
        state: Address,
        x: Address,
        dlogits: Address,
        dlogcounts: Address,
        partials: Address,
    ) -> Launch {
        self.check();
        let args = HeadWeightGradient {
            state,
            x,
            dlogits,
            dlogcounts,
            partials,
            batch: size(self.batch),
            length: size(self.length),
            channels: size(self.channels),
            width: size(self.width),
            crop: size(self.crop),
            outputlen: size(self.outputlen),
        };
        let kernel = match element {
            Element::F32 => "head_weight_gradient_f32",
            Element::F16 => "head_weight_gradient_f16",
            Element::Bf16 => "head_weight_gradient_bf16",
        };
        let ([channels, taps], threads, shared) = match element {
            Element::F32 => {
                ([CHANNELS, COLUMNS], W_THREADS, 4 * (W_ROWS * CHANNELS + W_ROWS + COLUMNS - 1))
            }
            _ => {
                let stage = TENSOR_W_ROWS * TENSOR_W_CHANNELS * element.bytes();
                let shared = TENSOR_W_STAGES * stage + 4 * OF_WARPS;
                ([TENSOR_W_CHANNELS, TENSOR_W_TAPS], THREADS, shared)
            }
        };
        let tiles = [self.channels.div_ceil(channels), self.width.div_ceil(taps)].map(size);
        let grid = [tiles[0], tiles[1], size(self.splits())];
        Launch::new(kernel, grid, [threads, 1, 1], size(shared), &args, "head weight gradient")
            .with_floor(self.weight_gradient_floor(element))
    }

    /// Operations of the profile and the pooling, each way.
    pub(super) fn flop(&self) -> f64 {
        let profile = 2 * self.outputlen * self.width + 2 * self.length;
        (self.batch * self.channels) as f64 * profile as f64
    }

    pub(super) fn map_values(&self) -> f64 {
        (self.batch * self.length * self.channels) as f64
    }

    pub(super) fn small_bytes(&self) -> f64 {
        (4 * (self.partial_len() + self.batch * (self.outputlen + 1))) as f64
    }

    pub fn forward_floor(&self, element: Element) -> Floor {
        let bytes = self.map_values() * element.bytes() as f64 + self.small_bytes();
        Floor { flop: self.flop(), bytes }
    }

    pub fn input_gradient_floor(&self, element: Element) -> Floor {
        let bytes = self.map_values() * (2 * element.bytes()) as f64 + self.map_values() / 8.0;
        Floor { flop: self.flop(), bytes: bytes + self.small_bytes() }
    }

    pub fn weight_gradient_floor(&self, element: Element) -> Floor {
        self.forward_floor(element)
    }
}
