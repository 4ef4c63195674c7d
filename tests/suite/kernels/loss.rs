//! Losses and their gradients against the definition's, and against the official ones.

use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::ops::loss::{Loss, OutputGradients, Outputs};
use cbp_fast::engine::cuda::ops::step::{self, StepState};
use cbp_fast::model::reference::{combined_logcounts, counts_loss, profile_loss};

use super::memory::{Memory, Random, SameBits, assert_close, distance, schedule, schedules};
use crate::parity::golden::Tensors;
use crate::shared;

const CURSOR: u32 = 12;

/// What a batch is made of. Rows from `examples` on are not part of it.
#[derive(Clone)]
struct Case {
    batch: usize,
    examples: usize,
    outputlen: usize,
    loss_scale: f32,
    weight: f64,
    logits: Vec<f32>,
    logcounts: Vec<f32>,
    /// logits and logcounts
    bias: Option<(Vec<f32>, Vec<f32>)>,
    counts: Vec<f32>,
}

struct Found {
    logits: Vec<f32>,
    logcounts: Vec<f32>,
    by_logits: Vec<f32>,
    by_logits_sums: Vec<f32>,
    by_logcounts: Vec<f32>,
    /// total, profile, counts
    losses: Vec<f64>,
    bad_example: u32,
}

impl Case {
    fn new(batch: usize, examples: usize, outputlen: usize, with_bias: bool) -> Self {
        let mut random = Random::new(31);
        let n = batch * outputlen;
        let counts = (0..n)
            .map(|at| match (at / outputlen, random.below(3)) {
                // A row without counts, one with a single count, fractional ones.
                (1, _) => 0.0,
                (2, _) => f32::from(u8::from(at % outputlen == 3)),
                (3, _) => random.below(40) as f32 * 0.25,
                (_, 0) => random.below(3000) as f32,
                _ => 0.0,
            })
            .collect();
        let mut scaled = |n: usize, by: f32| random.values(n).iter().map(|v| v * by).collect();
        Self {
            batch,
            examples,
            outputlen,
            loss_scale: 1.0,
            weight: 21.4,
            logits: scaled(n, 8.0),
            logcounts: scaled(batch, 7.0),
            bias: with_bias.then(|| (scaled(n, 3.0), scaled(batch, 7.0))),
            counts,
        }
    }

    fn state(&self, memory: &mut Memory) -> Address {
        let state = StepState::new(1e-3, self.batch as u32, false);
        let state = StepState { cursor: CURSOR, loss_scale: self.loss_scale, row: 2, ..state };
        let state = StepState { plan_len: CURSOR + self.examples as u32, ..state };
        let state = memory.put("state", &[state]);
        memory.launch(&step::begin(state));
        state
    }

    fn outputs(&self, memory: &mut Memory) -> (Outputs, Option<Outputs>) {
        let mut put = |logits: &[f32], logcounts: &[f32]| Outputs {
            logits: memory.put("logits", logits),
            logcounts: memory.put("logcounts", logcounts),
        };
        let main = put(&self.logits, &self.logcounts);
        (main, self.bias.as_ref().map(|(logits, logcounts)| put(logits, logcounts)))
    }

    fn shape(&self) -> Loss {
        Loss { batch: self.batch, outputlen: self.outputlen, counts_loss_weight: self.weight }
    }

    fn run(&self, options: Options, train: bool) -> Found {
        let mut memory = Memory::new(options);
        let n = self.batch * self.outputlen;
        let state = self.state(&mut memory);
        let (main, bias) = self.outputs(&mut memory);
        let counts = memory.put("counts", &self.counts);
        let gradients = OutputGradients {
            logits: memory.room::<f32>("dlogits", n),
            logits_sums: memory.room::<f32>("dlogits sums", self.batch),
            logcounts: memory.room::<f32>("dlogcounts", self.batch),
        };
        let per_example = memory.room::<f64>("example losses", 2 * self.batch);
        let losses = memory.room::<f64>("losses", 9);
        memory.launch_all(&self.shape().launches(
            state,
            main,
            bias,
            counts,
            train.then_some(gradients),
            per_example,
            losses,
        ));
        Found {
            logits: memory.get(main.logits, n),
            logcounts: memory.get(main.logcounts, self.batch),
            by_logits: memory.get(gradients.logits, n),
            by_logits_sums: memory.get(gradients.logits_sums, self.batch),
            by_logcounts: memory.get(gradients.logcounts, self.batch),
            losses: memory.get(losses, 9)[6..].to_vec(),
            bad_example: memory.get::<StepState>(state, 1)[0].bad_example,
        }
    }

