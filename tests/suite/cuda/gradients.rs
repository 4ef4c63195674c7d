//! Losses, outputs, every weight gradient and the update of a whole step, in every precision, against f64
//! with the same ReLU decisions: the cases of `doctor --selftest`.

use cbp_fast::doctor::selftest::{self, AWKWARD, Case, HOPPER};
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::hopper::Core;
use cbp_fast::engine::cuda::precision::Precision;

fn check(case: Case, precision: Precision, options: Options) {
    check_on(Core::Portable, case, precision, options);
}

fn check_on(core: Core, case: Case, precision: Precision, options: Options) {
    let mut open = || Ok(EmulatedDevice::new(options).with_core(core));
    let outcome = selftest::run(case, precision, &mut open).unwrap();
    println!("{outcome}");
    for difference in &outcome.differences {
        assert!(difference.is_met(), "{case:?} {precision}: {difference}");
    }
    assert!(outcome.is_met(), "{outcome}");
}

fn check_all(precision: Precision) {
    for case in AWKWARD {
        check(case, precision, Options::fast());
    }
}

#[test]
fn steps_in_plain_f32() {
    check_all(Precision::Plain);
}

#[test]
fn steps_in_f32() {
    check_all(Precision::F32);
}

#[test]
fn steps_in_tf32() {
    check_all(Precision::Tf32);
}

#[test]
fn steps_in_fp16() {
    check_all(Precision::Fp16);
}

#[test]
fn steps_in_bf16() {
    check_all(Precision::Bf16);
}

/// Every access checked, threads in random order, copies late.
#[test]
fn steps_under_random_schedules() {
    let case = Case { main: (140, 40, 5, 1), bias: Some((140, 40, 3, 0)), examples: 2 };
    for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
        for precision in [Precision::Fp16, Precision::F32] {
            check(case, precision, Options::checked(seed, delivery));
        }
    }
}

/// The same on the Hopper core.
#[test]
fn steps_on_the_hopper_core() {
    for case in HOPPER {
        for precision in [Precision::Fp16, Precision::Bf16] {
            check_on(Core::H100, case, precision, Options::fast());
        }
    }
    let case = Case { main: (130, 20, 128, 2), bias: None, examples: 2 };
    for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
        check_on(Core::H100, case, Precision::Fp16, Options::checked(seed, delivery));
    }
}
