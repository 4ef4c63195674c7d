//! The dilated layer of predictions, products of bytes: `kernels/quantize.cu`, `kernels/int8_forward.cu`, and
//! `kernels/hopper_int8_forward.cu` (`ops::hopper`).
//!
//! A feature map becomes bytes before every layer, with a scale a row; a kernel once, on the host, with a scale for
//! every tap and output channel. Channels are padded with zeros to whole stages of the kernel.

use bytemuck::{Pod, Zeroable};

use super::dilated::{Layer, Pass, RowMap, TAPS, TILE_ROWS};
use super::size;
use crate::engine::cuda::arena::{Arena, Slot};
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::precision::Precision;

const QUANTIZE_THREADS: u32 = 256;
const QUANTIZE_ROWS: usize = QUANTIZE_THREADS as usize / 32;

/// Channels of a stage, of which bytes have a whole number.
const STAGE_CHANNELS: usize = 64;
/// Sums of a tap stay below 2^31.
const MOST_CHANNELS: usize = 1 << 16;

/// Channels as they lie in bytes.
pub fn depth(channels: usize) -> usize {
    channels.next_multiple_of(STAGE_CHANNELS)
}

/// A tensor of bytes and its f32 scales.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<At> {
    pub bytes: At,
    pub scales: At,
}

impl Quantized<Slot> {
    /// Plans the bytes of a feature map: u8 `[rows, depth]`, a scale a row.
    pub fn plan_rows(rows: usize, channels: usize, what: &str, arena: &mut Arena) -> Self {
        Self {
            bytes: arena.plan::<u8>(format!("{what}, bytes"), rows * depth(channels)),
            scales: arena.plan::<f32>(format!("{what}, scales of rows"), rows),
        }
    }

    /// Plans the bytes of a layer's kernel: s8 `[3, depth, depth]`, tap, out, in; scales `[3, channels]`.
    pub fn plan_weights(channels: usize, what: &str, arena: &mut Arena) -> Self {
        let depth = depth(channels);
        Self {
            bytes: arena.plan::<i8>(format!("{what}, bytes"), TAPS * depth * depth),
            scales: arena.plan::<f32>(format!("{what}, scales"), TAPS * channels),
        }
    }

    pub fn at(self, arena: &Arena) -> Quantized<Address> {
        Quantized { bytes: arena[self.bytes], scales: arena[self.scales] }
    }
}

/// Bytes and scales, as `Quantized::plan_weights` has room for, of a layer's kernel `[3, channels, channels]`, tap, in,
/// out.
///
/// Symmetric: the largest weight of a tap and output channel becomes 127 or -127, zero stays zero. Where a weight is not
/// finite, the scale is NaN.
pub fn quantize_weights(weights: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    assert_eq!(weights.len(), TAPS * channels * channels);
    let depth = depth(channels);
    let mut bytes = vec![0; TAPS * depth * depth];
    let mut scales = vec![0.0; TAPS * channels];
    for (tap, weights) in weights.chunks_exact(channels * channels).enumerate() {
        for out in 0..channels {
            let column = || weights[out..].iter().step_by(channels);
            let finite = column().all(|w| w.is_finite());
            let largest = column().fold(0.0f32, |most, w| most.max(w.abs()));
            let scale = if finite { largest / 127.0 } else { f32::NAN };
            scales[tap * channels + out] = scale;
            if scale > 0.0 {
                let row = &mut bytes[(tap * depth + out) * depth..][..channels];
                row.iter_mut()
                    .zip(column())
                    .for_each(|(byte, w)| *byte = (w / scale).round() as i8);
            }
        }
    }
    (bytes, scales)
}

/// Operands of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// f16 `[batch, length_in, channels]`, of which `rows` are the bytes
    pub x: Address,
    pub rows: Quantized<Address>,
    pub weights: Quantized<Address>,
    /// f32 `[channels]`
    pub bias: Address,
    /// out: f16 `[batch, length_out, channels]`
    pub y: Address,
}

/// x as bytes.
pub fn quantize(layer: &Layer, x: Address, to: Quantized<Address>, label: &str) -> Launch {
    check(layer);
    let args = QuantizeArgs {
        x,
        q: to.bytes,
        scale: to.scales,
        rows: size(layer.rows_in()),
        channels: size(layer.channels),
        depth: size(depth(layer.channels)),
        padding: 0,
    };
    let grid = [size(layer.rows_in().div_ceil(QUANTIZE_ROWS)), 1, 1];
    Launch::new("quantize_f16", grid, [QUANTIZE_THREADS, 1, 1], 0, &args, label)
}

