//! Kept outputs of the bias model in place of its forward pass in each step: the same numbers, the same training.

use std::ops::ControlFlow;
use std::sync::Arc;

use cbp_fast::batch::{Example, Windows};
use cbp_fast::doctor::selftest;
use cbp_fast::engine::cuda::device::Device;
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::hopper::Core;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::step::Kind;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::engine::{
    ComingPlans, CountsHead, Engine, Predict, Predictions, StepLoss, Train, TrainSpec,
};
use cbp_fast::model::ParameterSet;
use cbp_fast::store::{GenomePack, SignalPack, Tracks};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{engine, network, spec};

const INPUTLEN: usize = 200;
const OUTPUTLEN: usize = 60;
const JITTER: u32 = 30;
/// Sites of the two contigs: at the beginning, overlapping, alone, on a run of N, at the end.
const CENTERS: [(u32, u32); 6] = [(0, 130), (0, 170), (0, 171), (0, 900), (1, 600), (1, 2890)];

/// Two contigs of bases with runs of N, one signal.
fn tracks() -> Tracks {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut contig = |n: usize| -> (Vec<u8>, Vec<f32>) {
        let mut bases: Vec<u8> = (0..n).map(|_| b"ACGT"[rng.random_range(0..4)]).collect();
        bases[n / 5..n / 5 + 70].fill(b'N');
        let counts = (0..n).map(|_| rng.random_range(0..4) as f32).collect();
        (bases, counts)
    };
    let (a, b) = (contig(2000), contig(3000));
    Tracks::new(
        Arc::new(GenomePack::from_sequences([("chrA", &a.0[..]), ("chrB", &b.0[..])])),
        Some(Arc::new(SignalPack::from_dense([("chrA", &a.1[..]), ("chrB", &b.1[..])]))),
    )
}

/// All starts of the sites within the jitter, some beyond the end of the contig.
fn windows() -> Vec<Windows> {
    let window = |(contig, center): (u32, u32)| {
        let start = center - INPUTLEN as u32 / 2;
        let first_start = start.saturating_sub(JITTER);
        Windows {
            contig,
            first_start,
            starts: start + JITTER + 1 - first_start,
            both_strands: true,
        }
    };
    CENTERS.map(window).to_vec()
}

/// Windows of the sites at random starts and strands; both ends of each come first.
fn plan(rows: u32, seed: u64) -> Vec<Example> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let windows = windows();
    let example = |row: u32| {
        let w = windows[row as usize % windows.len()];
        let offset = match row as usize / windows.len() {
            0 => 0,
            1 => w.starts - 1,
            _ => rng.random_range(0..w.starts),
        };
        let flags = u32::from(rng.random_bool(0.5)) | Example::PEAK;
        Example { contig: w.contig, start: w.first_start + offset, flags, row }
    };
    (0..rows).map(example).collect()
}

/// Rows of no site.
fn elsewhere(rows: u32) -> Vec<Example> {
    let example = |row| Example { contig: 1, start: 1000 + 97 * row, flags: row % 2, row };
    (0..rows).map(example).collect()
}

fn model() -> TrainSpec {
    let main = network((INPUTLEN, OUTPUTLEN, 6, 2), 1);
    let bias = network((INPUTLEN, OUTPUTLEN, 40, 1), 2);
    TrainSpec { counts_head: CountsHead::Centered, ..spec(main, Some(bias)) }
}

fn keep(engine: &mut dyn Train, windows: &[Windows], others: usize) {
    engine.keep_bias(&ComingPlans { windows, others, rows: 22, batch_size: 4 }).unwrap();
}

/// The outputs of the bias branch, batch by batch.
fn bias_outputs<D: Device>(
    engine: &mut CudaTrainer<D>,
    plan: &[Example],
    batch: usize,
) -> Predictions {
    let mut all = Predictions::default();
    for rows in plan.chunks(batch) {
        engine.evaluate(rows).unwrap();
        let outputs = engine.bias_outputs(rows.len()).unwrap();
        all.logits.extend(outputs.logits);
        all.logcounts.extend(outputs.logcounts);
    }
    all
}

/// Whether the last plan's steps fetched them.
fn fetched<D: Device>(engine: &mut CudaTrainer<D>, kind: Kind) -> bool {
    let prepared = engine.schedule(kind, 1).unwrap();
    let labels: Vec<&str> = prepared.schedule.launches().iter().map(|l| l.label.as_str()).collect();
    let [fetch, forward] =
        ["bias fetch", "bias head forward"].map(|wanted| labels.contains(&wanted));
    assert!(fetch != forward, "never both: {labels:?}");
    fetch
}

