//! Twenty Adam steps from the golden initial weights, against the runs of the Adam class that the
//! official requirements pin (`*_legacy`).

use std::path::Path;

use cbp_fast::batch::Example;
use cbp_fast::engine::cpu::{CpuEngine, CpuEngineOf};
use cbp_fast::engine::{Engine, EngineSpec, StepLoss};
use cbp_fast::model::ParameterSet;
use cbp_fast::store::Tracks;

use super::batches::{batches, golden_name, model, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

/// The total weight update may differ by this much of itself (goldens' README, section 4).
const RUNS: [(&str, &str, &str, f64); 2] = [
    ("bias", "bias_init", "bias_counts_loss_weight", 1e-2),
    ("chrombpnet", "chrombpnet_init", "main_counts_loss_weight", 0.1),
];

fn losses(loss: StepLoss) -> [f64; 3] {
    [loss.total, loss.profile, loss.counts]
}

#[test]
fn twenty_steps_of_both_models() {
    let Some(goldens) = shared::goldens() else { return };
    for of in RUNS {
        follow(&goldens, of, |spec, tracks, plan| {
            let mut engine = CpuEngine::new(spec, tracks).unwrap();
            let gradients = engine.gradients(plan).unwrap().parameters;
            (engine, gradients)
        });
    }
}

/// The same on an emulated GPU, in f32 without tensor cores; a test a model, so that they run side by side.
#[cfg(feature = "emulate")]
mod emulated {
    use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
    use cbp_fast::engine::cuda::engine::CudaEngine;
    use cbp_fast::engine::cuda::precision::Precision;

    fn follow(run: usize) {
        let Some(goldens) = super::shared::goldens() else { return };
        super::follow(&goldens, super::RUNS[run], |spec, tracks, plan| {
            let device = EmulatedDevice::new(Options::fast());
            let mut engine = CudaEngine::new(device, Precision::Plain, spec, tracks).unwrap();
            let gradients = engine.gradients(plan).unwrap().parameters;
            (engine, gradients.tensors.into_iter().map(|t| t.data).collect())
        });
    }

    #[test]
    fn twenty_steps_of_the_bias_model() {
        follow(0);
    }

    #[test]
    fn twenty_steps_of_the_full_model() {
        follow(1);
    }
}

/// Runs the engine that `open` gives, together with the gradients of the first batch.
fn follow<E: Engine>(
    goldens: &Path,
    (run, start, weight, tolerance): (&str, &str, &str, f64),
    open: impl FnOnce(EngineSpec, Tracks, &[Example]) -> (E, Vec<Vec<f32>>),
) {
    let trace = Tensors::read(&goldens.join("train/trace.safetensors"));
    let file = Tensors::read(&goldens.join("train/batches.safetensors"));
    let metadata = Tensors::read(&goldens.join("loss/gradients.safetensors")).metadata;
    let golden_model =
        model(&goldens.join(format!("models/{start}.h5")), metadata[weight].parse().unwrap());
    let naming = golden_model.naming;
    let mut spec = golden_model.spec;
    spec.learning_rate = trace.metadata["learning_rate"].parse().unwrap();
    assert_eq!(trace.metadata["adam_epsilon"].parse::<f64>().unwrap(), 1e-7);
    let initial = spec.main.parameters.clone();
    let (tracks, plans) = batches(&file, run);
    let wanted = trace.f64(&format!("f64_legacy/{run}/loss"));
    assert_eq!(wanted.len(), plans.len() * 3);

    let mut exact = CpuEngineOf::<f64>::new(spec.clone(), tracks.clone()).unwrap();
    let (mut engine, single) = open(spec, tracks, &plans[0]);
    let gradients = Gradients { exact: exact.gradients(&plans[0]).unwrap().parameters, single };
    for (step, (plan, wanted)) in plans.iter().zip(wanted.chunks_exact(3)).enumerate() {
        let found = losses(engine.train_step(plan).unwrap());
        let bound = if step < 2 { 5e-6 } else { 5e-3 };
        for (found, wanted) in found.iter().zip(wanted) {
            let off = (found - wanted).abs() / wanted.abs();
            assert!(off <= bound, "{run} step {}: {found} for {wanted}", step + 1);
        }
        if step == 0 {
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
    println!("{run}: update off by {off:.1e} of itself");
    assert!(off <= tolerance, "{run}: update off by {off:e}");
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
