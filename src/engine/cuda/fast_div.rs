//! Division by a number that the host knows, as a multiplication in the kernel.

use bytemuck::{Pod, Zeroable};

/// Mirror of `FastDiv` in `kernels/prims/prims.cuh`: quotients of x < 2^31.
///
/// Source: Granlund and Montgomery 1994, figure 4.1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct FastDiv {
    d: u32,
    magic: u32,
    shift: u32,
}

impl FastDiv {
    /// Panics when `d` is 0 or above 2^31.
    pub fn new(d: u32) -> Self {
        assert!((1..=1 << 31).contains(&d), "no fast division by {d}");
        let shift = d.next_power_of_two().trailing_zeros();
        let magic = ((1u64 << 32) * ((1u64 << shift) - u64::from(d)) / u64::from(d) + 1) as u32;
        Self { d, magic, shift }
    }

    /// What the kernel computes.
    pub fn quotient(self, x: u32) -> u32 {
        let high = ((u64::from(x) * u64::from(self.magic)) >> 32) as u32;
        (high + x) >> self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_at_the_edges() {
        let near = |x: u32| [x.saturating_sub(1), x, x.saturating_add(1)];
        for d in [1, 2, 3, 5, 7, 32, 75, 641, 1074, 2094, 65_535, 65_537, 1 << 30, (1 << 31) - 1] {
            let fast = FastDiv::new(d);
            for multiple in [0, 1, 2, 3, 1000, ((1 << 31) - 1) / d] {
                for x in near(multiple.saturating_mul(d)) {
                    let x = x.min((1 << 31) - 1);
                    assert_eq!(fast.quotient(x), x / d, "{x} / {d}");
                }
            }
        }
    }
}
