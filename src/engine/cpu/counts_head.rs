//! The update of a centered counts head (`CountsHead::Centered`), around Adam's.

use super::scalar::Scalar;

/// What an update has to know of the time before it.
pub struct Centered {
    /// mean over the batch of every pooled feature
    means: Vec<f64>,
    kernel: Vec<f64>,
    by_bias: f64,
}

impl Centered {
    /// Takes what the examples share out of the kernel's gradient, and the bias from Adam. The arrays
    /// are kernel and bias.
    pub fn before<T: Scalar>(
        means: Vec<f64>,
        [kernel, _]: &[Vec<T>; 2],
        [by_kernel, by_bias]: &mut [Vec<T>; 2],
    ) -> Self {
        let kernel = kernel.iter().map(|w| w.to_f64()).collect();
        let bias_gradient = by_bias[0].to_f64();
        by_bias[0] = T::ZERO;
        for (gradient, mean) in by_kernel.iter_mut().zip(&means) {
            *gradient = T::from_f64(gradient.to_f64() - mean * bias_gradient);
        }
        Self { means, kernel, by_bias: bias_gradient }
    }

    /// Moves the bias by its own step, and so that the kernel's move does not change the mean.
    pub fn after<T: Scalar>(self, [kernel, bias]: &mut [Vec<T>; 2], bias_rate: f64) {
        let moved = kernel.iter().zip(&self.kernel).map(|(new, old)| new.to_f64() - old);
        let by_kernel: f64 = moved.zip(&self.means).map(|(moved, mean)| moved * mean).sum();
        bias[0] = T::from_f64(bias[0].to_f64() - bias_rate * self.by_bias - by_kernel);
    }
}
