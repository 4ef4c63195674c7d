//! One BPNet branch on one example: forward, and backward with what forward kept.

use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::dilated::{self, Scratch, Shape};
use super::first_conv;
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::{MIXED, PackedGradient, PackedWeights};
use crate::model::Architecture;

/// A network's shape and its packed weights.
pub struct Branch<T> {
    pub arch: Architecture,
    pub weights: PackedWeights<T>,
    /// dilated layers take positions two by two
    pub pairs: bool,
}

/// What one worker needs to run one example; kept from example to example.
pub struct Buffers<T> {
    /// Feature maps `[panels][trunk_len(i)][16]`: all of them, or two in turn when nothing is
    /// kept for backward.
    maps: Vec<Aligned<T>>,
    /// ReLU masks of the dilated layers; empty when nothing is kept.
    masks: Vec<Vec<u8>>,
    scratch: Scratch<T>,
    /// `[tap panel][positions][16]`: every tap's product at every position
    tap_sums: Aligned<T>,
    /// mean of the last map over its positions
    pooled: Aligned<T>,
    /// row offsets 0, 16, 32, ...
    row_offsets: Vec<u32>,
    /// [outputlen], set by `forward`
    pub logits: Vec<T>,
    backward: Option<Backward<T>>,
}

/// What only training needs.
struct Backward<T> {
    /// Gradient of the current map, in the coordinates of map 0: `[panels][trunk_len(0)][16]`.
    /// Map i starts at the sum of the dilations up to i, so the cropped residual is the same
    /// memory and the gradient flows down in place.
    g: Aligned<T>,
    /// gradient before the ReLU, `[panels][trunk_len(i)][16]`
    dz: Aligned<T>,
    /// gradient of the logits with a margin of zeros on either side
    padded: Vec<T>,
    /// gradients of ua and ub of each dilated layer
    mixed: Vec<Vec<Aligned<T>>>,
}

impl<T: Scalar> Buffers<T> {
    pub fn new(branch: &Branch<T>, trained: bool) -> Self {
        let arch = &branch.arch;
        let n = arch.n_dilation_layers;
        let channels = panels(arch.filters) * LANES;
        let map = |i: usize| Aligned::zeros(channels * arch.trunk_len(i));
        let positions = arch.outputlen + arch.profile_kernel - 1;
        let backward = trained.then(|| Backward {
            g: map(0),
            dz: map(0),
            padded: vec![T::ZERO; arch.outputlen + 2 * (arch.profile_kernel - 1)],
            mixed: (0..n)
                .map(|_| {
                    let matrices = if branch.pairs { MIXED } else { 0 };
                    (0..matrices).map(|_| Aligned::zeros(channels * channels)).collect()
                })
                .collect(),
        });
        Self {
            maps: if trained { (0..=n).map(map).collect() } else { vec![map(0), map(0)] },
            masks: if trained {
                (1..=n).map(|i| vec![0; channels * arch.trunk_len(i)]).collect()
            } else {
                Vec::new()
            },
            scratch: Scratch::new(arch.filters, trained),
            tap_sums: Aligned::zeros(panels(arch.profile_kernel) * LANES * positions),
            pooled: Aligned::zeros(channels),
            row_offsets: (0..positions).map(|r| (r * LANES) as u32).collect(),
            logits: vec![T::ZERO; arch.outputlen],
            backward,
        }
    }

    fn map_index(&self, i: usize) -> usize {
        if self.backward.is_some() { i } else { i % 2 }
    }
}

impl<T: Scalar> Branch<T> {
    fn shape(&self, i: usize) -> Shape {
        Shape {
            filters: self.arch.filters,
            dilation: self.arch.dilation(i),
            length_in: self.arch.trunk_len(i - 1),
            pairs: self.pairs,
        }
    }

    fn map_len(&self, i: usize) -> usize {
        panels(self.arch.filters) * LANES * self.arch.trunk_len(i)
    }

    /// Runs the branch on `codes` (inputlen of 0..=4): logits into `buffers`, returns logcounts.
    pub fn forward(&self, isa: Isa, codes: &[u8], buffers: &mut Buffers<T>) -> f64 {
        let (arch, weights) = (&self.arch, &self.weights);
        let map = &mut buffers.maps[0][..self.map_len(0)];
        first_conv::forward::<T>(
            isa,
            map,
            codes,
            &weights.first,
            &weights.first_bias,
            arch.first_kernel,
        );
        for i in 1..=arch.n_dilation_layers {
            let (from, to) = (buffers.map_index(i - 1), buffers.map_index(i));
            let mut y = std::mem::take(&mut buffers.maps[to]);
            dilated::forward(
                isa,
                &self.shape(i),
                &weights.dilated[i - 1],
                &buffers.maps[from][..self.map_len(i - 1)],
                &mut y[..self.map_len(i)],
                buffers.masks.get_mut(i - 1).map_or(&mut [], |mask| mask),
                &mut buffers.scratch,
            );
            buffers.maps[to] = y;
        }
        self.profile_head(isa, buffers);
        self.counts_head(isa, buffers)
    }

