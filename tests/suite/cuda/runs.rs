//! Several steps: losses and weights, partial batches, stopping and going on, overflows, NaN.

use std::ops::ControlFlow;
use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::doctor::selftest::{plan, tracks};
use cbp_fast::engine::cpu::CpuTrainerOf;
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::Floor;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::step::Kind;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::engine::{CountsHead, Engine, LossScale, StepLoss, Train, TrainSpec};
use cbp_fast::model::ParameterSet;
use cbp_fast::store::{GenomePack, SignalPack, Tracks};

use super::{compare, engine, network, spec};

const ARCH: (usize, usize, usize, usize) = (160, 24, 6, 2);

/// Losses of consecutive batches.
fn train(engine: &mut dyn Train, plan: &[Example], batch_size: usize) -> Vec<(StepLoss, usize)> {
    let mut losses = Vec::new();
    engine
        .train_steps(plan, batch_size, &mut |loss, examples| {
            losses.push((loss, examples));
            ControlFlow::Continue(())
        })
        .unwrap();
    losses
}

fn bytes(set: &ParameterSet) -> Vec<u32> {
    set.tensors.iter().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect()
}

#[test]
fn an_epoch_with_a_partial_batch_follows_the_cpu_engine() {
    for counts_head in [CountsHead::Plain, CountsHead::Centered] {
        follow_the_cpu_engine(counts_head);
    }
}

