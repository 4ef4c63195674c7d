//! Every kernel on the chosen device, in whole steps and contribution scores at awkward and at real shapes, against f64.
//!
//! A step runs each of its kernels once or more, so a wrong one shows in a loss, an output, a gradient or an
//! update. The reference takes the device's ReLU decisions, so that only rounding is left.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::contributions;
use crate::batch::{Example, Windows};
use crate::engine::cpu::CpuEngineOf;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::gradients::Gradients;
use crate::engine::cuda::precision::Precision;
use crate::engine::cuda::trainer::CudaTrainer;
use crate::engine::{
    ComingPlans, CountsHead, LossScale, Optimizer, Predict, Predictions, Train, TrainSpec,
};
use crate::model::reference::{self, Masks};
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::store::{GenomePack, SignalPack, Tracks};

/// (inputlen, outputlen, filters, layers)
pub type Shape = (usize, usize, usize, usize);

/// A model and a batch.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub main: Shape,
    pub bias: Option<Shape>,
    pub examples: u32,
}

/// Padded channels, several column tiles, a crop, no dilated layer, one example, a wider bias branch.
pub const AWKWARD: [Case; 5] = [
    Case { main: (200, 40, 17, 2), bias: Some((200, 40, 5, 1)), examples: 3 },
    Case { main: (190, 30, 40, 3), bias: None, examples: 5 },
    Case { main: (114, 20, 4, 0), bias: None, examples: 2 },
    Case { main: (182, 60, 33, 3), bias: Some((182, 60, 64, 2)), examples: 4 },
    Case { main: (140, 10, 96, 1), bias: None, examples: 1 },
];

/// Filters that the Hopper core takes, at awkward lengths; a bias branch that takes it too, and one that cannot.
pub const HOPPER: [Case; 2] = [
    Case { main: (200, 40, 128, 3), bias: Some((200, 40, 32, 1)), examples: 3 },
    Case { main: (140, 30, 250, 2), bias: Some((140, 30, 128, 2)), examples: 2 },
];

/// The official models with few examples; then enough rows for the widest tiles of 512 and of 64 channels,
/// which training at batch 64 uses.
pub const REAL: [Case; 4] = [
    Case { main: (2114, 1000, 512, 8), bias: Some((2114, 1000, 128, 4)), examples: 2 },
    Case { main: (2114, 1000, 128, 4), bias: None, examples: 3 },
    Case { main: (2114, 1000, 512, 1), bias: None, examples: 5 },
    Case { main: (2114, 1000, 64, 1), bias: None, examples: 17 },
];

/// Relative L2 distance that a tensor may have.
///
/// f32 is a sum in another order (plain) or of products with 16 bits of mantissa (three bf16 parts); fp16 and
/// TF32 round operands to 11 bits, bf16 to 8. Every layer adds its share. int8's are 5e-3 of a layer's sums at most, and
/// few of them lie between an output and the sequence: 5.7e-3 seen.
pub fn tolerance(precision: Precision, layers: usize) -> f64 {
    let few_layers = match precision {
        Precision::Fp16 | Precision::Tf32 => 2e-3,
        Precision::Bf16 => 1e-2,
        // Products are good to 5e-6; through a step that came to 1.3e-5 at worst.
        Precision::F32 => 2e-5,
        Precision::Plain => 1e-5,
        Precision::Int8 => 2e-2,
    };
    few_layers * (layers as f64 / 4.0).max(1.0)
}

/// How far one tensor is off.
#[derive(Clone, Debug)]
pub struct Difference {
    pub tensor: String,
    /// relative L2
    pub distance: f64,
    pub cosine: f64,
    /// index, found, wanted
    pub worst: (usize, f64, f64),
    pub bound: f64,
    pub least_cosine: f64,
}

