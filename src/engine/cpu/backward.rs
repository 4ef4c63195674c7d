//! The passes back through one branch: to the weights, in training, and to the input alone, for
//! contribution scores. Both follow the gradient of the feature maps down through the layers; they
//! differ in what a ReLU lets through and in what is made of the gradient on the way.

use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::branch::{Branch, Buffers, PARTIAL, Sums};
use super::dilated::{self, WeightGradient};
use super::first_conv::{self, relu};
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::{MIXED, PackedGradient};
use crate::model::arch::BASES;

/// What the passes back need beside what the forward pass kept.
pub struct Backward<T> {
    /// Gradient of the current map, in the coordinates of map 0: `[panels][trunk_len(0)][16]`.
    /// Map i starts at the sum of the dilations up to i, so the cropped residual is the same
    /// memory and the gradient flows down in place.
    g: Aligned<T>,
    /// gradient before the ReLU, `[panels][trunk_len(i)][16]`
    dz: Aligned<T>,
    /// gradient of the logits with a margin of zeros on either side
    padded: Vec<T>,
    /// training: gradients of ua and ub of each dilated layer
    mixed: Vec<Vec<Aligned<T>>>,
    /// explaining: `[column panel][trunk_len(0)][16]`, every tap's product at every position
    first_taps: Aligned<T>,
}

impl<T: Scalar> Backward<T> {
    pub fn new(branch: &Branch<T>, trained: bool) -> Self {
        let arch = &branch.arch;
        let channels = panels(arch.filters) * LANES;
        let mixed = if branch.pairs { MIXED } else { 0 };
        let layer = |_| (0..mixed).map(|_| Aligned::zeros(channels * channels)).collect();
        let columns = panels(arch.first_kernel * BASES) * LANES;
        Self {
            g: Aligned::zeros(branch.map_len(0)),
            dz: Aligned::zeros(branch.map_len(0)),
            padded: vec![T::ZERO; arch.outputlen + 2 * (arch.profile_kernel - 1)],
            mixed: if trained {
                (0..arch.n_dilation_layers).map(layer).collect()
            } else {
                Vec::new()
            },
            first_taps: Aligned::zeros(if trained { 0 } else { columns * arch.trunk_len(0) }),
        }
    }
}

impl<T: Scalar> Branch<T> {
    /// Adds the gradients of the last `forward` to `gradient`, given those of the outputs. The
    /// gradients of ua and ub stay in `buffers` until `fold_mixed`.
    pub fn backward(
        &self,
        isa: Isa,
        codes: &[u8],
        by_logits: &[T],
        by_logcounts: f64,
        buffers: &mut Buffers<T>,
        gradient: &mut PackedGradient<T>,
    ) {
        let arch = &self.arch;
        let (last, length) = (arch.n_dilation_layers, arch.trunk_len(0));
        let mut start = self.seed(isa, by_logits, by_logcounts, buffers);
        self.head_gradients(isa, by_logits, by_logcounts, buffers, gradient);

        let Buffers { maps, masks, scratch, backward, .. } = buffers;
        let Backward { g, dz, mixed, .. } = backward.as_mut().expect(NO_BACKWARD);
        for i in (1..=last).rev() {
            let dz = &mut dz[..self.map_len(i)];
            let bias = &mut gradient.dilated_bias[i - 1];
            through_relu::<T>(isa, dz, bias, g, length, start, &masks[i - 1], arch.trunk_len(i));
            start -= arch.dilation(i);
            let weight_gradient = WeightGradient {
                x: &maps[i - 1],
                taps: &mut gradient.dilated[i - 1],
                mixed: &mut mixed[i - 1],
            };
            dilated::backward(
                isa,
                &self.shape(i),
                &self.weights.dilated[i - 1],
                dz,
                Some(weight_gradient),
                g,
                length,
                start,
                scratch,
            );
        }
        first_conv::backward::<T>(
            isa,
            &mut gradient.first,
            &mut gradient.first_bias,
            codes,
            &maps[0],
            g,
            arch.first_kernel,
        );
    }

