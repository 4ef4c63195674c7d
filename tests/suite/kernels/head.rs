//! Both heads and their gradients against loops in f64.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::head::{Head, HeadScratch, HeadWeights, InputGradient};
use cbp_fast::engine::cuda::ops::step::StepState;

use super::memory::{
    Memory, Random, SameBits, assert_close, distance, half_ulp, rounded, schedule, schedules,
};

struct Case {
    shape: Head,
    x: Vec<f32>,
    profile: Vec<f32>,
    dense: Vec<f32>,
    dlogits: Vec<f32>,
    dlogcounts: Vec<f32>,
    mask: Vec<u32>,
    profile_bias: f32,
    dense_bias: f32,
}

impl Case {
    /// The numbers are batch, length, filters, width, crop, outputlen.
    fn new(element: Element, [batch, length, filters, width, crop, outputlen]: [usize; 6]) -> Self {
        let channels = filters.next_multiple_of(32);
        let shape = Head { batch, length, channels, width, crop, outputlen };
        let mut random = Random::new(23);
        let x = random.padded(batch * length, filters, channels);
        Self {
            shape,
            x: x.into_iter().map(|v| rounded(element, v)).collect(),
            profile: random.padded(width, filters, channels),
            dense: random.padded(1, filters, channels),
            dlogits: random.values(batch * outputlen),
            dlogcounts: random.values(batch),
            mask: (0..batch * length * channels / 32)
                .map(|_| (random.below(1 << 16) << 16 | random.below(1 << 16)) as u32)
                .collect(),
            profile_bias: 0.3,
            dense_bias: -0.7,
        }
    }

    fn map_len(&self) -> usize {
        self.shape.batch * self.shape.length * self.shape.channels
    }

    fn row(&self, b: usize, t: usize) -> &[f32] {
        let channels = self.shape.channels;
        &self.x[(b * self.shape.length + t) * channels..][..channels]
    }

    fn weights(&self, memory: &mut Memory) -> HeadWeights {
        HeadWeights {
            profile: memory.put("profile", &self.profile),
            profile_bias: memory.put("profile bias", &[self.profile_bias]),
            dense: memory.put("dense", &self.dense),
            dense_bias: memory.put("dense bias", &[self.dense_bias]),
        }
    }

    /// Logits and logcounts.
    fn check_forward(&self, element: Element, options: Options) -> Vec<f32> {
        let Head { batch, length, channels, width, crop, outputlen } = self.shape;
        let mut memory = Memory::new(options);
        let x = memory.put_elements(element, "x", &self.x);
        let weights = self.weights(&mut memory);
        let scratch = HeadScratch {
            diagonals: memory.room::<f32>("diagonals", self.shape.diagonals_len(element)),
            pooled: memory.room::<f32>("pooled", self.shape.pooled_len(element)),
            split: memory.room::<u8>("split", self.shape.split_bytes(element)),
        };
        let logits = memory.room::<f32>("logits", batch * outputlen);
        let logcounts = memory.room::<f32>("logcounts", batch);
        memory.launch_all(&self.shape.forward(element, x, &weights, scratch, logits, logcounts));

        let mut wanted_logits = Vec::new();
        let mut wanted_logcounts = Vec::new();
        for b in 0..batch {
            for p in 0..outputlen {
                let taps = (0..width).map(|k| {
                    dot(self.row(b, crop + p + k), &self.profile[k * channels..][..channels])
                });
                wanted_logits.push(f64::from(self.profile_bias) + taps.sum::<f64>());
            }
            let pooled: f64 = (0..length).map(|t| dot(self.row(b, t), &self.dense)).sum();
            wanted_logcounts.push(f64::from(self.dense_bias) + pooled / length as f64);
        }
        let what = format!("{element:?} {:?}", self.shape);
        let mut found: Vec<f32> = memory.get(logits, batch * outputlen);
        let off = distance(&found, &wanted_logits);
        println!("{what}: logits off by {off:.1e}");
        assert!(off < 2.0 * tolerance(element), "{what}: logits off by {off:e}");
        let found_logcounts: Vec<f32> = memory.get(logcounts, batch);
        let most = tolerance(element);
        assert_close(&what, &found_logcounts, &wanted_logcounts, most, most);
        found.extend(found_logcounts);
        found
    }