impl Difference {
    pub fn of(
        tensor: &str,
        found: impl Iterator<Item = f64>,
        wanted: impl Iterator<Item = f64>,
        bound: f64,
    ) -> Self {
        let (mut squares, mut dot, mut found_2, mut wanted_2) = (0.0, 0.0, 0.0f64, 0.0f64);
        let mut worst = (0, 0.0f64, 0.0f64);
        for (i, (f, w)) in found.zip(wanted).enumerate() {
            squares += (f - w) * (f - w);
            dot += f * w;
            found_2 += f * f;
            wanted_2 += w * w;
            // A NaN is the worst of all.
            if (f - w).abs() > (worst.1 - worst.2).abs() || (f - w).is_nan() {
                worst = (i, f, w);
            }
        }
        let both_zero = found_2 == 0.0 && wanted_2 == 0.0;
        let distance = if both_zero { 0.0 } else { (squares / wanted_2).sqrt() };
        let cosine = if both_zero { 1.0 } else { dot / (found_2 * wanted_2).sqrt() };
        let tensor = tensor.to_string();
        Self { tensor, distance, cosine, worst, bound, least_cosine: 0.9999 }
    }

    pub fn is_met(&self) -> bool {
        // false for NaN
        self.distance <= self.bound && self.cosine > self.least_cosine
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, found, wanted) = self.worst;
        write!(
            f,
            "{}: off by {:.1e} (at most {:.0e}), cosine {:.7}; worst element {index}: {found:e}, wanted {wanted:e}",
            self.tensor, self.distance, self.bound, self.cosine
        )
    }
}

/// What a case of the self-test came to.
#[derive(Clone, Debug)]
pub struct TestResult {
    pub case: Case,
    pub precision: Precision,
    pub differences: Vec<Difference>,
    /// ReLU units that decided otherwise than f64 would, of all.
    pub flipped: (usize, usize),
}

impl TestResult {
    pub fn is_met(&self) -> bool {
        // Rounding to 8 bits turns about one unit in a few hundred; a broken mask turns half of them.
        self.flipped.0 * 20 <= self.flipped.1 && self.differences.iter().all(Difference::is_met)
    }

    /// The difference that is furthest beyond, or nearest to, its bound.
    pub fn worst(&self) -> Option<&Difference> {
        let share = |d: &&Difference| if d.is_met() { d.distance / d.bound } else { f64::INFINITY };
        self.differences.iter().max_by(|a, b| share(a).total_cmp(&share(b)))
    }
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met() { "ok    " } else { "FAILED" };
        let shape = |(inputlen, outputlen, filters, layers): Shape| {
            format!("{inputlen}->{outputlen} {filters}x{layers}")
        };
        let Case { main, bias, examples } = self.case;
        write!(f, "{word} {:<9} {}", self.precision.name(), shape(main))?;
        if let Some(bias) = bias {
            write!(f, " + bias {}x{}", bias.2, bias.3)?;
        }
        let (flipped, all) = self.flipped;
        write!(f, ", batch {examples}")?;
        if all > 0 {
            write!(f, "; {flipped} of {all} ReLUs turned")?;
        }
        match self.worst() {
            Some(worst) => write!(f, "; worst of {}: {worst}", self.differences.len()),
            None => Ok(()),
        }
    }
}

/// Runs one case; `open` gives a fresh device.
pub fn run<D: Device>(
    case: Case,
    precision: Precision,
    open: &mut dyn FnMut() -> Result<D>,
) -> Result<TestResult> {
    let spec = TrainSpec {
        branches: Branches {
            main: network(case.main, 1)?,
            bias: case.bias.map(|shape| network(shape, 2)).transpose()?,
        },
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight: 2.5,
        counts_head: CountsHead::Centered,
    };
    let inputlen = spec.branches.main.arch.inputlen;
    let tracks = tracks(inputlen);
    let plan = plan(case.examples, inputlen);
    let mut engine = CudaTrainer::new(open()?, precision, spec.clone(), tracks.clone())?;
    let bound = tolerance(precision, spec.branches.main.arch.n_dilation_layers);
    if !precision.is_whole() {
        let differences =
            check_predictions(&mut engine, spec.branches, tracks, &plan, bound)?.into();
        return Ok(TestResult { case, precision, differences, flipped: (0, 0) });
    }
    let Step { mut differences, found, flipped } =
        check_step(&mut engine, &spec, &tracks, &plan, bound)
            .with_context(|| format!("{case:?} {precision}"))?;
    differences.extend(update(&mut engine, &spec, &plan, &found)?);
    differences.extend(kept_bias(&mut engine, precision, &plan)?);
    differences.extend(contributions::differences(case, precision, open)?);
    Ok(TestResult { case, precision, differences, flipped })
}

