//! Updates against the CPU's formula, step by step, with the launches that surround them.

use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::adam::{Table, Update};
use cbp_fast::engine::cuda::ops::step::{self, StepState};

use super::memory::{Memory, Random, assert_close, rounded, schedule, schedules};

const RATE: f64 = 1e-2;
const SCALE: f32 = 256.0;
const STEPS: usize = 4;

/// Elements, splits and stride of each tensor: scalars, a block to its last element and one beyond,
/// a tensor between others in a shared partial; the last ones with many partials, up to more than
/// a warp of them for every warp.
const TENSORS: [(usize, usize, usize); 8] = [
    (1, 7, 1),
    (1024, 1, 1024),
    (1025, 3, 1025),
    (5, 2, 40),
    (3000, 2, 3100),
    (1, 17, 1),
    (64, 33, 64),
    (40, 300, 41),
];

struct Tensor {
    w: Vec<f32>,
    /// of every step
    partials: Vec<Vec<f32>>,
}

fn tensors() -> Vec<Tensor> {
    let mut random = Random::new(41);
    TENSORS
        .iter()
        .map(|&(len, splits, stride)| {
            let mut partials = || {
                let mut values = random.values((splits - 1) * stride + len);
                // Gradients of all sizes, and of exactly none.
                for (at, value) in values.iter_mut().enumerate() {
                    *value *= SCALE * [1e-6, 1.0, 0.0, 1e3][at % stride % 4];
                }
                values
            };
            let partials = (0..STEPS).map(|_| partials()).collect();
            Tensor { w: random.values(len), partials }
        })
        .collect()
}

/// A run of the update kernel over all tensors.
struct Run {
    memory: Memory,
    state: Address,
    updates: Vec<Update>,
    table: Table,
    table_at: Address,
    element: Element,
}

impl Run {
    fn new(options: Options, element: Element, tensors: &[Tensor]) -> Self {
        let mut memory = Memory::new(options);
        let updates: Vec<Update> = TENSORS
            .iter()
            .zip(tensors)
            .enumerate()
            .map(|(at, (&(len, splits, stride), tensor))| Update {
                w: memory.put("w", &tensor.w),
                m: memory.put("m", &vec![0f32; len]),
                v: memory.put("v", &vec![0f32; len]),
                len,
                partials: memory.room::<f32>("partials", tensor.partials[0].len()),
                splits,
                stride,
                copy: (at != 1 && element != Element::F32)
                    .then(|| memory.element_room(element, "copy", len)),
            })
            .collect();
        let table = Table::new(&updates);
        let table_at = memory.put("table", &table.tensors);
        let state = StepState { loss_scale: SCALE, ..StepState::new(RATE, 1, true) };
        let state = memory.put("state", &[state.at_plan(100)]);
        Self { memory, state, updates, table, table_at, element }
    }

    fn step(&mut self, tensors: &[Tensor], step: usize, change: impl Fn(&mut StepState)) {
        for (update, tensor) in self.updates.iter().zip(tensors) {
            self.memory.set(update.partials, &tensor.partials[step]);
        }
        self.memory.launch(&step::begin(self.state));
        let mut state = self.memory.get::<StepState>(self.state, 1)[0];
        change(&mut state);
        self.memory.set(self.state, &[state]);
        self.memory.launch(&self.table.launch(self.element, self.state, self.table_at));
        self.memory.launch(&step::end(self.state, true));
    }

    /// Weights, first and second moments of every tensor.
    fn read(&mut self) -> Vec<[Vec<f32>; 3]> {
        let memory = &mut self.memory;
        self.updates.iter().map(|u| [u.w, u.m, u.v].map(|at| memory.get(at, u.len))).collect()
    }

    fn copy(&mut self, tensor: usize) -> Option<Vec<f32>> {
        let update = self.updates[tensor];
        update.copy.map(|copy| self.memory.get_elements(self.element, copy, update.len))
    }
}

/// The CPU engine's update (engine/cpu/adam.rs) in f64.
fn update(values: &mut [Vec<f64>; 3], gradients: &[f64], t: i32) {
    let rate = RATE * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
    let [w, m, v] = values;
    for (at, &g) in gradients.iter().enumerate() {
        m[at] += (g - m[at]) * (1.0 - 0.9);
        v[at] += (g * g - v[at]) * (1.0 - 0.999);
        w[at] -= rate * m[at] / (v[at].sqrt() + 1e-7);
    }
}

fn gradient(
    tensor: &Tensor,
    step: usize,
    (len, splits, stride): (usize, usize, usize),
) -> Vec<f64> {
    let partials = &tensor.partials[step];
    let sum = |i: usize| (0..splits).map(|s| f64::from(partials[s * stride + i])).sum::<f64>();
    (0..len).map(|i| sum(i) / f64::from(SCALE)).collect()
}

#[test]
fn updates_are_those_of_the_cpu() {
    let tensors = tensors();
    let runs = schedules().flat_map(|options| Element::ALL.map(|element| (options, element)));
    for (options, element) in runs {
        let mut run = Run::new(options, element, &tensors);
        let zeros = |t: &Tensor| vec![0.0; t.w.len()];
        let mut wanted: Vec<[Vec<f64>; 3]> = tensors
            .iter()
            .map(|t| [t.w.iter().map(|&w| f64::from(w)).collect(), zeros(t), zeros(t)])
            .collect();
        for step in 0..STEPS {
            run.step(&tensors, step, |_| ());
            for ((tensor, values), shape) in tensors.iter().zip(&mut wanted).zip(TENSORS) {
                update(values, &gradient(tensor, step, shape), step as i32 + 1);
            }
            for (tensor, (found, wanted)) in run.read().iter().zip(&wanted).enumerate() {
                let what = |name| format!("{name} of tensor {tensor} after step {step}");
                // Sums of f32 partials of both signs may cancel; a weight moves by at most a few RATE.
                assert_close(&what("m"), &found[1], &wanted[1], 1e-4, 1e-5);
                assert_close(&what("v"), &found[2], &wanted[2], 1e-4, 1e-5);
                assert_close(&what("w"), &found[0], &wanted[0], 1e-6, 1e-6);
                let copy = run.copy(tensor);
                assert_eq!(copy.is_some(), tensor != 1 && element != Element::F32);
                for (copy, &w) in copy.iter().flatten().zip(&found[0]) {
                    assert_eq!(*copy, rounded(element, w), "copy of tensor {tensor}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_touched_when_the_step_is_broken() {
    let tensors = tensors();
    let breaks: [fn(&mut StepState); 3] =
        [|s| s.overflow = 1, |s| s.bad_example = 0, |s| (s.stopped, s.examples) = (1, 0)];
    for change in breaks {
        let mut run = Run::new(schedule(2), Element::F16, &tensors);
        run.step(&tensors, 0, |_| ());
        let (before, copy) = (run.read(), run.copy(4));
        run.step(&tensors, 1, change);
        assert_eq!((run.read(), run.copy(4)), (before, copy));
    }
}

#[test]
fn a_scale_of_another_power_of_two_gives_the_same_bits() {
    let mut tensors = tensors();
    let mut results = Vec::new();
    for scale in [SCALE, 4.0 * SCALE] {
        let mut run = Run::new(schedule(3), Element::F32, &tensors);
        for step in 0..2 {
            run.step(&tensors, step, |s| s.loss_scale = scale);
        }
        results.push(run.read());
        for values in tensors.iter_mut().flat_map(|t| &mut t.partials) {
            values.iter_mut().for_each(|v| *v *= 4.0);
        }
    }
    assert_eq!(results[0], results[1]);
}
