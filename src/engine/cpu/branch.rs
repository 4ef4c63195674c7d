//! One BPNet branch on one example: forward, and what it keeps for the passes back (`backward`).

use std::sync::OnceLock;

use super::backward::Backward;
use super::blocked::{Aligned, LANES, panels, rows, rows_mut};
use super::dilated::{self, Keep, Scratch};
use super::filtering::{self, PointMatrices};
use super::first_conv;
use super::pairs::Shape;
use super::product::{Product, Second};
use super::scalar::Scalar;
use super::simd::{Isa, vectorised};
use super::weights::PackedWeights;
use crate::model::Architecture;

/// A network's shape and its packed weights.
pub struct Branch<T> {
    pub arch: Architecture,
    pub weights: PackedWeights<T>,
    /// dilated layers take positions two by two; predictions four by four
    pub pairs: bool,
    /// of each dilated layer, for predictions; made by the first of them
    points: OnceLock<Vec<PointMatrices<T>>>,
}

/// What one worker needs to run one example; kept from example to example.
pub struct Buffers<T> {
    /// Feature maps `[panels][trunk_len(i)][16]`: all of them, or two in turn when nothing is
    /// kept for backward.
    pub(super) maps: Vec<Aligned<T>>,
    /// ReLU masks of the dilated layers; empty when nothing is kept.
    pub(super) masks: Vec<Vec<u8>>,
    pub(super) scratch: Scratch<T>,
    filtering: filtering::Scratch<T>,
    /// `[tap panel][positions][16]`: every tap's product at every position
    tap_sums: Aligned<T>,
    /// mean of the last map over its positions
    pub(super) pooled: Aligned<T>,
    /// row offsets 0, 16, 32, ...
    pub(super) row_offsets: Vec<u32>,
    /// [outputlen], set by `forward`
    pub logits: Vec<T>,
    pub(super) backward: Option<Backward<T>>,
}

/// What the buffers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forward passes.
    Predict,
    /// Passes back to the input, with sums that are kept elsewhere (`Sums`).
    Explain,
    /// Passes back to the weights.
    Train,
}

/// The sums before the ReLU of every layer of one sequence: `[panels][trunk_len(i)][16]`, 0 being
/// the first convolution's.
pub struct Sums<T>(pub Vec<Aligned<T>>);

impl<T: Scalar> Sums<T> {
    pub fn new(branch: &Branch<T>) -> Self {
        let layers = 0..=branch.arch.n_dilation_layers;
        Self(layers.map(|i| Aligned::zeros(branch.map_len(i))).collect())
    }
}

impl<T: Scalar> Buffers<T> {
    pub fn new(branch: &Branch<T>, purpose: Purpose) -> Self {
        let arch = &branch.arch;
        let n = arch.n_dilation_layers;
        let trained = purpose == Purpose::Train;
        let map = |i: usize| Aligned::zeros(branch.map_len(i));
        let positions = arch.outputlen + arch.profile_kernel - 1;
        Self {
            maps: if trained { (0..=n).map(map).collect() } else { vec![map(0), map(0)] },
            masks: if trained {
                (1..=n).map(|i| vec![0; branch.map_len(i)]).collect()
            } else {
                Vec::new()
            },
            scratch: Scratch::new(arch.filters, purpose != Purpose::Predict),
            filtering: filtering::Scratch::default(),
            tap_sums: Aligned::zeros(panels(arch.profile_kernel) * LANES * positions),
            pooled: Aligned::zeros(panels(arch.filters) * LANES),
            row_offsets: (0..positions).map(|r| (r * LANES) as u32).collect(),
            logits: vec![T::ZERO; arch.outputlen],
            backward: (purpose != Purpose::Predict).then(|| Backward::new(branch, trained)),
        }
    }

    /// Where map `i` lies: at its own place, or in one of two in turn.
    fn map_index(&self, i: usize) -> usize {
        i % self.maps.len()
    }
}

impl<T: Scalar> Branch<T> {
    /// A network of zeros; `trained` ones have what the passes back need.
    pub fn new(arch: Architecture, trained: bool, pairs: bool) -> Self {
        let weights = PackedWeights::new(&arch, trained, pairs);
        Self { arch, weights, pairs, points: OnceLock::new() }
    }

