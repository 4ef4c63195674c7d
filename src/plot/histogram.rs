//! Histograms as filled steps, so that two lie over each other and both are seen.

use super::{Axes, Canvas, Stroke};

/// Numbers counted in equal bins of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    low: f64,
    width: f64,
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts the finite values in `bins` equal bins of `low..=high`; what lies outside is put
    /// into the outermost bin on its side, so that counts sum to the number of finite values.
    pub fn new(
        values: impl IntoIterator<Item = f64>,
        (low, high): (f64, f64),
        bins: usize,
    ) -> Self {
        let width = (high - low) / bins as f64;
        let mut counts = vec![0; bins];
        for value in values.into_iter().filter(|v| v.is_finite()) {
            let bin = ((value - low) / width).floor().clamp(0.0, (bins - 1) as f64);
            counts[bin as usize] += 1;
        }
        Self { low, width, counts }
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn highest(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// The steps, from the first bin's left edge to the last one's right edge.
    fn outline(&self) -> Vec<(f64, f64)> {
        let edge = |i: usize| self.low + i as f64 * self.width;
        let steps = self.counts.iter().enumerate();
        steps.flat_map(|(i, &n)| [(edge(i), n as f64), (edge(i + 1), n as f64)]).collect()
    }

    pub fn draw(&self, canvas: &mut Canvas, axes: &Axes, color: &str) {
        let outline = self.outline();
        axes.area(canvas, &outline, 0.0, (color, 0.3));
        axes.line(canvas, &outline, Stroke::new(color, 1.3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_sum_to_the_number_of_values() {
        let values = [0.0, 0.1, 0.25, 0.5, 0.999, 1.0, -3.0, 7.0, f64::NAN];
        let histogram = Histogram::new(values, (0.0, 1.0), 4);
        assert_eq!(histogram.counts, [3, 1, 1, 3]);
        assert_eq!((histogram.total(), histogram.highest()), (8, 3));
        let outline = histogram.outline();
        assert_eq!((outline[0], outline[7]), ((0.0, 3.0), (1.0, 3.0)));
        assert_eq!(Histogram::new([], (0.0, 1.0), 2).highest(), 0);
    }
}
