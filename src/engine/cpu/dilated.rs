//! Dilated convolution of width 3 with ReLU and cropped residual:
//! `y[t] = relu(b + sum_k w_k x[t + k d]) + x[t + d]`, and its gradients.
//!
//! Positions are taken two by two, `t` and `t + d`, four products for two outputs (`weights`
//! has the algorithm); what cannot be paired, and every position of a network without pairs, takes
//! the three taps directly. Work goes tile by tile, so that a tile's inputs, sums and outputs
//! stay in the L2 cache.

use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::first_conv::relu;
use super::pairs::{Pairs, Shape};
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::{DilatedWeights, MATRIX_OF_PRODUCT, TAPS};

/// Pairs (or single positions) of a forward tile. At 512 channels: 192 KiB of mixed inputs and
/// 384 KiB of outputs.
const FORWARD_TILE: usize = 96;
/// Pairs of a backward tile: the depth of the products that sum weight gradients, so longer.
const BACKWARD_TILE: usize = 192;

/// Buffers of a tile, reused by all layers.
pub struct Scratch<T> {
    /// `[panels][pairs of the tile][16]`: one mix of the inputs
    input: Aligned<T>,
    /// the same for one mix of the output's gradient
    gradient: Aligned<T>,
    /// row offsets in elements
    rows: Vec<u32>,
}

impl<T: Scalar> Scratch<T> {
    pub fn new(filters: usize, trained: bool) -> Self {
        let tile = BACKWARD_TILE * panels(filters) * LANES;
        Self {
            input: Aligned::zeros(tile),
            gradient: Aligned::zeros(if trained { tile } else { 0 }),
            rows: Vec::with_capacity(BACKWARD_TILE),
        }
    }

    fn rows_of_pairs(&mut self, pairs: &Pairs) {
        self.rows.clear();
        let position = |q| (pairs.shape.position(q) * LANES) as u32;
        self.rows.extend((pairs.first..pairs.last).map(position));
    }
}

/// What a forward pass keeps of its ReLU, `[panels][length_out][16]`.
pub enum Keep<'a, T> {
    Nothing,
    /// 1 where it let through
    Mask(&'a mut [u8]),
    /// what entered it
    Sums(&'a mut [T]),
}

impl<T> Keep<'_, T> {
    /// The part of panel `p`.
    #[inline(always)]
    fn panel(&mut self, p: usize, length: usize) -> Keep<'_, T> {
        let at = p * length * LANES..(p + 1) * length * LANES;
        match self {
            Keep::Nothing => Keep::Nothing,
            Keep::Mask(mask) => Keep::Mask(&mut mask[at]),
            Keep::Sums(sums) => Keep::Sums(&mut sums[at]),
        }
    }
}

/// Forward. `x` is `[panels][length_in][16]`, `y` is `[panels][length_out][16]`.
pub fn forward<T: Scalar>(
    isa: Isa,
    shape: &Shape,
    weights: &DilatedWeights<T>,
    x: &[T],
    y: &mut [T],
    mut keep: Keep<T>,
    scratch: &mut Scratch<T>,
) {
    let np = panels(shape.filters);
    let channels = np * LANES;
    let (d, y_panel) = (shape.dilation, shape.length_out() * LANES);

    for first in (0..shape.n_pairs()).step_by(FORWARD_TILE) {
        let pairs = Pairs { shape: *shape, first, last: shape.n_pairs().min(first + FORWARD_TILE) };
        let m = pairs.len();
        scratch.rows_of_pairs(&pairs);
        let (even, odd) = (0, d * LANES);
        for (product, at, second) in [
            (1, even, Second::Add(odd)),
            (2, even, Second::Subtract(odd)),
            (0, even, Second::None),
            (3, odd, Second::None),
        ] {
            mix_inputs::<T>(isa, &mut scratch.input, x, product, pairs);
            Product {
                m,
                k: channels,
                panels: np,
                a: &scratch.input[..m * channels],
                a_outer: m * LANES,
                b: &weights.forward[MATRIX_OF_PRODUCT[product]],
                b_panel: channels * LANES,
                out: y,
                out_panel: y_panel,
                rows: &scratch.rows,
                at,
                second,
                store: product == 1,
            }
            .run::<16, 1>(isa);
        }
        finish::<T>(isa, y, &mut keep, x, &weights.bias, pairs, 0..0);
    }

    forward_singles(isa, shape, weights, x, y, &mut keep, &mut scratch.rows);
}

