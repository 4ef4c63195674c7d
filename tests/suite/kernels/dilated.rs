//! The dilated layer's kernels against plain loops in f64: every pass, precision and tile, at awkward shapes, and under
//! many schedules.
//!
//! Operands are rounded to the element type first, so what is compared is the kernels' arithmetic, their addresses and
//! the rounding of what they store.

use bytemuck::cast_slice;
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options, kernels};
use cbp_fast::engine::cuda::ops::dilated::{
    self, Dgrad, Forward, Layer, Pass, TAPS, TILE_COLUMNS, Wgrad, args_bytes, symbol,
};
use cbp_fast::engine::cuda::precision::Precision;
use half::{bf16, f16};

use super::tensor::{Numbers, relative_error};

/// Relative L2 error of a tensor that is stored in the element type.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp16 => 4e-4,  // one rounding to 11 bits: 2.9e-4 seen
        Precision::Bf16 => 3e-3,  // one rounding to 8 bits
        Precision::Tf32 => 6e-4,  // both operands to 11 bits: sqrt(2) * 2.9e-4
        Precision::F32 => 1e-5, // products of split operands: 4.8e-6 expected (kernels/core/math.cuh)
        Precision::Plain => 1e-6, // sums of at most 768 terms in f32
    }
}

/// The same for sums that stay in f32: operands of 16 bits are then exact.
fn tolerance_of_sums(precision: Precision) -> f64 {
    match precision {
        Precision::Fp16 | Precision::Bf16 => 1e-6,
        other => tolerance(other),
    }
}

/// Operands and, in f64, what the passes make of them.
struct Case {
    layer: Layer,
    x: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    g_out: Vec<f32>,
    dz_out: Vec<f32>,
    /// of x, one bool an element
    let_through: Vec<bool>,
    before_relu: Vec<f64>,
    y: Vec<f64>,
    g: Vec<f64>,
    dz: Vec<f64>,
    column_sums: Vec<f64>,
    dw: Vec<f64>,
}

impl Case {
    fn new(precision: Precision, [batch, length_in, dilation, channels]: [usize; 4]) -> Self {
        let layer = Layer { batch, length_in, dilation, channels, precision };
        let (rows_in, rows_out) = (layer.rows_in() * channels, layer.rows_out() * channels);
        let mut numbers = Numbers::new(length_in as u64);
        let mut tensor = |n: usize, scale: f32, zeros: f32| -> Vec<f32> {
            let value = |v: f32| if zeros > 0.0 && v < zeros - 1.0 { 0.0 } else { v * scale };
            (0..n).map(|_| round(precision, value(numbers.signed()))).collect()
        };
        // A third of x is zero, as behind a ReLU, and two thirds of the gradient pass.
        let x = tensor(rows_in, 1.0, 0.6);
        let weights = tensor(TAPS * channels * channels, (channels as f32).powf(-0.5), 0.0);
        let g_out = tensor(rows_out, 0.01, 0.0);
        let bias: Vec<f32> = (0..channels).map(|_| 0.3 * numbers.signed()).collect();
        let dz_out = g_out.iter().map(|&g| if numbers.signed() > -0.3 { g } else { 0.0 }).collect();
        let let_through = (0..rows_in).map(|_| numbers.signed() > -0.3).collect();
        let mut case = Self {
            layer,
            x,
            weights,
            bias,
            g_out,
            dz_out,
            let_through,
            before_relu: vec![0.0; rows_out],
            y: vec![0.0; rows_out],
            g: vec![0.0; rows_in],
            dz: vec![0.0; rows_in],
            column_sums: vec![0.0; channels],
            dw: vec![0.0; TAPS * channels * channels],
        };
        case.work_out();
        case
    }

    /// The mathematics, in the order of the indices.
    fn work_out(&mut self) {
        let Layer { batch, length_in, dilation: d, channels: c, .. } = self.layer;
        let length_out = self.layer.length_out();
        for n in 0..batch {
            for l in 0..length_out {
                let out = (n * length_out + l) * c;
                for o in 0..c {
                    self.before_relu[out + o] = self.bias[o].into();
                }
                for t in 0..TAPS {
                    // y[n, l] and dw[t] meet x[n, l + t d]; so does dz[n, l] g[n, l + t d]
                    let from = (n * length_in + l + t * d) * c;
                    for i in 0..c {
                        let x = f64::from(self.x[from + i]);
                        let row = (t * c + i) * c;
                        let mut g = 0.0;
                        for o in 0..c {
                            let (w, dz) = (self.weights[row + o], self.dz_out[out + o]);
                            self.before_relu[out + o] += x * f64::from(w);
                            self.dw[row + o] += x * f64::from(dz);
                            g += f64::from(dz) * f64::from(w);
                        }
                        self.g[from + i] += g;
                    }
                }
                let centre = (n * length_in + l + d) * c;
                for o in 0..c {
                    self.y[out + o] =
                        self.before_relu[out + o].max(0.0) + f64::from(self.x[centre + o]);
                    self.g[centre + o] += f64::from(self.g_out[out + o]);
                }
            }
        }
        for (at, (&g, &kept)) in self.g.iter().zip(&self.let_through).enumerate() {
            self.dz[at] = if kept { g } else { 0.0 };
            self.column_sums[at % c] += self.dz[at];
        }
    }

