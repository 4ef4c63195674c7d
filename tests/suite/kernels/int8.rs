//! The dilated layer in bytes: `quantize` by its definition, `int8_forward` against integer sums, and how far both
//! together are from the layer in f64.

use bytemuck::cast_slice;
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options, kernels};
use cbp_fast::engine::cuda::ops::dilated::{Layer, TAPS};
use cbp_fast::engine::cuda::ops::hopper;
use cbp_fast::engine::cuda::ops::int8::{self, Forward, Quantized, depth, quantize_weights};
use cbp_fast::engine::cuda::precision::Precision;
use half::f16;

use super::tensor::{Numbers, relative_error};

/// A device, and memory full of NaN on it.
struct Bench(EmulatedDevice);

impl Bench {
    fn new(options: Options) -> Self {
        Self(EmulatedDevice::new(options))
    }

    fn room(&mut self, label: &str, bytes: usize) -> Address {
        self.0.alloc(bytes, label).unwrap()
    }

    fn upload(&mut self, label: &str, bytes: &[u8]) -> Address {
        let at = self.room(label, bytes.len());
        self.0.upload(at, bytes).unwrap();
        at
    }

    fn halves(&mut self, label: &str, values: &[f32]) -> Address {
        let bits: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
        self.upload(label, cast_slice(&bits))
    }

    fn run(&mut self, launch: &Launch) {
        self.0.launch(launch).unwrap_or_else(|error| panic!("{launch:?}: {error:#}"));
    }

    fn read<T: bytemuck::Pod>(&mut self, at: Address, n: usize) -> Vec<T> {
        let mut values = vec![T::zeroed(); n];
        self.0.download(at, bytemuck::cast_slice_mut(&mut values)).unwrap();
        values
    }
}

#[test]
fn arguments_match_the_kernels() {
    let there = kernels();
    let nothing = Quantized { bytes: Address::NULL, scales: Address::NULL };
    let null = Address::NULL;
    let at = Forward { x: null, rows: nothing, weights: nothing, bias: null, y: null };
    let hopper = hopper::int8_forward(&layer([1, 9, 2, 128]), 1, &at, "");
    let hopper = [(hopper.kernel, hopper.args.len())];
    for (name, bytes) in int8::kernels().into_iter().chain(hopper) {
        let kernel = there.iter().find(|kernel| kernel.name == name);
        let kernel = kernel.unwrap_or_else(|| panic!("no kernel {name}"));
        assert_eq!(kernel.args_bytes, bytes, "{name}");
    }
}

fn layer([batch, length_in, dilation, channels]: [usize; 4]) -> Layer {
    Layer { batch, length_in, dilation, channels, precision: Precision::Int8 }
}

/// Of a map that follows ReLUs: a third of it zero, rows of very different sizes, rounded to half.
fn feature_map(layer: &Layer) -> Vec<f32> {
    let mut numbers = Numbers::new(layer.length_in as u64);
    let mut value = |row: usize| {
        let size = [1.0, 0.01, 300.0, 2.5, 1e-6][row % 5];
        f16::from_f32((numbers.signed() + 0.4).max(0.0) * size).to_f32()
    };
    (0..layer.rows_in() * layer.channels).map(|at| value(at / layer.channels)).collect()
}

/// One row's bytes and scale, as `quantize.cu` defines them.
fn quantize_row(row: &[f32]) -> (Vec<u8>, f32) {
    if row.iter().any(|x| !x.is_finite()) {
        return (vec![0; row.len()], f32::NAN);
    }
    let largest = row.iter().fold(0.0f32, |most, &x| most.max(x));
    let per_unit = if largest > 0.0 { 255.0 / largest } else { 0.0 };
    let byte = |x: &f32| x.mul_add(per_unit, 0.5) as u8;
    (row.iter().map(byte).collect(), largest / 255.0)
}

/// The map's bytes [rows, depth] and scales, from the kernel.
fn quantized(device: &mut Bench, layer: &Layer, x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let at = quantize_on(device, layer, x).1;
    let bytes = device.read(at.bytes, layer.rows_in() * depth(layer.channels));
    (bytes, device.read(at.scales, layer.rows_in()))
}

fn quantize_on(device: &mut Bench, layer: &Layer, x: &[f32]) -> (Address, Quantized<Address>) {
    let rows = layer.rows_in();
    let x = device.halves("x", x);
    let bytes = device.room("q", rows * depth(layer.channels));
    let at = Quantized { bytes, scales: device.room("scales", rows * 4) };
    device.run(&int8::quantize(layer, x, at, "quantize"));
    (x, at)
}