/// The same sums in f32, split at other rows. A logit is a chain of 75 additions of sums over channels, and split
/// elsewhere each may round otherwise: at worst |difference| <= 2 * 75 * 2^-24 * (largest partial sum) = 9e-6 of it,
/// and as random steps 4e-7. The partial sums of these models are below 1: 1e-5 for every logit, 2e-6 in L2.
/// A log count in a step adds up the rows of a tile by a tree, then tiles: some 10 roundings of 2^-24 of a mean below 1,
/// where the kept one has none: 1e-6. In 16 bits a step takes the dense weights in two parts, which lose 2.8e-6 of a
/// weight in bf16 (kernels/head_tensor.cuh): 4e-6 there.
fn assert_same_outputs(
    what: &str,
    precision: Precision,
    found: &Predictions,
    wanted: &Predictions,
) {
    let off = |found: &[f32], wanted: &[f32]| {
        assert_eq!(found.len(), wanted.len(), "{what}");
        found.iter().zip(wanted).map(|(f, w)| f64::from(f - w)).collect::<Vec<_>>()
    };
    let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let most = |values: &[f64]| {
        values.iter().fold(0.0f64, |most, v| if v.is_nan() { f64::NAN } else { most.max(v.abs()) })
    };
    let logits = off(&found.logits, &wanted.logits);
    let of: Vec<f64> = wanted.logits.iter().map(|&v| v.into()).collect();
    let relative = size(&logits) / size(&of);
    let logcounts = most(&off(&found.logcounts, &wanted.logcounts));
    println!(
        "{what}: logits off by {relative:.1e} relative L2 and {:.1e}, logcounts by {logcounts:.1e}",
        most(&logits)
    );
    assert!(relative <= 2e-6 && most(&logits) <= 1e-5, "{what}: {relative:e} {:e}", most(&logits));
    let most = if precision == Precision::Bf16 { 4e-6 } else { 1e-6 };
    assert!(logcounts <= most, "{what}: logcounts off by {logcounts:e}");
}

#[test]
fn kept_outputs_are_those_of_a_step_in_every_precision() {
    let (tracks, spec) = (tracks(), model());
    // The sites, and as many rows elsewhere as there is room for.
    let plan = [plan(26, 1), elsewhere(5)].concat();
    for precision in Precision::ALL {
        let mut step = engine(Options::fast(), precision, &spec, &tracks);
        let mut kept = engine(Options::fast(), precision, &spec, &tracks);
        keep(&mut kept, &windows(), 5);
        assert!(kept.keeps_bias() && !step.keeps_bias());
        let (found, wanted) =
            (bias_outputs(&mut kept, &plan, 7), bias_outputs(&mut step, &plan, 7));
        assert!(fetched(&mut kept, Kind::Evaluate) && !fetched(&mut step, Kind::Evaluate));
        assert_same_outputs(&format!("{precision}"), precision, &found, &wanted);
        // A row elsewhere has a pass of its own window, in which nothing is split differently.
        let own = 26 * OUTPUTLEN..;
        assert_eq!(found.logits[own.clone()], wanted.logits[own], "{precision}");
        // Neither does it depend on the batch that it is in.
        assert_eq!(bias_outputs(&mut kept, &plan, 31), found, "{precision}");
    }
}

/// On the Hopper core, in checked schedules, and with the bias branch of real size.
#[test]
fn kept_outputs_are_those_of_a_step_on_other_cores_and_schedules() {
    let tracks = tracks();
    let plan = plan(13, 2);
    let main = network((INPUTLEN, OUTPUTLEN, 3, 1), 1);
    let wide = spec(main, Some(network((INPUTLEN, OUTPUTLEN, 128, 2), 2)));
    let compare = |what: &str, spec: &TrainSpec, options, core| {
        let open = || {
            let device = EmulatedDevice::new(options).with_core(core);
            CudaTrainer::new(device, Precision::Fp16, spec.clone(), tracks.clone()).unwrap()
        };
        let (mut kept, mut step) = (open(), open());
        keep(&mut kept, &windows()[..4], 13);
        let (found, wanted) =
            (bias_outputs(&mut kept, &plan, 5), bias_outputs(&mut step, &plan, 5));
        assert_same_outputs(what, Precision::Fp16, &found, &wanted);
    };
    compare("Hopper", &wide, Options::fast(), Core::H100);
    let small = spec(
        network((INPUTLEN, OUTPUTLEN, 3, 0), 1),
        Some(network((INPUTLEN, OUTPUTLEN, 3, 1), 2)),
    );
    for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
        compare("checked", &small, Options::checked(seed, delivery), Core::Portable);
    }
}