/// One batch on a device, held to the reference with the same ReLU decisions.
pub struct Step {
    /// How far losses, outputs and gradients are off.
    pub differences: Vec<Difference>,
    pub found: Gradients,
    /// ReLU units that decided otherwise than f64 would, of all.
    pub flipped: (usize, usize),
}

/// Losses, outputs and gradients of `plan`; no tensor may be off by more than `bound`.
pub fn check_step<D: Device>(
    engine: &mut CudaTrainer<D>,
    spec: &TrainSpec,
    tracks: &Tracks,
    plan: &[Example],
    bound: f64,
) -> Result<Step> {
    let mut found = engine.gradients(plan)?;
    // A dynamic loss scale comes down as in training.
    while let Some(scale) = engine.loss_scale().filter(|s| found.overflow && s.scale > 1.0) {
        engine.set_loss_scale(LossScale { scale: scale.scale / 2.0, clean_steps: 0 });
        found = engine.gradients(plan)?;
    }
    let masks = engine.masks()?;
    anyhow::ensure!(!found.overflow, "a gradient overflowed");
    let mut predicted = Predictions::default();
    engine.predict(plan, &mut predicted)?;

    let wanted = reference_step(spec, tracks, plan, masks);
    let (logits, logcounts) = (floats(&predicted.logits), floats(&predicted.logcounts));
    let mut differences = vec![
        scalar("profile loss", found.loss.profile, wanted.profile, bound),
        scalar("counts loss", found.loss.counts, wanted.counts, bound),
        Difference::of("logits", logits, wanted.logits.iter().copied(), bound),
        Difference::of("logcounts", logcounts, wanted.logcounts.iter().copied(), bound),
    ];
    for (tensor, wanted) in found.parameters.tensors.iter().zip(&wanted.gradient) {
        // The profile bias has no gradient (a softmax does not see a constant), only rounding noise.
        if tensor.name != "prof_out_precrop/bias" {
            let name = format!("gradient of {}", tensor.name);
            let wanted = wanted.iter().copied();
            differences.push(Difference::of(&name, floats(&tensor.data), wanted, bound));
        }
    }
    Ok(Step { differences, found, flipped: wanted.flipped })
}

/// Outputs alone, against the CPU engine in f64.
fn check_predictions<D: Device>(
    engine: &mut CudaTrainer<D>,
    branches: Branches,
    tracks: Tracks,
    plan: &[Example],
    bound: f64,
) -> Result<[Difference; 2]> {
    let (mut found, mut wanted) = (Predictions::default(), Predictions::default());
    engine.predict(plan, &mut found)?;
    CpuEngineOf::<f64>::new(branches, tracks)?.predict(plan, &mut wanted)?;
    let compare = |name: &str, found: &[f32], wanted: &[f32]| Difference {
        least_cosine: 1.0 - bound * bound,
        ..Difference::of(name, floats(found), floats(wanted), bound)
    };
    Ok([
        compare("logits", &found.logits, &wanted.logits),
        compare("logcounts", &found.logcounts, &wanted.logcounts),
    ])
}

