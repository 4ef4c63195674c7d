//! The dilated layer on Hopper GPUs: `kernels/hopper_{forward,dgrad,wgrad}.cu`, and which core a layer takes.
//!
//! Operands, layouts and results are those of `ops::dilated`, so the two mix freely; what Hopper's kernels do not take
//! (32-bit elements, channels that are no multiple of 128) goes to the portable ones. `ops::rescale::hopper` has the
//! same for contribution scores.

use bytemuck::{Pod, Zeroable};

use super::dilated::{self, Dgrad, Forward, Layer, Pass, RowMap, TAPS, TILE_ROWS, Wgrad};
use super::{int8, size};
use crate::engine::cuda::device::{Address, Launch, TensorMap, Walk};
use crate::engine::cuda::driver::Gpu;
use crate::engine::cuda::precision::Precision;
use crate::error::Problem;

/// Blocks of a cluster, which own row tiles on end.
const CLUSTER: usize = 2;
/// Clusters that fill an H100 or H200, a block on each of 132 multiprocessors.
const CLUSTERS: usize = 66;
const THREADS: u32 = 384;
/// Columns that a block's tile can have.
pub const TILE_COLUMNS: [usize; 2] = [256, 128];
/// Columns of a tile in bytes.
const INT8_COLUMNS: usize = 128;

/// `{op}_{type}_n{columns}`, the kernel of a layer for a precision and a tile's width.
///
/// Panics when there is none of this precision or these columns (`takes`, `possible_columns`).
macro_rules! hopper_kernel {
    ($op:literal, $precision:expr, $columns:expr) => {{
        use $crate::engine::cuda::precision::Precision;
        match ($precision, $columns) {
            (Precision::Fp16, 256) => concat!($op, "_f16_n256"),
            (Precision::Fp16, 128) => concat!($op, "_f16_n128"),
            (Precision::Bf16, 256) => concat!($op, "_bf16_n256"),
            (Precision::Bf16, 128) => concat!($op, "_bf16_n128"),
            (precision, columns) => {
                panic!("no Hopper kernel for {precision} in tiles of {columns} columns")
            }
        }
    }};
}
pub(super) use hopper_kernel;

/// Which kernels the dilated layers take, where they have the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// mma.sync and cp.async, compute capability 8.0 and up.
    Portable,
    /// wgmma and TMA: compute capability 9.0, and no other. `clusters` run at a time; results do not depend on it.
    Hopper { clusters: usize },
}

impl Core {
    /// The core of an H100 or H200.
    pub const H100: Self = Core::Hopper { clusters: CLUSTERS };

    /// The one for a GPU of this compute capability.
    pub fn of(capability: (u32, u32), multiprocessors: u32) -> Self {
        match capability {
            (9, 0) => Core::Hopper { clusters: (multiprocessors as usize / CLUSTER).max(1) },
            _ => Core::Portable,
        }
    }

    /// The one for a GPU, or that of the variable CBP_CORE: `portable`, to compare the two.
    pub fn chosen(gpu: &Gpu, wanted: Option<&str>) -> Result<Self, Problem> {
        match wanted {
            None => Ok(Self::of(gpu.capability, gpu.multiprocessors)),
            Some("portable") => Ok(Core::Portable),
            Some(other) => Err(Problem::new(format!("CBP_CORE={other} is not a choice"))
                .fix("leave it unset, or set it to portable")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Core::Portable => "portable",
            Core::Hopper { .. } => "Hopper",
        }
    }

    pub fn forward(self, layer: &Layer, at: &Forward, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if takes(layer) => {
                forward(layer, columns(layer, Pass::Forward), clusters, at, label)
            }
            _ => dilated::forward(layer, at, label),
        };
        launch.with_floor(layer.floor(Pass::Forward).into())
    }

