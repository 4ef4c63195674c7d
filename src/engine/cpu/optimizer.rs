//! An optimizer's tensors and its updates, whatever the optimizer.

use rayon::prelude::*;

use super::scalar::Scalar;
use super::simd::Isa;
use crate::engine::{Granularity, Optimizer};
use crate::model::Architecture;

/// Elements of a task; results do not depend on it.
const TASK: usize = 1 << 14;

/// What an optimizer keeps, and the number of updates done.
pub struct Updater<T> {
    pub rule: Optimizer,
    pub step: u64,
    /// The tensors of `Optimizer::state`, parameter by parameter.
    pub state: Vec<Vec<Vec<T>>>,
    /// Elements of each parameter that one task updates.
    tasks: Vec<usize>,
}

impl<T: Scalar> Updater<T> {
    /// Zeros.
    pub fn new(rule: Optimizer, arch: &Architecture) -> Self {
        let (mut state, mut tasks) = (Vec::new(), Vec::new());
        for (_, shape) in arch.parameter_shapes() {
            let len = shape.iter().product();
            state.push(rule.state(&shape).iter().map(|_| vec![T::ZERO; len]).collect());
            tasks.push(match rule.granularity(&shape) {
                Granularity::Element => TASK,
                Granularity::Matrix => len,
            });
        }
        Self { rule, step: 0, state, tasks }
    }

    /// One update.
    pub fn update(&mut self, isa: Isa, parameters: &mut [Vec<T>], gradients: &[Vec<T>]) {
        self.step += 1;
        let of_each = parameters.iter_mut().zip(gradients).zip(&mut self.state).zip(&self.tasks);
        for (((w, g), state), &task) in of_each {
            match (self.rule, &mut state[..]) {
                (Optimizer::Adam(rule), [m, v]) => {
                    w.par_chunks_mut(task)
                        .zip(g.par_chunks(task))
                        .zip(m.par_chunks_mut(task).zip(v.par_chunks_mut(task)))
                        .for_each(|(weights, moments)| {
                            rule.update(isa, self.step, weights, moments)
                        });
                }
                (Optimizer::Adam(_), _) => unreachable!("Adam keeps two moments"),
            }
        }
    }
}
