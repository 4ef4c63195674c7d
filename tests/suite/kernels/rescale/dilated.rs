//! The dilated layer both ways, on either core.

use cbp_fast::engine::cuda::device::{Address, Launch};
use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::dilated::{Layer, TAPS};
use cbp_fast::engine::cuda::ops::hopper::Core;
use cbp_fast::engine::cuda::ops::rescale::dilated::{self, Dgrad, Forward};
use cbp_fast::engine::cuda::ops::rescale::{Keep, hopper};
use cbp_fast::engine::cuda::precision::Precision;

use super::check_ratios;
use crate::kernels::memory::{
    Memory, Random, SameBits, distance, half_ulp, rounded, schedule, schedules,
};

pub struct Case {
    pub layer: Layer,
    pub per_sequence: usize,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    /// of the references, [batch, length_in, channels]
    pub x: Vec<f32>,
    /// of the sequences, [batch / per_sequence, length_in, channels]
    pub of_sequences: Vec<f32>,
}

/// A pass of a core in tiles of `columns`.
pub fn forward(core: Core, layer: &Layer, columns: usize, at: &Forward, label: &str) -> Launch {
    match core {
        Core::Portable => dilated::forward_with(layer, columns, at, label),
        Core::Hopper { clusters } => hopper::forward(layer, columns, clusters, at, label),
    }
}

fn dgrad(core: Core, layer: &Layer, columns: usize, at: &Dgrad) -> Launch {
    match core {
        Core::Portable => dilated::dgrad_with(layer, columns, at, "dgrad"),
        Core::Hopper { clusters } => hopper::dgrad(layer, columns, clusters, at, "dgrad"),
    }
}

/// Largest error of a pre-activation over the largest of all, as of the plain dilated kernels.
fn error(precision: Precision) -> f64 {
    if precision == Precision::Tf32 { 2e-3 } else { 2e-5 }
}

/// Relative L2 error of what is stored in the element type, as of the plain dilated kernels.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp16 => 4e-4,
        Precision::Bf16 => 3e-3,
        Precision::Tf32 => 4e-4,
        Precision::F32 => 1e-5,
        Precision::Plain => 1e-6,
        Precision::Int8 => unreachable!("it predicts only"),
    }
}

impl Case {
    /// Sequences, references of each, positions, dilation, channels.
    pub fn new(precision: Precision, [n, per_sequence, length, d, channels]: [usize; 5]) -> Self {
        let batch = n * per_sequence;
        let layer = Layer { batch, length_in: length, dilation: d, channels, precision };
        let mut random = Random::new(length as u64);
        let element = precision.element();
        let mut tensor = |n: usize, scale: f32| -> Vec<f32> {
            random.values(n).into_iter().map(|v| rounded(element, scale * v)).collect()
        };
        let weights = tensor(TAPS * channels * channels, (channels as f32).powf(-0.5));
        let of_sequences = tensor(n * length * channels, 1.0);
        let mut x = tensor(batch * length * channels, 1.0);
        // Every reference begins as its sequence does: there its units do not change.
        let size = length * channels;
        for (at, reference) in x.chunks_exact_mut(size).enumerate() {
            let same = size / 2 + d * channels; // so outputs before length / 2 - d
            let sequence = &of_sequences[at / per_sequence * size..];
            reference[..same].copy_from_slice(&sequence[..same]);
        }
        let bias = tensor(channels, 0.3);
        Self { layer, per_sequence, weights, bias, x, of_sequences }
    }

    pub fn layer_of_sequences(&self) -> Layer {
        Layer { batch: self.layer.batch / self.per_sequence, ..self.layer }
    }

    /// Pre-activations of some examples.
    fn pre_activations(&self, x: &[f32]) -> Vec<f64> {
        let Layer { length_in, dilation, channels: c, .. } = self.layer;
        let mut z = Vec::new();
        for x in x.chunks_exact(length_in * c) {
            for l in 0..self.layer.length_out() {
                let at = z.len();
                z.extend(self.bias.iter().map(|&b| f64::from(b)));
                for t in 0..TAPS {
                    let row = &x[(l + t * dilation) * c..][..c];
                    for (x, w) in row.iter().zip(self.weights[t * c * c..].chunks_exact(c)) {
                        let sums = z[at..].iter_mut().zip(w);
                        sums.for_each(|(z, &w)| *z += f64::from(*x) * f64::from(w));
                    }
                }
            }
        }
        z
    }

