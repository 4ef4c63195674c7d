//! NumPy's legacy generator, as far as the official code's fixed draws need it.
//!
//! Source: `numpy.random.RandomState`: MT19937 seeded by its linear recurrence, masked rejection for
//! bounded integers, shuffles from the back. `choice` without replacement is the head of a
//! permutation, and pandas' `DataFrame.sample(n, random_state=seed)` is that `choice` of row numbers.

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState(seed)`.
#[derive(Clone)]
pub struct RandomState {
    key: [u32; N],
    position: usize,
}

impl RandomState {
    /// Seeds are what NumPy takes: 0..=2^32 - 1.
    pub fn new(seed: u32) -> Self {
        let mut key = [0; N];
        let mut value = seed;
        for (i, slot) in key.iter_mut().enumerate() {
            *slot = value;
            value = 1_812_433_253u32
                .wrapping_mul(value ^ (value >> 30))
                .wrapping_add(i as u32 + 1);
        }
        Self { key, position: N }
    }

    fn next_u32(&mut self) -> u32 {
        if self.position == N {
            self.refill();
        }
        let mut y = self.key[self.position];
        self.position += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.key[i] & 0x8000_0000) | (self.key[(i + 1) % N] & 0x7fff_ffff);
            let twist = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.key[i] = self.key[(i + M) % N] ^ (y >> 1) ^ twist;
        }
        self.position = 0;
    }

    /// Uniform in 0..=max: draws are masked to the bits of `max` and rejected above it.
    fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            // Row counts fit 32 bits: regions are addressed by u32 rows.
            let j = self.interval(i as u32) as usize;
            order.swap(i, j);
        }
        order
    }

    /// `choice(n, size, replace=False)`: `size` different numbers below `n`.
    pub fn choice(&mut self, n: usize, size: usize) -> Vec<usize> {
        let mut order = self.permutation(n);
        order.truncate(size);
        order
    }
}
