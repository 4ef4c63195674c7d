//! Predictions in bytes on emulated GPUs: what they depend on, and what else is refused.

use cbp_fast::batch::Example;
use cbp_fast::doctor::selftest::{plan, tracks};
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::engine::CudaEngine;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::engine::{
    Contributions, Engine, Explain, Heads, Predict, Predictions, Rule, ToExplain, Train, TrainSpec,
};

use super::{engine, network, spec};

const INPUTLEN: usize = 160;

fn both_branches() -> TrainSpec {
    spec(network((INPUTLEN, 24, 6, 2), 1), Some(network((INPUTLEN, 24, 35, 1), 2)))
}

fn in_bytes(spec: &TrainSpec) -> CudaTrainer<EmulatedDevice> {
    engine(Options::fast(), Precision::Int8, spec, &tracks(INPUTLEN))
}

fn predict(engine: &mut CudaTrainer<EmulatedDevice>, plan: &[Example]) -> Predictions {
    let mut out = Predictions::default();
    engine.predict(plan, &mut out).unwrap();
    out
}

#[test]
fn a_prediction_does_not_depend_on_its_batch() {
    let mut engine = in_bytes(&both_branches());
    let plan = plan(7, INPUTLEN);
    let together = predict(&mut engine, &plan);
    let mut apart = Predictions::default();
    for example in plan.chunks(1) {
        engine.predict(example, &mut apart).unwrap();
    }
    assert_eq!(together, apart);
    let mut codes = vec![0; plan.len() * INPUTLEN];
    for (example, codes) in plan.iter().zip(codes.chunks_exact_mut(INPUTLEN)) {
        tracks(INPUTLEN).fill_codes(example, codes);
    }
    let mut of_codes = Predictions::default();
    engine.predict_sequences(&codes, &mut of_codes).unwrap();
    assert_eq!(together, of_codes);
}

#[test]
fn new_parameters_become_bytes() {
    let plan = plan(3, INPUTLEN);
    let (one, other) = (
        spec(network((INPUTLEN, 24, 6, 2), 1), None),
        spec(network((INPUTLEN, 24, 6, 2), 9), None),
    );
    let mut engine = in_bytes(&one);
    let before = predict(&mut engine, &plan);
    engine.set_parameters(&other.branches.main.parameters).unwrap();
    let after = predict(&mut engine, &plan);
    assert_ne!(before, after);
    assert_eq!(after, predict(&mut in_bytes(&other), &plan));
}

#[test]
fn outputs_that_are_not_finite_are_found() {
    let mut spec = spec(network((INPUTLEN, 24, 6, 2), 1), None);
    // Beyond a half's range, which X_0 is stored in.
    spec.branches.main.parameters.tensors[1].data[3] = 1e6;
    let mut out = Predictions::default();
    let error = in_bytes(&spec).predict(&plan(2, INPUTLEN), &mut out).unwrap_err().to_string();
    assert!(error.contains("an output of the model is not a finite number in int8"), "{error}");
}

#[test]
fn all_but_predictions_is_refused() {
    let spec = both_branches();
    let plan = plan(2, INPUTLEN);
    let mut engine = in_bytes(&spec);
    let mut errors = vec![
        engine.train_step(&plan).unwrap_err(),
        engine.evaluate(&plan).unwrap_err(),
        engine.gradients(&plan).unwrap_err(),
    ];
    let codes = [0; INPUTLEN];
    let of = ToExplain { codes: &codes, rule: Rule::Gradient, heads: Heads::BOTH };
    let device = EmulatedDevice::new(Options::fast());
    let mut engine_of_one =
        CudaEngine::new(device, Precision::Int8, spec.branches.main, None).unwrap();
    errors.push(engine_of_one.contributions(&of, &mut Contributions::default()).unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("--precision int8 is for predictions alone"), "{text}");
        assert!(text.contains("fix: use it with predict"), "{text}");
    }
    // Predictions still run.
    predict(&mut engine, &plan);
}