    /// Both forward passes; returns what they wrote.
    pub fn check_forward(&self, core: Core, columns: usize, options: Options) -> Vec<f32> {
        let Layer { length_in, dilation, channels, precision, .. } = self.layer;
        let element = precision.element();
        let what = format!("{core:?} {columns} {:?}", self.layer);
        let mut memory = Memory::new(options);
        let weights = memory.put_elements(element, "weights", &self.weights);
        let bias = memory.put("bias", &self.bias);
        let of_sequences = self.layer_of_sequences();
        let n = of_sequences.rows_out() * channels;
        let x = memory.put_elements(element, "x of sequences", &self.of_sequences);
        let (y, z) = (memory.element_room(element, "y", n), memory.room::<f32>("z", n));
        let keep = Keep::PreActivations { z };
        let at = Forward { x, weights, bias, y, keep };
        memory.launch(&forward(core, &of_sequences, columns, &at, "sequences"));
        let z_x = self.pre_activations(&self.of_sequences);
        let found: Vec<f32> = memory.get(z, n);
        let scale = z_x.iter().fold(0.0f64, |max, z| max.max(z.abs()));
        let off = distance(&found, &z_x);
        assert!(off <= tolerance(precision), "{what}: z off by {off:e}");
        let mut written = found;

        // Derivatives come without a sequence to compare with.
        let derivatives = memory.element_room(element, "derivatives", n);
        let keep = Keep::Derivatives { ratio: derivatives };
        let at = Forward { keep, ..at };
        memory.launch(&forward(core, &of_sequences, columns, &at, "gradient"));
        let found = memory.get_elements(element, derivatives, n);
        for (found, z) in found.iter().zip(&written) {
            assert_eq!(*found, f32::from(*z > 0.0), "{what}: derivative of {z}");
        }

        let n = self.layer.rows_out() * channels;
        let x = memory.put_elements(element, "x", &self.x);
        let y = memory.element_room(element, "y", n);
        let ratio = memory.element_room(element, "ratio", n);
        let keep = Keep::Ratios { of: z, per_sequence: self.per_sequence, ratio };
        let at = Forward { x, y, keep, ..at };
        memory.launch(&forward(core, &self.layer, columns, &at, "references"));
        let z = self.pre_activations(&self.x);
        let size = self.layer.length_out() * channels;
        let pairs: Vec<(f64, f64)> = z
            .iter()
            .enumerate()
            .map(|(at, &r)| (z_x[at / size / self.per_sequence * size + at % size], r))
            .collect();
        let found = memory.get_elements(element, ratio, n);
        check_ratios(&what, &found, &pairs, error(precision) * scale, half_ulp(element));
        written.extend(&found);
        let residual = |at: usize| {
            let (row, c) = (at / channels, at % channels);
            let (n, l) = (row / self.layer.length_out(), row % self.layer.length_out());
            f64::from(self.x[(n * length_in + l + dilation) * channels + c])
        };
        let wanted: Vec<f64> =
            z.iter().enumerate().map(|(at, z)| z.max(0.0) + residual(at)).collect();
        let found = memory.get_elements(element, y, n);
        let off = distance(&found, &wanted);
        assert!(off <= tolerance(precision), "{what}: y off by {off:e}");
        written.extend(found);
        written
    }

    /// The way back, of one head or of two that share their ratios; returns what it wrote.
    pub fn check_dgrad(
        &self,
        core: Core,
        columns: usize,
        heads: usize,
        options: Options,
    ) -> Vec<f32> {
        let Layer { length_in, dilation: d, channels: c, precision, batch } = self.layer;
        let element = precision.element();
        let layer = Layer { batch: heads * batch, ..self.layer };
        let length_out = layer.length_out();
        let mut random = Random::new(7);
        let mut tensor = |n: usize| -> Vec<f32> {
            random.values(n).into_iter().map(|v| rounded(element, v)).collect()
        };
        let (g_out, dz_out) = (tensor(layer.rows_out() * c), tensor(layer.rows_out() * c));
        let ratio: Vec<f32> =
            tensor(self.layer.rows_in() * c).into_iter().map(|v| v.max(0.0)).collect();

        let n = layer.rows_in() * c;
        let mut memory = Memory::new(options);
        let at = Dgrad {
            dz_out: memory.put_elements(element, "dz_out", &dz_out),
            g_out: memory.put_elements(element, "g_out", &g_out),
            weights: memory.put_elements(element, "weights", &self.weights),
            ratio: memory.put_elements(element, "ratio", &ratio),
            ratio_batch: batch,
            g: memory.element_room(element, "g", n),
            dz: memory.element_room(element, "dz", n),
            overflow: memory.put("overflow", &[0u32]),
        };
        memory.launch(&dgrad(core, &layer, columns, &at));

        let mut g = vec![0f64; n];
        for example in 0..layer.batch {
            for l in 0..length_out {
                let out = (example * length_out + l) * c;
                for t in 0..TAPS {
                    let to = (example * length_in + l + t * d) * c;
                    for (i, w) in self.weights[t * c * c..][..c * c].chunks_exact(c).enumerate() {
                        let terms = dz_out[out..].iter().zip(w);
                        g[to + i] +=
                            terms.map(|(&dz, &w)| f64::from(dz) * f64::from(w)).sum::<f64>();
                    }
                }
                let centre = (example * length_in + l + d) * c;
                for o in 0..c {
                    g[centre + o] += f64::from(g_out[out + o]);
                }
            }
        }
        let of_ratio = |at: usize| f64::from(ratio[at % ratio.len()]);
        let dz: Vec<f64> = g.iter().enumerate().map(|(at, g)| g * of_ratio(at)).collect();
        let what = format!("{core:?} {columns} {layer:?}");
        let mut written = Vec::new();
        for (name, slot, wanted) in [("g", at.g, &g), ("dz", at.dz, &dz)] {
            let found = memory.get_elements(element, slot, n);
            let off = distance(&found, wanted);
            assert!(off <= tolerance(precision), "{what}: {name} off by {off:e}");
            written.extend(found);
        }
        assert_eq!(memory.get::<u32>(at.overflow, 1), [0], "{what}");

        // Without g, as the first layer has it.
        let dz_at = memory.element_room(element, "other dz", n);
        let without = Dgrad { g: Address::NULL, dz: dz_at, ..at };
        memory.launch(&dgrad(core, &layer, columns, &without));
        assert_eq!(memory.get_elements(element, dz_at, n), written[n..], "{what}");
        written
    }
}