/// Forward at the positions without a partner, by the taps as they are.
pub fn forward_singles<T: Scalar>(
    isa: Isa,
    shape: &Shape,
    weights: &DilatedWeights<T>,
    x: &[T],
    y: &mut [T],
    keep: &mut Keep<T>,
    rows: &mut Vec<u32>,
) {
    let np = panels(shape.filters);
    let channels = np * LANES;
    let singles = shape.singles();
    for first in singles.clone().step_by(FORWARD_TILE) {
        let last = singles.end.min(first + FORWARD_TILE);
        rows_from_zero(rows, last - first);
        for k in 0..TAPS {
            Product {
                m: last - first,
                k: channels,
                panels: np,
                a: &x[(first + k * shape.dilation) * LANES..],
                a_outer: shape.length_in * LANES,
                b: &weights.forward[k],
                b_panel: channels * LANES,
                out: y,
                out_panel: shape.length_out() * LANES,
                rows,
                at: first * LANES,
                second: Second::None,
                store: k == 0,
            }
            .run::<16, 1>(isa);
        }
        finish::<T>(isa, y, keep, x, &weights.bias, Pairs::none(*shape), first..last);
    }
}

/// Offsets of `n` rows that follow each other.
pub fn rows_from_zero(rows: &mut Vec<u32>, n: usize) {
    rows.clear();
    rows.extend((0..n).map(|row| (row * LANES) as u32));
}

/// Where the gradients of a layer's weights go, and what they need.
pub struct WeightGradient<'a, T> {
    /// the layer's input, `[panels][length_in][16]`
    pub x: &'a [T],
    /// sums, like the first matrices of `DilatedWeights::forward`
    pub taps: &'a mut [Aligned<T>; TAPS],
    /// like the others
    pub mixed: &'a mut [Aligned<T>],
}

impl<T: Scalar> WeightGradient<'_, T> {
    /// Adds `sum_r a[r]^T b[r]` over `m` rows to a matrix. `a` and `b` are `[panels][rows][16]`,
    /// their panels `a_panel` and `b_panel` elements apart.
    fn add(
        to: &mut [T],
        isa: Isa,
        np: usize,
        m: usize,
        (a, a_panel): (&[T], usize),
        (b, b_panel): (&[T], usize),
    ) {
        for p in 0..np {
            Product {
                m: LANES,
                k: m,
                panels: np,
                a: &a[p * a_panel..][..m * LANES],
                a_outer: LANES * LANES,
                b,
                b_panel,
                out: &mut *to,
                out_panel: np * LANES * LANES,
                rows: &LANE_ROWS,
                at: p * LANES * LANES,
                second: Second::None,
                store: false,
            }
            .run::<1, 16>(isa);
        }
    }
}

const LANE_ROWS: [u32; LANES] = {
    let mut rows = [0; LANES];
    let mut r = 0;
    while r < LANES {
        rows[r] = (r * LANES) as u32;
        r += 1;
    }
    rows
};

