//! The dilated layers of predictions: several outputs of a chain (`chains`) from fewer products.
//!
//! Minimal filtering (Winograd's, by way of Toom and Cook): the three taps are a polynomial, whose
//! values at `m + 1` points and leading coefficient stand for it in `m + 2` products that give `m`
//! outputs. The points here are 0 and pairs `a, -a`, so that both of a pair share their sums. With
//! `h` pairs, `m = 2h`, inputs `x_0 .. x_(2h+1)` a dilation apart, `q(z)` the product of all
//! `z - a^2` and `q_a` the product without a's own factor, both with their coefficients by power:
//!
//! ```text
//!   m_0   = (sum_k q[k] x_2k / q[0]) w0           m_inf = (sum_k q[k] x_(2k+1)) w2
//!   m_+a  = (e + o) (w0 + a w1 + a^2 w2)          e = sum_k q_a[k] x_(2k+2)
//!   m_-a  = (e - o) (w0 - a w1 + a^2 w2)          o = a sum_k q_a[k] x_(2k+1)
//!   y_j   = [j = 0] m_0 + sum_a a^j (m_+a + (-1)^j m_-a) / (2 a^2 q_a(a^2)) + [j = m - 1] m_inf
//! ```
//!
//! Four outputs take 6 products instead of 12, two take 4 instead of 6. Training stays with the
//! latter (`dilated`): rounding grows with the points. At 512 channels the root mean square error of a
//! layer's sums is that of plain taps times 1.3 (two outputs) and 2.3 (four). 3/4 and 3/2 are the best
//! of the pairs tried (1 and 2, of the textbooks: 3.2), and their squares are exact in f32.

use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::chains::{self, ChainRun};
use super::dilated::{self, Keep, rows_from_zero};
use super::first_conv::relu;
use super::pairs::Shape;
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::{DilatedWeights, TAPS};

/// The points beside 0 and infinity; two outputs use the first alone.
const POINTS: [f64; 2] = [0.75, 1.5];

/// Groups of a tile. At 512 channels: 576 KiB of mixed inputs, as much of products.
const TILE: usize = 48;

/// Depth of one pass of a product. All 512 channels at once are 4 % faster than twice 256 (measured
/// with tiles of 24 to 96), although their panel of a matrix comes from L2.
const DEPTH: usize = 512;

/// Matrices of a layer beyond its taps: `w0 + a w1 + a^2 w2` and `w0 - a w1 + a^2 w2` of each point.
pub type PointMatrices<T> = [[Aligned<T>; 2]; POINTS.len()];

/// The matrices of a layer, in the layout of its taps.
pub fn point_matrices<T: Scalar>(weights: &DilatedWeights<T>) -> PointMatrices<T> {
    let [w0, w1, w2] = std::array::from_fn(|tap| &weights.forward[tap]);
    POINTS.map(|a| {
        [a, -a].map(|a| {
            let mut matrix = Aligned::zeros(w0.len());
            let taps = w0.iter().zip(w1.iter()).zip(w2.iter());
            for (to, ((w0, w1), w2)) in matrix.iter_mut().zip(taps) {
                *to = T::from_f64(w0.to_f64() + a * (w1.to_f64() + a * w2.to_f64()));
            }
            matrix
        })
    })
}

/// Buffers of a tile, reused by all layers; they take their memory on first use.
#[derive(Default)]
pub struct Scratch<T> {
    /// what enters the products, `[product][panels][groups of the tile][16]`
    mixes: Aligned<T>,
    /// the same of what they give
    products: Aligned<T>,
    /// row offsets in elements
    rows: Vec<u32>,
}

/// Forward. `x` is `[panels][length_in][16]`, `y` is `[panels][length_out][16]`.
pub fn forward<T: Scalar>(
    isa: Isa,
    shape: &Shape,
    weights: &DilatedWeights<T>,
    points: &PointMatrices<T>,
    x: &[T],
    y: &mut [T],
    scratch: &mut Scratch<T>,
) {
    let layer = Layer { isa, shape, weights, points, x };
    layer.groups::<2>(y, scratch);
    layer.groups::<1>(y, scratch);
    dilated::forward_singles(isa, shape, weights, x, y, &mut Keep::Nothing, &mut scratch.rows);
}

/// What all groups of a layer share.
struct Layer<'a, T> {
    isa: Isa,
    shape: &'a Shape,
    weights: &'a DilatedWeights<T>,
    points: &'a PointMatrices<T>,
    x: &'a [T],
}

