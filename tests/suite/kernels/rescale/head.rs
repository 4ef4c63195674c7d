//! Where the multipliers of both heads begin.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::head::{Head, HeadWeights};
use cbp_fast::engine::cuda::ops::rescale::head::{self, Multipliers, Seed};

use crate::kernels::memory::{
    Memory, Random, SameBits, assert_close, distance, half_ulp, rounded, schedule, schedules,
};

/// Softmax and logits less their mean.
fn profile(logits: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let n = logits.len() as f64;
    let mean = logits.iter().map(|&l| f64::from(l)).sum::<f64>() / n;
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - mean).exp()).sum();
    let centred: Vec<f64> = logits.iter().map(|&l| f64::from(l) - mean).collect();
    (centred.iter().map(|l| l.exp() / sum).collect(), centred)
}

fn check_seeds(outputlen: usize, options: Options) -> Vec<f32> {
    let (sequences, per_sequence, scale) = (2, 3, 512.0);
    let pairs = sequences * per_sequence;
    let mut random = Random::new(5);
    let mut logits = |n: usize| -> Vec<f32> {
        random.values(n * outputlen).into_iter().map(|v| 4.0 * v).collect()
    };
    let (x, mut r) = (logits(sequences), logits(pairs));
    // The last reference is its sequence.
    let last = (pairs - 1) * outputlen;
    r[last..].copy_from_slice(&x[(sequences - 1) * outputlen..]);

    let mut memory = Memory::new(options);
    let (x_at, r_at) = (memory.put("logits of sequences", &x), memory.put("logits", &r));
    let seeds = memory.room::<f32>("seeds", r.len());
    let deltas = memory.room::<f64>("deltas", pairs);
    let seed = Seed { pairs, per_sequence, outputlen, scale };
    memory.launch(&seed.launch(x_at, Some((r_at, deltas)), seeds));
    let found: Vec<f32> = memory.get(seeds, r.len());
    let found_deltas: Vec<f64> = memory.get(deltas, pairs);
    let mut wanted = Vec::new();
    for (pair, r) in r.chunks_exact(outputlen).enumerate() {
        let (p, l) = profile(&x[pair / per_sequence * outputlen..][..outputlen]);
        let (q, m) = profile(r);
        let weight = |i: usize| match (l[i] - m[i]).abs() < 1e-7 {
            true => 0.0,
            false => 0.5 * (p[i] + q[i]),
        };
        let weights: Vec<f64> = (0..outputlen).map(weight).collect();
        let mean = weights.iter().sum::<f64>() / outputlen as f64;
        wanted.extend(weights.iter().map(|w| f64::from(scale) * (w - mean)));
        let delta: f64 = weights.iter().zip(&l).zip(&m).map(|((w, l), m)| w * (l - m)).sum();
        let off = (found_deltas[pair] - delta).abs();
        assert!(off < 1e-12, "{outputlen}: delta {pair} off by {off:e}");
    }
    assert_close("seeds", &found, &wanted, 1e-9, 1e-7);
    assert!(found[last..].iter().all(|&seed| seed == 0.0), "nothing changes");

    // The gradient of the sequences themselves.
    let seed = Seed { pairs: sequences, per_sequence: 1, ..seed };
    memory.launch(&seed.launch(x_at, None, seeds));
    let wanted: Vec<f64> = x
        .chunks_exact(outputlen)
        .flat_map(|x| profile(x).0)
        .map(|p| f64::from(scale) * (p - 1.0 / outputlen as f64))
        .collect();
    assert_close("gradients", &memory.get::<f32>(seeds, x.len()), &wanted, 1e-9, 1e-7);
    found
}

