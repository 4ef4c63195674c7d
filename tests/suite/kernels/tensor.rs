//! Numbers for kernels' tests, and how far two tensors are apart.

use std::fmt;

/// Pseudo-random numbers, the same on every machine (splitmix64).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// In [-1, 1), 24 bits.
    pub fn signed(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 40) as f32) / (1 << 23) as f32 - 1.0
    }
}

/// Relative L2 error, and the element that is furthest off.
pub struct RelativeError {
    /// infinite where a value is not finite
    pub total: f64,
    worst: usize,
    got: f32,
    expected: f64,
}

pub fn relative_error(got: &[f32], expected: &[f64]) -> RelativeError {
    assert_eq!(got.len(), expected.len());
    let (mut sum, mut norm, mut worst, mut largest) = (0.0, 0.0, 0, -1.0);
    for (at, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let off = match g.is_finite() {
            true => (f64::from(g) - e).powi(2),
            false => f64::INFINITY,
        };
        sum += off;
        norm += e * e;
        if off > largest {
            (worst, largest) = (at, off);
        }
    }
    let total = if sum == 0.0 { 0.0 } else { (sum / norm).sqrt() };
    RelativeError { total, worst, got: got[worst], expected: expected[worst] }
}

impl fmt::Display for RelativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, worst, got, expected } = self;
        write!(f, "relative error {total:.1e}; element {worst} is {got}, expected {expected}")
    }
}