    /// Forward in bytes.
    pub fn int8_forward(self, layer: &Layer, at: &int8::Forward, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if layer.channels.is_multiple_of(INT8_COLUMNS) => {
                int8_forward(layer, clusters, at, label)
            }
            _ => int8::forward(layer, at, label),
        };
        launch.with_floor(layer.floor(Pass::Forward).into())
    }

    pub fn dgrad(self, layer: &Layer, at: &Dgrad, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if takes(layer) => {
                dgrad(layer, columns(layer, Pass::Dgrad), clusters, at, label)
            }
            _ => dilated::dgrad(layer, at, label),
        };
        launch.with_floor(layer.floor(Pass::Dgrad).into())
    }

    pub fn wgrad(self, layer: &Layer, at: &Wgrad, label: &str) -> Launch {
        let launch = match self {
            Core::Hopper { clusters } if takes(layer) => {
                let (columns, splits) = (columns(layer, Pass::Wgrad), layer.splits());
                wgrad(layer, columns, splits, clusters, at, label)
            }
            _ => dilated::wgrad(layer, at, label),
        };
        launch.with_floor(layer.floor(Pass::Wgrad).into())
    }
}

/// True when there are kernels for this layer.
pub fn takes(layer: &Layer) -> bool {
    matches!(layer.precision, Precision::Fp16 | Precision::Bf16)
        && layer.channels.is_multiple_of(128)
}

/// Tile widths that divide the layer's channels, widest first.
pub fn possible_columns(layer: &Layer) -> impl Iterator<Item = usize> + use<> {
    let channels = layer.channels;
    TILE_COLUMNS.into_iter().filter(move |n| channels.is_multiple_of(*n))
}

/// The widest tile that gives every cluster one, or else the narrowest. Results do not depend on it.
pub fn columns(layer: &Layer, pass: Pass) -> usize {
    let enough = |n: &usize| items(layer, pass, *n, layer.splits()) >= CLUSTERS;
    possible_columns(layer).find(enough).unwrap_or(128)
}

/// Tiles of all clusters: pairs of row tiles, times column tiles, for wgrad times splits.
pub(super) fn items(layer: &Layer, pass: Pass, columns: usize, splits: usize) -> usize {
    let (rows, splits) = match pass {
        Pass::Forward => (layer.rows_out(), 1),
        Pass::Dgrad => (layer.rows_in(), 1),
        Pass::Wgrad => (TAPS * layer.channels, splits),
    };
    rows.div_ceil(CLUSTER * TILE_ROWS) * (layer.channels / columns) * splits
}