    /// Runs a pass and compares all it writes; returns the bytes it wrote.
    fn check(&self, pass: Pass, columns: usize, options: Options) -> Vec<u8> {
        let mut device = Bench::new(self.layer.precision, options);
        let Layer { channels, precision, .. } = self.layer;
        let what = format!("{} {:?}, {options:?}", symbol(pass, precision, columns), self.layer);
        let close = |name: &str, got: &[f32], expected: &[f64], tolerance: f64| {
            let error = relative_error(got, expected);
            assert!(error.total <= tolerance, "{what}: {name}: {error}, at most {tolerance:e}");
        };
        match pass {
            Pass::Forward => {
                let x = device.elements("x", &self.x);
                let weights = device.elements("weights", &self.weights);
                let bias = device.floats("bias", &self.bias);
                let y = device.room("y", self.y.len() * precision.bytes());
                let mask = device.room("mask", self.y.len() / 8);
                let at = Forward { x, weights, bias, y, mask };
                device.run(&dilated::forward_with(&self.layer, columns, &at, "forward"));
                close("y", &device.read(y, self.y.len()), &self.y, tolerance(precision));
                let mask = device.bytes(mask, self.y.len() / 8);
                self.check_mask(&mask, &what);
                [device.bytes(y, self.y.len() * precision.bytes()), mask].concat()
            }
            Pass::Dgrad => {
                let dz_out = device.elements("dz_out", &self.dz_out);
                let g_out = device.elements("g_out", &self.g_out);
                let weights = device.elements("weights", &self.weights);
                let mask = device.upload("mask", &pack_bits(&self.let_through));
                let g = device.room("g", self.g.len() * precision.bytes());
                let dz = device.room("dz", self.dz.len() * precision.bytes());
                let tiles = self.layer.column_sum_tiles();
                let column_sums = device.room("column_sums", tiles * channels * 4);
                let overflow = device.upload("overflow", &[0; 4]);
                let at = Dgrad { dz_out, g_out, weights, mask, g, dz, column_sums, overflow };
                device.run(&dilated::dgrad_with(&self.layer, columns, &at, "dgrad"));
                close("g", &device.read(g, self.g.len()), &self.g, tolerance(precision));
                let values = device.read(dz, self.dz.len());
                close("dz", &values, &self.dz, tolerance(precision));
                for (value, kept) in values.iter().zip(&self.let_through) {
                    assert!(*kept || value.to_bits() == 0, "{what}: a masked gradient is {value}");
                }
                let sums = device.bytes(column_sums, tiles * channels * 4);
                let total = add_parts(&sums, channels);
                let expected = &self.column_sums;
                close("column sums", &total, expected, tolerance_of_sums(precision));
                assert_eq!(device.bytes(overflow, 4), [0; 4], "{what}: overflow");
                [device.bytes(dz, self.dz.len() * precision.bytes()), sums].concat()
            }
            Pass::Wgrad => {
                let x = device.elements("x", &self.x);
                let dz_out = device.elements("dz_out", &self.dz_out);
                let splits = 3; // uneven parts; of a single row, two are empty
                let partials = device.room("partials", splits * self.dw.len() * 4);
                let overflow = device.upload("overflow", &[0; 4]);
                let at = Wgrad { x, dz_out, partials, overflow };
                device.run(&dilated::wgrad_with(&self.layer, columns, splits, &at, "wgrad"));
                let parts = device.bytes(partials, splits * self.dw.len() * 4);
                let total = add_parts(&parts, self.dw.len());
                close("dw", &total, &self.dw, tolerance_of_sums(precision));
                assert_eq!(device.bytes(overflow, 4), [0; 4], "{what}: overflow");
                parts
            }
        }
    }

    /// Every bit, but those where rounding may have moved the sum across zero.
    fn check_mask(&self, mask: &[u8], what: &str) {
        let scale = self.before_relu.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        let margin = scale * if self.layer.precision == Precision::Tf32 { 2e-3 } else { 2e-5 };
        let mut checked = 0;
        for (at, &value) in self.before_relu.iter().enumerate() {
            if value.abs() > margin {
                let bit = mask[at / 8] >> (at % 8) & 1 == 1;
                assert_eq!(bit, value > 0.0, "{what}: mask bit {at}, before the ReLU {value}");
                checked += 1;
            }
        }
        assert!(checked * 10 > self.before_relu.len() * 9, "{what}: hardly a bit was checked");
    }
}

/// An emulated device and the element type of a test's tensors.
struct Bench {
    device: EmulatedDevice,
    precision: Precision,
}

impl Bench {
    fn new(precision: Precision, options: Options) -> Self {
        Self { device: EmulatedDevice::new(options), precision }
    }

    /// Memory full of NaN.
    fn room(&mut self, label: &str, bytes: usize) -> Address {
        self.device.alloc(bytes, label).unwrap()
    }

    fn upload(&mut self, label: &str, bytes: &[u8]) -> Address {
        let at = self.room(label, bytes.len());
        self.device.upload(at, bytes).unwrap();
        at
    }

