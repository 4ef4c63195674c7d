//! The first convolution both ways, and the scores.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::first_conv::FirstConv;
use cbp_fast::engine::cuda::ops::rescale::Keep;
use cbp_fast::engine::cuda::ops::rescale::first_conv::{self, Forward, Scores};
use cbp_fast::engine::cuda::ops::rescale::head::Scales;

use super::check_ratios;
use crate::kernels::memory::{
    Memory, Random, SameBits, assert_close, distance, half_ulp, rounded, schedule, schedules,
};

struct Case {
    layer: FirstConv,
    per_sequence: usize,
    /// of the references
    codes: Vec<u8>,
    of_sequences: Vec<u8>,
    w: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    /// Sequences, references of each, bp, filters, taps.
    fn new([n, per_sequence, inputlen, filters, width]: [usize; 5]) -> Self {
        let channels = filters.next_multiple_of(32);
        let layer = FirstConv { batch: n * per_sequence, inputlen, channels, width };
        let mut random = Random::new(31);
        let of_sequences = random.codes(n * inputlen);
        let mut codes = random.codes(n * per_sequence * inputlen);
        for (at, reference) in codes.chunks_exact_mut(inputlen).enumerate() {
            let same = inputlen / 2;
            reference[..same]
                .copy_from_slice(&of_sequences[at / per_sequence * inputlen..][..same]);
        }
        let w = random.padded(width * 4, filters, channels);
        let bias = random.padded(1, filters, channels);
        Self { layer, per_sequence, codes, of_sequences, w, bias }
    }

    fn pre_activations(&self, codes: &[u8]) -> Vec<f64> {
        let FirstConv { inputlen, channels, width, .. } = self.layer;
        let mut z = Vec::new();
        for window in codes.chunks_exact(inputlen).flat_map(|codes| codes.windows(width)) {
            let at = z.len();
            z.extend(self.bias.iter().map(|&b| f64::from(b)));
            for (k, &code) in window.iter().enumerate().filter(|(_, code)| **code < 4) {
                let w = &self.w[(4 * k + usize::from(code)) * channels..];
                z[at..].iter_mut().zip(w).for_each(|(z, &w)| *z += f64::from(w));
            }
        }
        z
    }

    fn check_forward(&self, element: Element, options: Options) -> Vec<f32> {
        let FirstConv { channels, width, .. } = self.layer;
        let what = format!("{element:?} {:?}", self.layer);
        // Sums of up to `width` f32 of size 1.
        let error = 1e-7 * width as f64;
        let mut memory = Memory::new(options);
        let of_sequences = FirstConv { batch: self.layer.batch / self.per_sequence, ..self.layer };
        let n = of_sequences.batch * of_sequences.length() * channels;
        let (w, bias) = (memory.put("w", &self.w), memory.put("bias", &self.bias));
        let z = memory.room::<f32>("z", n);
        let at = Forward {
            codes: memory.put("codes of sequences", &self.of_sequences),
            w,
            bias,
            x: memory.element_room(element, "x", n),
            keep: Keep::PreActivations { z },
        };
        memory.launch(&first_conv::forward(&of_sequences, element, &at));
        let z_x = self.pre_activations(&self.of_sequences);
        let mut written: Vec<f32> = memory.get(z, n);
        assert_close(&what, &written, &z_x, error, 0.0);

        let derivatives = memory.element_room(element, "derivatives", n);
        let at = Forward { keep: Keep::Derivatives { ratio: derivatives }, ..at };
        memory.launch(&first_conv::forward(&of_sequences, element, &at));
        let found = memory.get_elements(element, derivatives, n);
        for (found, z) in found.iter().zip(&written) {
            assert_eq!(*found, f32::from(*z > 0.0), "{what}: derivative of {z}");
        }

        let n = self.layer.batch * self.layer.length() * channels;
        let ratio = memory.element_room(element, "ratio", n);
        let at = Forward {
            codes: memory.put("codes", &self.codes),
            x: memory.element_room(element, "x", n),
            keep: Keep::Ratios { of: z, per_sequence: self.per_sequence, ratio },
            ..at
        };
        memory.launch(&first_conv::forward(&self.layer, element, &at));
        let z = self.pre_activations(&self.codes);
        let size = self.layer.length() * channels;
        let pairs: Vec<(f64, f64)> = z
            .iter()
            .enumerate()
            .map(|(at, &r)| (z_x[at / size / self.per_sequence * size + at % size], r))
            .collect();
        let found = memory.get_elements(element, ratio, n);
        check_ratios(&what, &found, &pairs, error, half_ulp(element));
        written.extend(found);
        let found = memory.get_elements(element, at.x, n);
        let wanted: Vec<f64> = z.iter().map(|z| z.max(0.0)).collect();
        assert_close(&what, &found, &wanted, error, half_ulp(element));
        written.extend(found);
        written
    }

