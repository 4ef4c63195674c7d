//! The definition: forward, losses and backward of the whole model in plain f64 loops.
//!
//! ```text
//! codes [inputlen]
//!   -> X_0 = relu(conv21)                    one-hot bases, `N` is no base
//!   -> X_i = relu(conv3, dilation 2^i) + X_(i-1), cropped        i = 1 .. n
//!   -> logits [outputlen] = conv75 of X_n, cropped
//!   -> logcounts = dense of the mean of X_n over positions
//! main and frozen bias branch: logits add, logcounts = ln(e^main + e^bias)
//! loss = multinomial NLL of the profile + weight * (logcounts - ln(1 + total))^2
//! ```
//!
//! All convolutions are 'valid'. Maps are `[position][filter]`, kernels `[width][in][out]` as Keras has
//! them. Source: official `bpnet_model`, `chrombpnet_with_bias_model`, `multinomial_nll`.
//!
//! The CPU engine, the kernels and the self-test are held to this file. For kernels the decisions of the
//! ReLUs may be given from outside: in 16-bit or TF32 numbers a unit near zero may fall on the other
//! side, which is no error but moves gradients by more than the rounding of a product does. With the same
//! decisions on both sides the network is a smooth function, and what differs is rounding alone.

use rayon::prelude::*;

use super::arch::{BASES, DILATED_KERNEL};
use super::{Architecture, Branches, Network};

/// One branch.
#[derive(Clone, Debug)]
pub struct Reference {
    pub arch: Architecture,
    /// In the order of `Architecture::parameter_shapes`.
    pub weights: Vec<Vec<f64>>,
}

/// Where the ReLUs of X_0 .. X_n of one example let through, each `[position][filter]`.
pub type Masks = Vec<Vec<bool>>;

/// What one example leaves for its backward pass.
#[derive(Clone, Debug)]
pub struct Pass {
    /// X_0 .. X_n
    maps: Vec<Vec<f64>>,
    masks: Masks,
    /// `[outputlen]`
    pub logits: Vec<f64>,
    pub logcounts: f64,
    /// Units whose given decision is not that of their own sign, and all units.
    pub flipped: (usize, usize),
}

impl Reference {
    pub fn new(network: &Network) -> Self {
        let values = |data: &[f32]| data.iter().map(|&v| f64::from(v)).collect();
        let weights = network.parameters.tensors.iter().map(|t| values(&t.data)).collect();
        Self { arch: network.arch, weights }
    }

    /// `codes` are `[inputlen]`, 0..=3 for ACGT, anything else no base. ReLUs decide by themselves
    /// without `masks`.
    pub fn forward(&self, codes: &[u8], masks: Option<&Masks>) -> Pass {
        let (arch, w) = (&self.arch, &self.weights);
        let (c, n) = (arch.filters, arch.n_dilation_layers);
        let mut flipped = (0, 0);
        let mut own: Masks = Vec::new();
        let mut maps: Vec<Vec<f64>> = Vec::new();
        for i in 0..=n {
            let length = arch.trunk_len(i);
            let mut z = vec![0.0; length * c];
            z.par_chunks_exact_mut(c).enumerate().for_each(|(t, z)| {
                if i == 0 {
                    z.copy_from_slice(&w[1]);
                    for (k, &code) in codes[t..t + arch.first_kernel].iter().enumerate() {
                        if code < 4 {
                            let row = (k * BASES + usize::from(code)) * c;
                            z.iter_mut().zip(&w[0][row..row + c]).for_each(|(z, w)| *z += w);
                        }
                    }
                    return;
                }
                // z[t,o] = b[o] + sum_k sum_i x[t + k d, i] w[k,i,o]
                z.copy_from_slice(&w[2 * i + 1]);
                for k in 0..DILATED_KERNEL {
                    let x = &maps[i - 1][(t + k * arch.dilation(i)) * c..][..c];
                    for (x, w) in x.iter().zip(w[2 * i][k * c * c..].chunks_exact(c)) {
                        z.iter_mut().zip(w).for_each(|(z, w)| *z += x * w);
                    }
                }
            });
            let mask = match masks {
                Some(given) => given[i].clone(),
                None => z.iter().map(|&z| z > 0.0).collect(),
            };
            flipped.0 += z.iter().zip(&mask).filter(|(z, m)| (**z > 0.0) != **m).count();
            flipped.1 += z.len();
            z.iter_mut().zip(&mask).for_each(|(z, &m)| *z = if m { *z } else { 0.0 });
            if i > 0 {
                // + the cropped residual x[t + d, o]
                let x = &maps[i - 1][arch.dilation(i) * c..];
                z.iter_mut().zip(x).for_each(|(z, x)| *z += x);
            }
            maps.push(z);
            own.push(mask);
        }
        let x = &maps[n];
        let at = 2 + 2 * n;
        let logits = (0..arch.outputlen)
            .map(|p| {
                let from = (arch.profile_crop() + p) * c;
                let rows = &x[from..from + arch.profile_kernel * c];
                w[at + 1][0] + rows.iter().zip(&w[at]).map(|(x, w)| x * w).sum::<f64>()
            })
            .collect();
        let pooled = x.chunks_exact(c).map(|x| dot(x, &w[at + 2])).sum::<f64>();
        let logcounts = w[at + 3][0] + pooled / arch.trunk_len(n) as f64;
        Pass { maps, masks: own, logits, logcounts, flipped }
    }

