//! Parameters as the kernels read them, and gradients as the kernels write them.
//!
//! Plain parameters are flat arrays in Keras order (`Architecture::parameter_shapes`): that is
//! what Adam updates and files hold. The packed forms are rebuilt from them after each update.
//!
//! A dilated kernel has three taps `w0, w1, w2` of `[ci][co]`. Two outputs `t` and `t + d` share
//! their inputs, so the minimal filtering algorithm F(2,3) (Winograd) computes both with four
//! products instead of six:
//!
//! ```text
//!   x0..x3 = x[t], x[t+d], x[t+2d], x[t+3d]          ua = (w0 + w1 + w2) / 2
//!   m0 = (x0 - x2) w0    m1 = (x1 + x2) ua           ub = (w0 - w1 + w2) / 2
//!   m2 = (x2 - x1) ub    m3 = (x3 - x1) w2
//!   y[t] = m0 + m1 + m2  y[t+d] = m1 - m2 + m3
//! ```
//!
//! The matrices are stored in the order w0, w1, w2, ua, ub. Both gradients are the transposes of
//! this bilinear form: products with the same matrices, and sums into gradients of all five that
//! `fold_gradient` turns into gradients of the three taps.

use rayon::prelude::*;

use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use crate::model::Architecture;
use crate::model::arch::{BASES, DILATED_KERNEL};

/// Rows of a first-layer tap: four bases and N, whose row is zero.
pub const CODES: usize = BASES + 1;
/// Matrices of a dilated layer that are taps.
pub const TAPS: usize = DILATED_KERNEL;
/// Matrices of a dilated layer beyond the taps: ua and ub.
pub const MIXED: usize = 2;
/// Matrix of each of the four products.
pub const MATRIX_OF_PRODUCT: [usize; 4] = [0, 3, 4, 2];

/// Where each plain parameter is in the list.
pub struct Index {
    n: usize,
}

impl Index {
    pub fn new(arch: &Architecture) -> Self {
        Self { n: arch.n_dilation_layers }
    }

    /// Kernel of layer `i`, its bias follows; 0 is the first convolution.
    pub fn conv(&self, i: usize) -> usize {
        2 * i
    }

    pub fn profile(&self) -> usize {
        2 * self.n + 2
    }

    pub fn counts(&self) -> usize {
        2 * self.n + 4
    }
}

/// One dilated layer, ready for products.
pub struct DilatedWeights<T> {
    /// five (or, without pairs, three) of `[co panel][ci][16 co]`
    pub forward: Vec<Aligned<T>>,
    /// the same transposed: `[ci panel][co][16 ci]`
    pub backward: Vec<Aligned<T>>,
    /// `[co panel][16]`
    pub bias: Aligned<T>,
}

/// One network, ready for products.
pub struct PackedWeights<T> {
    /// `[co panel][tap][code][16 co]`
    pub first: Aligned<T>,
    /// `[column panel][c][16 columns]`, a column being a tap and a base
    pub first_transposed: Aligned<T>,
    pub first_bias: Aligned<T>,
    pub dilated: Vec<DilatedWeights<T>>,
    /// `[tap panel][c][16 taps]`
    pub profile: Aligned<T>,
    /// `[c panel][tap, last first][16 c]`
    pub profile_reversed: Aligned<T>,
    pub profile_bias: T,
    /// `[c panel][16]`
    pub counts: Aligned<T>,
    pub counts_bias: T,
}

impl<T: Scalar> PackedWeights<T> {
    /// Zeros of the right sizes. `trained` networks get transposed matrices too; `pairs` networks
    /// get ua and ub.
    pub fn new(arch: &Architecture, trained: bool, pairs: bool) -> Self {
        let np = panels(arch.filters);
        let channels = np * LANES;
        let matrices = TAPS + if pairs { MIXED } else { 0 };
        let square = |n: usize| (0..n).map(|_| Aligned::zeros(channels * channels)).collect();
        let dilated = (0..arch.n_dilation_layers)
            .map(|_| DilatedWeights {
                forward: square(matrices),
                backward: square(if trained { matrices } else { 0 }),
                bias: Aligned::zeros(channels),
            })
            .collect();
        Self {
            first: Aligned::zeros(np * arch.first_kernel * CODES * LANES),
            first_transposed: Aligned::zeros(panels(arch.first_kernel * BASES) * channels * LANES),
            first_bias: Aligned::zeros(channels),
            dilated,
            profile: Aligned::zeros(panels(arch.profile_kernel) * channels * LANES),
            profile_reversed: Aligned::zeros(arch.profile_kernel * channels),
            profile_bias: T::ZERO,
            counts: Aligned::zeros(channels),
            counts_bias: T::ZERO,
        }
    }

