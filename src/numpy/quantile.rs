//! Quantiles and medians as NumPy computes them, in f64, so that thresholds agree to the last bit.

/// `numpy.quantile(values, q)` with the default `linear` method.
///
/// `values` need not be sorted and hold no NaN; `q` in 0..=1. `None` where there are no values.
/// Source: NumPy's `_quantile` and `_lerp`, which interpolates from the nearer end.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let sorted = sorted(values);
    let last = *sorted.last()?;
    let virtual_index = (sorted.len() - 1) as f64 * q;
    if virtual_index >= (sorted.len() - 1) as f64 {
        return Some(last);
    }
    let below = virtual_index.max(0.0).floor() as usize;
    let gamma = virtual_index.max(0.0) - below as f64;
    let (a, b) = (sorted[below], sorted[below + 1]);
    let difference = b - a;
    Some(if gamma >= 0.5 { b - difference * (1.0 - gamma) } else { a + difference * gamma })
}

/// `numpy.median(values)`; `None` where there are no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// `numpy.nanmedian(values)`; NaN where nothing but NaN is left.
pub fn nanmedian(values: &[f64]) -> f64 {
    let kept: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    median(&kept).unwrap_or(f64::NAN)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    // Expected values: NumPy 1.26.4.
    use super::*;

    #[test]
    fn quantiles_to_the_last_bit() {
        let high = 0.9999;
        let qs = [0.01, 1.0 - high, high, 0.5, 0.0, 1.0, 0.3333];
        for (values, wanted) in [
            (&[1.0, 2.0, 3.0, 4.0][..], [1.03, 1.0003, 3.9997, 2.5, 1.0, 4.0, 1.9999]),
            (
                &[0.1, 0.7, 0.35],
                [0.10500000000000001, 0.10005, 0.6999299999999999, 0.35, 0.1, 0.7, 0.26665],
            ),
            (&[5.0], [5.0; 7]),
            (
                &[3.0, 3.0, 9.0, 20.0, 20.0, 41.0, 7.25],
                [3.0, 3.0, 40.987399999999994, 9.0, 3.0, 41.0, 7.24915],
            ),
        ] {
            let found = qs.map(|q| quantile(values, q).unwrap());
            assert_eq!(found, wanted, "{values:?}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
        assert_eq!(nanmedian(&[f64::NAN, 1.0, 5.0, f64::NAN, 2.0]), 2.0);
        assert!(nanmedian(&[f64::NAN]).is_nan());
    }
}