fn follow_the_cpu_engine(counts_head: CountsHead) {
    let spec = spec(network(ARCH, 1), Some(network((160, 24, 3, 1), 2)));
    let spec = TrainSpec { counts_head, ..spec };
    let tracks = tracks(160);
    let plan = plan(8, 160);
    let mut cpu = CpuTrainerOf::<f64>::new(spec.clone(), tracks.clone()).unwrap();
    let mut gpu = engine(Options::fast(), Precision::Plain, &spec, &tracks);
    let (wanted, found) = (train(&mut cpu, &plan, 3), train(&mut gpu, &plan, 3));
    assert_eq!(found.iter().map(|l| l.1).collect::<Vec<_>>(), [3, 3, 2]);
    for ((found, _), (wanted, _)) in found.iter().zip(&wanted) {
        assert!((found.total - wanted.total).abs() < 1e-5 * wanted.total, "{found:?} {wanted:?}");
    }
    let (found, wanted) = (gpu.parameters().unwrap(), cpu.parameters().unwrap());
    for (found, wanted) in found.tensors.iter().zip(&wanted.tensors) {
        if found.name != "prof_out_precrop/bias" {
            let wanted: Vec<f64> = wanted.data.iter().map(|&w| w.into()).collect();
            let distance = compare(&found.data, &wanted);
            assert!(distance < 1e-3, "{}: off by {distance:.1e}", found.name);
        }
    }
    // Evaluated in pieces of the same size, the last of them partial.
    let mut losses = [Vec::new(), Vec::new()];
    for (engine, losses) in [&mut cpu as &mut dyn Train, &mut gpu].into_iter().zip(&mut losses) {
        engine
            .evaluate_steps(&plan, 3, &mut |loss, _| {
                losses.push(loss.total);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    for (wanted, found) in losses[0].iter().zip(&losses[1]) {
        assert!((found - wanted).abs() < 1e-4 * wanted, "{losses:?}");
    }
}

#[test]
fn a_run_that_stopped_goes_on_with_the_same_bits() {
    let spec = TrainSpec { counts_head: CountsHead::Centered, ..spec(network(ARCH, 3), None) };
    let tracks = tracks(160);
    let plan = plan(14, 160);
    for precision in [Precision::Fp16, Precision::Tf32] {
        let mut whole = engine(Options::fast(), precision, &spec, &tracks);
        let losses = train(&mut whole, &plan, 4);
        let again = train(&mut engine(Options::fast(), precision, &spec, &tracks), &plan, 4);
        assert_eq!(losses, again, "{precision}");

        let mut first = engine(Options::fast(), precision, &spec, &tracks);
        let mut told = Vec::new();
        first
            .train_steps(&plan, 4, &mut |loss, examples| {
                told.push((loss, examples));
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!(told.len(), 1, "the first fetch is after one step");
        let mut second = engine(Options::fast(), precision, &spec, &tracks);
        second.set_parameters(&first.parameters().unwrap()).unwrap();
        second.restore_optimizer(&first.optimizer_state().unwrap()).unwrap();
        told.extend(train(&mut second, &plan[4..], 4));
        assert_eq!(told, losses, "{precision}");
        assert_eq!(second.optimizer_state().unwrap(), whole.optimizer_state().unwrap());
        let parameters = [whole.parameters().unwrap(), second.parameters().unwrap()];
        assert_eq!(bytes(&parameters[0]), bytes(&parameters[1]), "{precision}");
    }
}

/// Whatever of a step may run at the same time may run in any order: of five layers, so that every buffer that layers
/// take turns in comes up again.
#[test]
fn steps_in_any_order_that_their_schedule_allows_have_the_same_bits() {
    let spec = spec(network((260, 24, 6, 5), 5), Some(network((260, 24, 3, 1), 6)));
    let spec = TrainSpec { counts_head: CountsHead::Centered, ..spec };
    let tracks = tracks(260);
    let plan = plan(4, 260);
    let run = |device: EmulatedDevice| {
        let mut engine =
            CudaTrainer::new(device, Precision::Tf32, spec.clone(), tracks.clone()).unwrap();
        let losses = train(&mut engine, &plan, 2);
        assert_eq!(engine.optimizer_state().unwrap().step, 2);
        (losses, bytes(&engine.parameters().unwrap()))
    };
    let wanted = run(EmulatedDevice::new(Options::fast()));
    for seed in 0..48 {
        let found = run(EmulatedDevice::new(Options::fast()).with_order(seed));
        assert!(found == wanted, "in the order of seed {seed}");
    }
}

#[test]
fn an_overflow_leaves_the_update_out_and_halves_the_scale() {
    let spec = spec(network(ARCH, 4), None);
    let tracks = tracks(160);
    let plan = plan(3, 160);
    let mut engine = engine(Options::fast(), Precision::Fp16, &spec, &tracks);
    let mut state = engine.optimizer_state().unwrap();
    assert_eq!(state.step, 0);
    state.loss_scale = Some(LossScale { scale: 16_777_216.0, clean_steps: 7 });
    engine.restore_optimizer(&state).unwrap();
    let before = bytes(&engine.parameters().unwrap());

    let first = engine.train_step(&plan).unwrap();
    let after = engine.optimizer_state().unwrap();
    assert_eq!(after.loss_scale, Some(LossScale { scale: 8_388_608.0, clean_steps: 0 }));
    assert_eq!((after.step, &after.tensors), (0, &state.tensors));
    assert_eq!(bytes(&engine.parameters().unwrap()), before);

    // The scale comes down until gradients fit; then weights move, and the loss falls.
    for _ in 0..24 {
        engine.train_step(&plan).unwrap();
    }
    let state = engine.optimizer_state().unwrap();
    assert!(state.step > 5, "{:?} after {} updates", state.loss_scale, state.step);
    assert!(engine.evaluate(&plan).unwrap().total < first.total);
}

/// Two contigs of `bases` with one cut at every base but `count` in the middle of chr2; four examples
/// that do not see it, and a plan of these and four more, of which the second does.
fn one_odd_count(bases: &[u8; 1000], count: f32) -> (Tracks, [Example; 4], Vec<Example>) {
    let mut counts = vec![1.0f32; 1000];
    counts[500] = count;
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..]), ("chr2", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([
            ("chr1", &vec![1.0; 1000][..]),
            ("chr2", &counts[..]),
        ]))),
    );
    let at = |contig, start| Example { contig, start, flags: 0, row: 0 };
    let good = [at(0, 100), at(0, 200), at(1, 0), at(1, 800)];
    let plan = [&good[..], &[at(0, 300), at(1, 430), at(0, 1), at(0, 2)]].concat();
    (tracks, good, plan)
}

#[test]
fn a_nan_in_the_signal_stops_at_once_and_names_the_example() {
    let spec = spec(network(ARCH, 5), None);
    let (tracks, good, plan) = one_odd_count(&[b'A'; 1000], f32::NAN);

    let mut engine = engine(Options::fast(), Precision::F32, &spec, &tracks);
    let mut told = 0;
    let error = engine
        .train_steps(&plan, 2, &mut |_, _| {
            told += 1;
            ControlFlow::Continue(())
        })
        .unwrap_err()
        .to_string();
    assert_eq!(told, 2, "{error}");
    for part in ["not a finite number", "example 2 of a batch of 2", "chr2:430-590"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // The weights are those after the last good batch.
    let mut other = super::engine(Options::fast(), Precision::F32, &spec, &tracks);
    train(&mut other, &good, 2);
    assert_eq!(bytes(&engine.parameters().unwrap()), bytes(&other.parameters().unwrap()));
    // And the engine can go on elsewhere.
    engine.train_step(&good[..2]).unwrap();
}

/// Where the loss is finite, nothing but the gradient can tell; no single example is to blame.
#[test]
fn a_gradient_beyond_its_type_stops_at_once_and_names_the_batch() {
    let mut main = network(ARCH, 6);
    let profile = main.parameters.tensors.iter_mut().find(|t| t.name == "prof_out_precrop/kernel");
    profile.unwrap().data.iter_mut().for_each(|w| *w *= 100.0);
    let spec = spec(main, None);
    let bases: Vec<u8> = b"ACGGTTCA".repeat(125);
    // Times a weight above 3.4 that is too large for f32, but not for the loss, in f64.
    let (tracks, good, plan) = one_odd_count(&bases.try_into().unwrap(), 1e38);

    for precision in [Precision::Bf16, Precision::F32] {
        let mut engine = engine(Options::fast(), precision, &spec, &tracks);
        let mut told = 0;
        let error = engine
            .train_steps(&plan, 4, &mut |_, _| {
                told += 1;
                ControlFlow::Continue(())
            })
            .unwrap_err()
            .to_string();
        assert_eq!(told, 1, "{error}");
        let wrong = format!("a gradient is not a finite number in {precision}");
        let places = "chr1:300-460, chr2:430-590, chr1:1-161, and 1 more";
        for part in [&wrong, "although the losses are", places, "--learning-rate"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let mut other = super::engine(Options::fast(), precision, &spec, &tracks);
        train(&mut other, &good, 4);
        assert_eq!(bytes(&engine.parameters().unwrap()), bytes(&other.parameters().unwrap()));
        engine.train_step(&good[..2]).unwrap();
    }
}

#[test]
fn plans_that_cannot_be_run_are_refused() {
    let spec = spec(network(ARCH, 5), None);
    let tracks = tracks(160);
    let mut engine = engine(Options::fast(), Precision::Bf16, &spec, &tracks);
    let message = |result: anyhow::Result<StepLoss>| result.unwrap_err().to_string();
    assert!(message(engine.train_step(&[])).contains("without examples"));
    let nowhere = [Example { contig: 7, start: 0, flags: 0, row: 0 }];
    assert!(message(engine.evaluate(&nowhere)).contains("contig 7 of a genome with 2"));
    let silent = Tracks::new(Arc::clone(&tracks.genome), None);
    let mut engine = super::engine(Options::fast(), Precision::Bf16, &spec, &silent);
    assert!(message(engine.evaluate(&plan(1, 160))).contains("losses need a signal"));
}

#[test]
fn a_batch_too_large_for_the_kernels_is_refused_before_anything_is_allocated() {
    let spec = spec(network(ARCH, 6), None);
    let tracks = tracks(160);
    let mut engine = engine(Options::fast(), Precision::Tf32, &spec, &tracks);
    let before = engine.memory_bytes();
    let plan = plan(1, 160);
    for wanted in [65_536, 1 << 30] {
        let error = engine.train_steps(&plan, wanted, &mut |_, _| ControlFlow::Continue(()));
        let said = error.unwrap_err().to_string();
        assert!(said.contains(&format!("{wanted} examples")) && said.contains("65535"), "{said}");
    }
    assert_eq!(engine.memory_bytes(), before);
    // It goes on with a batch that fits.
    engine.train_step(&plan).unwrap();
}

/// The bytes of a step, which `bench` holds its time against, are those of all launches that move any.
#[test]
fn every_launch_but_short_ones_has_a_floor() {
    let spec = spec(network(ARCH, 7), Some(network((160, 24, 3, 1), 2)));
    let spec = TrainSpec { counts_head: CountsHead::Centered, ..spec };
    let mut engine = engine(Options::fast(), Precision::Bf16, &spec, &tracks(160));
    engine.train_step(&plan(3, 160)).unwrap();
    let prepared = engine.schedule(Kind::Train, 3).unwrap();
    let launches = prepared.schedule.launches();
    let short = launches.iter().filter(|launch| launch.floor == Floor::NONE);
    let of_head =
        ["split", "gather"].map(|what| ["bias", "main"].map(|b| format!("{b} head {what}")));
    let others = ["step begin", "loss mean", "counts head", "step end"].map(String::from);
    let mut wanted: Vec<String> = of_head.into_iter().flatten().chain(others).collect();
    let mut found: Vec<&str> = short.map(|launch| launch.label.as_str()).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let matrix = |label: &str| launches.iter().find(|l| l.label == label).unwrap().floor.flop;
    assert_eq!(matrix("main dilated_1 forward"), matrix("dilated_1 dgrad"));
    let bytes: f64 = launches.iter().map(|launch| launch.floor.bytes).sum();
    assert_eq!(engine.step_bytes(), Some(bytes));
}

#[test]
fn the_memory_plan_names_every_buffer_and_adds_up() {
    let spec = spec(network(ARCH, 7), Some(network((160, 24, 3, 1), 2)));
    let tracks = tracks(160);
    let mut engine = engine(Options::fast(), Precision::Bf16, &spec, &tracks);
    assert_eq!(engine.step_bytes(), None, "no step has run");
    engine.train_step(&plan(3, 160)).unwrap();
    let text = engine.memory_plan().unwrap();
    let bytes = |line: &str| -> u64 {
        line.split_whitespace().next().unwrap().replace(',', "").parse().unwrap()
    };
    let (sums, buffers): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.contains(" bytes in "));
    let sum = |lines: &[&str]| lines.iter().map(|line| bytes(line)).sum::<u64>();
    assert_eq!(sum(&sums), engine.memory_bytes().unwrap(), "{text}");
    // Buffers begin at multiples of 256 bytes.
    assert!(sum(&buffers) <= sum(&sums) && buffers.len() > 40, "{text}");
    for label in ["step state", "first moment", "main X_2", "bias logits", "plan", "Adam's table"] {
        assert!(buffers.iter().any(|line| line.contains(label)), "{label}: {text}");
    }
    // At least: both feature maps that the dilated layers read and write, forward, and both gradients.
    let rows = 3 * (140 + 136) * 32 * 2;
    assert!(engine.step_bytes().unwrap() > 3.0 * f64::from(rows), "{:?}", engine.step_bytes());
    assert!(engine.describe().contains("portable core, bf16"), "{}", engine.describe());
}
