//! What is kept of long windows, and what a step fetches, against loops in f64.

use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::bias_cache::{Fetch, Keep, Operands, Pass, Place};
use cbp_fast::engine::cuda::ops::head::Head;
use cbp_fast::engine::cuda::ops::loss::Outputs;
use cbp_fast::engine::cuda::ops::step::{self, StepState};

use super::memory::{Memory, Random, SameBits, assert_close, rounded, schedule, schedules};

const DENSE_BIAS: f32 = -0.7;

/// A batch of long windows of which the last is not in the plan, unless it is the only one.
struct Case {
    pass: Pass,
    element: Element,
    x: Vec<f32>,
    dense: Vec<f32>,
    logits: Vec<f32>,
    keeps: Vec<Keep>,
    /// f32 elements of what is kept
    kept: usize,
}

impl Case {
    /// The numbers are batch, starts, length and outputlen of a usual window, filters.
    fn new(element: Element, [batch, starts, window, outputlen, filters]: [usize; 5]) -> Self {
        let channels = filters.next_multiple_of(32);
        let more = starts - 1;
        let (length, outputlen) = (window + more, outputlen + more);
        let head = Head { batch, length, channels, width: 3, crop: 0, outputlen };
        let mut random = Random::new(11);
        let x = random.padded(batch * length, filters, channels);
        let mut keeps = Vec::new();
        let mut kept = 5;
        for _ in 0..batch.max(2) - 1 {
            let wanted = 1 + random.below(starts);
            let first = random.below(starts - wanted + 1);
            let logcounts = kept + outputlen - more + wanted - 1;
            keeps.push(Keep {
                logits: kept as u64,
                logcounts: logcounts as u64,
                first: first as u32,
                starts: wanted as u32,
            });
            kept = logcounts + wanted + 2; // a gap that nobody may touch
        }
        Self {
            pass: Pass { head, starts },
            element,
            x: x.into_iter().map(|v| rounded(element, v)).collect(),
            dense: random.padded(1, filters, channels),
            logits: random.values(batch * outputlen),
            keeps,
            kept,
        }
    }

    fn run(&self, options: cbp_fast::engine::cuda::emulated::Options) -> Vec<f32> {
        let mut memory = Memory::new(options);
        let head = self.pass.head;
        let state = StepState::new(0.0, head.batch as u32, false).at_plan(self.keeps.len() as u32);
        let state = memory.put("state", &[state]);
        let at = Operands {
            x: memory.put_elements(self.element, "x", &self.x),
            logits: memory.put("logits", &self.logits),
            dense: memory.put("dense", &self.dense),
            dense_bias: memory.put("dense bias", &[DENSE_BIAS]),
            products: memory.room::<f32>("products", self.pass.products_len()),
            sums: memory.room::<f64>("sums", self.pass.sums_len()),
        };
        let keeps = memory.put("keeps", &self.keeps);
        let kept = memory.room::<f32>("kept", self.kept);
        memory.launch(&step::begin(state));
        memory.launch_all(&self.pass.keep(self.element, state, keeps, &at, kept));
        memory.get(kept, self.kept)
    }

    fn check(&self, kept: &[f32]) {
        let Head { length, channels, outputlen, .. } = self.pass.head;
        let more = self.pass.starts - 1;
        let window = length - more;
        let mut touched = vec![false; kept.len()];
        for (b, keep) in self.keeps.iter().enumerate() {
            let (first, starts) = (keep.first as usize, keep.starts as usize);
            let n = outputlen - more + starts - 1;
            let range = keep.logits as usize..keep.logits as usize + n;
            assert_eq!(kept[range.clone()], self.logits[b * outputlen + first..][..n], "row {b}");
            touched[range].fill(true);
            let product = |t: usize| -> f64 {
                let row = &self.x[(b * length + t) * channels..][..channels];
                row.iter().zip(&self.dense).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
            };
            let wanted: Vec<f64> = (first..first + starts)
                .map(|j| (j..j + window).map(product).sum::<f64>() / window as f64)
                .map(|mean| mean + f64::from(DENSE_BIAS))
                .collect();
            let range = keep.logcounts as usize..keep.logcounts as usize + starts;
            // C products of at most 1 in f32 are good to C 2^-24 / 2 at worst, their mean to less; one rounding.
            assert_close(&format!("row {b}"), &kept[range.clone()], &wanted, 1e-6, 1e-7);
            touched[range].fill(true);
        }
        let odd = kept.iter().zip(&touched).position(|(v, touched)| v.is_nan() == *touched);
        assert_eq!(odd, None, "what is kept, and nothing else, is written");
    }
}

/// Batch, starts, length and outputlen of a usual window, filters.
const SHAPES: [[usize; 5]; 4] = [
    [3, 11, 40, 12, 40],
    // one window each; shorter than a block
    [3, 1, 300, 20, 32],
    // a single row; more windows than threads, more channels than a warp brings at once
    [1, 270, 9, 30, 160],
    // runs of several positions a thread
    [2, 3, 700, 5, 8],
];

#[test]
fn windows_of_a_long_one_are_kept_in_every_schedule() {
    let mut bits = SameBits::default();
    for element in Element::ALL {
        let case = Case::new(element, SHAPES[0]);
        for options in schedules() {
            let kept = case.run(options);
            case.check(&kept);
            bits.check(element, &kept);
        }
    }
    for shape in &SHAPES[1..] {
        for element in [Element::F32, Element::Bf16] {
            let case = Case::new(element, *shape);
            case.check(&case.run(schedule(3)));
        }
    }
}

#[test]
fn a_step_fetches_the_places_of_its_rows_and_leaves_the_rest() {
    const OUTPUTLEN: usize = 300;
    let mut random = Random::new(12);
    let kept = random.values(5000);
    let places: Vec<Place> = (0..8)
        .map(|_| Place {
            logits: random.below(kept.len() - OUTPUTLEN) as u64,
            logcount: random.below(kept.len()) as u64,
        })
        .collect();
    for options in schedules() {
        for (cursor, examples) in [(0, 3), (3, 3), (6, 2)] {
            let mut memory = Memory::new(options);
            let state = StepState::new(0.0, 3, false).at_plan(places.len() as u32);
            let state = memory.put("state", &[StepState { cursor, ..state }]);
            let fetch =
                Fetch { plan: memory.put("places", &places), kept: memory.put("kept", &kept) };
            let out = Outputs {
                logits: memory.room::<f32>("logits", 3 * OUTPUTLEN),
                logcounts: memory.room::<f32>("logcounts", 3),
            };
            memory.launch(&step::begin(state));
            memory.launch(&fetch.launch(state, 3, OUTPUTLEN, out));
            let logits = memory.get::<f32>(out.logits, 3 * OUTPUTLEN);
            let logcounts = memory.get::<f32>(out.logcounts, 3);
            for (b, row) in logits.chunks_exact(OUTPUTLEN).enumerate() {
                match places[cursor as usize..].get(b).filter(|_| b < examples) {
                    Some(at) => {
                        assert_eq!(row, &kept[at.logits as usize..][..OUTPUTLEN]);
                        assert_eq!(logcounts[b], kept[at.logcount as usize]);
                    }
                    None => assert!(row.iter().all(|v| v.is_nan()) && logcounts[b].is_nan()),
                }
            }
        }
    }
}
