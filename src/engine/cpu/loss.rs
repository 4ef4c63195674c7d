//! The two losses of one example and their gradients, in f64.
//!
//! Source: official `multinomial_nll` (tfp `Multinomial.log_prob`, combinatorial term included)
//! and Keras MSE on logcounts.

use super::scalar::Scalar;

/// Losses of one example, before the mean over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExampleLoss {
    pub profile: f64,
    pub counts: f64,
}

/// `-(ln n! - sum ln c! + sum c log_softmax)` for counts `c` with sum `n`; writes `scale` times
/// its gradient, `n softmax - c`, to `gradient` unless that is empty.
pub fn multinomial_nll<T: Scalar>(
    logits: &[T],
    counts: &[f32],
    gradient: &mut [T],
    scale: f64,
) -> f64 {
    let max = logits.iter().fold(f64::NEG_INFINITY, |max, l| max.max(l.to_f64()));
    let sum_exp: f64 = logits.iter().map(|l| (l.to_f64() - max).exp()).sum();
    let log_sum_exp = max + sum_exp.ln();
    let mut n = 0.0;
    let mut nll = 0.0;
    for (logit, &count) in logits.iter().zip(counts) {
        // A count of zero adds nothing even where the logit is infinite, as tfp has it.
        if count != 0.0 {
            let count = f64::from(count);
            n += count;
            nll += libm::lgamma(count + 1.0) - count * (logit.to_f64() - log_sum_exp);
        }
    }
    nll -= libm::lgamma(n + 1.0);
    for ((gradient, logit), &count) in gradient.iter_mut().zip(logits).zip(counts) {
        let expected = n * (logit.to_f64() - log_sum_exp).exp();
        *gradient = T::from_f64(scale * (expected - f64::from(count)));
    }
    // With no counts at all the terms above vanish, but a broken model must still show.
    if log_sum_exp.is_nan() { f64::NAN } else { nll }
}

/// `(logcounts - ln(1 + total))^2` and its derivative.
pub fn squared_error(logcounts: f64, total: f64) -> (f64, f64) {
    let difference = logcounts - total.ln_1p();
    (difference * difference, 2.0 * difference)
}

/// ln(e^a + e^b), and its derivative by `a`.
pub fn log_add_exp(a: f64, b: f64) -> (f64, f64) {
    let max = a.max(b);
    let sum = max + ((a - max).exp() + (b - max).exp()).ln();
    (sum, (a - sum).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nll_of_two_fair_throws() {
        // Two throws, one each side of a fair coin: probability 1/2.
        let mut gradient = [0.0f64; 2];
        let nll = multinomial_nll(&[0.3, 0.3], &[1.0, 1.0], &mut gradient, 1.0);
        assert!((nll - 2f64.ln()).abs() < 1e-14);
        assert!(gradient.iter().all(|g| g.abs() < 1e-15));
    }

    #[test]
    fn no_counts_no_loss_but_nan_shows() {
        let mut gradient = [1.0; 2];
        assert_eq!(multinomial_nll(&[0.1, 2.0], &[0.0; 2], &mut gradient, 1.0), 0.0);
        assert_eq!(gradient, [0.0; 2]);
        assert!(multinomial_nll(&[f64::NAN, 2.0], &[0.0; 2], &mut [], 1.0).is_nan());
    }

    #[test]
    fn log_add_exp_does_not_overflow() {
        let (sum, by_a) = log_add_exp(1000.0, 1000.0);
        assert!((sum - 1000.0 - 2f64.ln()).abs() < 1e-9 && (by_a - 0.5).abs() < 1e-9);
    }
}