#[test]
fn a_row_keeps_its_scale_and_every_element_to_half_a_step() {
    // One row, a ragged last block, rows wider than a warp's load, channels that are padded.
    for shape in [[1, 5, 2, 32], [3, 61, 4, 64], [1, 19, 4, 96], [1, 11, 2, 320], [2, 17, 8, 512]] {
        for options in [Options::fast(), Options::checked(1, Delivery::Random)] {
            let layer = layer(shape);
            let mut x = feature_map(&layer);
            x[..layer.channels].fill(0.0);
            let (bytes, scales) = quantized(&mut Bench::new(options), &layer, &x);
            let rows =
                x.chunks_exact(layer.channels).zip(bytes.chunks_exact(depth(layer.channels)));
            for (at, ((row, bytes), scale)) in rows.zip(scales).enumerate() {
                let (kept, padding) = bytes.split_at(layer.channels);
                assert!(padding.iter().all(|b| *b == 0), "{shape:?} row {at}: padding");
                let (wanted, wanted_scale) = quantize_row(row);
                assert!(kept == wanted && scale == wanted_scale, "{shape:?} row {at}");
                assert_eq!(kept.iter().max(), Some(&if at == 0 { 0 } else { 255 }), "the largest");
                for (&x, &byte) in row.iter().zip(kept) {
                    // half a step, and the rounding of 255 / max and of the product
                    let off = (f32::from(byte) * scale - x).abs();
                    assert!(
                        off <= 0.50005 * scale,
                        "{shape:?} row {at}: {x} became {byte} x {scale}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_leaves_a_scale_that_is_not() {
    let layer = layer([1, 9, 2, 64]);
    for broken in [f32::NAN, f32::INFINITY] {
        for column in [0, 31, 63] {
            let mut x = feature_map(&layer);
            x[3 * 64 + column] = broken;
            let (bytes, scales) = quantized(&mut Bench::new(Options::fast()), &layer, &x);
            for (row, scale) in scales.iter().enumerate() {
                assert_eq!(
                    scale.is_nan(),
                    row == 3,
                    "{broken} in column {column}: {scale} in row {row}"
                );
            }
            assert!(bytes[3 * 64..4 * 64].iter().all(|b| *b == 0));
        }
    }
}

/// A layer's operands on the host.
struct Case {
    layer: Layer,
    x: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(shape: [usize; 4]) -> Self {
        let layer = layer(shape);
        let channels = layer.channels;
        let mut numbers = Numbers::new(7 + channels as u64);
        let scale = (channels as f32).powf(-0.5);
        let weights = (0..TAPS * channels * channels).map(|_| numbers.signed() * scale).collect();
        let bias = (0..channels).map(|_| 0.3 * numbers.signed()).collect();
        Self { x: feature_map(&layer), layer, weights, bias }
    }

    /// y of the portable kernels, as bits.
    fn run(&self, columns: usize, options: Options) -> Vec<u16> {
        self.run_as(options, |at| int8::forward_with(&self.layer, columns, at, "forward"))
    }

    /// y of Hopper's.
    fn run_on_hopper(&self, clusters: usize, options: Options) -> Vec<u16> {
        self.run_as(options, |at| hopper::int8_forward(&self.layer, clusters, at, "forward"))
    }

    fn run_as(&self, options: Options, forward: impl Fn(&Forward) -> Launch) -> Vec<u16> {
        let mut device = Bench::new(options);
        let (x, rows) = quantize_on(&mut device, &self.layer, &self.x);
        let (bytes, scales) = quantize_weights(&self.weights, self.layer.channels);
        let weights = Quantized {
            bytes: device.upload("weights", cast_slice(&bytes)),
            scales: device.upload("scales of weights", cast_slice(&scales)),
        };
        let bias = device.upload("bias", cast_slice(&self.bias));
        let elements = self.layer.rows_out() * self.layer.channels;
        let y = device.room("y", elements * 2);
        let at = Forward { x, rows, weights, bias, y };
        device.run(&forward(&at));
        device.read(y, elements)
    }

    /// y in f64 as the kernels' header defines it: exact sums of bytes, weighted by their scales. And the same of the
    /// operands as they were before they became bytes.
    fn wanted(&self) -> (Vec<f64>, Vec<f64>) {
        let Layer { batch, length_in, dilation, channels, .. } = self.layer;
        let rows: Vec<(Vec<u8>, f32)> = self.x.chunks_exact(channels).map(quantize_row).collect();
        let (weights, scales) = quantize_weights(&self.weights, channels);
        let depth = depth(channels);
        let (mut in_bytes, mut exact) = (Vec::new(), Vec::new());
        for n in 0..batch {
            for l in 0..self.layer.length_out() {
                for o in 0..channels {
                    let bias = f64::from(self.bias[o]);
                    let (mut z, mut unrounded) = (bias, bias);
                    for t in 0..TAPS {
                        let at = n * length_in + l + t * dilation;
                        let (bytes, scale) = &rows[at];
                        let row = &weights[(t * depth + o) * depth..][..channels];
                        let sum: i64 =
                            bytes.iter().zip(row).map(|(&q, &w)| i64::from(q) * i64::from(w)).sum();
                        z += f64::from(*scale) * f64::from(scales[t * channels + o]) * sum as f64;
                        for i in 0..channels {
                            let w = self.weights[(t * channels + i) * channels + o];
                            unrounded += f64::from(self.x[at * channels + i]) * f64::from(w);
                        }
                    }
                    let residual = f64::from(self.x[(n * length_in + l + dilation) * channels + o]);
                    in_bytes.push(z.max(0.0) + residual);
                    exact.push(unrounded.max(0.0) + residual);
                }
            }
        }
        (in_bytes, exact)
    }
}

fn values(bits: &[u16]) -> Vec<f32> {
    bits.iter().map(|&b| f16::from_bits(b).to_f32()).collect()
}

/// batch, length in, dilation, channels: those of the other precisions' forward (tests/suite/kernels/dilated).
const SHAPES: [[usize; 4]; 8] = [
    [1, 5, 2, 32],     // one row out: far less than a tile; half a stage of channels
    [3, 61, 4, 64],    // a tile over three examples, ragged
    [1, 136, 4, 96],   // exactly one row tile out
    [2, 95, 8, 160],   // odd; five tiles of 32 columns
    [7, 41, 16, 32],   // many short examples in one tile
    [2, 141, 64, 64],  // outputs shorter than the dilation
    [1, 531, 256, 96], // the largest dilation
    [1, 70, 32, 256],  // four and two column tiles
];

#[test]
fn forward_is_the_sums_of_bytes_in_any_tile() {
    for shape in SHAPES {
        let case = Case::new(shape);
        let (wanted, exact) = case.wanted();
        let mut first = None;
        for columns in case.layer.possible_columns() {
            let y = case.run(columns, Options::fast());
            // A few f32 roundings of 6e-8, and one of y to 11 bits: at most 2^-11 of it, 2.8e-4 rms.
            let error = relative_error(&values(&y), &wanted);
            assert!(error.total <= 3e-4, "{shape:?}, {columns} columns: {error}");
            // A byte is off by up to half a 255th of its row's largest, a weight by half a 127th of its column's. Rms
            // of uniform values, a third of the row's zero: 1.1e-3 of 0.4, and 2.3e-3 of 0.58, together 4.8e-3 of the
            // sums; less of y, to which the residual is added as it was.
            let lost = relative_error(&values(&y), &exact);
            assert!(lost.total <= 5e-3, "{shape:?}, {columns} columns, against no bytes: {lost}");
            println!("{shape:?} {columns}: {:.1e}, without bytes {:.1e}", error.total, lost.total);
            assert!(*first.get_or_insert(y.clone()) == y, "{shape:?}: {columns} columns differ");
        }
    }
}

/// Same bits whatever the order of threads and the arrival of copies, and no access out of place.
#[test]
fn forward_under_all_schedules() {
    for columns in [128, 64, 32] {
        for shape in [[2, 23, 8, columns], [1, 130, 64, columns]] {
            let case = Case::new(shape);
            let wanted = case.run(columns, Options::fast());
            for delivery in [Delivery::AtOnce, Delivery::Random, Delivery::Starved] {
                for seed in 0..8 {
                    let options = Options::checked(seed, delivery);
                    assert!(
                        case.run(columns, options) == wanted,
                        "{shape:?} {columns}: {options:?} differs"
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_that_is_not_finite_reaches_what_it_touches_and_no_more() {
    let mut case = Case::new([2, 31, 4, 64]);
    let broken = 31 + 12; // position 12 of the second example
    case.x[broken * 64 + 9] = f32::INFINITY;
    let length_out = case.layer.length_out();
    for (at, y) in values(&case.run(32, Options::fast())).iter().enumerate() {
        let (n, l) = (at / 64 / length_out, at / 64 % length_out);
        let touched = n == 1 && [4, 8, 12].contains(&l);
        assert_eq!(!y.is_finite(), touched, "example {n}, position {l}, channel {}: {y}", at % 64);
    }
}

/// Sums of a tap are exact and all else is done in the same order, so Hopper's kernel gives the portable ones' bits;
/// also where a cluster takes several tiles in turn.
#[test]
fn hopper_gives_the_same_bits() {
    // As for the other precisions' Hopper kernels: ragged tiles over examples, rows beyond the last, columns in turn.
    for shape in [
        [1, 5, 2, 128],
        [3, 61, 4, 256],
        [7, 41, 16, 128],
        [1, 531, 256, 128],
        [3, 190, 4, 128],
        [1, 40, 4, 384],
    ] {
        let case = Case::new(shape);
        let portable = case.run(32, Options::fast());
        for clusters in [1, 66] {
            let hopper = case.run_on_hopper(clusters, Options::fast());
            assert!(hopper == portable, "{shape:?}, {clusters} clusters");
        }
    }
}

#[test]
fn hopper_under_all_schedules() {
    // Three taps over two examples, two column tiles; two tiles of a cluster in turn, more steps than stages.
    for (shape, clusters) in [([2, 90, 8, 256], 66), ([1, 330, 16, 256], 1)] {
        let case = Case::new(shape);
        let wanted = case.run(32, Options::fast());
        for delivery in [Delivery::AtOnce, Delivery::Random, Delivery::Starved] {
            for seed in 0..8 {
                let options = Options::checked(seed, delivery);
                assert!(
                    case.run_on_hopper(clusters, options) == wanted,
                    "{shape:?}: {options:?} differs"
                );
            }
        }
    }
}