    /// Adds the gradient of one example to `gradient`, which is laid out as the weights.
    pub fn backward(
        &self,
        codes: &[u8],
        pass: &Pass,
        by_logits: &[f64],
        by_logcounts: f64,
        gradient: &mut [Vec<f64>],
    ) {
        let (arch, w) = (&self.arch, &self.weights);
        let (c, n) = (arch.filters, arch.n_dilation_layers);
        let at = 2 + 2 * n;
        let length = arch.trunk_len(n);
        let mut g = vec![0.0; length * c];
        for (g, x) in g.chunks_exact_mut(c).zip(pass.maps[n].chunks_exact(c)) {
            let share = by_logcounts / length as f64;
            for o in 0..c {
                g[o] += share * w[at + 2][o];
                gradient[at + 2][o] += share * x[o];
            }
        }
        gradient[at + 3][0] += by_logcounts;
        for (p, &d) in by_logits.iter().enumerate() {
            gradient[at + 1][0] += d;
            let from = (arch.profile_crop() + p) * c;
            for j in 0..arch.profile_kernel * c {
                g[from + j] += d * w[at][j];
                gradient[at][j] += d * pass.maps[n][from + j];
            }
        }
        for i in (1..=n).rev() {
            let d = arch.dilation(i);
            let x = &pass.maps[i - 1];
            let dz: Vec<f64> =
                g.iter().zip(&pass.masks[i]).map(|(&g, &m)| if m { g } else { 0.0 }).collect();
            let length = arch.trunk_len(i);
            // below[s,ci] = g[s - d,ci] + sum_k sum_o dz[s - k d,o] w[k,ci,o]
            let mut below = vec![0.0; x.len()];
            below[d * c..][..g.len()].copy_from_slice(&g);
            below.par_chunks_exact_mut(c).enumerate().for_each(|(s, below)| {
                for k in (0..DILATED_KERNEL).filter(|k| k * d <= s && s - k * d < length) {
                    let dz = &dz[(s - k * d) * c..][..c];
                    let weights = w[2 * i][k * c * c..].chunks_exact(c);
                    below.iter_mut().zip(weights).for_each(|(sum, w)| *sum += dot(dz, w));
                }
            });
            for dz in dz.chunks_exact(c) {
                gradient[2 * i + 1].iter_mut().zip(dz).for_each(|(b, dz)| *b += dz);
            }
            gradient[2 * i].par_chunks_exact_mut(c).enumerate().for_each(|(row, sums)| {
                let (k, ci) = (row / c, row % c);
                for (t, dz) in dz.chunks_exact(c).enumerate() {
                    let x = x[(t + k * d) * c + ci];
                    if x != 0.0 {
                        sums.iter_mut().zip(dz).for_each(|(sum, dz)| *sum += x * dz);
                    }
                }
            });
            g = below;
        }
        for (t, (g, mask)) in g.chunks_exact(c).zip(pass.masks[0].chunks_exact(c)).enumerate() {
            for o in (0..c).filter(|&o| mask[o]) {
                gradient[1][o] += g[o];
                for (k, &code) in codes[t..t + arch.first_kernel].iter().enumerate() {
                    if code < 4 {
                        gradient[0][(k * BASES + usize::from(code)) * c + o] += g[o];
                    }
                }
            }
        }
    }