impl<T: Scalar> Layer<'_, T> {
    fn channels(&self) -> usize {
        panels(self.shape.filters) * LANES
    }

    /// The matrix of product `which` of `n`: 0, the points in pairs, infinity.
    fn matrix(&self, which: usize, n: usize) -> &[T] {
        match which {
            0 => &self.weights.forward[0],
            _ if which == n - 1 => &self.weights.forward[TAPS - 1],
            _ => &self.points[(which - 1) / 2][(which - 1) % 2],
        }
    }

    /// The groups of `2 * H` outputs.
    fn groups<const H: usize>(&self, y: &mut [T], scratch: &mut Scratch<T>) {
        let filter = Filter::<H>::new();
        let channels = self.channels();
        for tile in chains::tiles(&chains::runs(self.shape, 2 * H), TILE) {
            let m = scratch.make_room(&tile, 2 * H + 2, channels);
            let Scratch { mixes, products, rows } = scratch;
            let size = m * channels;
            let mixes = &mut mixes[..(2 * H + 2) * size];
            mix_inputs::<T, H>(self.isa, mixes, self.x, self.shape, &tile, &filter);
            let all = mixes.chunks_exact(size).zip(products.chunks_exact_mut(size));
            for (which, (mix, out)) in all.enumerate() {
                Product {
                    m,
                    k: channels,
                    panels: channels / LANES,
                    a: mix,
                    a_outer: m * LANES,
                    b: self.matrix(which, 2 * H + 2),
                    b_panel: channels * LANES,
                    out,
                    out_panel: m * LANES,
                    rows,
                    at: 0,
                    second: Second::None,
                    store: true,
                }
                .run_to_depth::<16, 1>(self.isa, DEPTH);
            }
            let (products, bias) = (&products[..(2 * H + 2) * size], &self.weights.bias);
            finish::<T, H>(self.isa, y, products, self.x, bias, self.shape, &tile, &filter);
        }
    }
}

impl<T: Scalar> Scratch<T> {
    /// Makes room for a tile and numbers its rows; returns how many there are.
    fn make_room(&mut self, tile: &[ChainRun], products: usize, channels: usize) -> usize {
        for buffer in [&mut self.mixes, &mut self.products] {
            if buffer.len() < products * TILE * channels {
                *buffer = Aligned::zeros(products * TILE * channels);
            }
        }
        let m = tile.iter().map(|run| run.n).sum();
        rows_from_zero(&mut self.rows, m);
        m
    }
}

/// The numbers of the algorithm for `H` pairs of points; the head of this file names them.
struct Filter<const H: usize> {
    /// `q / q[0]` and `q`, each without its last
    ends: [[f64; H]; 2],
    /// the last of each
    ends_last: [f64; 2],
    /// `q_a` and `a q_a` of each pair
    points: [[[f64; H]; 2]; H],
    /// `a^j / (2 a^2 q_a(a^2))` of each pair, `[j / 2][j % 2]`
    outputs: [[[f64; H]; 2]; H],
}

impl<const H: usize> Filter<H> {
    fn new() -> Self {
        let points: [f64; H] = std::array::from_fn(|i| POINTS[i]);
        let own = |i: usize| -> [f64; H] {
            let q = polynomial(&[&points[..i], &points[i + 1..]].concat());
            std::array::from_fn(|k| q[k])
        };
        let scale: [f64; H] = std::array::from_fn(|i| {
            let square = points[i] * points[i];
            let terms = own(i).into_iter().rev();
            1.0 / (2.0 * square * terms.fold(0.0, |value, q| value * square + q))
        });
        let output = |j: usize| std::array::from_fn(|i| scale[i] * points[i].powi(j as i32));
        let q = polynomial(&points);
        Self {
            ends: [q[0], 1.0].map(|by| std::array::from_fn(|k| q[k] / by)),
            ends_last: [q[0], 1.0].map(|by| q[H] / by),
            points: std::array::from_fn(|i| [own(i), own(i).map(|k| points[i] * k)]),
            outputs: std::array::from_fn(|two| [output(2 * two), output(2 * two + 1)]),
        }
    }
}

/// Coefficients, lowest power first, of the product of `z - a^2` over the points.
fn polynomial(points: &[f64]) -> Vec<f64> {
    let mut product = vec![1.0];
    for a in points {
        let shifted = [0.0].iter().chain(&product);
        let scaled = product.iter().map(|q| -a * a * q).chain([0.0]);
        product = shifted.zip(scaled).map(|(q, r)| q + r).collect();
    }
    product
}