/// y = relu(conv(x) + bias) + cropped x.
pub fn forward(layer: &Layer, at: &Forward, label: &str) -> Launch {
    forward_with(layer, layer.columns(Pass::Forward), at, label)
}

/// `forward` in tiles of `columns`. Results do not depend on it.
pub fn forward_with(layer: &Layer, columns: usize, at: &Forward, label: &str) -> Launch {
    check(layer);
    let args = ForwardArgs {
        q: at.rows.bytes,
        row_scale: at.rows.scales,
        weights: at.weights.bytes,
        weight_scale: at.weights.scales,
        bias: at.bias,
        x: at.x,
        y: at.y,
        map: layer.out_to_in(),
        dilation: size(layer.dilation),
        channels: size(layer.channels),
        depth: size(depth(layer.channels)),
    };
    let (kernel, threads, stages) = match columns {
        128 => ("int8_forward_n128", 256, 4),
        64 => ("int8_forward_n64", 128, 3),
        32 => ("int8_forward_n32", 128, 4),
        _ => panic!("no kernel for tiles of {columns} columns"),
    };
    // The ring of stages, and the scales of rows and columns at every tap.
    let scales = TAPS * size_of::<f32>();
    let shared = (stages * STAGE_CHANNELS + scales) * (TILE_ROWS + columns);
    let tiles = layer.rows_out().div_ceil(TILE_ROWS) * (layer.channels / columns);
    Launch::new(kernel, [size(tiles), 1, 1], [threads, 1, 1], size(shared), &args, label)
}

pub(super) fn check(layer: &Layer) {
    layer.check();
    assert_eq!(layer.precision, Precision::Int8, "{layer:?}");
    assert!(layer.channels <= MOST_CHANNELS, "{layer:?}: sums would not fit 32 bits");
}

/// Mirror of `QuantizeArgs` in `kernels/quantize.cu`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QuantizeArgs {
    x: Address,
    q: Address,
    scale: Address,
    rows: u32,
    channels: u32,
    depth: u32,
    padding: u32,
}

/// Mirror of `Int8ForwardArgs`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ForwardArgs {
    q: Address,
    row_scale: Address,
    weights: Address,
    weight_scale: Address,
    bias: Address,
    x: Address,
    y: Address,
    map: RowMap,
    dilation: u32,
    channels: u32,
    depth: u32,
}

/// Names of the kernels and bytes of their arguments, to compare with the kernels'.
pub fn kernels() -> [(&'static str, usize); 4] {
    let forward = size_of::<ForwardArgs>();
    [
        ("quantize_f16", size_of::<QuantizeArgs>()),
        ("int8_forward_n128", forward),
        ("int8_forward_n64", forward),
        ("int8_forward_n32", forward),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_to_half_a_step_and_keep_zeros() {
        let channels = 96;
        let weights: Vec<f32> = (0..TAPS * channels * channels)
            .map(|i| match i % channels {
                5 => 0.0,
                _ => ((i * 7919 % 1013) as f32 - 506.0) * 1e-3,
            })
            .collect();
        let (bytes, scales) = quantize_weights(&weights, channels);
        let depth = depth(channels);
        assert_eq!((depth, bytes.len(), scales.len()), (128, 3 * 128 * 128, 3 * 96));
        let mut sums = vec![0i64; 3 * 96];
        for (at, w) in weights.iter().enumerate() {
            let (tap, i, o) = (at / channels / channels, at / channels % channels, at % channels);
            let (byte, scale) = (bytes[(tap * depth + o) * depth + i], scales[tap * channels + o]);
            assert!(
                (f32::from(byte) * scale - w).abs() <= 0.501 * scale,
                "{w} as {byte} x {scale}"
            );
            sums[tap * channels + o] = sums[tap * channels + o].max(i64::from(byte).abs());
        }
        for (at, &most) in sums.iter().enumerate() {
            assert_eq!(most, if at % channels == 5 { 0 } else { 127 });
        }
        for broken in [f32::NAN, f32::INFINITY] {
            let mut weights = weights.clone();
            weights[channels + 7] = broken;
            let scales = quantize_weights(&weights, channels).1;
            let wrong: Vec<usize> = (0..scales.len()).filter(|&at| scales[at].is_nan()).collect();
            assert_eq!(wrong, [7], "{broken}");
        }
        let written = bytes.iter().filter(|b| **b != 0).count();
        let kept = weights.iter().filter(|w| **w != 0.0).count();
        assert!(written <= kept, "padding is zero");
    }
}
