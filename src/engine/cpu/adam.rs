//! Adam as Keras defines it: epsilon is added to the root of the uncorrected second moment.
//!
//! `w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)`; the step size in f64, as in
//! TensorFlow 2.8's class, which the official requirements pin.

use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use crate::engine::Adam;

impl Adam {
    /// The step size of update number `step`, from 1.
    pub fn rate(&self, step: u64) -> f64 {
        let t = step as f64;
        self.learning_rate * (1.0 - Self::BETA_2.powf(t)).sqrt() / (1.0 - Self::BETA_1.powf(t))
    }

    /// Update number `step` of parameters `w` by gradients `g`; `m` and `v` are their moments.
    pub fn update<T: Scalar>(
        &self,
        isa: Isa,
        step: u64,
        (w, g): (&mut [T], &[T]),
        (m, v): (&mut [T], &mut [T]),
    ) {
        update::<T>(isa, w, g, m, v, T::from_f64(self.rate(step)));
    }
}

vectorised! {
    fn update(w: &mut [T], g: &[T], m: &mut [T], v: &mut [T], rate: T) {
        let (new_1, new_2) = (T::from_f64(1.0 - Adam::BETA_1), T::from_f64(1.0 - Adam::BETA_2));
        let epsilon = T::from_f64(Adam::EPSILON);
        for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
            *m += (g - *m) * new_1;
            *v += (g * g - *v) * new_2;
            *w -= (rate * *m).div(v.sqrt() + epsilon);
        }
    }
}