vectorised! {
    /// What enters the products of each group. Panel by panel and run by run, so that a row comes
    /// from L2 or beyond once and not once for every product.
    fn mix_inputs<const H>(
        mixes: &mut [T],
        x: &[T],
        shape: &Shape,
        tile: &[ChainRun],
        filter: &Filter<H>,
    ) {
        let m: usize = tile.iter().map(|run| run.n).sum();
        let size = mixes.len() / (2 * H + 2);
        let ends = filter.ends.map(|by| by.map(T::from_f64));
        let ends_last = filter.ends_last.map(T::from_f64);
        let points = filter.points.map(|pair| pair.map(|by| by.map(T::from_f64)));
        for (p, x) in rows(x).chunks_exact(shape.length_in).enumerate() {
            let mut at = p * m * LANES;
            for &ChainRun { first, n } in tile {
                let input = |i: usize| x[first + i * shape.dilation..][..n].as_flattened();
                let inputs = |i: usize| -> [&[T]; H] { std::array::from_fn(|k| input(i + 2 * k)) };
                let n = n * LANES;
                for (end, which) in [0, 2 * H + 1].into_iter().enumerate() {
                    let to = &mut mixes[which * size + at..][..n];
                    let last = input(end + 2 * H);
                    sum(to, &inputs(end), &ends[end], last, ends_last[end]);
                }
                for (point, [by_even, by_odd]) in points.iter().enumerate() {
                    let (plus, minus) = mixes[(2 * point + 1) * size..].split_at_mut(size);
                    let (plus, minus) = (&mut plus[at..][..n], &mut minus[at..][..n]);
                    sum_and_difference(plus, minus, &inputs(2), by_even, &inputs(1), by_odd);
                }
                at += n;
            }
        }
    }
}

/// Sums of `by[k] x[k]` and of `by_last last`. Flat, so that the compiler vectorises along it and not
/// across rows.
#[inline(always)]
fn sum<T: Scalar, const H: usize>(
    to: &mut [T],
    x: &[&[T]; H],
    by: &[T; H],
    last: &[T],
    by_last: T,
) {
    let n = to.len();
    let (x, last) = (x.map(|x| &x[..n]), &last[..n]);
    for i in 0..n {
        let mut sum = by_last * last[i];
        for k in 0..H {
            sum += by[k] * x[k][i];
        }
        to[i] = sum;
    }
}

/// The sum and the difference of two such sums.
#[inline(always)]
fn sum_and_difference<T: Scalar, const H: usize>(
    plus: &mut [T],
    minus: &mut [T],
    even: &[&[T]; H],
    by_even: &[T; H],
    odd: &[&[T]; H],
    by_odd: &[T; H],
) {
    let n = plus.len();
    let minus = &mut minus[..n];
    let (even, odd) = (even.map(|x| &x[..n]), odd.map(|x| &x[..n]));
    for i in 0..n {
        let (mut e, mut o) = (T::ZERO, T::ZERO);
        for k in 0..H {
            e += by_even[k] * even[k][i];
            o += by_odd[k] * odd[k][i];
        }
        plus[i] = e + o;
        minus[i] = e - o;
    }
}

#[inline(always)]
fn add<T: Scalar>(to: &mut [T; LANES], by: T, x: &[T; LANES]) {
    for c in 0..LANES {
        to[c] += by * x[c];
    }
}

vectorised! {
    /// The outputs of each group from its products; bias, ReLU and residual.
    fn finish<const H>(
        y: &mut [T],
        products: &[T],
        x: &[T],
        bias: &[T],
        shape: &Shape,
        tile: &[ChainRun],
        filter: &Filter<H>,
    ) {
        let (length, d) = (shape.length_out(), shape.dilation);
        let m: usize = tile.iter().map(|run| run.n).sum();
        let by = filter.outputs.map(|two| two.map(|by| by.map(T::from_f64)));
        let products = rows(products);
        let product_len = products.len() / (2 * H + 2);
        let panels = rows_mut(y).chunks_exact_mut(length);
        let maps = rows(x).chunks_exact(shape.length_in);
        for (p, ((y, x), bias)) in panels.zip(maps).zip(rows(bias)).enumerate() {
            let product = |which: usize| &products[which * product_len + p * m..][..m];
            let (zero, infinity) = (product(0), product(2 * H + 1));
            let plus: [_; H] = std::array::from_fn(|i| product(2 * i + 1));
            let minus: [_; H] = std::array::from_fn(|i| product(2 * i + 2));
            let mut at = 0;
            for run in tile {
                for row in 0..run.n {
                    let mut sums = [[T::ZERO; LANES]; H];
                    let mut differences = [[T::ZERO; LANES]; H];
                    let pairs = plus.iter().zip(&minus).zip(sums.iter_mut().zip(&mut differences));
                    for ((plus, minus), (sum, difference)) in pairs {
                        let (plus, minus) = (&plus[at + row], &minus[at + row]);
                        *sum = std::array::from_fn(|c| plus[c] + minus[c]);
                        *difference = std::array::from_fn(|c| plus[c] - minus[c]);
                    }
                    for (two, by) in by.iter().enumerate() {
                        let mut even = *bias;
                        let mut odd = *bias;
                        if two == 0 {
                            add(&mut even, T::ONE, &zero[at + row]);
                        }
                        if two == H - 1 {
                            add(&mut odd, T::ONE, &infinity[at + row]);
                        }
                        for i in 0..H {
                            add(&mut even, by[0][i], &sums[i]);
                            add(&mut odd, by[1][i], &differences[i]);
                        }
                        let t = run.first + 2 * two * d + row;
                        y[t] = through(&even, &x[t + d]);
                        y[t + d] = through(&odd, &x[t + 2 * d]);
                    }
                }
                at += run.n;
            }
        }
    }
}