/// Backward, given `dz`, the gradient before the ReLU.
///
/// Adds the convolution's share to `dx`: `[panels][dx_length][16]`, of which row `dx_start` belongs
/// to row 0 of the layer's input; and the weights' gradients to `weight_gradient`.
#[allow(clippy::too_many_arguments)]
pub fn backward<T: Scalar>(
    isa: Isa,
    shape: &Shape,
    weights: &DilatedWeights<T>,
    dz: &[T],
    mut weight_gradient: Option<WeightGradient<T>>,
    dx: &mut [T],
    dx_length: usize,
    dx_start: usize,
    scratch: &mut Scratch<T>,
) {
    let np = panels(shape.filters);
    let channels = np * LANES;
    let (d, x_panel, z_panel) =
        (shape.dilation, shape.length_in * LANES, shape.length_out() * LANES);
    let input = |i: usize| (dx_start + i * d) * LANES;

    for first in (0..shape.n_pairs()).step_by(BACKWARD_TILE) {
        let pairs =
            Pairs { shape: *shape, first, last: shape.n_pairs().min(first + BACKWARD_TILE) };
        let m = pairs.len();
        scratch.rows_of_pairs(&pairs);
        for (product, at, second) in [
            (0, input(0), Second::Subtract(input(2))),
            (1, input(1), Second::Add(input(2))),
            (2, input(2), Second::Subtract(input(1))),
            (3, input(3), Second::Subtract(input(1))),
        ] {
            mix_gradients::<T>(isa, &mut scratch.gradient, dz, product, pairs);
            let mixed_dz = &scratch.gradient[..m * channels];
            let matrix = MATRIX_OF_PRODUCT[product];
            if let Some(WeightGradient { x, taps, mixed }) = &mut weight_gradient {
                mix_inputs::<T>(isa, &mut scratch.input, x, product, pairs);
                let to = if matrix < TAPS { &mut taps[matrix] } else { &mut mixed[matrix - TAPS] };
                let (a, b) = ((&scratch.input[..], m * LANES), (mixed_dz, m * LANES));
                WeightGradient::add(to, isa, np, m, a, b);
            }
            Product {
                m,
                k: channels,
                panels: np,
                a: mixed_dz,
                a_outer: m * LANES,
                b: &weights.backward[matrix],
                b_panel: channels * LANES,
                out: dx,
                out_panel: dx_length * LANES,
                rows: &scratch.rows,
                at,
                second,
                store: false,
            }
            .run::<16, 1>(isa);
        }
    }

    let singles = shape.singles();
    for first in singles.clone().step_by(BACKWARD_TILE) {
        let m = singles.end.min(first + BACKWARD_TILE) - first;
        rows_from_zero(&mut scratch.rows, m);
        let dz = &dz[first * LANES..];
        for k in 0..TAPS {
            if let Some(WeightGradient { x, taps, .. }) = &mut weight_gradient {
                let a = (&x[(first + k * d) * LANES..], x_panel);
                WeightGradient::add(&mut taps[k], isa, np, m, a, (dz, z_panel));
            }
            Product {
                m,
                k: channels,
                panels: np,
                a: dz,
                a_outer: z_panel,
                b: &weights.backward[k],
                b_panel: channels * LANES,
                out: dx,
                out_panel: dx_length * LANES,
                rows: &scratch.rows,
                at: input(k) + first * LANES,
                second: Second::None,
                store: false,
            }
            .run::<16, 1>(isa);
        }
    }
}

vectorised! {
    /// The input of product `product`: x0 - x2, x1 + x2, x2 - x1 or x3 - x1 of each pair.
    fn mix_inputs(to: &mut [T], x: &[T], product: usize, pairs: Pairs) {
        let d = pairs.shape.dilation;
        let (i, j, sign) = match product {
            0 => (0, 2, -T::ONE),
            1 => (1, 2, T::ONE),
            2 => (2, 1, -T::ONE),
            _ => (3, 1, -T::ONE),
        };
        let panels = rows(x).chunks_exact(pairs.shape.length_in);
        for (to, x) in rows_mut(to).chunks_exact_mut(pairs.len()).zip(panels) {
            for (q, t, n) in pairs.runs() {
                mix(&mut to[q..q + n], &x[t + i * d..][..n], sign, &x[t + j * d..][..n]);
            }
        }
    }
}