/// One Adam step from zero moments moves a weight by rate * g' / (|g'| + 1e-7), g' = g sqrt(0.001). The counts head is
/// centered: `CountsHead`.
fn update<D: Device>(
    engine: &mut CudaTrainer<D>,
    spec: &TrainSpec,
    plan: &[Example],
    Gradients { parameters: gradient, features, .. }: &Gradients,
) -> Result<[Difference; 3]> {
    engine.train_step(plan)?;
    let after = engine.parameters()?;
    let rate = spec.optimizer.learning_rate() * (1.0f64 - 0.999).sqrt() / (1.0 - 0.9);
    let step = |g: f64| -rate * 0.1 * g / ((0.001 * g * g).sqrt() + 1e-7);
    let before = &spec.branches.main.parameters.tensors;
    let moves = |at: usize| -> Vec<f64> {
        floats(&after.tensors[at].data).zip(floats(&before[at].data)).map(|(a, b)| a - b).collect()
    };
    let (kernel, bias) = (before.len() - 2, before.len() - 1);
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for (at, tensor) in gradient.tensors[..kernel].iter().enumerate() {
        found.extend(moves(at));
        wanted.extend(floats(&tensor.data).map(step));
    }

    let (of_kernel, of_bias) = (moves(kernel), moves(bias)[0]);
    let by_bias = f64::from(gradient.tensors[bias].data[0]);
    // What a single example shares with itself is all of it.
    let centered = floats(&gradient.tensors[kernel].data)
        .zip(floats(features))
        .map(|(g, mean)| if plan.len() == 1 { 0.0 } else { step(g - mean * by_bias) });
    let shared: f64 = of_kernel.iter().zip(floats(features)).map(|(dw, mean)| dw * mean).sum();
    let bias_move = -CountsHead::bias_rate(spec.counts_loss_weight) * by_bias - shared;
    // A weight of size 1 is stored to 6e-8, its move of 1e-3 therefore to 6e-5.
    let bound = 2e-4;
    Ok([
        Difference::of("Adam's update", found.into_iter(), wanted.into_iter(), bound),
        // Where a centered gradient is almost nothing, the first step hangs on its rounding: seen 1.8e-3.
        Difference::of("update of the counts head", of_kernel.iter().copied(), centered, 5e-3),
        scalar("update of the counts head's bias", of_bias, bias_move, bound),
    ])
}

/// Kept outputs of the bias model against those of a step: logits of the same products in another order, within the
/// head's 2e-6 either way; log counts, for which a step takes bf16's dense weights in two parts, good to 2.8e-6 each.
fn kept_bias<D: Device>(
    engine: &mut CudaTrainer<D>,
    precision: Precision,
    plan: &[Example],
) -> Result<Vec<Difference>> {
    let has_bias = engine.workspace().is_some_and(|workspace| workspace.bias.is_some());
    if !has_bias {
        return Ok(Vec::new());
    }
    engine.evaluate(plan)?;
    let wanted = engine.bias_outputs(plan.len())?;
    // Each in a long window, in which it is neither the first nor the last; but for the last row, of which nobody told.
    let windows: Vec<Windows> = plan[..plan.len() - 1]
        .iter()
        .map(|e| Windows {
            contig: e.contig,
            first_start: e.start.saturating_sub(13),
            starts: 40,
            both_strands: true,
        })
        .collect();
    let (rows, batch_size) = (plan.len(), plan.len());
    engine.keep_bias(&ComingPlans { windows: &windows, others: 1, rows, batch_size })?;
    if !engine.keeps_bias() {
        return Ok(Vec::new()); // CBP_BIAS=step, or no room
    }
    engine.evaluate(plan)?;
    let found = engine.bias_outputs(plan.len())?;
    let of = |name: &str, found: &[f32], wanted: &[f32], bound| {
        Difference::of(name, floats(found), floats(wanted), bound)
    };
    let of_logcounts = if precision == Precision::Bf16 { 1e-5 } else { 4e-6 };
    Ok(vec![
        of("kept bias logits", &found.logits, &wanted.logits, 4e-6),
        of("kept bias logcounts", &found.logcounts, &wanted.logcounts, of_logcounts),
    ])
}

fn scalar(name: &str, found: f64, wanted: f64, bound: f64) -> Difference {
    Difference::of(name, std::iter::once(found), std::iter::once(wanted), bound)
}

