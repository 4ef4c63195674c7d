//! The update of a centered counts head against its formula, with the launches that surround it.

use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::counts_head::CountsHead;
use cbp_fast::engine::cuda::ops::step::{self, StepState};

use super::memory::{Memory, Random, SameBits, assert_close, schedules};

const RATE: f64 = 1e-2;
const BIAS_RATE: f64 = 0.03;
const SCALE: f32 = 256.0;

struct Case {
    channels: usize,
    splits: usize,
    /// of the partials' array; the last are not in the plan
    batch: usize,
    examples: usize,
    w: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    dense: Vec<f32>,
    features: Vec<f32>,
    by_logcounts: Vec<f32>,
}

impl Case {
    fn new([channels, splits, batch, examples]: [usize; 4]) -> Self {
        let mut random = Random::new(71);
        let positive = |values: Vec<f32>| -> Vec<f32> { values.iter().map(|v| v.abs()).collect() };
        let mut by_logcounts = random.values(batch);
        by_logcounts.iter_mut().for_each(|d| *d *= SCALE);
        by_logcounts[examples..].fill(0.0);
        Self {
            channels,
            splits,
            batch,
            examples,
            w: random.values(channels),
            m: random.values(channels),
            v: positive(random.values(channels)),
            dense: random.values(splits * channels).iter().map(|d| d * SCALE).collect(),
            features: positive(random.values(splits * channels)),
            by_logcounts,
        }
    }

    /// Kernel, moments and bias after an update in which `change` touched the state.
    fn run(&self, options: Options, change: impl Fn(&mut StepState)) -> [Vec<f32>; 4] {
        let mut memory = Memory::new(options);
        let state =
            StepState { loss_scale: SCALE, ..StepState::new(RATE, self.batch as u32, true) };
        let state = memory.put("state", &[state.at_plan(self.examples as u32)]);
        memory.launch(&step::begin(state));
        let mut begun = memory.get::<StepState>(state, 1)[0];
        change(&mut begun);
        memory.set(state, &[begun]);
        let kernel = [("w", &self.w), ("m", &self.m), ("v", &self.v)];
        let head = CountsHead {
            kernel: kernel.map(|(label, values)| memory.put(label, values)),
            bias: memory.put("bias", &[0.5f32]),
            dense: memory.put("dense", &self.dense),
            features: memory.put("features", &self.features),
            splits: self.splits,
            stride: self.channels,
            by_logcounts: memory.put("by logcounts", &self.by_logcounts),
            bias_rate: BIAS_RATE,
            channels: self.channels,
            batch: self.batch,
        };
        memory.launch(&head.launch(state));
        let [w, m, v] = head.kernel.map(|at| memory.get(at, self.channels));
        [w, m, v, memory.get(head.bias, 1)]
    }

    fn wanted(&self) -> [Vec<f64>; 4] {
        let scale = f64::from(SCALE);
        let rate = RATE * (1.0 - 0.999f64).sqrt() / (1.0 - 0.9);
        let by_bias = self.by_logcounts.iter().map(|&d| f64::from(d)).sum::<f64>() / scale;
        let sum = |partials: &[f32], c: usize| -> f64 {
            partials.iter().skip(c).step_by(self.channels).map(|&p| f64::from(p)).sum()
        };
        let [mut w, mut m, mut v] = [const { Vec::new() }; 3];
        let mut moved = 0.0;
        for c in 0..self.channels {
            let mean = sum(&self.features, c) / self.examples as f64;
            let g = sum(&self.dense, c) / scale - mean * by_bias;
            let (old, first, second) =
                (f64::from(self.w[c]), f64::from(self.m[c]), f64::from(self.v[c]));
            m.push(first + (g - first) * (1.0 - 0.9));
            v.push(second + (g * g - second) * (1.0 - 0.999));
            let step = rate * m[c] / (v[c].sqrt() + 1e-7);
            w.push(old - step);
            moved -= step * mean;
        }
        [w, m, v, vec![0.5 - BIAS_RATE * by_bias - moved]]
    }
}

/// Channels, splits, batch, examples: fewer channels than a warp and more than a block, one split and many, a batch that
/// is not full.
const SHAPES: [[usize; 4]; 3] = [[32, 1, 3, 3], [64, 7, 300, 299], [512, 3, 4, 1]];

#[test]
fn the_update_is_its_formula_in_every_schedule() {
    let mut bits = SameBits::default();
    for shape in SHAPES {
        let case = Case::new(shape);
        for options in schedules() {
            let found = case.run(options, |_| ());
            let names = ["w", "m", "v", "bias"];
            for ((name, found), wanted) in names.iter().zip(&found).zip(&case.wanted()) {
                assert_close(&format!("{name} {shape:?}"), found, wanted, 1e-5, 1e-5);
            }
            bits.check(shape, &found.concat());
        }
    }
}

#[test]
fn nothing_is_touched_when_the_step_is_broken() {
    let case = Case::new(SHAPES[1]);
    let breaks: [fn(&mut StepState); 3] =
        [|s| s.overflow = 1, |s| s.bad_example = 0, |s| (s.stopped, s.examples) = (1, 0)];
    for change in breaks {
        let found = case.run(Options::fast(), change);
        assert_eq!(found, [case.w.clone(), case.m.clone(), case.v.clone(), vec![0.5]]);
    }
}
