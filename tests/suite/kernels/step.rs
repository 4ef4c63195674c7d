//! step_begin and step_end against the CPU's step size and the rules of loss scaling.

use cbp_fast::engine::cuda::ops::step::{self, StepState, Stopped};

use super::memory::{Memory, schedule};

/// The state after one step in which `change` is what the kernels between did.
fn stepped(state: StepState, train: bool, change: impl Fn(&mut StepState)) -> StepState {
    let mut memory = Memory::new(schedule(1));
    let at = memory.put("state", &[state]);
    memory.launch(&step::begin(at));
    let mut state = memory.get::<StepState>(at, 1)[0];
    change(&mut state);
    memory.set(at, &[state]);
    memory.launch(&step::end(at, train));
    memory.get(at, 1)[0]
}

#[test]
fn a_plan_is_walked_to_its_last_smaller_batch() {
    let mut state = StepState::new(1e-3, 4, false).at_plan(10);
    let mut sizes = Vec::new();
    for _ in 0..5 {
        state = stepped(state, true, |_| ());
        sizes.push(state.examples);
    }
    assert_eq!(sizes, [4, 4, 2, 0, 0]);
    // Steps beyond the plan do nothing.
    assert_eq!((state.cursor, state.row, state.adam_step), (10, 3, 3));
    let evaluated = stepped(state.at_plan(3), false, |_| ());
    assert_eq!((evaluated.cursor, evaluated.row, evaluated.adam_step), (3, 1, 3));
}

#[test]
fn step_size_is_that_of_the_cpu() {
    for done in [0u64, 1, 9, 999, 123_456, 4_000_000_000] {
        let state = StepState { adam_step: done, ..StepState::new(3e-3, 4, false) };
        let found = stepped(state.at_plan(4), true, |_| ());
        let t = (done + 1) as f64;
        // Source: engine/cpu/adam.rs
        let wanted = 3e-3 * (1.0 - 0.999f64.powf(t)).sqrt() / (1.0 - 0.9f64.powf(t));
        let off = (f64::from(found.rate) - wanted).abs() / wanted;
        assert!(off <= f64::from(f32::EPSILON), "step {t}: {} for {wanted}", found.rate);
        assert_eq!(found.adam_step, done + 1);
    }
}

#[test]
fn an_overflow_halves_the_scale_and_leaves_the_update_out() {
    let overflow = |s: &mut StepState| s.overflow = 1;
    let state = StepState { adam_step: 7, clean_steps: 5, ..StepState::new(1e-3, 4, true) };
    let after = stepped(state.at_plan(100), true, overflow);
    assert_eq!((after.loss_scale, after.clean_steps, after.adam_step), (16384.0, 0, 7));
    assert_eq!((after.cursor, after.row, after.skipped, after.stopped()), (4, 1, 1, None));
    // The flag is gone with the next step, whose update counts.
    let next = stepped(after, true, |s| assert_eq!(s.overflow, 0));
    assert_eq!((next.adam_step, next.clean_steps, next.loss_scale), (8, 1, 16384.0));
    // An evaluation has no gradients.
    let evaluated = stepped(after, false, overflow);
    assert_eq!((evaluated.loss_scale, evaluated.skipped), (16384.0, 1));
}

#[test]
fn two_thousand_clean_steps_double_the_scale() {
    let state = StepState { clean_steps: 1999, ..StepState::new(1e-3, 4, true) };
    let after = stepped(state.at_plan(4), true, |_| ());
    assert_eq!((after.loss_scale, after.clean_steps), (65536.0, 0));
    let fixed = StepState { clean_steps: 1999, ..StepState::new(1e-3, 4, false) };
    assert_eq!(stepped(fixed.at_plan(4), true, |_| ()).loss_scale, 1.0);
    let largest = StepState { loss_scale: 16_777_216.0, ..state };
    assert_eq!(stepped(largest.at_plan(4), true, |_| ()).loss_scale, 16_777_216.0);
}

#[test]
fn what_is_not_finite_stops_the_run_where_it_is() {
    let begun = StepState { adam_step: 3, ..StepState::new(1e-3, 4, true) }.at_plan(100);
    let begun = stepped(begun, true, |_| ());
    let stopped = stepped(begun, true, |s| s.bad_example = 6);
    assert_eq!(stopped.stopped(), Some(Stopped::ByLoss { row: 6 }));
    // Later steps of the same queue have no examples and change nothing.
    let later = stepped(stopped, true, |s| assert_eq!(s.examples, 0));
    let kept = |s: &StepState| (s.cursor, s.row, s.adam_step, s.loss_scale, s.stopped());
    assert_eq!(kept(&later), kept(&stopped));
    assert_eq!((later.cursor, later.row, later.adam_step), (4, 1, 4));
    assert_eq!(stopped.at_plan(8).stopped(), None);

    // A gradient that overflows where no smaller scale is left, or none is used.
    let smallest = StepState { loss_scale: 2f32.powi(-14), ..begun };
    let fixed = StepState { dynamic_scale: 0, ..begun };
    for state in [smallest, fixed] {
        let after = stepped(state, true, |s| s.overflow = 1);
        assert_eq!(after.stopped(), Some(Stopped::ByGradient));
        assert_eq!((after.cursor, after.adam_step), (begun.cursor, begun.adam_step));
    }
}
