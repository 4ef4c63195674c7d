//! One layer's operands, what the passes make of them in f64, and an emulated device to run kernels on.

use bytemuck::cast_slice;
use cbp_fast::engine::cuda::device::{Address, Device, Launch};
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::dilated::{self, Dgrad, Forward, Layer, Pass, TAPS, Wgrad};
use cbp_fast::engine::cuda::ops::hopper::{self, Core};
use cbp_fast::engine::cuda::precision::Precision;
use half::{bf16, f16};

use crate::kernels::tensor::{Numbers, relative_error};

/// Relative L2 error of a tensor that is stored in the element type. Seen: the largest of all shapes below.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp16 => 3e-4,   // one rounding to 11 bits; 2.1e-4 seen
        Precision::Bf16 => 2.4e-3, // one rounding to 8 bits; 1.8e-3 seen
        Precision::Tf32 => 4e-4,   // both operands rounded to 11 bits; 3.0e-4 seen
        Precision::F32 => 1e-5, // products of split operands (kernels/core/math.cuh); 4.5e-6 seen
        Precision::Plain => 1e-6, // sums of at most 768 terms in f32; 2.1e-7 seen
        Precision::Int8 => unreachable!("kernels/int8.rs"),
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
pub struct Case {
    pub layer: Layer,
    pub x: Vec<f32>,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub g_out: Vec<f32>,
    pub dz_out: Vec<f32>,
    /// of x, one bool an element
    pub let_through: Vec<bool>,
    before_relu: Vec<f64>,
    pub y: Vec<f64>,
    pub g: Vec<f64>,
    pub dz: Vec<f64>,
    column_sums: Vec<f64>,
    pub dw: Vec<f64>,
}