    /// `multipliers`, `[inputlen][4]`: the outputs' gradient (`by_logits`, `by_logcounts`) led back
    /// to the one-hot input, where each ReLU lets through what the rescale rule says for the sums of
    /// the sequence, `of`, and of its reference, `against`. With the same sums twice that is the
    /// plain gradient.
    #[allow(clippy::too_many_arguments)]
    pub fn multipliers(
        &self,
        isa: Isa,
        by_logits: &[T],
        by_logcounts: f64,
        of: &Sums<T>,
        against: &Sums<T>,
        buffers: &mut Buffers<T>,
        multipliers: &mut [T],
    ) {
        let (arch, weights) = (&self.arch, &self.weights);
        let length = arch.trunk_len(0);
        let mut start = self.seed(isa, by_logits, by_logcounts, buffers);
        let Buffers { scratch, backward, .. } = buffers;
        let Backward { g, dz, first_taps, .. } = backward.as_mut().expect(NO_BACKWARD);
        for i in (0..=arch.n_dilation_layers).rev() {
            let dz = &mut dz[..self.map_len(i)];
            let (of, against) = (&of.0[i], &against.0[i]);
            rescale::<T>(isa, dz, g, length, start, of, against, arch.trunk_len(i));
            if i > 0 {
                start -= arch.dilation(i);
                let (shape, weights) = (self.shape(i), &weights.dilated[i - 1]);
                dilated::backward(isa, &shape, weights, dz, None, g, length, start, scratch);
            }
        }
        let (taps, width) = (&weights.first_transposed, arch.first_kernel);
        first_conv::input_gradient(isa, multipliers, dz, taps, width, first_taps);
    }

    /// Gradient of the last map by both heads, in `g`; returns the row where that map starts. Empty
    /// `by_logits` are zeros.
    fn seed(
        &self,
        isa: Isa,
        by_logits: &[T],
        by_logcounts: f64,
        buffers: &mut Buffers<T>,
    ) -> usize {
        let (arch, weights) = (&self.arch, &self.weights);
        let (last, length) = (arch.n_dilation_layers, arch.trunk_len(0));
        let Buffers { row_offsets, backward, .. } = buffers;
        let Backward { g, padded, .. } = backward.as_mut().expect(NO_BACKWARD);
        let start = (1..=last).map(|i| arch.dilation(i)).sum();

        // Counts head: the same value at every position of the last map, nothing outside.
        let last_length = arch.trunk_len(last);
        let by_position = T::from_f64(by_logcounts / last_length as f64);
        spread::<T>(isa, g, &weights.counts, by_position, length, start, last_length);

        // Profile head: a product with the Toeplitz matrix of `by_logits`.
        if by_logits.is_empty() {
            return start;
        }
        let width = arch.profile_kernel;
        padded[width - 1..][..arch.outputlen].copy_from_slice(by_logits);
        Product {
            m: arch.outputlen + width - 1,
            k: width,
            panels: panels(arch.filters),
            a: padded,
            a_outer: LANES,
            b: &weights.profile_reversed,
            b_panel: width * LANES,
            out: g,
            out_panel: length * LANES,
            rows: row_offsets,
            at: (start + arch.profile_crop()) * LANES,
            second: Second::None,
            store: false,
        }
        .run::<1, 1>(isa);
        start
    }

    /// Gradients of the heads' weights, after `seed`.
    fn head_gradients(
        &self,
        isa: Isa,
        by_logits: &[T],
        by_logcounts: f64,
        buffers: &Buffers<T>,
        gradient: &mut PackedGradient<T>,
    ) {
        let arch = &self.arch;
        let Buffers { maps, pooled, row_offsets, backward, .. } = buffers;
        gradient.scalars[1] += T::from_f64(by_logcounts);
        let sums = gradient.counts.iter_mut().zip(gradient.features.iter_mut());
        for ((gradient, features), &x) in sums.zip(pooled.iter()) {
            *gradient += T::from_f64(by_logcounts * x.to_f64());
            *features += x;
        }
        gradient.scalars[0] += T::from_f64(by_logits.iter().map(|g| g.to_f64()).sum());
        let (last, width) = (arch.n_dilation_layers, arch.profile_kernel);
        Product {
            m: width,
            k: arch.outputlen + width - 1,
            panels: panels(arch.filters),
            a: &backward.as_ref().expect(NO_BACKWARD).padded,
            a_outer: LANES,
            b: &maps[last][arch.profile_crop() * LANES..],
            b_panel: arch.trunk_len(last) * LANES,
            out: &mut gradient.profile_reversed,
            out_panel: width * LANES,
            rows: &row_offsets[..width],
            at: 0,
            second: Second::None,
            store: false,
        }
        .run::<1, 1>(isa);
    }