#[test]
fn in_every_precision_tile_and_schedule() {
    let mut bits = SameBits::default();
    for precision in Precision::ALL {
        let layer = |channels| Case::new(precision, [2, 2, 23, 4, channels]);
        for columns in layer(128).layer.possible_columns() {
            let case = layer(columns);
            for options in schedules().chain([Options::fast()]) {
                let written = case.check_forward(Core::Portable, columns, options);
                bits.check((precision, columns, "forward"), &written);
                let written = case.check_dgrad(Core::Portable, columns, 2, options);
                bits.check((precision, columns, "dgrad"), &written);
            }
        }
    }
}

#[test]
fn at_awkward_shapes() {
    // One row out; a tile's width of rows in all, over examples; taps outside; three references, several tiles.
    for shape in [[1, 1, 5, 2, 32], [2, 1, 72, 4, 96], [1, 2, 140, 64, 64], [2, 3, 75, 8, 64]] {
        for precision in Precision::ALL {
            let case = Case::new(precision, shape);
            let tiles: Vec<usize> = case.layer.possible_columns().collect();
            let on = Core::Portable;
            let forward = case.check_forward(on, tiles[0], schedule(1));
            let dgrad = case.check_dgrad(on, tiles[0], 1, schedule(2));
            // Bits do not depend on the tile, so neither on what shares a chunk.
            for &columns in &tiles[1..] {
                assert!(case.check_forward(on, columns, Options::fast()) == forward, "{shape:?}");
                assert!(case.check_dgrad(on, columns, 1, Options::fast()) == dgrad, "{shape:?}");
            }
        }
    }
}

#[test]
fn nan_stays_and_overflow_is_flagged() {
    for precision in Precision::ALL {
        check_nan_and_overflow(Core::Portable, precision, 32);
    }
}

/// A unit that is NaN shows in what is left for the backward pass, and a multiplier too large in the flag.
pub fn check_nan_and_overflow(core: Core, precision: Precision, channels: usize) {
    let element = precision.element();
    let mut case = Case::new(precision, [1, 1, 23, 4, channels]);
    case.bias[3] = f32::NAN;
    let mut memory = Memory::new(Options::fast());
    let n = case.layer.rows_out() * channels;
    let ratio = memory.element_room(element, "ratio", n);
    let at = Forward {
        x: memory.put_elements(element, "x", &case.x),
        weights: memory.put_elements(element, "weights", &case.weights),
        bias: memory.put("bias", &case.bias),
        y: memory.element_room(element, "y", n),
        keep: Keep::Ratios { of: memory.put("z", &vec![0.5f32; n]), per_sequence: 1, ratio },
    };
    memory.launch(&core.rescale_forward(&case.layer, &at, "forward"));
    for (at, ratio) in memory.get_elements(element, ratio, n).into_iter().enumerate() {
        assert_eq!(ratio.is_nan(), at % channels == 3, "{precision}: {at} {ratio}");
    }

    for (value, flag) in [(6e4f32, u32::from(precision == Precision::Fp16)), (f32::NAN, 1)] {
        let mut g_out = vec![0.0f32; n];
        g_out[n - 1] = value;
        let mut dz_out = g_out.clone();
        dz_out[n - 1] = value.min(6e4);
        let weights = vec![1.0f32; TAPS * channels * channels];
        let m = case.layer.rows_in() * channels;
        let at = Dgrad {
            dz_out: memory.put_elements(element, "dz_out", &dz_out),
            g_out: memory.put_elements(element, "g_out", &g_out),
            weights: memory.put_elements(element, "weights", &weights),
            ratio: memory.put_elements(element, "ratio", &vec![0.0; m]),
            ratio_batch: 1,
            g: Address::NULL,
            dz: memory.element_room(element, "dz", m),
            overflow: memory.put("overflow", &[0u32]),
        };
        memory.launch(&core.rescale_dgrad(&case.layer, &at, "dgrad"));
        assert_eq!(memory.get::<u32>(at.overflow, 1), [flag], "{precision} {value}");
    }
}
