//! Twenty Adam steps from the golden initial weights, against the runs of the Adam class that the
//! official requirements pin (`*_legacy`).

use std::path::Path;

use cbp_fast::batch::Example;
use cbp_fast::engine::cpu::{CpuTrainer, CpuTrainerOf};
use cbp_fast::engine::{Optimizer, StepLoss, Train, TrainSpec};
use cbp_fast::model::ParameterSet;
use cbp_fast::store::Tracks;

use super::batches::{GoldenModel, batches, golden_name, model, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

/// Name, initial model, name of its loss weight, and how much the total weight update may differ by, of itself (goldens'
/// README, section 4).
type GoldenRun = (&'static str, &'static str, &'static str, f64);

const RUNS: [GoldenRun; 2] = [
    ("bias", "bias_init", "bias_counts_loss_weight", 1e-2),
    ("chrombpnet", "chrombpnet_init", "main_counts_loss_weight", 0.1),
];

/// How near a run has to stay.
#[derive(Clone, Copy)]
struct Bounds {
    /// relative, of the losses of steps 1 and 2
    early: [f64; 2],
    /// of every later step
    later: f64,
    /// of the total weight update, in those of `RUNS`
    update: f64,
    /// Every weight after one step; not asked where products have fewer bits than f32.
    first_update: bool,
}

/// What f32 has to keep (goldens' README, section 4).
const F32: Bounds = Bounds { early: [5e-6; 2], later: 5e-3, update: 1.0, first_update: true };

fn losses(loss: StepLoss) -> [f64; 3] {
    [loss.total, loss.profile, loss.counts]
}

#[test]
fn twenty_steps_of_both_models() {
    let Some(goldens) = shared::goldens() else { return };
    for of in RUNS {
        follow(&goldens, of, F32, |spec, tracks, plan| {
            let mut engine = CpuTrainer::new(spec, tracks).unwrap();
            let gradients = engine.gradients(plan).unwrap().parameters;
            (engine, gradients)
        });
    }
}

/// The same on an emulated GPU; a test a model and a precision, so that they run side by side.
#[cfg(feature = "emulate")]
mod emulated {
    use cbp_fast::doctor::selftest;
    use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
    use cbp_fast::engine::cuda::precision::Precision;
    use cbp_fast::engine::cuda::trainer::CudaTrainer;
    use cbp_fast::engine::{LossScale, TrainSpec};

    use super::{Bounds, F32, GoldenModel, RUNS, beginning, shared};

    fn open(
        precision: Precision,
        spec: TrainSpec,
        tracks: super::Tracks,
    ) -> CudaTrainer<EmulatedDevice> {
        CudaTrainer::new(EmulatedDevice::new(Options::fast()), precision, spec, tracks).unwrap()
    }

    fn follow(run: usize, precision: Precision, bounds: Bounds) {
        let Some(goldens) = shared::goldens() else { return };
        super::follow(&goldens, RUNS[run], bounds, |spec, tracks, plan| {
            let mut engine = open(precision, spec, tracks);
            // fp16 begins with a loss scale that all steps can keep, not with updates left out.
            if precision == Precision::Fp16 {
                engine.set_loss_scale(LossScale { scale: 64.0, clean_steps: 0 });
            }
            let gradients = engine.gradients(plan).unwrap().parameters;
            (engine, gradients.tensors.into_iter().map(|t| t.data).collect())
        });
    }

    /// In f32 without tensor cores, within the bounds of the CPU.
    #[test]
    fn twenty_steps_of_the_bias_model() {
        follow(0, Precision::Plain, F32);
    }

    #[test]
    fn twenty_steps_of_the_full_model() {
        follow(1, Precision::Plain, F32);
    }

    /// Products of three bf16 parts have 16 bits. Adam's first step follows the signs of gradients however small, and the
    /// counts loss of the second, a difference squared, was 9.3e-5 off.
    const F32_IN_PARTS: Bounds = Bounds { early: [2e-5, 2e-4], ..F32 };

    #[test]
    fn twenty_steps_of_the_bias_model_in_f32() {
        follow(0, Precision::F32, F32_IN_PARTS);
    }

    #[test]
    fn twenty_steps_of_the_full_model_in_f32() {
        follow(1, Precision::F32, F32_IN_PARTS);
    }

    /// Products of fewer bits drift further from f64 than f32 does (1e-2 and 0.1 of the updates), but not much.
    const FEWER_BITS: Bounds =
        Bounds { early: [5e-3; 2], later: 5e-3, update: 2.0, first_update: false };

    #[test]
    fn twenty_steps_in_fp16() {
        follow(0, Precision::Fp16, FEWER_BITS);
        follow(1, Precision::Fp16, FEWER_BITS);
    }

    #[test]
    fn twenty_steps_in_bf16() {
        let bounds = Bounds { update: 3.0, ..FEWER_BITS };
        follow(0, Precision::Bf16, bounds);
        follow(1, Precision::Bf16, bounds);
    }

    #[test]
    fn twenty_steps_in_tf32() {
        follow(0, Precision::Tf32, FEWER_BITS);
        follow(1, Precision::Tf32, FEWER_BITS);
    }

    /// The first batch, every tensor against f64 with the device's own ReLU decisions, which at the goldens' decisions is
    /// the official gradient (`parity::gradients`); and that few units decide otherwise.
    fn first_batch(run: usize, precision: Precision, bound: f64) {
        let Some(goldens) = shared::goldens() else { return };
        let name = RUNS[run].0;
        let (GoldenModel { spec, .. }, tracks, plans) = beginning(&goldens, RUNS[run]);
        let mut engine = open(precision, spec.clone(), tracks.clone());
        let step = selftest::check_step(&mut engine, &spec, &tracks, &plans[0], bound).unwrap();
        let (flipped, all) = step.flipped;
        println!("{name} {precision}: {flipped} of {all} ReLUs turned");
        for difference in &step.differences {
            println!("  {difference}");
        }
        for difference in &step.differences {
            assert!(difference.is_met(), "{name} {precision}: {difference}");
        }
        assert!(flipped * 500 <= all, "{name} {precision}: {flipped} of {all} ReLUs turned");
    }

    #[test]
    fn first_batch_in_fp16() {
        first_batch(0, Precision::Fp16, 2e-3);
        first_batch(1, Precision::Fp16, 2e-3);
    }

    #[test]
    fn first_batch_in_bf16() {
        first_batch(0, Precision::Bf16, 1e-2);
        // 8 bits of mantissa through eight layers there and back: seen 1.3e-2.
        first_batch(1, Precision::Bf16, 1.5e-2);
    }

    #[test]
    fn first_batch_in_tf32() {
        first_batch(0, Precision::Tf32, 2e-3);
        first_batch(1, Precision::Tf32, 2e-3);
    }

    #[test]
    fn first_batch_in_f32() {
        first_batch(0, Precision::F32, 2e-5);
        first_batch(1, Precision::F32, 2e-5);
    }
}

/// Where a run begins: its initial model, and its batches.
fn beginning(
    goldens: &Path,
    (run, start, weight, _): GoldenRun,
) -> (GoldenModel, Tracks, Vec<Vec<Example>>) {
    let metadata = Tensors::read(&goldens.join("loss/gradients.safetensors")).metadata;
    let weight = metadata[weight].parse().unwrap();
    let file = Tensors::read(&goldens.join("train/batches.safetensors"));
    let (tracks, plans) = batches(&file, run);
    (model(&goldens.join(format!("models/{start}.h5")), weight), tracks, plans)
}

/// Runs the engine that `open` gives, together with the gradients of the first batch.
fn follow<E: Train>(
    goldens: &Path,
    of: GoldenRun,
    bounds: Bounds,
    open: impl FnOnce(TrainSpec, Tracks, &[Example]) -> (E, Vec<Vec<f32>>),
) {
    let trace = Tensors::read(&goldens.join("train/trace.safetensors"));
    let (run, .., tolerance) = of;
    let (GoldenModel { mut spec, naming }, tracks, plans) = beginning(goldens, of);
    spec.optimizer = Optimizer::adam(trace.metadata["learning_rate"].parse().unwrap());
    assert_eq!(trace.metadata["adam_epsilon"].parse::<f64>().unwrap(), 1e-7);
    let initial = spec.branches.main.parameters.clone();
    let wanted = trace.f64(&format!("f64_legacy/{run}/loss"));
    assert_eq!(wanted.len(), plans.len() * 3);

    let mut exact = CpuTrainerOf::<f64>::new(spec.clone(), tracks.clone()).unwrap();
    let (mut engine, single) = open(spec, tracks, &plans[0]);
    let gradients = Gradients { exact: exact.gradients(&plans[0]).unwrap().parameters, single };
    // Of total, profile and counts loss.
    let mut largest = [0.0f64; 3];
    for (step, (plan, wanted)) in plans.iter().zip(wanted.chunks_exact(3)).enumerate() {
        let found = losses(engine.train_step(plan).unwrap());
        let bound = bounds.early.get(step).copied().unwrap_or(bounds.later);
        for ((found, wanted), largest) in found.iter().zip(wanted).zip(&mut largest) {
            let off = (found - wanted).abs() / wanted.abs();
            *largest = largest.max(off);
            assert!(off <= bound, "{run} step {}: {found} for {wanted}", step + 1);
        }
        if step == 0 && bounds.first_update {
            let golden = |name: &str| {
                trace.f32(&format!("f32_legacy/{run}/after_step1/{}", golden_name(naming, name)))
            };
            check_first_update(run, &engine.parameters().unwrap(), &gradients, golden);
        }
    }

    // L2 of the difference over L2 of the change since the start, all tensors together.
    let (mut difference, mut change) = (0.0, 0.0);
    for (tensor, initial) in engine.parameters().unwrap().tensors.iter().zip(&initial.tensors) {
        if tensor.name == "prof_out_precrop/bias" {
            continue;
        }
        let name = golden_name(naming, &tensor.name);
        let wanted = trace.f64(&format!("f64_legacy/{run}/final/{name}"));
        for ((found, wanted), start) in tensor.data.iter().zip(wanted).zip(&initial.data) {
            difference += (f64::from(*found) - wanted).powi(2);
            change += (wanted - f64::from(*start)).powi(2);
        }
    }
    let off = (difference / change).sqrt();
    let [total, profile, counts] = largest;
    println!(
        "{run}: losses off by {total:.1e} (profile {profile:.1e}, counts {counts:.1e}) at most, update by {off:.1e} of itself"
    );
    assert!(off <= bounds.update * tolerance, "{run}: update off by {off:e}");
}

/// Of the first batch, in Keras order.
struct Gradients {
    exact: Vec<Vec<f64>>,
    single: Vec<Vec<f32>>,
}

/// After one step every weight within 2e-6, but where the gradient is rounding noise: Adam's first
/// step is `lr g / (|g| + 3e-6)`, so an error of g's own size turns the step around. The noise of a
/// tensor is what f32 makes of it, flipped ReLU units included.
fn check_first_update(
    run: &str,
    found: &ParameterSet,
    gradients: &Gradients,
    golden: impl Fn(&str) -> Vec<f32>,
) {
    let (mut turned, mut all) = (0, 0);
    for (at, tensor) in found.tensors.iter().enumerate() {
        if tensor.name == "prof_out_precrop/bias" {
            continue;
        }
        let (exact, single) = (&gradients.exact[at], to_f64(&gradients.single[at]));
        let largest = exact.iter().fold(0.0f64, |max, g| max.max(g.abs()));
        let noise = 2.0 * worst(&single, exact) + 1e-5 * largest;
        let wanted = to_f64(&golden(&tensor.name));
        for ((found, wanted), g) in to_f64(&tensor.data).iter().zip(&wanted).zip(exact) {
            all += 1;
            if (found - wanted).abs() <= 2e-6 {
                continue;
            }
            turned += 1;
            assert!(
                g.abs() < noise,
                "{run} {}: {found} for {wanted}, gradient {g:e}, noise {noise:e}",
                tensor.name
            );
        }
    }
    println!("{run}: {turned} of {all} weights turned by noise");
    assert!(turned * 50 <= all, "{run}: {turned} of {all} weights are off after one step");
}