    /// Moves the gradients of ua and ub, summed over examples, into `gradient`.
    pub fn fold_mixed(&self, isa: Isa, buffers: &mut Buffers<T>, gradient: &mut PackedGradient<T>) {
        if let Some(Backward { mixed, .. }) = &mut buffers.backward {
            for (layer, mixed) in mixed.iter_mut().enumerate() {
                gradient.fold_mixed(isa, layer, mixed);
                mixed.iter_mut().for_each(|m| m.fill(T::ZERO));
            }
        }
    }
}

const NO_BACKWARD: &str = "buffers for forward passes were taken for a pass back";

vectorised! {
    /// `g[t] = weights * scale` for t in start..start+n, 0 elsewhere.
    fn spread(g: &mut [T], weights: &[T], scale: T, length: usize, start: usize, n: usize) {
        for (g, weights) in rows_mut(g).chunks_exact_mut(length).zip(rows(weights)) {
            let value = weights.map(|weight| weight * scale);
            g.fill([T::ZERO; LANES]);
            g[start..start + n].fill(value);
        }
    }
}

vectorised! {
    /// `dz[t] = g[start + t]` where the mask is set, else 0; adds the sums over t to `bias`.
    fn through_relu(
        dz: &mut [T],
        bias: &mut [T],
        g: &[T],
        g_length: usize,
        start: usize,
        mask: &[u8],
        length: usize,
    ) {
        let panels = rows_mut(dz).chunks_exact_mut(length).zip(rows(mask).chunks_exact(length));
        let g = rows(g).chunks_exact(g_length);
        for (((dz, mask), g), bias) in panels.zip(g).zip(rows_mut(bias)) {
            let g = &g[start..start + length];
            for ((dz, mask), g) in
                dz.chunks_mut(PARTIAL).zip(mask.chunks(PARTIAL)).zip(g.chunks(PARTIAL))
            {
                let mut partial = [T::ZERO; LANES];
                for ((dz, mask), g) in dz.iter_mut().zip(mask).zip(g) {
                    for c in 0..LANES {
                        dz[c] = g[c].keep(mask[c]);
                    }
                    for c in 0..LANES {
                        partial[c] += dz[c];
                    }
                }
                for c in 0..LANES {
                    bias[c] += partial[c];
                }
            }
        }
    }
}

/// Sums of sequence and reference closer than this take the derivative at the sequence's instead
/// of a quotient. Source: the official explainer.
const NEAR: f64 = 1e-6;

vectorised! {
    /// `dz[t] = g[start + t] * (relu(a) - relu(b)) / (a - b)` for a, b = of[t], against[t]; the
    /// ReLU's derivative at a where the two are nearly equal.
    fn rescale(
        dz: &mut [T],
        g: &[T],
        g_length: usize,
        start: usize,
        of: &[T],
        against: &[T],
        length: usize,
    ) {
        let near = T::from_f64(NEAR);
        let sums = rows(of).chunks_exact(length).zip(rows(against).chunks_exact(length));
        let panels = rows_mut(dz).chunks_exact_mut(length).zip(rows(g).chunks_exact(g_length));
        for ((dz, g), (of, against)) in panels.zip(sums) {
            let g = &g[start..start + length];
            for (((dz, g), a), b) in dz.iter_mut().zip(g).zip(of).zip(against) {
                for c in 0..LANES {
                    let change = a[c] - b[c];
                    let is_near = change < near && -change < near;
                    let above = if a[c] > T::ZERO { T::ONE } else { T::ZERO };
                    let quotient = (relu(a[c]) - relu(b[c])).div(change);
                    dz[c] = g[c] * if is_near { above } else { quotient };
                }
            }
        }
    }
}