/// ReLU and residual.
#[inline(always)]
fn through<T: Scalar>(z: &[T; LANES], x: &[T; LANES]) -> [T; LANES] {
    std::array::from_fn(|c| x[c] + relu(z[c]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The products of the head of this file, of numbers instead of maps.
    fn check<const H: usize>() {
        let filter = Filter::<H>::new();
        let number = |i: usize| ((i * 7 + 3) % 11) as f64 - 4.5;
        let taps = [number(50), number(51), number(52)];
        let x: Vec<f64> = (0..2 * H + 2).map(number).collect();
        let sum = |by: &[f64], first: usize| -> f64 {
            by.iter().enumerate().map(|(k, by)| by * x[first + 2 * k]).sum()
        };
        let end = |i: usize| sum(&filter.ends[i], i) + filter.ends_last[i] * x[i + 2 * H];
        let (zero, infinity) = (end(0) * taps[0], end(1) * taps[2]);
        for j in 0..2 * H {
            let mut y = if j == 0 { zero } else { 0.0 };
            for (i, (by, a)) in filter.points.iter().zip(POINTS).enumerate() {
                let [even, odd] = [0, 1].map(|odd| sum(&by[odd], 2 - odd));
                let at = |a: f64| taps[0] + a * taps[1] + a * a * taps[2];
                let (plus, minus) = ((even + odd) * at(a), (even - odd) * at(-a));
                let both = if j % 2 == 0 { plus + minus } else { plus - minus };
                y += filter.outputs[j / 2][j % 2][i] * both;
            }
            y += if j == 2 * H - 1 { infinity } else { 0.0 };
            let wanted: f64 = (0..3).map(|k| taps[k] * x[j + k]).sum();
            assert!((y - wanted).abs() < 1e-12, "{H} pairs, output {j}: {y}, not {wanted}");
        }
    }

    #[test]
    fn the_products_give_the_filter() {
        check::<1>();
        check::<2>();
    }

    /// The largest distance from the plain taps, in units of the largest output.
    fn distance<T: Scalar>(isa: Isa, dilation: usize, length_in: usize, filters: usize) -> f64 {
        let number = |i: usize| T::from_f64(((i * 7919 + 13) % 1009) as f64 / 504.5 - 1.0);
        let numbers = |n: usize, from: usize| {
            let mut array = Aligned::zeros(n);
            array.iter_mut().enumerate().for_each(|(i, to)| *to = number(from + i));
            array
        };
        let channels = panels(filters) * LANES;
        let plain = Shape { filters, dilation, length_in, pairs: false };
        let shape = Shape { pairs: true, ..plain };
        let matrix = |tap: usize| numbers(channels * channels, tap * 31);
        let forward = (0..TAPS).map(matrix).collect();
        let weights = DilatedWeights { forward, backward: Vec::new(), bias: numbers(channels, 5) };
        let x = numbers(channels * length_in, 7);
        let mut wanted = Aligned::zeros(channels * shape.length_out());
        let mut found = wanted.clone();
        let mut tiles = dilated::Scratch::new(filters, false);
        dilated::forward(isa, &plain, &weights, &x, &mut wanted, Keep::Nothing, &mut tiles);
        let (points, mut tiles) = (point_matrices(&weights), Scratch::default());
        super::forward(isa, &shape, &weights, &points, &x, &mut found, &mut tiles);
        let off = |(f, w): (&T, &T)| (f.to_f64() - w.to_f64()).abs();
        let largest = wanted.iter().map(|w| w.to_f64().abs()).fold(0.0, f64::max);
        found.iter().zip(wanted.iter()).map(off).fold(0.0, f64::max) / largest
    }

    #[test]
    fn layers_equal_plain_taps() {
        let shapes = [(1, 3), (2, 5), (2, 33), (4, 38), (8, 90), (16, 131), (64, 500), (256, 1586)];
        for isa in Isa::available() {
            for (dilation, length_in) in shapes {
                for filters in [1, 16, 40] {
                    let off = distance::<f64>(isa, dilation, length_in, filters);
                    assert!(off < 1e-14, "{isa:?}, {dilation}, {length_in}, {filters}: {off:e}");
                    let off = distance::<f32>(isa, dilation, length_in, filters);
                    assert!(off < 1e-5, "{isa:?}, {dilation}, {length_in}, {filters}: {off:e}");
                }
            }
        }
    }
}
