//! Matrix products on blocked arrays: checks the bounds once, cuts into register tiles.

use super::blocked::LANES;
use super::kernel::{Also, Tile};
use super::scalar::Scalar;
use super::simd::Isa;

/// Depth of one pass of `run`: a panel of B is then 16 KiB and stays in the L1 cache while the rows of A
/// pass by.
const DEPTH: usize = 256;

/// A second place that receives the sums, as an offset like `Product::at`.
#[derive(Clone, Copy)]
pub enum Second {
    None,
    Add(usize),
    Subtract(usize),
}

/// `out(row, column) (+)= sum_k A(row, k) * B(k, column)`; `kernel` has the index formulas.
pub struct Product<'a, T> {
    /// rows of A
    pub m: usize,
    pub k: usize,
    /// panels of 16 columns of B and out
    pub panels: usize,
    pub a: &'a [T],
    /// distance between blocks of 16 k in `a`
    pub a_outer: usize,
    /// `[panels][k][16]`
    pub b: &'a [T],
    pub b_panel: usize,
    pub out: &'a mut [T],
    pub out_panel: usize,
    /// offset of each row in a panel of out, in elements
    pub rows: &'a [u32],
    /// added to every row offset
    pub at: usize,
    pub second: Second,
    /// overwrite instead of add
    pub store: bool,
}

impl<T: Scalar> Product<'_, T> {
    /// Runs the product; ROW and K are A's strides (see `kernel`).
    pub fn run<const ROW: usize, const K: usize>(self, isa: Isa) {
        self.run_to_depth::<ROW, K>(isa, DEPTH);
    }

    /// Runs the product in passes of `depth`, a multiple of 16. Deeper ones write the output less often, and
    /// round other sums.
    pub fn run_to_depth<const ROW: usize, const K: usize>(self, isa: Isa, depth: usize) {
        assert!(depth.is_multiple_of(LANES));
        if self.m == 0 || self.k == 0 || self.panels == 0 {
            return;
        }
        self.check::<ROW, K>();
        let (max_rows, max_panels) = T::tile_shape(isa);
        let groups = self.m.div_ceil(max_rows);
        let out = self.out.as_mut_ptr();
        for k0 in (0..self.k).step_by(depth) {
            for p0 in (0..self.panels).step_by(max_panels) {
                let panels = max_panels.min(self.panels - p0);
                let mut row = 0;
                for group in 0..groups {
                    // Even groups: 16 rows are 6 + 5 + 5, so that no tile runs short of registers' work.
                    let rows = self.m / groups + usize::from(group < self.m % groups);
                    // SAFETY: `check` has compared the largest index of each operand with its length.
                    unsafe {
                        let at = |offset: usize| out.add(offset + p0 * self.out_panel);
                        let tile = Tile {
                            k: depth.min(self.k - k0),
                            a: self.a.as_ptr().add(k0 / LANES * self.a_outer + row * ROW),
                            a_outer: self.a_outer,
                            b: self.b.as_ptr().add(p0 * self.b_panel + k0 * LANES),
                            b_panel: self.b_panel,
                            rows: self.rows.as_ptr().add(row),
                            out: at(self.at),
                            also: match self.second {
                                Second::None => Also::No,
                                Second::Add(offset) => Also::Add(at(offset)),
                                Second::Subtract(offset) => Also::Subtract(at(offset)),
                            },
                            out_panel: self.out_panel,
                            store: self.store && k0 == 0,
                        };
                        T::run_tile::<ROW, K>(isa, rows, panels, &tile);
                    }
                    row += rows;
                }
            }
        }
    }

    /// Every index that a tile can touch lies inside its slice.
    fn check<const ROW: usize, const K: usize>(&self) {
        assert_eq!(self.rows.len(), self.m);
        let last = self.k - 1;
        // Blocks do not overlap backwards, so the last k has the largest index.
        assert!(self.a_outer >= (LANES - 1) * K);
        let a = last / LANES * self.a_outer + last % LANES * K + (self.m - 1) * ROW;
        assert!(a < self.a.len(), "A: {a} of {}", self.a.len());
        let b = (self.panels - 1) * self.b_panel + self.k * LANES;
        assert!(b <= self.b.len(), "B: {b} of {}", self.b.len());
        let row = self.rows.iter().max().copied().unwrap_or(0) as usize;
        let at = match self.second {
            Second::None => self.at,
            Second::Add(offset) | Second::Subtract(offset) => self.at.max(offset),
        };
        let out = (self.panels - 1) * self.out_panel + at + row + LANES;
        assert!(out <= self.out.len(), "out: {out} of {}", self.out.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every sum is exact in any order.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    fn check<const ROW: usize, const K: usize>(isa: Isa, m: usize, k: usize, panels: usize) {
        let a_outer = if (ROW, K) == (16, 1) { m * 16 + 32 } else { 16 * K };
        let a = numbers(k.div_ceil(16) * a_outer + m * ROW + 16 * K, 1);
        let b = numbers(panels * (k * 16 + 16), 2);
        // Rows in reverse and apart, a second output behind the first.
        let rows: Vec<u32> = (0..m).map(|r| ((m - 1 - r) * 32) as u32).collect();
        let (half, out_panel) = (m * 32, 2 * m * 32);
        let before = numbers(panels * out_panel, 3);
        for (second, sign) in
            [(Second::None, 0.0), (Second::Add(half), 1.0), (Second::Subtract(half), -1.0)]
        {
            for store in [false, true] {
                let mut out = before.clone();
                let b_panel = k * 16 + 16;
                Product {
                    m,
                    k,
                    panels,
                    a: &a,
                    a_outer,
                    b: &b,
                    b_panel,
                    out: &mut out,
                    out_panel,
                    rows: &rows,
                    at: 0,
                    second,
                    store,
                }
                .run::<ROW, K>(isa);
                let mut wanted = before.clone();
                for p in 0..panels {
                    for (r, &row) in rows.iter().enumerate() {
                        for c in 0..16 {
                            let sum: f32 = (0..k)
                                .map(|k| {
                                    a[k / 16 * a_outer + k % 16 * K + r * ROW]
                                        * b[p * b_panel + k * 16 + c]
                                })
                                .sum();
                            let at = p * out_panel + row as usize + c;
                            let old =
                                if store { [0.0; 2] } else { [before[at], before[at + half]] };
                            wanted[at] = old[0] + sum;
                            if sign != 0.0 {
                                wanted[at + half] = old[1] + sign * sum;
                            }
                        }
                    }
                }
                assert!(out == wanted, "{isa:?} ROW {ROW} K {K} m {m} k {k} panels {panels}");
            }
        }
    }

    #[test]
    fn equals_the_definition_for_every_shape_and_instruction_set() {
        for isa in Isa::available() {
            for m in [1, 2, 3, 5, 6, 7, 11, 12, 13, 16, 25, 40] {
                for (k, panels) in [(1, 1), (15, 2), (16, 3), (50, 1), (256, 2), (300, 5)] {
                    check::<16, 1>(isa, m, k, panels);
                    check::<1, 1>(isa, m, k, panels);
                    if m <= 16 {
                        check::<1, 16>(isa, m, k, panels);
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "out: ")]
    fn an_output_that_is_too_short_is_refused() {
        Product {
            m: 2,
            k: 16,
            panels: 1,
            a: &[0.0f32; 64],
            a_outer: 32,
            b: &[0.0; 256],
            b_panel: 256,
            out: &mut [0.0; 31],
            out_panel: 32,
            rows: &[0, 16],
            at: 0,
            second: Second::None,
            store: true,
        }
        .run::<16, 1>(Isa::PORTABLE);
    }
}