    /// The column sums.
    fn check_input_gradient(&self, element: Element, options: Options, with_g: bool) -> Vec<f32> {
        let Head { batch, length, channels, width, crop, outputlen } = self.shape;
        let n = self.map_len();
        let mut memory = Memory::new(options);
        let weights = self.weights(&mut memory);
        let dlogits = memory.put("dlogits", &self.dlogits);
        let dlogcounts = memory.put("dlogcounts", &self.dlogcounts);
        let mask = memory.put("mask", &self.mask);
        let tiles = batch * self.shape.row_tiles();
        let g = memory.element_room(element, "g", n);
        let out = InputGradient {
            g: with_g.then_some(g),
            dz: memory.element_room(element, "dz", n),
            column_sums: memory.room::<f32>("column sums", tiles * channels),
            overflow: memory.put("overflow", &[0u32]),
        };
        memory
            .launch(&self.shape.input_gradient(element, dlogits, dlogcounts, &weights, mask, &out));

        let mut wanted = Vec::with_capacity(n);
        let mut bounds = Vec::with_capacity(n);
        let mut wanted_sums = vec![0f64; channels];
        let mut wanted_dz = Vec::with_capacity(n);
        let largest = |v: &[f32]| v.iter().fold(0.0, |most, v| f64::from(v.abs()).max(most));
        let below = 2f64.powi(-38) * width as f64 * largest(&self.dlogits) * largest(&self.profile);
        for b in 0..batch {
            let dense_scale = f64::from(self.dlogcounts[b]) / length as f64;
            for t in 0..length {
                for (c, column) in wanted_sums.iter_mut().enumerate() {
                    let mut sum = dense_scale * f64::from(self.dense[c]);
                    let mut magnitudes = sum.abs();
                    for k in 0..width {
                        // dlogits[t - crop - k]
                        if let Some(p) = t.checked_sub(crop + k).filter(|&p| p < outputlen) {
                            let d = f64::from(self.dlogits[b * outputlen + p]);
                            let product = d * f64::from(self.profile[k * channels + c]);
                            sum += product;
                            magnitudes += product.abs();
                        }
                    }
                    let at = wanted.len();
                    let dz = if self.mask[at / 32] >> (at % 32) & 1 == 1 { sum } else { 0.0 };
                    wanted.push(sum);
                    bounds.push(of_products(element) * magnitudes + below);
                    wanted_dz.push(dz);
                    *column += dz;
                }
            }
        }
        let what = format!("{element:?} {:?}", self.shape);
        if with_g {
            assert_rounded(
                &format!("g {what}"),
                element,
                memory.get_elements(element, g, n),
                &wanted,
                &bounds,
            );
        }
        let found = memory.get_elements(element, out.dz, n);
        assert_rounded(&format!("dz {what}"), element, found, &wanted_dz, &bounds);
        let mut sums = vec![0f32; channels];
        for tile in memory.get::<f32>(out.column_sums, tiles * channels).chunks_exact(channels) {
            sums.iter_mut().zip(tile).for_each(|(sum, t)| *sum += t);
        }
        let off = distance(&sums, &wanted_sums);
        println!("{what}: column sums off by {off:.1e}");
        // Products of bf16 parts err by 4.8e-6 in the root mean square, here with few factors to average over.
        let most = if element == Element::Bf16 { 1.5e-5 } else { 1e-5 };
        assert!(off < most, "{what}: column sums off by {off:e}");
        assert_eq!(memory.get::<u32>(out.overflow, 1), [0]);
        sums
    }

    /// The sums of the partials.
    fn check_weight_gradient(&self, element: Element, options: Options) -> Vec<f32> {
        let Head { batch, length, channels, width, crop, outputlen } = self.shape;
        let mut memory = Memory::new(options);
        let x = memory.put_elements(element, "x", &self.x);
        let dlogits = memory.put("dlogits", &self.dlogits);
        let dlogcounts = memory.put("dlogcounts", &self.dlogcounts);
        let (splits, len) = (self.shape.splits(), self.shape.partial_len());
        // The last example is not in the plan, unless it is the only one.
        let examples = batch.max(2) - 1;
        let state = StepState { examples: examples as u32, ..StepState::new(1.0, 1, false) };
        let state = memory.put("state", &[state]);
        let partials = memory.room::<f32>("partials", splits * len);
        memory
            .launch(&self.shape.weight_gradient(element, state, x, dlogits, dlogcounts, partials));
        let mut found = vec![0f32; len];
        for partial in memory.get::<f32>(partials, splits * len).chunks_exact(len) {
            found.iter_mut().zip(partial).for_each(|(f, p)| *f += p);
        }

        let mut wanted = vec![0f64; len];
        let mut add = |tap: usize, factor: f64, row: &[f32]| {
            let sums = wanted[tap * channels..][..channels].iter_mut();
            sums.zip(row).for_each(|(sum, &x)| *sum += factor * f64::from(x));
        };
        for b in 0..batch {
            for k in 0..width {
                for p in 0..outputlen {
                    let d = f64::from(self.dlogits[b * outputlen + p]);
                    add(k, d, self.row(b, crop + p + k));
                }
            }
            for t in 0..length {
                add(width, f64::from(self.dlogcounts[b]) / length as f64, self.row(b, t));
                if b < examples {
                    add(width + 1, 1.0 / length as f64, self.row(b, t));
                }
            }
        }
        let [dense, features] = self.shape.dense_and_features();
        let parts =
            [("profile", 0..dense), ("dense", dense..features), ("features", features..len)];
        for (what, range) in parts {
            let off = distance(&found[range.clone()], &wanted[range]);
            println!("{element:?} {:?}: {what} off by {off:.1e}", self.shape);
            assert!(off < 5e-6, "{element:?} {:?}: {what} off by {off:e}", self.shape);
        }
        found
    }
}