    /// Multipliers of both heads, half of the batch each, then their scores in two parts.
    fn check_backward(&self, element: Element, options: Options) -> Vec<f32> {
        let FirstConv { inputlen, channels, width, batch } = self.layer;
        let layer = FirstConv { batch: 2 * batch, ..self.layer };
        let what = format!("{element:?} {layer:?}");
        let scales = Scales { counts: 4.0, profile: 0.5 };
        let mut random = Random::new(32);
        let n = layer.batch * layer.length() * channels;
        let dz: Vec<f32> = random.values(n).into_iter().map(|v| rounded(element, v)).collect();
        let mut memory = Memory::new(options);
        let multipliers = memory.room::<f32>("multipliers", layer.batch * inputlen * 4);
        let dz_at = memory.put_elements(element, "dz", &dz);
        let w = memory.put("w", &self.w);
        let scaled = (batch, scales);
        memory.launch(&first_conv::backward(&layer, element, dz_at, w, scaled, multipliers));
        let mut wanted = vec![0f64; layer.batch * inputlen * 4];
        for (row, dz) in dz.chunks_exact(channels).enumerate() {
            let (b, t) = (row / layer.length(), row % layer.length());
            let scale = if b < batch { scales.counts } else { scales.profile };
            for (tap, w) in self.w.chunks_exact(channels).enumerate() {
                let terms = dz.iter().zip(w);
                let sum: f64 = terms.map(|(&dz, &w)| f64::from(dz) * f64::from(w)).sum();
                let at = (b * inputlen + t + tap / 4) * 4 + tap % 4;
                wanted[at] += sum / f64::from(scale);
            }
        }
        let mut written: Vec<f32> = memory.get(multipliers, wanted.len());
        let off = distance(&written, &wanted);
        println!("{what}: multipliers off by {off:.1e}");
        assert!(off < 2e-6, "{what} {width} taps: multipliers off by {off:e}");

        let codes = memory.put("codes", &self.codes);
        let scores = Scores {
            heads: 2,
            sequences: batch / self.per_sequence,
            references: self.per_sequence,
            inputlen,
        };
        let size = scores.sequences * inputlen * 4;
        let sums = memory.room::<f32>("sums", 2 * size);
        for begin in [true, false] {
            memory.launch(&scores.launch(multipliers, Some(codes), sums, begin));
        }
        let mut wanted = vec![0f64; 2 * size];
        for (at, m) in written.chunks_exact(4).enumerate() {
            let (head, pair, t) = (at / inputlen / batch, at / inputlen % batch, at % inputlen);
            let code = usize::from(self.codes[pair * inputlen + t]);
            let base = m.get(code).copied().unwrap_or(0.0);
            let to = ((head * scores.sequences + pair / self.per_sequence) * inputlen + t) * 4;
            for (sum, &m) in wanted[to..][..4].iter_mut().zip(m) {
                *sum += 2.0 * (f64::from(m) - f64::from(base));
            }
        }
        let found: Vec<f32> = memory.get(sums, 2 * size);
        let off = distance(&found, &wanted);
        assert!(off < 1e-6, "{what}: scores off by {off:e}");
        written.extend(found);

        // Against nothing: the multipliers themselves.
        let one = Scores { sequences: batch, references: 1, ..scores };
        let sums = memory.room::<f32>("sums", layer.batch * inputlen * 4);
        memory.launch(&one.launch(multipliers, None, sums, true));
        assert_eq!(
            memory.get::<f32>(sums, layer.batch * inputlen * 4),
            written[..layer.batch * inputlen * 4]
        );
        written
    }
}

#[test]
fn in_every_element_type_and_schedule() {
    let case = Case::new([2, 2, 60, 40, 21]);
    let mut bits = SameBits::default();
    for options in schedules() {
        for element in Element::ALL {
            bits.check((element, "forward"), &case.check_forward(element, options));
            bits.check((element, "backward"), &case.check_backward(element, options));
        }
    }
}

#[test]
fn at_awkward_shapes() {
    // One row; one tap; two segments of positions and more channels than warps; two rounds of taps.
    for shape in [[1, 1, 21, 1, 21], [1, 3, 40, 32, 1], [1, 1, 135, 160, 8], [1, 2, 60, 33, 45]] {
        let case = Case::new(shape);
        for (element, seed) in [(Element::F32, 3), (Element::F16, 4)] {
            case.check_forward(element, schedule(seed));
            case.check_backward(element, schedule(seed));
        }
    }
}

/// Without checks, for the sums' lengths and for addresses beyond small numbers.
#[test]
fn at_the_real_shape() {
    let case = Case::new([1, 1, 2114, 512, 21]);
    case.check_forward(Element::F32, Options::fast());
    case.check_backward(Element::F16, Options::fast());
}
