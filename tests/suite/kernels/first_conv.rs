//! The first convolution and its weight gradient against loops in f64.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::first_conv::FirstConv;

use super::memory::{
    Memory, Random, SameBits, assert_close, distance, half_ulp, rounded, schedule, schedules,
};

struct Case {
    shape: FirstConv,
    codes: Vec<u8>,
    w: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(batch: usize, inputlen: usize, filters: usize, width: usize) -> Self {
        let channels = filters.next_multiple_of(32);
        let shape = FirstConv { batch, inputlen, channels, width };
        let mut random = Random::new(17);
        let mut codes = random.codes(batch * inputlen);
        // The first window of all is N only.
        codes[..width].fill(4);
        let w = random.padded(width * 4, filters, channels);
        let mut bias = random.padded(1, filters, channels);
        bias[0] = 0.0;
        Self { shape, codes, w, bias }
    }

    fn map_len(&self) -> usize {
        self.shape.batch * self.shape.length() * self.shape.channels
    }

    /// Weight row of a tap, or none at an N.
    fn tap(&self, row: usize, k: usize) -> Option<usize> {
        let (b, t) = (row / self.shape.length(), row % self.shape.length());
        let code = usize::from(self.codes[b * self.shape.inputlen + t + k]);
        (code < 4).then_some(k * 4 + code)
    }

    /// Before the ReLU, [rows][channels].
    fn pre_activations(&self) -> Vec<f64> {
        let channels = self.shape.channels;
        let mut z = Vec::with_capacity(self.map_len());
        for row in 0..self.shape.batch * self.shape.length() {
            let taps: Vec<usize> = (0..self.shape.width).filter_map(|k| self.tap(row, k)).collect();
            z.extend((0..channels).map(|c| {
                let sum: f64 = taps.iter().map(|tap| f64::from(self.w[tap * channels + c])).sum();
                sum + f64::from(self.bias[c])
            }));
        }
        z
    }

    fn check_forward(&self, element: Element, options: Options) {
        let mut memory = Memory::new(options);
        let n = self.map_len();
        let codes = memory.put("codes", &self.codes);
        let (w, bias) = (memory.put("w", &self.w), memory.put("bias", &self.bias));
        let x = memory.element_room(element, "x", n);
        let mask = memory.room::<u32>("mask", n / 32);
        memory.launch(&self.shape.forward(element, codes, w, bias, x, Some(mask)));
        let found = memory.get_elements(element, x, n);
        let bits = memory.get::<u32>(mask, n / 32);

        let z = self.pre_activations();
        let wanted: Vec<f64> = z.iter().map(|z| z.max(0.0)).collect();
        // Sums of up to `width` f32 of size 1 in another order.
        let sums = 1e-7 * self.shape.width as f64;
        let what = format!("{element:?} {:?}", self.shape);
        assert_close(&what, &found, &wanted, sums, half_ulp(element));
        for (at, &z) in z.iter().enumerate() {
            let bit = bits[at / 32] >> (at % 32) & 1 == 1;
            assert!(bit == (z > 0.0) || z.abs() < sums, "{what}: mask of element {at}, z = {z}");
        }
        // Zero is not above zero: an N-only window of a channel without bias.
        assert_eq!((found[0], bits[0] & 1), (0.0, 0), "{what}");

        // Without a mask, as a frozen branch has it: the same map.
        let again = memory.element_room(element, "x", n);
        memory.launch(&self.shape.forward(element, codes, w, bias, again, None));
        assert_eq!(memory.get_elements(element, again, n), found, "{what}");
    }

    /// The partials.
    fn check_gradient(&self, element: Element, options: Options) -> Vec<f32> {
        let mut memory = Memory::new(options);
        let channels = self.shape.channels;
        let mut random = Random::new(18);
        let dz: Vec<f32> =
            random.values(self.map_len()).into_iter().map(|v| rounded(element, v)).collect();
        let codes = memory.put("codes", &self.codes);
        let dz_at = memory.put_elements(element, "dz", &dz);
        let (splits, len) = (self.shape.splits(), self.shape.partial_len());
        let partials = memory.room::<f32>("partials", splits * len);
        memory.launch(&self.shape.gradient(element, dz_at, codes, partials));
        let partials = memory.get::<f32>(partials, splits * len);
        let mut found = vec![0f32; len];
        for partial in partials.chunks_exact(len) {
            found.iter_mut().zip(partial).for_each(|(f, p)| *f += p);
        }

        let mut wanted = vec![0f64; len];
        for (row, dz) in dz.chunks_exact(channels).enumerate() {
            let bias = 4 * self.shape.width;
            let taps = (0..self.shape.width).filter_map(|k| self.tap(row, k)).chain([bias]);
            for tap in taps {
                let sums = wanted[tap * channels..][..channels].iter_mut();
                sums.zip(dz).for_each(|(sum, &dz)| *sum += f64::from(dz));
            }
        }
        let off = distance(&found, &wanted);
        println!("{element:?} {:?}: gradient off by {off:.1e}", self.shape);
        assert!(off < 1e-6, "{element:?} {:?}: gradient off by {off:e}", self.shape);
        partials
    }
}

#[test]
fn forward_in_every_element_type_and_schedule() {
    let case = Case::new(2, 90, 40, 21);
    for options in schedules() {
        Element::ALL.into_iter().for_each(|element| case.check_forward(element, options));
    }
}

#[test]
fn forward_at_awkward_shapes() {
    // One row, one tap; widths that are no multiple of a table's 3 taps; more taps than tables fit.
    for (batch, inputlen, filters, width) in
        [(1, 21, 1, 21), (3, 40, 32, 1), (1, 60, 33, 8), (2, 60, 32, 45)]
    {
        let case = Case::new(batch, inputlen, filters, width);
        case.check_forward(Element::F32, schedule(3));
        case.check_forward(Element::F16, schedule(4));
    }
}

#[test]
fn gradient_in_every_element_type_and_schedule() {
    let case = Case::new(2, 90, 40, 21);
    let mut bits = SameBits::default();
    for options in schedules() {
        for element in Element::ALL {
            bits.check(element, &case.check_gradient(element, options));
        }
    }
}

#[test]
fn gradient_at_awkward_shapes() {
    // One row; several segments an example, the last one short; one tap; three tiles of taps.
    for (batch, inputlen, filters, width) in
        [(1, 21, 1, 21), (3, 530, 32, 21), (5, 40, 32, 1), (2, 300, 32, 45)]
    {
        let case = Case::new(batch, inputlen, filters, width);
        case.check_gradient(Element::F32, schedule(3));
        case.check_gradient(Element::Bf16, schedule(4));
    }
}

/// Without checks, for the sums' lengths and for addresses beyond small numbers.
#[test]
fn at_the_real_shape() {
    let case = Case::new(2, 2114, 512, 21);
    for element in [Element::F32, Element::F16] {
        case.check_forward(element, Options::fast());
        case.check_gradient(element, Options::fast());
    }
}