    /// `logits[t] = b + sum_k x[crop + t + k] . w_k`: one product gives every tap at every
    /// position, of which the diagonals are added up.
    fn profile_head(&self, isa: Isa, buffers: &mut Buffers<T>) {
        let (arch, weights) = (&self.arch, &self.weights);
        let last = arch.n_dilation_layers;
        let channels = panels(arch.filters) * LANES;
        let positions = arch.outputlen + arch.profile_kernel - 1;
        let x = &buffers.maps[buffers.map_index(last)][..self.map_len(last)];
        Product {
            m: positions,
            k: channels,
            panels: panels(arch.profile_kernel),
            a: &x[arch.profile_crop() * LANES..],
            a_outer: arch.trunk_len(last) * LANES,
            b: &weights.profile,
            b_panel: channels * LANES,
            out: &mut buffers.tap_sums,
            out_panel: positions * LANES,
            rows: &buffers.row_offsets,
            at: 0,
            second: Second::None,
            store: true,
        }
        .run::<16, 1>(isa);
        let sums = rows(&buffers.tap_sums);
        buffers.logits.fill(weights.profile_bias);
        for k in 0..arch.profile_kernel {
            let diagonal = &sums[k / LANES * positions + k..];
            for (logit, row) in buffers.logits.iter_mut().zip(diagonal) {
                *logit += row[k % LANES];
            }
        }
    }

    /// Mean over all positions, then the dense layer.
    fn counts_head(&self, isa: Isa, buffers: &mut Buffers<T>) -> f64 {
        let last = self.arch.n_dilation_layers;
        let length = self.arch.trunk_len(last);
        let x = &buffers.maps[buffers.map_index(last)][..self.map_len(last)];
        position_means::<T>(isa, &mut buffers.pooled, x, length);
        let terms = buffers.pooled.iter().zip(self.weights.counts.iter());
        let sum: f64 = terms.map(|(x, w)| x.to_f64() * w.to_f64()).sum();
        sum + self.weights.counts_bias.to_f64()
    }

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
        let (arch, weights) = (&self.arch, &self.weights);
        let np = panels(arch.filters);
        let (last, length) = (arch.n_dilation_layers, arch.trunk_len(0));
        let Buffers { maps, masks, scratch, pooled, row_offsets, backward, .. } = buffers;
        let Some(Backward { g, dz, padded, mixed }) = backward else {
            unreachable!("backward needs buffers made for training");
        };
        let mut start: usize = (1..=last).map(|i| arch.dilation(i)).sum();

        // Counts head: the same value at every position of the last map, nothing outside.
        gradient.scalars[1] += T::from_f64(by_logcounts);
        for (gradient, x) in gradient.counts.iter_mut().zip(pooled.iter()) {
            *gradient += T::from_f64(by_logcounts * x.to_f64());
        }
        let last_length = arch.trunk_len(last);
        let by_position = T::from_f64(by_logcounts / last_length as f64);
        spread::<T>(isa, g, &weights.counts, by_position, length, start, last_length);

        // Profile head, both gradients as products with the Toeplitz matrix of `by_logits`.
        let (width, crop) = (arch.profile_kernel, arch.profile_crop());
        let positions = arch.outputlen + width - 1;
        padded[width - 1..][..arch.outputlen].copy_from_slice(by_logits);
        gradient.scalars[0] += T::from_f64(by_logits.iter().map(|g| g.to_f64()).sum());
        Product {
            m: width,
            k: positions,
            panels: np,
            a: padded,
            a_outer: LANES,
            b: &maps[last][crop * LANES..],
            b_panel: last_length * LANES,
            out: &mut gradient.profile_reversed,
            out_panel: width * LANES,
            rows: &row_offsets[..width],
            at: 0,
            second: Second::None,
            store: false,
        }
        .run::<1, 1>(isa);
        Product {
            m: positions,
            k: width,
            panels: np,
            a: padded,
            a_outer: LANES,
            b: &weights.profile_reversed,
            b_panel: width * LANES,
            out: g,
            out_panel: length * LANES,
            rows: row_offsets,
            at: (start + crop) * LANES,
            second: Second::None,
            store: false,
        }
        .run::<1, 1>(isa);

        for i in (1..=last).rev() {
            let dz = &mut dz[..self.map_len(i)];
            let bias = &mut gradient.dilated_bias[i - 1];
            through_relu::<T>(isa, dz, bias, g, length, start, &masks[i - 1], arch.trunk_len(i));
            start -= arch.dilation(i);
            dilated::backward(
                isa,
                &self.shape(i),
                &weights.dilated[i - 1],
                &maps[i - 1],
                dz,
                &mut gradient.dilated[i - 1],
                &mut mixed[i - 1],
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

/// Positions summed in a row before the sums are added up: keeps f32 sums of thousands of terms
/// within a few rounding errors.
const PARTIAL: usize = 32;

vectorised! {
    fn position_means(to: &mut [T], x: &[T], length: usize) {
        let scale = T::from_f64(1.0 / length as f64);
        for (to, x) in rows_mut(to).iter_mut().zip(rows(x).chunks_exact(length)) {
            let mut sum = [T::ZERO; LANES];
            for x in x.chunks(PARTIAL) {
                let mut partial = [T::ZERO; LANES];
                for x in x {
                    for c in 0..LANES {
                        partial[c] += x[c];
                    }
                }
                for c in 0..LANES {
                    sum[c] += partial[c];
                }
            }
            for c in 0..LANES {
                to[c] = sum[c] * scale;
            }
        }
    }
}

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