#[test]
fn real_lengths_are_kept() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let bases: Vec<u8> = (0..5000).map(|_| b"ACGT"[rng.random_range(0..4)]).collect();
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([("chr1", &vec![1.0; 5000][..])]))),
    );
    let spec = spec(network((2114, 1000, 1, 0), 1), Some(network((2114, 1000, 128, 4), 2)));
    let windows = [Windows { contig: 0, first_start: 700, starts: 1001, both_strands: true }];
    let at = |start, flags| Example { contig: 0, start, flags, row: 0 };
    let plan = [at(700, 1), at(1700, 1), at(1235, 0)];
    let mut step = engine(Options::fast(), Precision::Fp16, &spec, &tracks);
    let mut kept = engine(Options::fast(), Precision::Fp16, &spec, &tracks);
    keep(&mut kept, &windows, 0);
    let (found, wanted) = (bias_outputs(&mut kept, &plan, 3), bias_outputs(&mut step, &plan, 3));
    assert_same_outputs("2114 x 128 x 4", Precision::Fp16, &found, &wanted);
}

fn train(engine: &mut dyn Train, plan: &[Example]) -> Vec<StepLoss> {
    let mut losses = Vec::new();
    engine
        .train_steps(plan, 4, &mut |loss, _| {
            losses.push(loss);
            ControlFlow::Continue(())
        })
        .unwrap();
    losses
}

fn weights(set: &ParameterSet) -> Vec<f32> {
    set.tensors.iter().flat_map(|t| t.data.iter().copied()).collect()
}

/// Gradients of a batch are off by what the bias outputs are, times at most the counts; so are the losses. Adam divides
/// a gradient by its own size, so a weight with almost none may move anywhere within its rate: rounding in f32 alone
/// turns the whole update of twenty steps by 0.03 (`Precision::DEFAULT`).
#[test]
fn training_is_the_same_with_and_without() {
    let (tracks, spec) = (tracks(), model());
    let plan = [plan(19, 3), elsewhere(3)].concat();
    let mut step = engine(Options::fast(), Precision::Plain, &spec, &tracks);
    let mut kept = engine(Options::fast(), Precision::Plain, &spec, &tracks);
    keep(&mut kept, &windows(), 3);
    let [found, wanted] = [&mut kept, &mut step].map(|e| e.gradients(&plan[..4]).unwrap());
    for (found, wanted) in found.parameters.tensors.iter().zip(&wanted.parameters.tensors) {
        if found.name != "prof_out_precrop/bias" {
            let wanted: Vec<f64> = wanted.data.iter().map(|&w| w.into()).collect();
            let off = super::compare(&found.data, &wanted);
            assert!(off < 1e-5, "gradient of {}: off by {off:.1e}", found.name);
        }
    }
    let [found, wanted] = [&mut kept, &mut step].map(|e| train(e, &plan));
    assert_eq!(found.len(), 6);
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((found.total - wanted.total).abs() <= 1e-5 * wanted.total, "{found:?} {wanted:?}");
    }
    let [found, wanted] = [&mut kept, &mut step].map(|e| weights(&e.parameters().unwrap()));
    let update = |after: &[f32]| -> Vec<f32> {
        after
            .iter()
            .zip(weights(&spec.branches.main.parameters))
            .map(|(a, before)| a - before)
            .collect()
    };
    let wanted: Vec<f64> = update(&wanted).into_iter().map(f64::from).collect();
    let off = super::compare(&update(&found), &wanted);
    println!("update off by {off:.1e}");
    assert!(off < 0.03, "update off by {off:.1e}");
    assert!(fetched(&mut kept, Kind::Train) && !fetched(&mut step, Kind::Train));
}

#[test]
fn a_run_that_stopped_goes_on_with_the_same_bits() {
    let (tracks, spec) = (tracks(), model());
    let mut rows = [plan(14, 4), elsewhere(6)].concat();
    rows.rotate_left(5); // rows elsewhere in the middle
    let open = || {
        let mut engine = engine(Options::fast(), Precision::Fp16, &spec, &tracks);
        keep(&mut engine, &windows(), 6);
        engine
    };
    let mut whole = open();
    let losses = train(&mut whole, &rows);
    assert_eq!(train(&mut open(), &rows), losses);
    for stop in [1, 3, 4] {
        let mut first = open();
        let told = train(&mut first, &rows[..4 * stop]);
        let mut second = open();
        second.set_parameters(&first.parameters().unwrap()).unwrap();
        second.restore_optimizer(&first.optimizer_state().unwrap()).unwrap();
        assert_eq!([told, train(&mut second, &rows[4 * stop..])].concat(), losses);
        let [whole, second] = [&mut whole, &mut second].map(|e| weights(&e.parameters().unwrap()));
        assert_eq!(whole, second);
    }
}