    /// Refills everything from plain parameters.
    pub fn pack(&mut self, arch: &Architecture, plain: &[Vec<T>]) {
        let c = arch.filters;
        let np = panels(c);
        let index = Index::new(arch);

        let first = &plain[index.conv(0)];
        let to = rows_mut(&mut self.first);
        for p in 0..np {
            for tap in 0..arch.first_kernel {
                for base in 0..BASES {
                    let from = &first[(tap * BASES + base) * c..][..c];
                    let row = &mut to[(p * arch.first_kernel + tap) * CODES + base];
                    copy_panel(row, from, p);
                }
            }
        }
        for (column, from) in first.chunks_exact(c).enumerate() {
            let (panel, lane) = (column / LANES, column % LANES);
            let to = &mut rows_mut(&mut self.first_transposed)[panel * np * LANES..];
            to.iter_mut().zip(from).for_each(|(row, &weight)| row[lane] = weight);
        }
        copy_channels(&mut self.first_bias, &plain[index.conv(0) + 1]);

        self.dilated.par_iter_mut().enumerate().for_each(|(layer, weights)| {
            let kernel = &plain[index.conv(layer + 1)];
            copy_channels(&mut weights.bias, &plain[index.conv(layer + 1) + 1]);
            let tap = |k: usize, i: usize, o: usize| kernel[(k * c + i) * c + o];
            let half = T::from_f64(0.5);
            for m in 0..weights.forward.len() {
                let value = |i: usize, o: usize| match m {
                    0..TAPS => tap(m, i, o),
                    3 => (tap(0, i, o) + tap(1, i, o) + tap(2, i, o)) * half,
                    _ => (tap(0, i, o) - tap(1, i, o) + tap(2, i, o)) * half,
                };
                fill_panels(&mut weights.forward[m], c, value);
                if let Some(backward) = weights.backward.get_mut(m) {
                    fill_panels(backward, c, |o, i| value(i, o));
                }
            }
        });

        let profile = &plain[index.profile()];
        let width = arch.profile_kernel;
        for (at, row) in rows_mut(&mut self.profile).iter_mut().enumerate() {
            let (panel, channel) = (at / (np * LANES), at % (np * LANES));
            for (lane, value) in row.iter_mut().enumerate() {
                let tap = panel * LANES + lane;
                if tap < width && channel < c {
                    *value = profile[tap * c + channel];
                }
            }
        }
        for (at, row) in rows_mut(&mut self.profile_reversed).iter_mut().enumerate() {
            let (p, tap) = (at / width, width - 1 - at % width);
            copy_panel(row, &profile[tap * c..][..c], p);
        }
        self.profile_bias = plain[index.profile() + 1][0];
        copy_channels(&mut self.counts, &plain[index.counts()]);
        self.counts_bias = plain[index.counts() + 1][0];
    }
}

/// Fills `[column panel][row][16 columns]` from `value(row, column)`.
fn fill_panels<T: Scalar>(to: &mut [T], c: usize, value: impl Fn(usize, usize) -> T) {
    let height = panels(c) * LANES;
    for (p, panel) in rows_mut(to).chunks_exact_mut(height).enumerate() {
        let width = LANES.min(c - p * LANES);
        for (i, row) in panel[..c].iter_mut().enumerate() {
            for (lane, to) in row[..width].iter_mut().enumerate() {
                *to = value(i, p * LANES + lane);
            }
        }
    }
}

fn copy_panel<T: Scalar>(row: &mut [T; LANES], from: &[T], panel: usize) {
    let width = LANES.min(from.len() - panel * LANES);
    row[..width].copy_from_slice(&from[panel * LANES..][..width]);
}

fn copy_channels<T: Scalar>(to: &mut [T], from: &[T]) {
    to[..from.len()].copy_from_slice(from);
}

/// Gradients of one network in packed form; sums over examples.
pub struct PackedGradient<T> {
    /// like `PackedWeights::first`
    pub first: Aligned<T>,
    pub first_bias: Aligned<T>,
    /// per layer: the three taps like `DilatedWeights::forward`
    pub dilated: Vec<[Aligned<T>; TAPS]>,
    pub dilated_bias: Vec<Aligned<T>>,
    /// like `PackedWeights::profile_reversed`
    pub profile_reversed: Aligned<T>,
    pub counts: Aligned<T>,
    /// no gradient: the pooled features that the counts head read
    pub features: Aligned<T>,
    /// profile bias, counts bias
    pub scalars: [T; 2],
}

