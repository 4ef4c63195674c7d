//! Base compositions by position, and how they are compared.

/// Bases counted at each position of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// [rows][A, C, G, T]
    pub rows: Vec<[f64; 4]>,
}

impl Counts {
    pub fn new(rows: usize) -> Self {
        Self { rows: vec![[0.0; 4]; rows] }
    }

    /// Adds a window of base codes (0..=3 = ACGT; anything else counts for nothing) `times` over.
    pub fn add(&mut self, codes: &[u8], times: f64) {
        for (row, &code) in self.rows.iter_mut().zip(codes) {
            if let Some(count) = row.get_mut(usize::from(code)) {
                *count += times;
            }
        }
    }

    /// Frequencies. A position where no base was seen (all N) is a quarter each, which says nothing.
    pub fn frequencies(&self) -> Pwm {
        Pwm { rows: self.rows.iter().map(frequencies).collect() }
    }

    /// Composition over all positions.
    pub fn composition(&self) -> [f64; 4] {
        let mut sum = [0.0; 4];
        for row in &self.rows {
            (0..4).for_each(|base| sum[base] += row[base]);
        }
        frequencies(&sum)
    }
}

fn frequencies(counts: &[f64; 4]) -> [f64; 4] {
    let sum: f64 = counts.iter().sum();
    if sum > 0.0 { counts.map(|c| c / sum) } else { [0.25; 4] }
}

/// Added to frequencies before the logarithm. Source: TF-MoDISco's information scaling, which the
/// official shift detection uses.
const PSEUDOCOUNT: f64 = 0.001;

/// Base frequencies by position; every row sums to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Pwm {
    /// [rows][A, C, G, T]
    pub rows: Vec<[f64; 4]>,
}

impl Pwm {
    /// Frequencies times the information of their row against a uniform background, in bits:
    /// `p[b] * sum_b' (p[b'] * log2((p[b'] + c) / (1 + 4c)) + 0.5)`.
    pub fn information_scaled(&self) -> Vec<[f64; 4]> {
        let scaled = |row: &[f64; 4]| {
            let bits: f64 = row
                .iter()
                .map(|p| p * ((p + PSEUDOCOUNT) / (1.0 + 4.0 * PSEUDOCOUNT)).log2() + 0.5)
                .sum();
            row.map(|p| p * bits)
        };
        self.rows.iter().map(scaled).collect()
    }

    /// log2(p / background): above zero where the enzyme likes the base. [rows][4], bits
    pub fn log_odds(&self, background: [f64; 4]) -> Vec<[f64; 4]> {
        let odds = |row: &[f64; 4]| {
            std::array::from_fn(|b| ((row[b] + PSEUDOCOUNT) / (background[b] + PSEUDOCOUNT)).log2())
        };
        self.rows.iter().map(odds).collect()
    }

    /// Letters of a logo in a genome that is not uniform: each base's share of its row's
    /// information over the background, `p[b] * sum_b' p[b'] log2(p[b'] / background[b'])`, bits.
    pub fn relative_to(&self, background: [f64; 4]) -> Vec<[f64; 4]> {
        let odds = self.log_odds(background);
        let height = |(row, odds): (&[f64; 4], &[f64; 4])| {
            let bits: f64 = row.iter().zip(odds).map(|(p, o)| p * o).sum();
            // the pseudocount can push a row that is the background just below zero
            row.map(|p| p * bits.max(0.0))
        };
        self.rows.iter().zip(&odds).map(height).collect()
    }

    /// The mean of several of one length.
    pub fn mean<'a>(pwms: impl IntoIterator<Item = &'a Pwm>) -> Pwm {
        let mut sum = Counts::new(0);
        for pwm in pwms {
            if sum.rows.is_empty() {
                sum = Counts::new(pwm.rows.len());
            }
            for (total, row) in sum.rows.iter_mut().zip(&pwm.rows) {
                (0..4).for_each(|base| total[base] += row[base]);
            }
        }
        sum.frequencies()
    }
}

/// The sum of products of `short` and `long` at every place of `short` in `long`.
pub fn slide(short: &[[f64; 4]], long: &[[f64; 4]]) -> Vec<f64> {
    let product = |part: &[[f64; 4]]| -> f64 {
        short.iter().zip(part).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).sum()
    };
    long.windows(short.len()).map(product).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_counts_for_nothing() {
        let mut counts = Counts::new(3);
        counts.add(&[0, 4, 3], 1.0);
        counts.add(&[1, 4, 3], 3.0);
        let wanted = [[0.25, 0.75, 0.0, 0.0], [0.25; 4], [0.0, 0.0, 0.0, 1.0]];
        assert_eq!(counts.frequencies().rows, wanted);
        assert_eq!(counts.composition(), [1.0 / 8.0, 3.0 / 8.0, 0.0, 4.0 / 8.0]);
    }

    #[test]
    fn information_of_known_rows() {
        let pwm = Pwm { rows: vec![[0.25; 4], [0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]] };
        let scaled = pwm.information_scaled();
        // log2((0.25 + 0.001) / 1.004) is exactly -2, so a uniform row is exactly nothing
        assert!(scaled[0].iter().all(|h| h.abs() < 1e-12), "{scaled:?}");
        assert!((scaled[1][1] - (2.0 + (1.001f64 / 1.004).log2())).abs() < 1e-12);
        assert!((scaled[2][0] - 0.5).abs() < 2e-3 && scaled[2][1] == 0.0);
        let flat = pwm.relative_to([0.5, 0.0, 0.0, 0.5]);
        assert!(flat[2].iter().all(|h| h.abs() < 1e-9), "{flat:?}");
    }

    #[test]
    fn sliding_finds_a_copy() {
        let a = [1.0, 0.0, 0.0, 0.0];
        let g = [0.0, 0.0, 2.0, 0.0];
        assert_eq!(slide(&[a, g], &[g, a, g, a]), [0.0, 5.0, 0.0]);
    }
}