#[test]
fn a_plan_with_too_many_unknown_rows_takes_none_from_the_cache() {
    let (tracks, spec) = (tracks(), model());
    let plan = [plan(6, 5), elsewhere(3)].concat();
    let mut step = engine(Options::fast(), Precision::Tf32, &spec, &tracks);
    let mut kept = engine(Options::fast(), Precision::Tf32, &spec, &tracks);
    keep(&mut kept, &windows(), 2);
    assert_eq!(bias_outputs(&mut kept, &plan, 9), bias_outputs(&mut step, &plan, 9));
    assert!(!fetched(&mut kept, Kind::Evaluate));
    assert_eq!(train(&mut kept, &plan), train(&mut step, &plan));
    // With one row less there is room.
    kept.evaluate(&plan[..8]).unwrap();
    assert!(fetched(&mut kept, Kind::Evaluate));
    // Predictions are of single batches, which have a forward pass anyway.
    let mut predicted = [Predictions::default(), Predictions::default()];
    for (engine, predicted) in [&mut kept, &mut step].into_iter().zip(&mut predicted) {
        engine.predict(&plan, predicted).unwrap();
    }
    assert_eq!(predicted[0], predicted[1]);
}

#[test]
fn without_room_nothing_is_kept_and_the_engine_says_so() {
    let (tracks, spec) = (tracks(), model());
    let open = |free_bytes, windows: &[Windows]| {
        let device = EmulatedDevice::new(Options::fast()).with_free_bytes(free_bytes);
        let mut engine =
            CudaTrainer::new(device, Precision::Bf16, spec.clone(), tracks.clone()).unwrap();
        keep(&mut engine, windows, 2);
        engine
    };
    let mut roomy = open(1 << 30, &windows());
    let said = roomy.describe();
    assert!(roomy.keeps_bias() && said.contains("bias outputs kept (1 of them)"), "{said}");
    let plan = plan(4, 6);
    roomy.train_step(&plan).unwrap();
    let all = roomy.memory_plan().unwrap();
    assert!(all.contains("kept bias outputs") && all.contains("places of plan rows"), "{all}");

    // 20 million windows do not fit into an eighth of its GiB, whatever is free.
    let many = Windows { starts: 20_000_000, ..windows()[0] };
    let large = open(1 << 30, &[many]).describe();
    assert!(large.contains("MiB, there is room for 128)"), "{large}");
    let mut tight = open(1 << 19, &windows());
    let said = tight.describe();
    assert!(!tight.keeps_bias() && said.contains("bias outputs in each step"), "{said}");
    assert!(said.contains("MiB, there is room for 1)"), "{said}");
    let mut step = engine(Options::fast(), Precision::Bf16, &spec, &tracks);
    assert_eq!(tight.train_step(&plan).unwrap(), step.train_step(&plan).unwrap());
    assert_eq!(step.describe().matches("bias").count(), 0, "nobody asked");
}

/// What was kept before is given back, and steps fetch from what is kept now.
#[test]
fn keeping_again_replaces_what_is_kept() {
    let (tracks, spec) = (tracks(), model());
    let mut kept = engine(Options::fast(), Precision::Plain, &spec, &tracks);
    let plan = plan(6, 7);
    keep(&mut kept, &windows(), 0);
    let (before, first) = (kept.memory_bytes(), bias_outputs(&mut kept, &plan, 6));
    keep(&mut kept, &windows(), 0);
    assert_eq!(kept.memory_bytes(), before);
    assert_eq!(bias_outputs(&mut kept, &plan, 6), first);
    // An engine without a bias branch has nothing to keep.
    let alone = TrainSpec { branches: spec.branches.main.into(), ..spec };
    let mut alone = engine(Options::fast(), Precision::Plain, &alone, &tracks);
    keep(&mut alone, &windows(), 0);
    assert!(!alone.keeps_bias());
}

/// The selftest's own check of it.
#[test]
fn the_selftest_compares_both() {
    let case = selftest::AWKWARD[0];
    let mut open = || Ok(EmulatedDevice::new(Options::fast()));
    let outcome = selftest::run(case, Precision::Plain, &mut open).unwrap();
    let named = |what: &str| outcome.differences.iter().any(|d| d.tensor == what && d.is_met());
    assert!(named("kept bias logits") && named("kept bias logcounts"));
}