/// Of a sum whose factors beside the feature map are f32, or two parts of the element type: 24, 22 or 16 bits of them.
/// Those of bf16 leave 2.8e-6 in the root mean square.
fn tolerance(element: Element) -> f64 {
    match element {
        Element::F16 | Element::F32 => 1e-6,
        Element::Bf16 => 3e-6,
    }
}

/// Most that products of two f32, or of two parts of the element type each, and their sum are off by, as a share of
/// the sum of their magnitudes. Parts leave 2^-22 or 2^-17 of a factor, and of the four products of parts the
/// smallest, 2^-22 or 2^-16, is left out.
fn of_products(element: Element) -> f64 {
    match element {
        Element::F16 | Element::F32 => 1e-6,
        Element::Bf16 => 2f64.powi(-15) + 1e-6,
    }
}

/// Fails where `found` is further from `wanted` than `bounds` and one rounding to the element type.
fn assert_rounded(what: &str, element: Element, found: Vec<f32>, wanted: &[f64], bounds: &[f64]) {
    let smallest = if element == Element::F16 { 2f64.powi(-25) } else { 0.0 };
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, ((&f, &w), &bound)) in found.iter().zip(wanted).zip(bounds).enumerate() {
        let off = (f64::from(f) - w).abs();
        let most = bound + half_ulp(element) * (w.abs() + bound) + smallest;
        assert!(
            off <= most,
            "{what}: element {at} is {f}, wanted {w}, off by {off:e}, not {most:e}"
        );
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Official width, with a crop and two row tiles.
const USUAL: [usize; 6] = [2, 150, 40, 75, 4, 60];

/// Batch, length, filters, width, crop, outputlen.
const AWKWARD: [[usize; 6]; 8] = [
    // the shortest map, one position
    [1, 75, 8, 75, 0, 1],
    // tiles outside the profile on both sides
    [1, 520, 32, 75, 190, 60],
    [1, 790, 32, 20, 380, 30],
    // three channel tiles; one tap
    [3, 33, 160, 1, 3, 20],
    // the dense layer in the last column, then alone in the second column tile
    [1, 140, 32, 79, 7, 50],
    [1, 140, 32, 80, 7, 50],
    // two column tiles of taps, and three
    [2, 260, 32, 130, 0, 131],
    [1, 300, 64, 170, 2, 120],
];

#[test]
fn in_every_element_type_and_schedule() {
    let mut bits = SameBits::default();
    for element in Element::ALL {
        let case = Case::new(element, USUAL);
        for options in schedules() {
            bits.check((element, "forward"), &case.check_forward(element, options));
            bits.check((element, "input"), &case.check_input_gradient(element, options, true));
            bits.check((element, "weights"), &case.check_weight_gradient(element, options));
        }
    }
}

#[test]
fn at_awkward_shapes() {
    for shape in AWKWARD {
        for (element, with_g) in
            [(Element::F32, false), (Element::F16, true), (Element::Bf16, false)]
        {
            let case = Case::new(element, shape);
            case.check_forward(element, schedule(1));
            case.check_input_gradient(element, schedule(2), with_g);
            case.check_weight_gradient(element, schedule(3));
        }
    }
}

/// Without checks, for the sums' lengths and for addresses beyond small numbers: the main model's
/// head, and a bias model's with its crop.
#[test]
fn at_real_shapes() {
    for shape in [[2, 1074, 512, 75, 0, 1000], [1, 2034, 128, 75, 480, 1000]] {
        for element in Element::ALL {
            let case = Case::new(element, shape);
            case.check_forward(element, Options::fast());
            case.check_input_gradient(element, Options::fast(), true);
            case.check_weight_gradient(element, Options::fast());
        }
    }
}

/// Far from and beyond what 16 bits can hold. One tap and the dense layer are larger still than the others.
#[test]
fn with_weights_of_any_size() {
    for element in Element::ALL {
        for factor in [1e-30f32, 1e-8, 1e-3, 1e6, 1e30] {
            let mut case = Case::new(element, USUAL);
            let channels = case.shape.channels;
            case.profile.iter_mut().for_each(|w| *w *= factor);
            case.profile[channels..2 * channels].iter_mut().for_each(|w| *w *= 1e4);
            case.dense.iter_mut().for_each(|w| *w *= 1e3);
            case.profile_bias *= factor;
            case.check_forward(element, schedule(6));
        }
        let mut case = Case::new(element, USUAL);
        case.profile.fill(0.0);
        case.dense.fill(0.0);
        case.check_forward(element, schedule(7));
    }
}

/// Loss scales bring gradients far from and beyond what 16 bits can hold.
#[test]
fn with_gradients_of_any_size() {
    let mut bits = SameBits::default();
    for element in Element::ALL {
        for (by_logits, weights) in
            [(1e-8f32, 1.0f32), (1e-8, 1e6), (1e6, 1e-6), (1e-30, 1e30), (1e30, 1e-30)]
        {
            let mut case = Case::new(element, USUAL);
            case.dlogits.iter_mut().for_each(|d| *d *= by_logits);
            case.profile.iter_mut().for_each(|w| *w *= weights);
            case.dlogcounts.iter_mut().for_each(|d| *d *= by_logits * weights);
            for seed in 0..2 {
                let key = (element, by_logits, weights);
                let sums = case.check_input_gradient(element, schedule(seed), true);
                bits.check((key, "input"), &sums);
                bits.check((key, "weights"), &case.check_weight_gradient(element, schedule(seed)));
            }
        }
        let mut case = Case::new(element, USUAL);
        case.dlogits.fill(0.0);
        case.check_input_gradient(element, schedule(2), true);
        case.check_weight_gradient(element, schedule(3));
    }
}

/// Where it meets a tile, where it meets only taps beyond the last, and where it meets none of it.
#[test]
fn with_one_huge_gradient() {
    for element in Element::ALL {
        for position in [0, 1, 29, 53, 54, 59] {
            let mut case = Case::new(element, [1, 520, 32, 75, 190, 60]);
            case.dlogits[position] = 1e4;
            case.check_input_gradient(element, schedule(position as u64), true);
            case.check_weight_gradient(element, schedule(position as u64));
        }
    }
}

impl Case {
    /// Whether the input gradient raises the flag.
    fn overflows(&self, element: Element) -> u32 {
        let mut memory = Memory::new(schedule(5));
        let weights = self.weights(&mut memory);
        let dlogits = memory.put("dlogits", &self.dlogits);
        let dlogcounts = memory.put("dlogcounts", &self.dlogcounts);
        let mask = memory.put("mask", &self.mask);
        let tiles = self.shape.batch * self.shape.row_tiles();
        let out = InputGradient {
            g: None,
            dz: memory.element_room(element, "dz", self.map_len()),
            column_sums: memory.room::<f32>("column sums", tiles * self.shape.channels),
            overflow: memory.put("overflow", &[0u32]),
        };
        let launch = self.shape.input_gradient(element, dlogits, dlogcounts, &weights, mask, &out);
        memory.launch(&launch);
        memory.get::<u32>(out.overflow, 1)[0]
    }
}

#[test]
fn a_gradient_that_its_type_cannot_hold_raises_the_flag() {
    // Sums of some 1e6 do not fit fp16; beyond 3e38 nothing is finite.
    let cases = [(Element::F16, 1e5, 1u32), (Element::Bf16, 1e5, 0), (Element::F32, 1e5, 0)];
    let beyond = Element::ALL.map(|element| (element, f32::MAX, 1));
    for (element, factor, flag) in cases.into_iter().chain(beyond) {
        let mut case = Case::new(element, USUAL);
        case.dlogits.iter_mut().for_each(|d| *d *= factor);
        assert_eq!(case.overflows(element), flag, "{element:?}, {factor:e}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_raises_the_flag() {
    for element in Element::ALL {
        for shape in [USUAL, [1, 520, 32, 75, 190, 60], [1, 300, 64, 170, 2, 120]] {
            for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for position in [0, shape[5] - 1] {
                    let mut case = Case::new(element, shape);
                    case.dlogits[position] = broken;
                    let what = format!("{element:?} {shape:?}: {broken} at {position}");
                    assert_eq!(case.overflows(element), 1, "{what}");
                }
                let mut case = Case::new(element, shape);
                case.profile[0] = broken;
                assert_eq!(case.overflows(element), 1, "{element:?} {shape:?}: weight {broken}");
            }
        }
    }
}