    /// A gradient of zeros.
    pub fn zeros(&self) -> Vec<Vec<f64>> {
        self.weights.iter().map(|w| vec![0.0; w.len()]).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `-ln` of the multinomial probability of `counts`, combinatorial term included, and its gradient by
/// the logits: `n softmax - counts`, n being the sum of the counts. Both `[outputlen]`.
pub fn profile_loss(logits: &[f64], counts: &[f32]) -> (f64, Vec<f64>) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = largest + logits.iter().map(|l| (l - largest).exp()).sum::<f64>().ln();
    let n: f64 = counts.iter().map(|&count| f64::from(count)).sum();
    let (mut nll, mut gradient) = (-libm::lgamma(n + 1.0), Vec::new());
    for (logit, &count) in logits.iter().zip(counts) {
        let (count, log_p) = (f64::from(count), logit - log_sum);
        // A count of zero adds nothing even where the logit is infinite, as tfp has it.
        if count != 0.0 {
            nll += libm::lgamma(count + 1.0) - count * log_p;
        }
        gradient.push(n * log_p.exp() - count);
    }
    // Without counts nothing was added, but a broken model must show.
    (if log_sum.is_nan() { f64::NAN } else { nll }, gradient)
}

/// `(logcounts - ln(1 + total))^2`, and its derivative.
pub fn counts_loss(logcounts: f64, total: f64) -> (f64, f64) {
    let difference = logcounts - total.ln_1p();
    (difference * difference, 2.0 * difference)
}

/// Log counts of both branches together, `ln(e^main + e^bias)`, and the derivative by `main`.
pub fn combined_logcounts(main: f64, bias: f64) -> (f64, f64) {
    let largest = main.max(bias);
    let parts = [main, bias].map(|part| (part - largest).exp());
    let sum = parts[0] + parts[1];
    (largest + sum.ln(), parts[0] / sum)
}

/// What a whole step computes.
#[derive(Clone, Debug)]
pub struct Step {
    /// Losses, means over the batch.
    pub profile: f64,
    pub counts: f64,
    /// `[examples][outputlen]`, both branches together.
    pub logits: Vec<f64>,
    /// `[examples]`, both branches together.
    pub logcounts: Vec<f64>,
    /// The gradient of the main branch, laid out as its weights.
    pub gradient: Vec<Vec<f64>>,
    /// Units whose given decision is not that of their own sign, and all units.
    pub flipped: (usize, usize),
}

impl Step {
    /// The loss that is trained on.
    pub fn total(&self, counts_loss_weight: f64) -> f64 {
        self.profile + counts_loss_weight * self.counts
    }
}

/// One example of a batch.
#[derive(Clone, Debug)]
pub struct Example {
    /// `[inputlen]`
    pub codes: Vec<u8>,
    /// `[outputlen]`
    pub counts: Vec<f32>,
    /// Decisions of the main branch's ReLUs; its own where there are none.
    pub masks: Option<Masks>,
}

/// What a step computes with the branches of a model.
pub fn step_of(branches: &Branches, counts_loss_weight: f64, examples: &[Example]) -> Step {
    let bias = branches.bias.as_ref().map(Reference::new);
    step(&Reference::new(&branches.main), bias.as_ref(), counts_loss_weight, examples)
}

/// Losses and the gradient of `profile + counts_loss_weight * counts`, means over the batch. No
/// gradient flows into the bias branch.
pub fn step(
    main: &Reference,
    bias: Option<&Reference>,
    counts_loss_weight: f64,
    examples: &[Example],
) -> Step {
    let scale = 1.0 / examples.len() as f64;
    let mut found = Step {
        profile: 0.0,
        counts: 0.0,
        logits: Vec::new(),
        logcounts: Vec::new(),
        gradient: main.zeros(),
        flipped: (0, 0),
    };
    for example in examples {
        let mut pass = main.forward(&example.codes, example.masks.as_ref());
        let (mut logcounts, mut share) = (pass.logcounts, 1.0);
        if let Some(bias) = bias {
            let other = bias.forward(&example.codes, None);
            pass.logits.iter_mut().zip(&other.logits).for_each(|(sum, l)| *sum += l);
            (logcounts, share) = combined_logcounts(logcounts, other.logcounts);
        }
        let (profile, mut by_logits) = profile_loss(&pass.logits, &example.counts);
        by_logits.iter_mut().for_each(|g| *g *= scale);
        found.profile += scale * profile;
        let total: f64 = example.counts.iter().map(|&n| f64::from(n)).sum();
        let (counts, by_logcounts) = counts_loss(logcounts, total);
        found.counts += scale * counts;
        let by_logcounts = by_logcounts * scale * counts_loss_weight * share;
        main.backward(&example.codes, &pass, &by_logits, by_logcounts, &mut found.gradient);
        found.logits.extend(&pass.logits);
        found.logcounts.push(logcounts);
        found.flipped.0 += pass.flipped.0;
        found.flipped.1 += pass.flipped.1;
    }
    found
}