    fn check(&self, found: &Found) {
        let scale = f64::from(self.loss_scale) / self.examples as f64;
        let (mut profile, mut counts) = (0.0, 0.0);
        let mut wanted_logits = Vec::new();
        let mut wanted_logcounts = Vec::new();
        let mut by_logits = Vec::new();
        let mut by_logits_sums = Vec::new();
        let mut by_logcounts = Vec::new();
        for b in 0..self.batch {
            let range = b * self.outputlen..(b + 1) * self.outputlen;
            if b >= self.examples {
                by_logits.extend(vec![0.0; self.outputlen]);
                by_logits_sums.push(0.0);
                by_logcounts.push(0.0);
                continue;
            }
            let mut logits = self.logits[range.clone()].to_vec();
            let (mut z, mut share) = (f64::from(self.logcounts[b]), 1.0);
            if let Some((bias_logits, bias_logcounts)) = &self.bias {
                logits.iter_mut().zip(&bias_logits[range.clone()]).for_each(|(l, b)| *l += b);
                (z, share) = combined_logcounts(z, f64::from(bias_logcounts[b]));
            }
            let total: f64 = self.counts[range.clone()].iter().map(|&c| f64::from(c)).sum();
            // The kernel adds the branches' logits in f32.
            let logits: Vec<f64> = logits.iter().map(|&l| f64::from(l)).collect();
            let (loss, gradient) = profile_loss(&logits, &self.counts[range]);
            profile += loss;
            // What is added up is what was stored.
            let stored = |g: &f64| f64::from((g * scale) as f32);
            let gradient: Vec<f64> = gradient.iter().map(stored).collect();
            let (loss, by_z) = counts_loss(z, total);
            counts += loss;
            wanted_logits.extend(logits);
            wanted_logcounts.push(z);
            by_logits_sums.push(gradient.iter().sum());
            by_logits.extend(gradient);
            by_logcounts.push(by_z * scale * self.weight * share);
        }
        let n = self.examples as f64;
        let wanted = [profile / n + self.weight * counts / n, profile / n, counts / n];
        for (found, wanted) in found.losses.iter().zip(wanted) {
            // The same f64 formulas, summed in another order.
            assert!((found - wanted).abs() <= 1e-12 * wanted.abs(), "{found} for {wanted}");
        }
        let known = self.examples * self.outputlen;
        assert_close("logits", &found.logits[..known], &wanted_logits, 0.0, 0.0);
        assert_close("logcounts", &found.logcounts[..self.examples], &wanted_logcounts, 0.0, 1e-7);
        // f32 roundings of f64 results that differ in the last bits.
        let largest = by_logits.iter().fold(0f64, |max, g| max.max(g.abs()));
        assert_close("dlogits", &found.by_logits, &by_logits, 1e-12 * largest, 1.2e-7);
        let sums = 1e-9 * largest;
        assert_close("dlogits sums", &found.by_logits_sums, &by_logits_sums, sums, 1e-6);
        assert_close("dlogcounts", &found.by_logcounts, &by_logcounts, 0.0, 1.2e-7);
        assert_eq!(found.bad_example, u32::MAX);
    }
}

#[test]
fn losses_and_gradients_are_those_of_the_definition() {
    for with_bias in [false, true] {
        let case = Case { loss_scale: 1024.0, ..Case::new(6, 5, 90, with_bias) };
        let mut bits = SameBits::default();
        for options in schedules() {
            let found = case.run(options, true);
            case.check(&found);
            bits.check("dlogits", &found.by_logits);
            bits.check("dlogcounts", &found.by_logcounts);
        }
    }
    // More positions than threads, more examples than threads, one of each.
    for (batch, examples, outputlen) in [(2, 2, 1000), (300, 290, 2), (1, 1, 2)] {
        let case = Case::new(batch, examples, outputlen, true);
        case.check(&case.run(schedule(9), true));
    }
}

#[test]
fn an_evaluation_has_the_losses_alone() {
    let case = Case::new(4, 3, 50, true);
    let (train, evaluation) = (case.run(schedule(1), true), case.run(schedule(2), false));
    assert_eq!(evaluation.losses, train.losses);
    assert!(evaluation.by_logits.iter().all(|g| g.is_nan()), "gradients were touched");
}

