//! CPython's `random` module, number for number, as far as the official draw of nonpeaks uses it:
//! with it a seed gives the same nonpeaks here and there.
//!
//! Source: CPython's `Modules/_randommodule.c` (`random_seed`, `random`, `getrandbits`) and
//! `Lib/random.py` (`_randbelow_with_getrandbits`), unchanged since Python 3.2.

use crate::numpy::random::RandomState;

/// `random.Random(seed)`.
pub struct PythonRandom(RandomState);

impl PythonRandom {
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        Self(match high {
            0 => RandomState::from_key(&[low]),
            _ => RandomState::from_key(&[low, high]),
        })
    }

    /// `random()`: uniform in [0, 1), 53 bits.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `randint(0, n - 1)`; `n` is above 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let unused = n.leading_zeros();
        loop {
            let value = self.0.next_u32() >> unused;
            if value < n {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    // Expected values: CPython 3.11.
    use super::*;

    #[test]
    fn as_python() {
        for (seed, first, second, below, last) in [
            (
                0,
                0.8444218515250481,
                0.7579544029403025,
                [0, 0, 1, 4, 7, 414, 120_354],
                0.7837985890347726,
            ),
            (
                1234,
                0.9664535356921388,
                0.4407325991753527,
                [0, 0, 2, 0, 1, 100, 100_464],
                0.3546356054902805,
            ),
            (
                99,
                0.40397807494366633,
                0.20007544457494542,
                [0, 0, 0, 1, 1, 257, 95_555],
                0.3830675820321783,
            ),
            (
                1 << 32,
                0.11299430095636409,
                0.41782886486292836,
                [0, 0, 2, 6, 5, 857, 71_513],
                0.9947250742600532,
            ),
            (
                (1 << 40) + 7,
                0.6137037779936511,
                0.8149162973309487,
                [0, 1, 2, 1, 6, 533, 94_341],
                0.36315408641978786,
            ),
        ] {
            let mut random = PythonRandom::new(seed);
            assert_eq!((random.random(), random.random()), (first, second), "seed {seed}");
            let drawn = [1, 2, 3, 7, 8, 1000, 123_457].map(|n| random.below(n));
            assert_eq!((drawn, random.random()), (below, last), "seed {seed}");
        }
    }
}