impl<T: Scalar> PackedGradient<T> {
    pub fn new(arch: &Architecture) -> Self {
        let channels = panels(arch.filters) * LANES;
        let square = || Aligned::zeros(channels * channels);
        let n = arch.n_dilation_layers;
        Self {
            first: Aligned::zeros(arch.first_kernel * CODES * channels),
            first_bias: Aligned::zeros(channels),
            dilated: (0..n).map(|_| [square(), square(), square()]).collect(),
            dilated_bias: (0..n).map(|_| Aligned::zeros(channels)).collect(),
            profile_reversed: Aligned::zeros(arch.profile_kernel * channels),
            counts: Aligned::zeros(channels),
            features: Aligned::zeros(channels),
            scalars: [T::ZERO; 2],
        }
    }

    fn arrays(&mut self) -> impl Iterator<Item = &mut Aligned<T>> {
        let head = [&mut self.profile_reversed, &mut self.counts, &mut self.features];
        [&mut self.first, &mut self.first_bias]
            .into_iter()
            .chain(self.dilated.iter_mut().flatten())
            .chain(&mut self.dilated_bias)
            .chain(head)
    }

    pub fn clear(&mut self) {
        self.arrays().for_each(|array| array.fill(T::ZERO));
        self.scalars = [T::ZERO; 2];
    }

    /// `self += other`
    pub fn add(&mut self, isa: Isa, other: &mut Self) {
        for (sum, part) in self.arrays().zip(other.arrays()) {
            add_into::<T>(isa, sum, part);
        }
        for (sum, part) in self.scalars.iter_mut().zip(other.scalars) {
            *sum += part;
        }
    }

    /// Adds the gradients of ua and ub of layer `layer` to those of the taps they are made of.
    pub fn fold_mixed(&mut self, isa: Isa, layer: usize, mixed: &[Aligned<T>]) {
        let [w0, w1, w2] = &mut self.dilated[layer];
        if let [ua, ub] = mixed {
            fold_gradient::<T>(isa, w0, w1, w2, ua, ub);
        }
    }

    /// In Keras order and layout, into arrays of the right sizes.
    pub fn unpack(&self, arch: &Architecture, plain: &mut [Vec<T>]) {
        let c = arch.filters;
        let np = panels(c);
        let index = Index::new(arch);
        let take = |to: &mut [T], row: &[T; LANES], p: usize| {
            let width = LANES.min(c - p * LANES);
            to[p * LANES..][..width].copy_from_slice(&row[..width]);
        };
        let first = rows(&self.first);
        for (at, to) in plain[index.conv(0)].chunks_exact_mut(c).enumerate() {
            let (tap, base) = (at / BASES, at % BASES);
            for p in 0..np {
                take(to, &first[(p * arch.first_kernel + tap) * CODES + base], p);
            }
        }
        plain[index.conv(0) + 1].copy_from_slice(&self.first_bias[..c]);
        for (layer, (matrices, bias)) in self.dilated.iter().zip(&self.dilated_bias).enumerate() {
            let kernel = &mut plain[index.conv(layer + 1)];
            for (to, matrix) in kernel.chunks_exact_mut(c * c).zip(matrices) {
                let matrix = rows(matrix);
                for (i, to) in to.chunks_exact_mut(c).enumerate() {
                    for p in 0..np {
                        take(to, &matrix[p * np * LANES + i], p);
                    }
                }
            }
            plain[index.conv(layer + 1) + 1].copy_from_slice(&bias[..c]);
        }
        let width = arch.profile_kernel;
        let profile = rows(&self.profile_reversed);
        for (tap, to) in plain[index.profile()].chunks_exact_mut(c).enumerate() {
            for p in 0..np {
                take(to, &profile[p * width + width - 1 - tap], p);
            }
        }
        plain[index.profile() + 1][0] = self.scalars[0];
        plain[index.counts()].copy_from_slice(&self.counts[..c]);
        plain[index.counts() + 1][0] = self.scalars[1];
    }
}

vectorised! {
    /// `sum += part`
    fn add_into(sum: &mut [T], part: &[T]) {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += *part;
        }
    }
}

vectorised! {
    /// The transpose of (w0, w1, w2) -> (ua, ub).
    fn fold_gradient(w0: &mut [T], w1: &mut [T], w2: &mut [T], ua: &[T], ub: &[T]) {
        let half = T::from_f64(0.5);
        let taps = rows_mut(w0).iter_mut().zip(rows_mut(w1)).zip(rows_mut(w2));
        for (((w0, w1), w2), (ua, ub)) in taps.zip(rows(ua).iter().zip(rows(ub))) {
            for i in 0..LANES {
                let even = (ua[i] + ub[i]) * half;
                w0[i] += even;
                w1[i] += (ua[i] - ub[i]) * half;
                w2[i] += even;
            }
        }
    }
}
