//! Losses, outputs and every weight gradient of a whole step, in every precision.

use cbp_fast::engine::cpu::CpuEngineOf;
use cbp_fast::engine::cuda::emulated::{Delivery, Options};
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{Engine, EngineSpec, Predictions};

use super::{compare, engine, network, plan, spec, tracks};

/// Relative L2 per tensor that a precision may be off. Seen at these shapes: see each test's output.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp16 | Precision::Tf32 => 2e-3,
        Precision::Bf16 => 1e-2,
        Precision::F32 | Precision::Plain => 1e-5,
    }
}

/// (inputlen, outputlen, filters, layers) of main and bias branch, examples.
type Case = ((usize, usize, usize, usize), Option<(usize, usize, usize, usize)>, u32);

/// Padded channels, more than one column tile, a crop, no dilated layer, one example, a bias branch
/// of another width.
const CASES: [Case; 5] = [
    ((200, 40, 17, 2), Some((200, 40, 5, 1)), 3),
    ((190, 30, 40, 3), None, 5),
    ((96, 2, 4, 0), None, 2),
    ((182, 60, 33, 3), Some((182, 60, 64, 2)), 4),
    ((140, 10, 96, 1), None, 1),
];

fn case_spec(case: &Case) -> EngineSpec {
    spec(network(case.0, 1), case.1.map(|bias| network(bias, 2)))
}

/// Prints and checks the distances of all gradients; ReLU units that round to the other side of zero
/// are part of a precision's error.
fn check(case: &Case, precision: Precision, options: Options) {
    let spec = case_spec(case);
    let tracks = tracks(5);
    let plan = plan(case.2, spec.main.arch.inputlen);
    let mut exact = CpuEngineOf::<f64>::new(spec.clone(), tracks.clone()).unwrap();
    let wanted = exact.gradients(&plan).unwrap();
    let mut engine = engine(options, precision, &spec, &tracks);
    let found = engine.gradients(&plan).unwrap();
    assert!(!found.overflow, "{case:?} {precision}");

    let bound = tolerance(precision);
    let off = |a: f64, b: f64| (a - b).abs() / b.abs().max(1.0);
    assert!(off(found.loss.total, wanted.loss.total) < bound, "{case:?} {precision}");
    assert!(off(found.loss.counts, wanted.loss.counts) < bound, "{case:?} {precision}");
    let (mut worst, mut least) = (0.0f64, 1.0f64);
    for (tensor, wanted) in found.parameters.tensors.iter().zip(&wanted.parameters) {
        if tensor.name == "prof_out_precrop/bias" {
            // Its true gradient is zero: a softmax does not see a constant.
            let size = wanted.iter().fold(1.0f64, |max, w| max.max(w.abs()));
            assert!(f64::from(tensor.data[0].abs()) < 1e-3 * size, "{case:?} {precision}");
            continue;
        }
        let (distance, cosine) = compare(&tensor.data, wanted);
        assert!(
            distance < bound && cosine > 0.9999,
            "{case:?} {precision} {}: off by {distance:.1e}, cosine {cosine}",
            tensor.name
        );
        (worst, least) = (worst.max(distance), least.min(cosine));
    }
    println!("{case:?} {precision}: off by {worst:.1e}, cosine {least:.7}");

    // Evaluation gives the same loss, and predictions the same outputs, as the step that trains.
    assert_eq!(engine.evaluate(&plan).unwrap(), found.loss);
    let mut predictions = Predictions::default();
    engine.predict(&plan, &mut predictions).unwrap();
    let (distance, _) = compare(&predictions.logits, &wanted.logits);
    assert!(distance < bound, "{case:?} {precision}: logits off by {distance:.1e}");
    let (distance, _) = compare(&predictions.logcounts, &wanted.logcounts);
    assert!(distance < bound, "{case:?} {precision}: logcounts off by {distance:.1e}");
}

fn check_all(precision: Precision) {
    for case in &CASES {
        check(case, precision, Options::fast());
    }
}

#[test]
fn gradients_in_plain_f32() {
    check_all(Precision::Plain);
}

#[test]
fn gradients_in_f32() {
    check_all(Precision::F32);
}

#[test]
fn gradients_in_tf32() {
    check_all(Precision::Tf32);
}

#[test]
fn gradients_in_fp16() {
    check_all(Precision::Fp16);
}

#[test]
fn gradients_in_bf16() {
    check_all(Precision::Bf16);
}

/// Every access checked, threads in random order, copies late: the whole step of a small model.
#[test]
fn a_step_under_random_schedules() {
    let case = ((140, 10, 5, 1), Some((140, 10, 3, 0)), 2);
    for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
        for precision in [Precision::Fp16, Precision::F32] {
            check(&case, precision, Options::checked(seed, delivery));
        }
    }
}