/// Pairs, length, filters, taps, crop, outputlen. Rows of both heads, or of one.
fn check_multipliers(
    element: Element,
    [pairs, length, filters, width, crop, outputlen]: [usize; 6],
    (counts, profile): (bool, bool),
    options: Options,
) -> Vec<f32> {
    let channels = filters.next_multiple_of(32);
    let batch = pairs * (usize::from(counts) + usize::from(profile));
    let head = Head { batch, length, channels, width, crop, outputlen };
    let counts = if counts { pairs } else { 0 };
    let counts_scale = 256.0f32;
    let mut random = Random::new(6);
    let (w, dense) = (random.padded(width, filters, channels), random.padded(1, filters, channels));
    let seeds = random.values((batch - counts) * outputlen);
    let ratio: Vec<f32> = random
        .values(pairs * length * channels)
        .into_iter()
        .map(|v| rounded(element, v.max(0.0)))
        .collect();

    let n = batch * length * channels;
    let mut memory = Memory::new(options);
    let weights = HeadWeights {
        profile: memory.put("profile", &w),
        profile_bias: memory.put("profile bias", &[0.0f32]),
        dense: memory.put("dense", &dense),
        dense_bias: memory.put("dense bias", &[0.0f32]),
    };
    let at = Multipliers {
        seeds: memory.put("seeds", &seeds),
        counts,
        counts_scale,
        ratio: memory.put_elements(element, "ratio", &ratio),
        ratio_batch: pairs,
        g: Some(memory.element_room(element, "g", n)),
        dz: memory.element_room(element, "dz", n),
        overflow: memory.put("overflow", &[0u32]),
    };
    memory.launch(&head::multipliers(&head, element, &weights, &at));
    let mut wanted = Vec::with_capacity(n);
    for b in 0..batch {
        for t in 0..length {
            wanted.extend((0..channels).map(|c| {
                match b.checked_sub(counts) {
                    None => f64::from(counts_scale) / length as f64 * f64::from(dense[c]),
                    Some(row) => (0..width)
                        .filter_map(|k| {
                            let p = t.checked_sub(crop + k).filter(|&p| p < outputlen)?;
                            let seed = f64::from(seeds[row * outputlen + p]);
                            Some(seed * f64::from(w[k * channels + c]))
                        })
                        .sum(),
                }
            }));
        }
    }
    let what = format!("{element:?} {head:?}");
    let found = memory.get_elements(element, at.g.unwrap(), n);
    assert_close(&what, &found, &wanted, 1e-6 * width as f64, half_ulp(element));
    let mut written = found;
    wanted.iter_mut().enumerate().for_each(|(i, g)| *g *= f64::from(ratio[i % ratio.len()]));
    let found = memory.get_elements(element, at.dz, n);
    let off = distance(&found, &wanted);
    assert!(off < half_ulp(element).max(2e-6), "{what}: dz off by {off:e}");
    assert_eq!(memory.get::<u32>(at.overflow, 1), [0], "{what}");
    written.extend(found);
    written
}

#[test]
fn in_every_element_type_and_schedule() {
    let mut bits = SameBits::default();
    for options in schedules() {
        bits.check("seeds", &check_seeds(60, options));
        for element in Element::ALL {
            let found = check_multipliers(element, [2, 150, 40, 75, 4, 60], (true, true), options);
            bits.check(element, &found);
        }
    }
}

#[test]
fn at_awkward_shapes() {
    for outputlen in [2, 255, 258] {
        check_seeds(outputlen, schedule(1));
    }
    // The shortest map; tiles outside the profile; one tap and three channel tiles; two rounds of taps.
    for (shape, heads) in [
        ([1, 75, 8, 75, 0, 1], (true, true)),
        ([1, 520, 32, 75, 190, 60], (false, true)),
        ([3, 33, 160, 1, 3, 20], (true, false)),
        ([2, 260, 32, 130, 0, 131], (true, true)),
    ] {
        check_multipliers(Element::F32, shape, heads, schedule(2));
        check_multipliers(Element::F16, shape, heads, schedule(3));
    }
}

/// Without checks, for the sums' lengths and for addresses beyond small numbers.
#[test]
fn at_real_shapes() {
    check_seeds(1000, Options::fast());
    check_multipliers(Element::F32, [1, 1074, 512, 75, 0, 1000], (true, true), Options::fast());
}
