//! First convolution: a one-hot input makes it a sum of one weight row per tap, picked by the
//! base there. No product is formed, and N (code 4) picks a row of zeros.

use super::blocked::{LANES, panels, rows, rows_mut};
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::CODES;
use crate::model::arch::BASES;

/// NaN passes, so that a broken weight shows in the loss.
#[inline(always)]
pub fn relu<T: Scalar>(z: T) -> T {
    if z <= T::ZERO { T::ZERO } else { z }
}

vectorised! {
    /// `x[t] = relu(b + sum_k w[k][codes[t + k]])`; `x` is `[panels][length][16]`, `codes` has
    /// `length + width - 1` of 0..=4. `sums` is like `x` and gets what enters the ReLU; or it is
    /// empty.
    pub fn forward(
        x: &mut [T],
        sums: &mut [T],
        codes: &[u8],
        weights: &[T],
        bias: &[T],
        width: usize,
    ) {
        let length = codes.len() + 1 - width;
        let taps = rows(weights).chunks_exact(width * CODES);
        let mut sums = rows_mut(sums).iter_mut();
        for ((x, taps), bias) in rows_mut(x).chunks_exact_mut(length).zip(taps).zip(rows(bias)) {
            for (x, window) in x.iter_mut().zip(codes.windows(width)) {
                let mut z = *bias;
                for (&code, tap) in window.iter().zip(taps.chunks_exact(CODES)) {
                    let row = &tap[usize::from(code).min(CODES - 1)];
                    for c in 0..LANES {
                        z[c] += row[c];
                    }
                }
                if let Some(sums) = sums.next() {
                    *sums = z;
                }
                for c in 0..LANES {
                    x[c] = relu(z[c]);
                }
            }
        }
    }
}

vectorised! {
    /// Adds to the gradients of weights and bias. `g` is the gradient of `x`, both
    /// `[panels][length][16]`. The row of N collects what `unpack` leaves out.
    pub fn backward(
        weights: &mut [T],
        bias: &mut [T],
        codes: &[u8],
        x: &[T],
        g: &[T],
        width: usize,
    ) {
        let length = codes.len() + 1 - width;
        let taps = rows_mut(weights).chunks_exact_mut(width * CODES);
        let maps = rows(x).chunks_exact(length).zip(rows(g).chunks_exact(length));
        for (((x, g), taps), bias) in maps.zip(taps).zip(rows_mut(bias)) {
            for ((x, g), window) in x.iter().zip(g).zip(codes.windows(width)) {
                let mut dz = [T::ZERO; LANES];
                for c in 0..LANES {
                    dz[c] = g[c].keep(u8::from(x[c] > T::ZERO));
                }
                for c in 0..LANES {
                    bias[c] += dz[c];
                }
                for (&code, tap) in window.iter().zip(taps.chunks_exact_mut(CODES)) {
                    let row = &mut tap[usize::from(code).min(CODES - 1)];
                    for c in 0..LANES {
                        row[c] += dz[c];
                    }
                }
            }
        }
    }
}

/// Gradient of the one-hot input, `[inputlen][4]`: `by_input[t + k][base] = sum_c dz[t][c] w[k][base][c]`,
/// summed over t and k. One product gives every tap and base at every position, of which the
/// diagonals are added up; `transposed` is `PackedWeights::first_transposed`, `taps` its scratch.
pub fn input_gradient<T: Scalar>(
    isa: Isa,
    by_input: &mut [T],
    dz: &[T],
    transposed: &[T],
    width: usize,
    taps: &mut [T],
) {
    const TAPS_OF_PANEL: usize = LANES / BASES;
    let length = by_input.len() / BASES + 1 - width;
    let channels = dz.len() / length;
    let row_offsets: Vec<u32> = (0..length).map(|r| (r * LANES) as u32).collect();
    Product {
        m: length,
        k: channels,
        panels: panels(width * BASES),
        a: dz,
        a_outer: length * LANES,
        b: transposed,
        b_panel: channels * LANES,
        out: taps,
        out_panel: length * LANES,
        rows: &row_offsets,
        at: 0,
        second: Second::None,
        store: true,
    }
    .run::<16, 1>(isa);
    by_input.fill(T::ZERO);
    for (panel, sums) in rows(taps).chunks_exact(length).enumerate() {
        let first = panel * TAPS_OF_PANEL;
        let columns = TAPS_OF_PANEL.min(width - first) * BASES;
        for (t, row) in sums.iter().enumerate() {
            let to = &mut by_input[(t + first) * BASES..][..columns];
            to.iter_mut().zip(row).for_each(|(to, &sum)| *to += sum);
        }
    }
}