    fn floats(&mut self, label: &str, values: &[f32]) -> Address {
        self.upload(label, cast_slice(values))
    }

    fn elements(&mut self, label: &str, values: &[f32]) -> Address {
        match self.precision {
            Precision::Fp16 => {
                let bits: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
                self.upload(label, cast_slice(&bits))
            }
            Precision::Bf16 => {
                let bits: Vec<u16> = values.iter().map(|&v| bf16::from_f32(v).to_bits()).collect();
                self.upload(label, cast_slice(&bits))
            }
            _ => self.floats(label, values),
        }
    }

    fn run(&mut self, launch: &Launch) {
        self.device.launch(launch).unwrap_or_else(|error| panic!("{launch:?}: {error:#}"));
    }

    fn bytes(&mut self, at: Address, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.device.download(at, &mut bytes).unwrap();
        bytes
    }

    fn read(&mut self, at: Address, n: usize) -> Vec<f32> {
        let bytes = self.bytes(at, n * self.precision.bytes());
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self.precision {
            Precision::Fp16 => halves().map(|b| f16::from_bits(b).to_f32()).collect(),
            Precision::Bf16 => halves().map(|b| bf16::from_bits(b).to_f32()).collect(),
            _ => floats(&bytes),
        }
    }
}

fn round(precision: Precision, value: f32) -> f32 {
    match precision {
        Precision::Fp16 => f16::from_f32(value).to_f32(),
        Precision::Bf16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Bit c % 32 of word c / 32, little-endian: bit c % 8 of byte c / 8.
fn pack_bits(bits: &[bool]) -> Vec<u8> {
    let pack = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    bits.chunks(8).map(pack).collect()
}

/// Sums parts of `n` floats in order, as Adam does.
fn add_parts(bytes: &[u8], n: usize) -> Vec<f32> {
    let mut total = vec![0.0; n];
    for part in floats(bytes).chunks_exact(n) {
        total.iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
    }
    total
}

const PASSES: [Pass; 3] = [Pass::Forward, Pass::Dgrad, Pass::Wgrad];

#[test]
fn arguments_match_the_kernels() {
    let kernels = kernels();
    for pass in PASSES {
        for precision in Precision::ALL {
            for columns in TILE_COLUMNS {
                if precision == Precision::Plain && columns != 32 {
                    continue;
                }
                let name = symbol(pass, precision, columns);
                let kernel = kernels.iter().find(|kernel| kernel.name == name);
                let kernel = kernel.unwrap_or_else(|| panic!("no kernel {name}"));
                assert_eq!(kernel.args_bytes, args_bytes(pass), "{name}");
            }
        }
    }
}

/// batch, length in, dilation, channels
const SHAPES: [[usize; 4]; 9] = [
    [1, 5, 2, 32],     // one row out: far less than a tile
    [3, 61, 4, 64],    // a tile over three examples, ragged
    [1, 136, 4, 96],   // exactly one row tile out
    [2, 95, 8, 160],   // odd; five tiles of 32 columns
    [7, 41, 16, 32],   // many short examples in one tile
    [2, 141, 64, 64],  // outputs shorter than the dilation: rows that no tap reaches
    [1, 300, 128, 32], // whole tiles without some taps
    [1, 531, 256, 96], // the largest dilation
    [1, 70, 32, 256],  // four and two column tiles, two row tiles of weights a tap
];

fn all_shapes(pass: Pass) {
    for precision in Precision::ALL {
        for shape in SHAPES {
            let case = Case::new(precision, shape);
            for columns in case.layer.possible_columns() {
                case.check(pass, columns, Options::fast());
            }
        }
    }
}

#[test]
fn forward_at_all_shapes() {
    all_shapes(Pass::Forward);
}

#[test]
fn dgrad_at_all_shapes() {
    all_shapes(Pass::Dgrad);
}

#[test]
fn wgrad_at_all_shapes() {
    all_shapes(Pass::Wgrad);
}

/// Same bits whatever the order of threads and the arrival of copies, and no access out of place.
fn all_schedules(pass: Pass) {
    for precision in Precision::ALL {
        for columns in TILE_COLUMNS {
            if precision == Precision::Plain && columns != 32 {
                continue;
            }
            // Two examples and a ragged tile; two thirds of the steps of dgrad are left out at the ends.
            let case = Case::new(precision, [2, 23, 8, columns]);
            let expected = case.check(pass, columns, Options::fast());
            for seed in 0..9 {
                let delivery =
                    [Delivery::AtOnce, Delivery::Random, Delivery::Starved][seed as usize % 3];
                let got = case.check(pass, columns, Options::checked(seed, delivery));
                assert!(got == expected, "{pass:?} {precision} {columns}: seed {seed} differs");
            }
        }
    }
}

#[test]
fn forward_under_all_schedules() {
    all_schedules(Pass::Forward);
}

#[test]
fn dgrad_under_all_schedules() {
    all_schedules(Pass::Dgrad);
}

#[test]
fn wgrad_under_all_schedules() {
    all_schedules(Pass::Wgrad);
}
