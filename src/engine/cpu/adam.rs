//! Adam as Keras defines it: epsilon is added to the root of the uncorrected second moment.
//!
//! `w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)`; the step size in f64, as in
//! TensorFlow 2.8's class, which the official requirements pin.

use rayon::prelude::*;

use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use crate::engine::Adam as Rule;

/// Elements of a task; results do not depend on it.
const TASK: usize = 1 << 14;

/// First and second moments of every parameter, and the number of updates done.
pub struct Adam<T> {
    rule: Rule,
    pub step: u64,
    pub first: Vec<Vec<T>>,
    pub second: Vec<Vec<T>>,
}

impl<T: Scalar> Adam<T> {
    pub fn new(rule: Rule, parameters: &[Vec<T>]) -> Self {
        let zeros = || parameters.iter().map(|p| vec![T::ZERO; p.len()]).collect::<Vec<Vec<T>>>();
        Self { rule, step: 0, first: zeros(), second: zeros() }
    }

    /// One update.
    pub fn update(&mut self, isa: Isa, parameters: &mut [Vec<T>], gradients: &[Vec<T>]) {
        self.step += 1;
        let t = self.step as f64;
        let rate = self.rule.learning_rate * (1.0 - Rule::BETA_2.powf(t)).sqrt()
            / (1.0 - Rule::BETA_1.powf(t));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((w, g), (m, v)) in parameters.iter_mut().zip(gradients).zip(moments) {
            w.par_chunks_mut(TASK)
                .zip(g.par_chunks(TASK))
                .zip(m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK)))
                .for_each(|((w, g), (m, v))| update::<T>(isa, w, g, m, v, T::from_f64(rate)));
        }
    }
}

vectorised! {
    fn update(w: &mut [T], g: &[T], m: &mut [T], v: &mut [T], rate: T) {
        let (new_1, new_2) = (T::from_f64(1.0 - Rule::BETA_1), T::from_f64(1.0 - Rule::BETA_2));
        let epsilon = T::from_f64(Rule::EPSILON);
        for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
            *m += (g - *m) * new_1;
            *v += (g * g - *v) * new_2;
            *w -= (rate * *m).div(v.sqrt() + epsilon);
        }
    }
}