fn floats(values: &[f32]) -> impl Iterator<Item = f64> + '_ {
    values.iter().map(|&v| f64::from(v))
}

/// The step in f64 with the ReLU decisions of the device, one `Masks` an example.
fn reference_step(
    spec: &TrainSpec,
    tracks: &Tracks,
    plan: &[Example],
    masks: Vec<Masks>,
) -> reference::Step {
    let mut examples = examples_of(spec, tracks, plan);
    examples.iter_mut().zip(masks).for_each(|(example, masks)| example.masks = Some(masks));
    reference::step_of(&spec.branches, spec.counts_loss_weight, &examples)
}

/// What the examples of `plan` hold, for the reference.
pub fn examples_of(spec: &TrainSpec, tracks: &Tracks, plan: &[Example]) -> Vec<reference::Example> {
    let Architecture { inputlen, outputlen, .. } = spec.branches.main.arch;
    let example = |example: &Example| {
        let (mut codes, mut counts) = (vec![0; inputlen], vec![0.0; outputlen]);
        tracks.fill_codes(example, &mut codes);
        tracks.fill_counts(example, inputlen, &mut counts);
        reference::Example { codes, counts, masks: None }
    };
    plan.iter().map(example).collect()
}

/// Glorot weights; biases away from zero, where a unit fed only zeros would sit on the ReLU's kink.
pub fn network(shape: Shape, seed: u64) -> Result<Network> {
    let (inputlen, outputlen, filters, layers) = shape;
    let arch = Architecture::new(inputlen, outputlen, filters, layers)?;
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xb1a5);
    for tensor in parameters.tensors.iter_mut().filter(|t| t.name.ends_with("/bias")) {
        tensor.data.iter_mut().for_each(|v| *v = rng.random::<f32>() * 0.4 - 0.2);
    }
    Ok(Network { arch, parameters })
}

/// Two contigs of random bases with Ns; sparse counts, none on the second.
pub fn tracks(inputlen: usize) -> Tracks {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut bases = |n: usize| -> Vec<u8> {
        (0..n).map(|_| b"ACGTACGTACGTN"[rng.random_range(0..13)]).collect()
    };
    let (a, b) = (bases(contig(inputlen)), bases(2 * inputlen));
    let counts: Vec<f32> = (0..a.len())
        .map(|_| if rng.random_bool(0.3) { rng.random_range(1..9) as f32 } else { 0.0 })
        .collect();
    Tracks::new(
        Arc::new(GenomePack::from_sequences([("chrA", &a[..]), ("chrB", &b[..])])),
        Some(Arc::new(SignalPack::from_dense([("chrA", &counts[..])]))),
    )
}

fn contig(inputlen: usize) -> usize {
    3000 + 2 * inputlen
}

/// `n` examples: both strands, odd starts, one that hangs over the contig's end, one on the contig
/// without counts.
pub fn plan(n: u32, inputlen: usize) -> Vec<Example> {
    let example = |row: u32| match row {
        1 => Example {
            contig: 0,
            start: (contig(inputlen) - inputlen * 3 / 4) as u32,
            flags: 1,
            row,
        },
        3 => Example { contig: 1, start: 40, flags: 0, row },
        _ => Example { contig: 0, start: 17 + 93 * row, flags: row % 2, row },
    };
    (0..n).map(example).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_or_a_wrong_sign_is_not_met() {
        let of =
            |found: [f64; 2]| Difference::of("x", found.into_iter(), [1.0, 2.0].into_iter(), 1e-2);
        assert!(of([1.001, 2.0]).is_met());
        assert!(!of([f64::NAN, 2.0]).is_met() && !of([-1.0, -2.0]).is_met());
        assert_eq!(of([1.0, f64::NAN]).worst.0, 1);
        let zeros = || [0.0; 2].into_iter();
        assert!(Difference::of("zeros", zeros(), zeros(), 1e-9).is_met());
    }
}
