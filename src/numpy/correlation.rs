//! How well predicted log counts follow the observed ones.

/// Agreement of two lists of log counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CountsMetrics {
    /// Spearman's rank correlation, ties ranked by their mean. NaN where either side is constant
    /// or there are fewer than two regions.
    pub spearmanr: f64,
    /// Pearson's correlation; NaN where the other is.
    pub pearsonr: f64,
    /// Mean squared difference.
    pub mse: f64,
}

/// Compares observed and predicted log counts, each `[n]`.
/// Source: official `counts_metrics` (SciPy's `spearmanr`, `pearsonr`).
pub fn counts_metrics(labels: &[f64], predictions: &[f32]) -> CountsMetrics {
    let predictions: Vec<f64> = predictions.iter().copied().map(f64::from).collect();
    let squares = labels.iter().zip(&predictions).map(|(l, p)| (l - p) * (l - p));
    CountsMetrics {
        spearmanr: pearson(&ranks(labels), &ranks(&predictions)),
        pearsonr: pearson(labels, &predictions),
        mse: squares.sum::<f64>() / labels.len() as f64,
    }
}

/// Pearson's r: the dot product of the two centred vectors over their lengths.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let constant = |v: &[f64]| v.iter().all(|a| *a == v[0]);
    if x.len() < 2 || x.len() != y.len() || constant(x) || constant(y) {
        return f64::NAN;
    }
    let centred = |v: &[f64]| -> Vec<f64> {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|a| a - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let (x, y) = (centred(x), centred(y));
    let r = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
    // Rounding may carry a perfect correlation past 1; NaN passes through.
    r.clamp(-1.0, 1.0)
}

/// Ranks from 1; equal values share the mean of their ranks. All NaN where any value is NaN.
fn ranks(values: &[f64]) -> Vec<f64> {
    if values.iter().any(|v| v.is_nan()) {
        return vec![f64::NAN; values.len()];
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let tied = order[from..].iter().take_while(|&&i| values[i] == values[order[from]]).count();
        // Ranks from+1 ..= from+tied, so their mean is:
        let rank = from as f64 + (tied + 1) as f64 / 2.0;
        for &i in &order[from..from + tied] {
            ranks[i] = rank;
        }
        from += tied;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_a_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[-0.0, 0.0]), [1.5, 1.5]);
    }

    #[test]
    fn values_of_scipy() {
        // scipy.stats 1.17.1 on the same lists
        let m = counts_metrics(&[1.0, 2.0, 2.0, 4.0, 7.5], &[0.5, 1.5, 1.0, 5.0, 4.0]);
        assert!((m.spearmanr - 0.8720815992723809).abs() < 1e-12, "{m:?}");
        assert!((m.pearsonr - 0.77513955822654).abs() < 1e-12, "{m:?}");
        assert!((m.mse - 2.95).abs() < 1e-12, "{m:?}");
    }

    #[test]
    fn constants_and_too_few_are_nan() {
        let m = counts_metrics(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]);
        assert!(m.spearmanr.is_nan() && m.pearsonr.is_nan() && (m.mse - 2.0 / 3.0).abs() < 1e-15);
        let m = counts_metrics(&[1.0], &[2.0]);
        assert!(m.spearmanr.is_nan() && m.pearsonr.is_nan() && m.mse == 1.0);
        let m = counts_metrics(&[], &[]);
        assert!(m.mse.is_nan());
        let m = counts_metrics(&[1.0, 2.0, 3.0], &[2.0, f32::NAN, 2.5]);
        assert!(m.spearmanr.is_nan() && m.pearsonr.is_nan() && m.mse.is_nan());
    }
}