impl Case {
    pub fn new(precision: Precision, [batch, length_in, dilation, channels]: [usize; 4]) -> Self {
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

    /// Runs a pass of the portable core and compares all it writes; returns the bytes it wrote, sums over rows apart.
    pub fn check(&self, pass: Pass, columns: usize, options: Options) -> Written {
        self.check_on(Core::Portable, pass, columns, options)
    }

    pub fn check_on(&self, core: Core, pass: Pass, columns: usize, options: Options) -> Written {
        let mut device = Bench::new(self.layer.precision, options);
        let layer = &self.layer;
        let Layer { channels, precision, .. } = self.layer;
        let what = format!("{core:?} {pass:?} in {columns} columns, {:?}, {options:?}", self.layer);
        let close = |name: &str, got: &[f32], expected: &[f64], tolerance: f64| {
            let error = relative_error(got, expected);
            assert!(error.total <= tolerance, "{what}: {name}: {error}, at most {tolerance:e}");
        };
        match pass {
            Pass::Forward => {
                let at = device.forward(self);
                device.run(&match core {
                    Core::Portable => dilated::forward_with(layer, columns, &at, "forward"),
                    Core::Hopper { clusters } => {
                        hopper::forward(layer, columns, clusters, &at, "forward")
                    }
                });
                close("y", &device.read(at.y, self.y.len()), &self.y, tolerance(precision));
                let mask = device.bytes(at.mask, self.y.len() / 8);
                self.check_mask(&mask, &what);
                let y = device.bytes(at.y, self.y.len() * precision.bytes());
                Written { elements: [y, mask].concat(), sums: Vec::new() }
            }
            Pass::Dgrad => {
                let at = device.dgrad(self);
                device.run(&match core {
                    Core::Portable => dilated::dgrad_with(layer, columns, &at, "dgrad"),
                    Core::Hopper { clusters } => {
                        hopper::dgrad(layer, columns, clusters, &at, "dgrad")
                    }
                });
                close("g", &device.read(at.g, self.g.len()), &self.g, tolerance(precision));
                let values = device.read(at.dz, self.dz.len());
                close("dz", &values, &self.dz, tolerance(precision));
                for (value, kept) in values.iter().zip(&self.let_through) {
                    assert!(*kept || value.to_bits() == 0, "{what}: a masked gradient is {value}");
                }
                let sums =
                    device.bytes(at.column_sums, self.layer.column_sum_tiles() * channels * 4);
                let total = add_parts(&sums, channels);
                let tolerance = match core {
                    Core::Portable => tolerance_of_sums(precision),
                    Core::Hopper { .. } => tolerance(precision), // sums of dz as it is stored
                };
                close("column sums", &total, &self.column_sums, tolerance);
                assert_eq!(device.bytes(at.overflow, 4), [0; 4], "{what}: overflow");
                let dz = device.bytes(at.dz, self.dz.len() * precision.bytes());
                Written { elements: dz, sums }
            }
            Pass::Wgrad => {
                let splits = 3; // uneven parts; of a single step, two are empty
                let at = device.wgrad(self, splits);
                device.run(&match core {
                    Core::Portable => dilated::wgrad_with(layer, columns, splits, &at, "wgrad"),
                    Core::Hopper { clusters } => {
                        hopper::wgrad(layer, columns, splits, clusters, &at, "wgrad")
                    }
                });
                let parts = device.bytes(at.partials, splits * self.dw.len() * 4);
                let total = add_parts(&parts, self.dw.len());
                close("dw", &total, &self.dw, tolerance_of_sums(precision));
                assert_eq!(device.bytes(at.overflow, 4), [0; 4], "{what}: overflow");
                Written { elements: parts, sums: Vec::new() }
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

/// What a pass left in memory.
#[derive(PartialEq)]
pub struct Written {
    pub elements: Vec<u8>,
    /// column sums: their order depends on the tile's width
    pub sums: Vec<u8>,
}

/// An emulated device and the element type of a test's tensors.
pub struct Bench {
    device: EmulatedDevice,
    precision: Precision,
}

impl Bench {
    pub fn new(precision: Precision, options: Options) -> Self {
        Self { device: EmulatedDevice::new(options), precision }
    }

    /// Memory full of NaN.
    pub fn room(&mut self, label: &str, bytes: usize) -> Address {
        self.device.alloc(bytes, label).unwrap()
    }

    pub fn upload(&mut self, label: &str, bytes: &[u8]) -> Address {
        let at = self.room(label, bytes.len());
        self.device.upload(at, bytes).unwrap();
        at
    }

    pub fn floats(&mut self, label: &str, values: &[f32]) -> Address {
        self.upload(label, cast_slice(values))
    }

    pub fn elements(&mut self, label: &str, values: &[f32]) -> Address {
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

    pub fn forward(&mut self, case: &Case) -> Forward {
        Forward {
            x: self.elements("x", &case.x),
            weights: self.elements("weights", &case.weights),
            bias: self.floats("bias", &case.bias),
            y: self.room("y", case.y.len() * self.precision.bytes()),
            mask: self.room("mask", case.y.len() / 8),
        }
    }

    pub fn dgrad(&mut self, case: &Case) -> Dgrad {
        let sums = case.layer.column_sum_tiles() * case.layer.channels;
        Dgrad {
            dz_out: self.elements("dz_out", &case.dz_out),
            g_out: self.elements("g_out", &case.g_out),
            weights: self.elements("weights", &case.weights),
            mask: self.upload("mask", &pack_bits(&case.let_through)),
            g: self.room("g", case.g.len() * self.precision.bytes()),
            dz: self.room("dz", case.dz.len() * self.precision.bytes()),
            column_sums: self.room("column_sums", sums * 4),
            overflow: self.upload("overflow", &[0; 4]),
        }
    }

    pub fn wgrad(&mut self, case: &Case, splits: usize) -> Wgrad {
        Wgrad {
            x: self.elements("x", &case.x),
            dz_out: self.elements("dz_out", &case.dz_out),
            partials: self.room("partials", splits * case.dw.len() * 4),
            overflow: self.upload("overflow", &[0; 4]),
        }
    }

    pub fn run(&mut self, launch: &Launch) {
        self.device.launch(launch).unwrap_or_else(|error| panic!("{launch:?}: {error:#}"));
    }

    pub fn bytes(&mut self, at: Address, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.device.download(at, &mut bytes).unwrap();
        bytes
    }

    pub fn read(&mut self, at: Address, n: usize) -> Vec<f32> {
        let bytes = self.bytes(at, n * self.precision.bytes());
        let halves = || bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self.precision {
            Precision::Fp16 => halves().map(|b| f16::from_bits(b).to_f32()).collect(),
            Precision::Bf16 => halves().map(|b| bf16::from_bits(b).to_f32()).collect(),
            _ => floats(&bytes),
        }
    }
}

pub fn round(precision: Precision, value: f32) -> f32 {
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
