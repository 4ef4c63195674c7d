//! NumPy's legacy generator, number for number.
//!
//! In: a seed. Out: the draws of `numpy.random.RandomState(seed)`, and so those of pandas'
//! `sample(n=, random_state=seed)`. Only for draws that the official tool makes with a recorded
//! seed; everything of our own draws from ChaCha (`batch::sampler`).
//! Source: MT19937 of Matsumoto and Nishimura (2002), and NumPy's `_legacy_seeding`,
//! `random_interval` and `RandomState.shuffle`, which NumPy keeps frozen.

const N: usize = 624;
const M: usize = 397;

/// A Mersenne twister in the state that NumPy seeds it to.
#[derive(Clone)]
pub struct RandomState {
    key: [u32; N],
    next: usize,
}

impl RandomState {
    /// Seeded as NumPy seeds from one integer (Knuth's recurrence; no key array).
    pub fn new(seed: u32) -> Self {
        let mut key = [0u32; N];
        let mut word = seed;
        for (i, slot) in key.iter_mut().enumerate() {
            *slot = word;
            word = 1_812_433_253u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(i as u32 + 1);
        }
        Self { key, next: N }
    }

    /// Seeded from a key of words, as Matsumoto and Nishimura's `init_by_array` does and CPython's
    /// `random.seed` with it. `key` is not empty.
    pub fn from_key(key: &[u32]) -> Self {
        let mut state = Self::new(19_650_218).key;
        let (mut i, mut j) = (1, 0);
        let mixed = |state: &[u32; N], i: usize, factor: u32| {
            let before = state[i - 1];
            state[i] ^ (before ^ (before >> 30)).wrapping_mul(factor)
        };
        let wrap = |state: &mut [u32; N], i: usize| {
            if i < N {
                return i;
            }
            state[0] = state[N - 1];
            1
        };
        for _ in 0..N.max(key.len()) {
            state[i] = mixed(&state, i, 1_664_525).wrapping_add(key[j]).wrapping_add(j as u32);
            i = wrap(&mut state, i + 1);
            j = (j + 1) % key.len();
        }
        for _ in 0..N - 1 {
            state[i] = mixed(&state, i, 1_566_083_941).wrapping_sub(i as u32);
            i = wrap(&mut state, i + 1);
        }
        state[0] = 0x8000_0000;
        Self { key: state, next: N }
    }

    fn refill(&mut self) {
        for i in 0..N {
            let word = (self.key[i] & 0x8000_0000) | (self.key[(i + 1) % N] & 0x7fff_ffff);
            let twist = if word & 1 == 1 { 0x9908_b0df } else { 0 };
            self.key[i] = self.key[(i + M) % N] ^ (word >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.key[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// 64 bits: the first draw is the high half.
    fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        (high << 32) | u64::from(self.next_u32())
    }

    /// Uniform in `0..=max`, by masked rejection; one word a try up to 2^32 - 1, two above.
    pub fn interval(&mut self, max: u64) -> u64 {
        if max == 0 {
            return 0;
        }
        let mask = u64::MAX >> max.leading_zeros();
        loop {
            let word = if max <= u64::from(u32::MAX) {
                u64::from(self.next_u32())
            } else {
                self.next_u64()
            };
            if word & mask <= max {
                return word & mask;
            }
        }
    }

    /// Shuffles in place, as NumPy shuffles a one-dimensional array.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            let j = self.interval(i as u64) as usize;
            values.swap(i, j);
        }
    }

    /// `0..n` in a random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// `choice(n, size, replace=False)`: the first `size` of a permutation. The caller has made
    /// sure that `size <= n`; of a larger one all n are returned.
    pub fn choice(&mut self, n: usize, size: usize) -> Vec<usize> {
        let mut order = self.permutation(n);
        order.truncate(size);
        order
    }
}

#[cfg(test)]
mod tests {
    // Expected values: NumPy 1.26.4 and pandas 3.0.6.
    use super::*;

    #[test]
    fn words_of_the_default_seed() {
        let mut random = RandomState::new(5489);
        let words: Vec<u32> = (0..4).map(|_| random.next_u32()).collect();
        assert_eq!(words, [3_499_211_612, 581_869_302, 3_890_346_734, 3_586_334_585]);
    }

    #[test]
    fn permutations_and_choices() {
        for (seed, permutation, choice) in [
            (0, [2, 8, 4, 9, 1, 6, 7, 3, 0, 5], [3, 1, 2]),
            (1, [2, 9, 6, 4, 0, 3, 1, 7, 8, 5], [6, 3, 0]),
            (1234, [7, 2, 9, 1, 0, 8, 4, 5, 6, 3], [6, 4, 0]),
            (u32::MAX, [6, 9, 5, 1, 8, 0, 7, 4, 2, 3], [0, 1, 5]),
        ] {
            // One generator for both, so that what the first call consumes is checked too.
            let mut random = RandomState::new(seed);
            assert_eq!(random.permutation(10), permutation, "seed {seed}");
            assert_eq!(random.choice(7, 3), choice, "seed {seed}");
        }
        let mut values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        RandomState::new(7).shuffle(&mut values);
        assert_eq!(values, [4.0, 9.0, 3.0, 2.0, 1.0, 1.0, 5.0, 6.0]);
    }

    #[test]
    fn pandas_sample() {
        assert_eq!(RandomState::new(1).choice(12, 5), [2, 3, 4, 10, 1]);
        assert_eq!(RandomState::new(1).choice(70_000, 4), [6670, 49_567, 50_796, 22_310]);
    }

    #[test]
    fn millions() {
        let order = RandomState::new(1).permutation(3_000_017);
        assert_eq!(order[..4], [1_479_148, 985_877, 2_943_566, 1_180_798]);
        assert_eq!(order[order.len() - 4..], [491_263, 2_568_076, 491_755, 128_037]);
        // A polynomial over all of them, modulo the Mersenne prime 2^61 - 1.
        let hash =
            order.iter().fold(0u128, |hash, &v| (hash * 31 + v as u128) % ((1u128 << 61) - 1));
        assert_eq!(hash, 553_868_858_065_469_595);
    }

    #[test]
    fn intervals_at_the_edge_of_the_word() {
        let mut random = RandomState::new(3);
        assert_eq!(random.interval(0), 0);
        let before = random.clone().next_u32();
        assert_eq!(random.interval(u64::from(u32::MAX)), u64::from(before));
        assert!(random.interval(1 << 32) <= 1 << 32);
        assert_eq!(random.permutation(0), [0usize; 0]);
        assert_eq!(random.choice(1, 5), [0]);
    }
}