#[test]
fn the_first_example_that_is_not_finite_is_named() {
    let mut case = Case::new(6, 5, 40, true);
    case.counts[2 * 40..3 * 40].fill(0.0);
    // A row without counts has no profile loss, and still shows a broken model.
    case.logits[2 * 40 + 7] = f32::NAN;
    case.logits[4 * 40 + 1] = f32::INFINITY;
    for options in schedules() {
        assert_eq!(case.run(options, true).bad_example, CURSOR + 2);
    }
    let mut case = Case::new(6, 5, 40, false);
    case.logcounts[1] = f32::INFINITY;
    case.logits[5 * 40] = f32::NAN; // not an example
    assert_eq!(case.run(schedule(3), false).bad_example, CURSOR + 1);
    // A count of zero adds nothing even where the logit is minus infinity.
    let mut case = Case::new(6, 5, 40, false);
    case.counts[0] = 0.0;
    case.logits[0] = f32::NEG_INFINITY;
    let found = case.run(schedule(4), true);
    assert_eq!((found.bad_example, found.by_logits[0]), (u32::MAX, 0.0));
}

#[test]
fn predictions_are_the_outputs_of_the_losses() {
    for with_bias in [false, true] {
        let mut case = Case::new(5, 4, 300, with_bias);
        let wanted = case.run(schedule(1), false);
        let combined = |case: &Case, options| {
            let mut memory = Memory::new(options);
            let state = case.state(&mut memory);
            let (main, bias) = case.outputs(&mut memory);
            memory.launch(&case.shape().combine(state, main, bias));
            let bad = memory.get::<StepState>(state, 1)[0].bad_example;
            (memory.get::<f32>(main.logits, 4 * 300), memory.get::<f32>(main.logcounts, 4), bad)
        };
        for options in schedules() {
            let (logits, logcounts, bad) = combined(&case, options);
            assert_eq!(
                (&logits[..], &logcounts[..]),
                (&wanted.logits[..4 * 300], &wanted.logcounts[..4])
            );
            assert_eq!(bad, u32::MAX);
        }
        case.logits[3 * 300 + 299] = f32::NAN;
        assert_eq!(combined(&case, schedule(2)).2, CURSOR + 3);
    }
}

#[test]
fn parity_with_the_official_loss() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("loss/loss_only.safetensors"));
    let shape = file.shape("logits");
    let case = Case {
        batch: shape[0],
        examples: shape[0],
        outputlen: shape[1],
        loss_scale: 1.0,
        weight: 1.0,
        logits: file.f32("logits"),
        logcounts: vec![1.0; shape[0]],
        bias: None,
        counts: file.u16("counts").into_iter().map(f32::from).collect(),
    };
    let found = case.run(schedule(1), true);
    let wanted = file.f64("f64/nll")[0];
    assert!((found.losses[1] - wanted).abs() <= 1e-10 * wanted, "{} for {wanted}", found.losses[1]);
    let off = distance(&found.by_logits, &file.f64("f64/grad_logits"));
    assert!(off < 1e-6, "gradient off by {off:e}");

    // How the two log counts are combined; the share shows in the gradient of zero counts.
    let input = file.f32("logsumexp_in");
    let batch = input.len() / 2;
    let main: Vec<f32> = input.chunks_exact(2).map(|pair| pair[0]).collect();
    let bias: Vec<f32> = input.chunks_exact(2).map(|pair| pair[1]).collect();
    let case = Case {
        batch,
        examples: batch,
        outputlen: 2,
        weight: 1.0,
        loss_scale: batch as f32,
        logits: vec![0.0; 2 * batch],
        logcounts: main,
        bias: Some((vec![0.0; 2 * batch], bias)),
        counts: vec![0.0; 2 * batch],
    };
    let found = case.run(schedule(1), true);
    let wanted: Vec<f64> = file.f32("f32/logsumexp_out").into_iter().map(f64::from).collect();
    assert_close("logsumexp", &found.logcounts, &wanted, 1e-6, 1e-6);
    let shares = file.f32("f32/logsumexp_grad_of_sum");
    let wanted: Vec<f64> =
        wanted.iter().zip(shares.chunks_exact(2)).map(|(z, s)| 2.0 * z * f64::from(s[0])).collect();
    assert_close("its gradient", &found.by_logcounts, &wanted, 1e-5, 1e-5);
}