/// y = relu(conv(x) + bias) + cropped x, in tiles of `columns`.
pub fn forward(
    layer: &Layer,
    columns: usize,
    clusters: usize,
    at: &Forward,
    label: &str,
) -> Launch {
    let maps = forward_maps(layer, at.x, at.weights, at.y);
    let args = ForwardArgs {
        bias: at.bias,
        mask: at.mask,
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let clusters = clusters.min(items(layer, Pass::Forward, columns, 1));
    let kernel = hopper_kernel!("hopper_forward", layer.precision, columns);
    launch(layer, (Pass::Forward, columns), kernel, clusters, maps, &args, label)
}

/// y = relu(conv(x) + bias) + cropped x, x and weights multiplied as bytes.
pub fn int8_forward(layer: &Layer, clusters: usize, at: &int8::Forward, label: &str) -> Launch {
    int8::check(layer);
    assert!(layer.channels.is_multiple_of(INT8_COLUMNS), "{layer:?}: no Hopper kernel");
    let walk = [0, -2 * layer.dilation as i32];
    // Maps are of 16 bits, here two bytes.
    let pairs = Layer { channels: layer.channels / 2, ..*layer };
    let weights = TAPS * layer.channels;
    let maps = vec![
        positions(&pairs, at.rows.bytes, layer.length_in, TILE_ROWS, walk),
        TensorMap { rows: INT8_COLUMNS / CLUSTER, ..flat_rows(&pairs, at.weights.bytes, weights) },
        positions(layer, at.x, layer.length_in, TILE_ROWS, walk),
        flat_rows(layer, at.y, layer.rows_out()),
    ];
    let args = Int8ForwardArgs {
        row_scale: at.rows.scales,
        weight_scale: at.weights.scales,
        bias: at.bias,
        map: layer.out_to_in(),
        dilation: size(layer.dilation),
        channels: size(layer.channels),
        padding: 0,
    };
    let clusters = clusters.min(items(layer, Pass::Forward, INT8_COLUMNS, 1));
    let grid = [size(CLUSTER * clusters), 1, 1];
    // Rows of a stage are 128 bytes, as everywhere.
    let shared = size(shared_bytes(Pass::Forward, INT8_COLUMNS));
    Launch::new("hopper_int8_forward", grid, [THREADS, 1, 1], shared, &args, label)
        .with_tensor_maps(maps)
}

/// g = transposed conv(dz_out) + padded g_out; dz = g where the mask lets through; column sums of dz.
pub fn dgrad(layer: &Layer, columns: usize, clusters: usize, at: &Dgrad, label: &str) -> Launch {
    let maps = dgrad_maps(layer, columns, at.weights, [at.dz_out, at.g_out], at.dz);
    let args = DgradArgs {
        mask: at.mask,
        g: at.g,
        column_sums: at.column_sums,
        overflow: at.overflow,
        map: layer.in_to_out(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        padding: 0,
    };
    let clusters = clusters.min(items(layer, Pass::Dgrad, columns, 1));
    let kernel = hopper_kernel!("hopper_dgrad", layer.precision, columns);
    launch(layer, (Pass::Dgrad, columns), kernel, clusters, maps, &args, label)
}

/// The weights' gradient, in `splits` parts.
pub fn wgrad(
    layer: &Layer,
    columns: usize,
    splits: usize,
    clusters: usize,
    at: &Wgrad,
    label: &str,
) -> Launch {
    let reach = 2 * layer.dilation as i32;
    let maps = vec![
        positions(layer, at.x, layer.length_in, BOX_ROWS, [0, -reach]),
        flat_rows(layer, at.dz_out, layer.rows_out()),
    ];
    let args = WgradArgs {
        partials: at.partials,
        overflow: at.overflow,
        map: layer.out_to_in(),
        dilation: layer.dilation as u32,
        channels: layer.channels as u32,
        splits: size(splits),
    };
    let clusters = clusters.min(items(layer, Pass::Wgrad, columns, splits));
    let kernel = hopper_kernel!("hopper_wgrad", layer.precision, columns);
    launch(layer, (Pass::Wgrad, columns), kernel, clusters, maps, &args, label)
}

/// Tensor maps of x, the weights and y.
pub(super) fn forward_maps(
    layer: &Layer,
    x: Address,
    weights: Address,
    y: Address,
) -> Vec<TensorMap> {
    let reach = 2 * layer.dilation as i32;
    vec![
        positions(layer, x, layer.length_in, TILE_ROWS, [0, -reach]),
        weight_rows(layer, weights, BOX_ROWS),
        flat_rows(layer, y, layer.rows_out()),
    ]
}

/// Tensor maps of `dz_out`, the weights, `g_out` and dz.
pub(super) fn dgrad_maps(
    layer: &Layer,
    columns: usize,
    weights: Address,
    [dz_out, g_out]: [Address; 2],
    dz: Address,
) -> Vec<TensorMap> {
    let reach = 2 * layer.dilation as i32;
    let of_output = |at| positions(layer, at, layer.length_out(), TILE_ROWS, [-reach, 0]);
    vec![
        of_output(dz_out),
        weight_rows(layer, weights, columns / CLUSTER),
        of_output(g_out),
        flat_rows(layer, dz, layer.rows_in()),
    ]
}

/// Rows of a box, where they are not a tile's.
const BOX_ROWS: usize = 64;

fn positions(
    layer: &Layer,
    address: Address,
    length: usize,
    rows: usize,
    [lower, upper]: [i32; 2],
) -> TensorMap {
    let walk = Walk::Positions { lower, upper };
    TensorMap { address, channels: layer.channels, length, batch: layer.batch, rows, walk }
}

fn flat_rows(layer: &Layer, address: Address, length: usize) -> TensorMap {
    let channels = layer.channels;
    TensorMap { address, channels, length, batch: 1, rows: BOX_ROWS, walk: Walk::Rows }
}

fn weight_rows(layer: &Layer, address: Address, rows: usize) -> TensorMap {
    TensorMap { rows, ..flat_rows(layer, address, TAPS * layer.channels) }
}

/// `kernel` in tiles of `columns`, shaped as a pass's.
pub(super) fn launch(
    layer: &Layer,
    (pass, columns): (Pass, usize),
    kernel: &'static str,
    clusters: usize,
    maps: Vec<TensorMap>,
    args: &impl bytemuck::NoUninit,
    label: &str,
) -> Launch {
    layer.check();
    assert!(takes(layer), "{layer:?}: no Hopper kernel");
    let grid = [size(CLUSTER * clusters), 1, 1];
    let shared = shared_bytes(pass, columns) as u32;
    Launch::new(kernel, grid, [THREADS, 1, 1], shared, args, label).with_tensor_maps(maps)
}

/// Stages of both operands, 64 elements of k deep, the staging buffer and mbarriers (`kernels/hopper/tile.cuh`).
fn shared_bytes(pass: Pass, columns: usize) -> usize {
    let stages = match (columns, pass) {
        (128, _) => 6,
        (_, Pass::Wgrad) => 4,
        _ => 3,
    };
    let staging = if pass == Pass::Wgrad { 0 } else { 2 * TILE_ROWS * columns };
    stages * 2 * 64 * (TILE_ROWS + columns) + staging + 8 * (2 * stages + 4)
}

/// Mirror of `HopperForwardArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    bias: Address,
    mask: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `HopperInt8ForwardArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Int8ForwardArgs {
    row_scale: Address,
    weight_scale: Address,
    bias: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `HopperDgradArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DgradArgs {
    mask: Address,
    g: Address,
    column_sums: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    padding: u32,
}

/// Mirror of `HopperWgradArgs` behind its tensor maps.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WgradArgs {
    partials: Address,
    overflow: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    splits: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_the_standard_model() {
        let layer = Layer {
            batch: 64,
            length_in: 2094,
            dilation: 2,
            channels: 512,
            precision: Precision::Fp16,
        };
        for pass in [Pass::Forward, Pass::Dgrad, Pass::Wgrad] {
            assert_eq!(columns(&layer, pass), 256, "{pass:?}");
            assert!(shared_bytes(pass, 256) <= 232_448 && shared_bytes(pass, 128) <= 232_448);
        }
        // 1045 row tiles in pairs, two column tiles; 6 x 2 tiles of weights in 11 parts: two rounds of 66
        assert_eq!(items(&layer, Pass::Forward, 256, 1), 523 * 2);
        assert_eq!(items(&layer, Pass::Wgrad, 256, layer.splits()), 2 * CLUSTERS);
        // 33 row tiles: in tiles of 256 there would be 34 pieces of work for 66 clusters
        assert_eq!(columns(&Layer { batch: 2, ..layer }, Pass::Forward), 128);
    }

    #[test]
    fn only_hopper_takes_them_and_only_what_they_can_do() {
        assert_eq!(Core::of((9, 0), 132), Core::H100);
        // the PCIe card
        assert_eq!(Core::of((9, 0), 114), Core::Hopper { clusters: 57 });
        for other in [(8, 0), (8, 9), (10, 0), (12, 0)] {
            assert_eq!(Core::of(other, 132), Core::Portable);
        }
        let gpu = Gpu {
            ordinal: 0,
            name: "NVIDIA H200".into(),
            capability: (9, 0),
            memory: 141 << 30,
            multiprocessors: 132,
            l2: 50 << 20,
            driver: (13, 0),
        };
        assert_eq!(Core::chosen(&gpu, None).unwrap(), Core::H100);
        assert_eq!(Core::chosen(&gpu, Some("portable")).unwrap(), Core::Portable);
        assert!(
            Core::chosen(&gpu, Some("fast")).unwrap_err().to_string().contains("CBP_CORE=fast")
        );
        let precision = Precision::Bf16;
        let layer = Layer { batch: 1, length_in: 300, dilation: 2, channels: 128, precision };
        let [x, weights, bias, y, mask] = [Address::NULL; 5];
        let kernel = |core: Core, layer: &Layer| {
            core.forward(layer, &Forward { x, weights, bias, y, mask }, "").kernel
        };
        assert_eq!(kernel(Core::H100, &layer), "hopper_forward_bf16_n128");
        assert_eq!(kernel(Core::Portable, &layer), "dilated_forward_bf16_n32");
        let narrow = Layer { channels: 96, ..layer };
        assert_eq!(kernel(Core::H100, &narrow), "dilated_forward_bf16_n32");
        let wide = Layer { precision: Precision::Tf32, ..layer };
        assert_eq!(kernel(Core::H100, &wide), "dilated_forward_tf32_n32");
    }
}