vectorised! {
    /// The gradient of product `product`: g0, g0 + g1, g0 - g1 or g1, for g0, g1 = dz[t], dz[t + d].
    fn mix_gradients(to: &mut [T], dz: &[T], product: usize, pairs: Pairs) {
        let d = pairs.shape.dilation;
        let panels = rows(dz).chunks_exact(pairs.shape.length_out());
        for (to, dz) in rows_mut(to).chunks_exact_mut(pairs.len()).zip(panels) {
            for (q, t, n) in pairs.runs() {
                let (to, a, b) = (&mut to[q..q + n], &dz[t..][..n], &dz[t + d..][..n]);
                match product {
                    0 => to.copy_from_slice(a),
                    1 => mix(to, a, T::ONE, b),
                    2 => mix(to, a, -T::ONE, b),
                    _ => to.copy_from_slice(b),
                }
            }
        }
    }
}

/// `to = a + sign * b`, flat, so that the compiler vectorises along it and not across rows.
#[inline(always)]
fn mix<T: Scalar>(to: &mut [[T; LANES]], a: &[[T; LANES]], sign: T, b: &[[T; LANES]]) {
    let (to, a, b) = (to.as_flattened_mut(), a.as_flattened(), b.as_flattened());
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        *to = *a + sign * *b;
    }
}

vectorised! {
    /// Bias, ReLU and residual, in place, for both halves of `pairs` and for `singles`.
    fn finish(
        y: &mut [T],
        keep: &mut Keep<T>,
        x: &[T],
        bias: &[T],
        pairs: Pairs,
        singles: std::ops::Range<usize>,
    ) {
        let (length, d) = (pairs.shape.length_out(), pairs.shape.dilation);
        let panels = rows_mut(y).chunks_exact_mut(length);
        let maps = rows(x).chunks_exact(pairs.shape.length_in);
        for (p, ((y, x), bias)) in panels.zip(maps).zip(rows(bias)).enumerate() {
            let mut keep = keep.panel(p, length);
            let x = &x[d..];
            for (_, t, n) in pairs.runs() {
                finish_rows(y, &mut keep, x, bias, t, n);
                finish_rows(y, &mut keep, x, bias, t + d, n);
            }
            finish_rows(y, &mut keep, x, bias, singles.start, singles.len());
        }
    }
}

/// Rows `t..t + n` of a panel; `x` starts at the row that belongs to row 0 of `y`.
#[inline(always)]
fn finish_rows<T: Scalar>(
    y: &mut [[T; LANES]],
    keep: &mut Keep<T>,
    x: &[[T; LANES]],
    bias: &[T; LANES],
    t: usize,
    n: usize,
) {
    // Flat and several rows at a time, so that the compiler vectorises along rows and not across.
    let bias: [T; WIDE] = std::array::from_fn(|c| bias[c % LANES]);
    let kept = t * LANES..(t + n) * LANES;
    let y = y[t..t + n].as_flattened_mut().chunks_mut(WIDE);
    let sums = y.zip(x[t..t + n].as_flattened().chunks(WIDE));
    match keep {
        Keep::Nothing => {
            for (y, x) in sums {
                for ((y, x), bias) in y.iter_mut().zip(x).zip(&bias) {
                    *y = *x + relu(*y + *bias);
                }
            }
        }
        Keep::Mask(mask) => {
            for ((y, x), mask) in sums.zip(mask[kept].chunks_mut(WIDE)) {
                for (((y, x), bias), mask) in y.iter_mut().zip(x).zip(&bias).zip(mask) {
                    let z = *y + *bias;
                    *mask = u8::from(z > T::ZERO);
                    *y = *x + relu(z);
                }
            }
        }
        Keep::Sums(kept_sums) => {
            for ((y, x), sum) in sums.zip(kept_sums[kept].chunks_mut(WIDE)) {
                for (((y, x), bias), sum) in y.iter_mut().zip(x).zip(&bias).zip(sum) {
                    let z = *y + *bias;
                    *sum = z;
                    *y = *x + relu(z);
                }
            }
        }
    }
}

/// Numbers of `finish_rows` that one loop takes: eight rows.
const WIDE: usize = 8 * LANES;