    /// Takes new parameters (`Architecture::parameter_shapes`).
    pub fn repack(&mut self, parameters: &[Vec<T>]) {
        self.weights.pack(&self.arch, parameters);
        self.points.take();
    }

    pub(super) fn shape(&self, i: usize) -> Shape {
        Shape {
            filters: self.arch.filters,
            dilation: self.arch.dilation(i),
            length_in: self.arch.trunk_len(i - 1),
            pairs: self.pairs,
        }
    }

    pub(super) fn map_len(&self, i: usize) -> usize {
        panels(self.arch.filters) * LANES * self.arch.trunk_len(i)
    }

    /// Runs the branch on `codes` (inputlen of 0..=4): logits into `buffers`, returns logcounts.
    pub fn forward(&self, isa: Isa, codes: &[u8], buffers: &mut Buffers<T>) -> f64 {
        self.forward_keeping(isa, codes, buffers, None)
    }

    /// Forward, with the sums before every ReLU kept in `sums`.
    pub fn forward_keeping(
        &self,
        isa: Isa,
        codes: &[u8],
        buffers: &mut Buffers<T>,
        mut sums: Option<&mut Sums<T>>,
    ) -> f64 {
        let first_sums = sums.as_deref_mut().map_or(&mut [][..], |sums| &mut sums.0[0]);
        self.first_layer(isa, codes, buffers, first_sums);
        for i in 1..=self.arch.n_dilation_layers {
            let (from, to) = (buffers.map_index(i - 1), buffers.map_index(i));
            let mut y = std::mem::take(&mut buffers.maps[to]);
            let keep = match (&mut sums, buffers.masks.get_mut(i - 1)) {
                (Some(sums), _) => Keep::Sums(&mut sums.0[i]),
                (None, Some(mask)) => Keep::Mask(mask),
                (None, None) => Keep::Nothing,
            };
            dilated::forward(
                isa,
                &self.shape(i),
                &self.weights.dilated[i - 1],
                &buffers.maps[from][..self.map_len(i - 1)],
                &mut y[..self.map_len(i)],
                keep,
                &mut buffers.scratch,
            );
            buffers.maps[to] = y;
        }
        self.profile_head(isa, buffers);
        self.counts_head(isa, buffers)
    }

    /// Forward, keeping nothing: by the algorithm of predictions, which rounds a little more.
    pub fn predict(&self, isa: Isa, codes: &[u8], buffers: &mut Buffers<T>) -> f64 {
        if !self.pairs {
            return self.forward(isa, codes, buffers);
        }
        let layers = &self.weights.dilated;
        // One after another: a thread that waits for others here could be handed a prediction.
        let points =
            self.points.get_or_init(|| layers.iter().map(filtering::point_matrices).collect());
        self.first_layer(isa, codes, buffers, &mut []);
        for (i, (weights, points)) in (1..).zip(layers.iter().zip(points)) {
            let (from, to) = (buffers.map_index(i - 1), buffers.map_index(i));
            let mut y = std::mem::take(&mut buffers.maps[to]);
            let x = &buffers.maps[from][..self.map_len(i - 1)];
            let (shape, y_used) = (self.shape(i), &mut y[..self.map_len(i)]);
            filtering::forward(isa, &shape, weights, points, x, y_used, &mut buffers.filtering);
            buffers.maps[to] = y;
        }
        self.profile_head(isa, buffers);
        self.counts_head(isa, buffers)
    }

    /// The first convolution, into map 0; its sums before the ReLU where `sums` has room.
    fn first_layer(&self, isa: Isa, codes: &[u8], buffers: &mut Buffers<T>, sums: &mut [T]) {
        let map = &mut buffers.maps[0][..self.map_len(0)];
        let PackedWeights { first, first_bias, .. } = &self.weights;
        first_conv::forward::<T>(isa, map, sums, codes, first, first_bias, self.arch.first_kernel);
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
}

/// Positions summed in a row before the sums are added up: keeps f32 sums of thousands of terms
/// within a few rounding errors.
pub(super) const PARTIAL: usize = 32;

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
