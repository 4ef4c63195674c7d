//! The definition against finite differences of itself; the CPU engine against the definition, and
//! against itself with other threads, batches and instruction sets.

use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::doctor::selftest::examples_of;
use cbp_fast::engine::cpu::{CpuTrainer, CpuTrainerOf, Gradients, Isa, Options, Scalar};
use cbp_fast::engine::{CountsHead, Optimizer, Predict, Predictions, Train, TrainSpec};
use cbp_fast::model::reference::{self, Reference, Step};
use cbp_fast::model::{Architecture, Branches, Network, ParameterSet};
use cbp_fast::store::{GenomePack, SignalPack, Tracks};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONTIG: usize = 6000;

/// Random bases with Ns, random sparse counts with an empty stretch at the end.
fn tracks(seed: u64) -> Tracks {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bases: Vec<u8> = (0..CONTIG).map(|_| b"ACGTACGTACGTN"[rng.random_range(0..13)]).collect();
    let counts: Vec<f32> =
        (0..CONTIG)
            .map(|at| {
                if at < 4500 && rng.random_bool(0.3) { rng.random_range(1..9) as f32 } else { 0.0 }
            })
            .collect();
    Tracks::new(
        Arc::new(GenomePack::from_sequences([("chrA", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([("chrA", &counts[..])]))),
    )
}

fn network(inputlen: usize, outputlen: usize, filters: usize, layers: usize, seed: u64) -> Network {
    let arch = Architecture::new(inputlen, outputlen, filters, layers).unwrap();
    let mut parameters = ParameterSet::glorot_uniform(&arch, seed);
    // Biases away from zero: a unit fed only zeros would sit on the ReLU's kink.
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xb1a5);
    for tensor in parameters.tensors.iter_mut().filter(|t| t.name.ends_with("/bias")) {
        tensor.data.iter_mut().for_each(|v| *v = rng.random::<f32>() * 0.4 - 0.2);
    }
    Network { arch, parameters }
}

/// As the official tool trains.
pub fn spec(main: Network, bias: Option<Network>) -> TrainSpec {
    TrainSpec {
        branches: Branches { main, bias },
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight: 2.5,
        counts_head: CountsHead::Plain,
    }
}

fn plan(starts: &[u32]) -> Vec<Example> {
    let example = |(i, &start): (usize, &u32)| Example {
        contig: 0,
        start,
        flags: if i % 2 == 1 { Example::REVCOMP } else { 0 },
        row: i as u32,
    };
    starts.iter().enumerate().map(example).collect()
}

fn options(pairs: bool) -> Options {
    Options { pairs: Some(pairs), ..Options::default() }
}

/// Relative L2 distance.
fn distance(found: &[f64], wanted: &[f64]) -> f64 {
    let square = |sum: f64, x: f64| sum + x * x;
    let difference = found.iter().zip(wanted).map(|(f, w)| f - w).fold(0.0, square);
    (difference / wanted.iter().copied().fold(1e-300, square)).sqrt()
}

/// What the definition makes of a plan.
fn defined(spec: &TrainSpec, tracks: &Tracks, plan: &[Example]) -> Step {
    let examples = examples_of(spec, tracks, plan);
    reference::step_of(&spec.branches, spec.counts_loss_weight, &examples)
}

/// Central differences of the loss against its gradient, every tensor, up to 12 of its elements.
fn check_gradients(spec: &TrainSpec, starts: &[u32]) {
    let shape = spec.branches.main.arch;
    let (tracks, plan, weight) = (tracks(3), plan(starts), spec.counts_loss_weight);
    let examples = examples_of(spec, &tracks, &plan);
    let bias = spec.branches.bias.as_ref().map(Reference::new);
    let mut main = Reference::new(&spec.branches.main);
    let found = reference::step(&main, bias.as_ref(), weight, &examples);
    let step = 1e-6;
    for (at, (name, _)) in shape.parameter_shapes().into_iter().enumerate() {
        let n = main.weights[at].len();
        let probes: Vec<usize> = (0..n).step_by(n.div_ceil(12).max(1)).collect();
        let mut differences = Vec::new();
        for &probe in &probes {
            let own = main.weights[at][probe];
            let mut loss_at = |by: f64| {
                main.weights[at][probe] = own + by;
                reference::step(&main, bias.as_ref(), weight, &examples).total(weight)
            };
            differences.push((loss_at(step) - loss_at(-step)) / (2.0 * step));
            main.weights[at][probe] = own;
        }
        let gradient: Vec<f64> = probes.iter().map(|&p| found.gradient[at][p]).collect();
        let size = gradient.iter().fold(0.0_f64, |max, g| max.max(g.abs()));
        let worst =
            gradient.iter().zip(&differences).map(|(g, d)| (g - d).abs()).fold(0.0, f64::max);
        assert!(
            worst <= 2e-6 * (1.0 + size),
            "{shape:?} {name}: off by {worst:e}, largest gradient {size:e}"
        );
        // The profile bias has no gradient at all (a softmax does not see a constant).
        if name == "prof_out_precrop/bias" {
            assert!(size < 1e-9, "{name}: {size:e}");
        } else {
            assert!(size > 1e-7, "{name}: all gradients vanish, nothing was checked");
        }
    }
}

#[test]
fn finite_differences_of_the_definition() {
    // (inputlen, outputlen, filters, layers): odd filters, a crop, no crop, no dilated layer.
    for ((inputlen, outputlen, filters, layers), starts) in [
        ((140, 10, 5, 1), &[100][..]),
        ((200, 40, 17, 2), &[100, 2000, 5000]),
        ((182, 60, 3, 3), &[5900, 4400, 30]),
        ((96, 2, 4, 0), &[7]),
    ] {
        check_gradients(&spec(network(inputlen, outputlen, filters, layers, 1), None), starts);
    }
    for (layers, filters) in [(1, 6), (3, 5)] {
        let main = network(190, 30, filters, layers, 2);
        check_gradients(&spec(main, Some(network(190, 30, 4, 2, 3))), &[64, 1000, 5100]);
    }
}

#[test]
fn a_nan_in_the_signal_names_the_example() {
    let counts = |bad: f32| {
        let mut counts = vec![1.0; 1000];
        counts[500] = bad;
        counts
    };
    let bases = vec![b'A'; 1000];
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..]), ("chr2", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([
            ("chr1", &counts(1.0)[..]),
            ("chr2", &counts(f32::NAN)[..]),
        ]))),
    );
    let mut engine = CpuTrainer::new(spec(network(200, 40, 4, 1, 1), None), tracks).unwrap();
    let example = |contig, start| Example { contig, start, flags: 0, row: 0 };
    let before = engine.parameters().unwrap();
    let error = engine.train_step(&[example(0, 400), example(1, 400)]).unwrap_err().to_string();
    assert!(error.contains("chr2:400-600") && error.contains("example 2 of"), "{error}");
    assert_eq!(engine.parameters().unwrap(), before, "a failed step must not move the weights");
    assert_eq!(engine.optimizer_state().unwrap().step, 0);
}

#[test]
fn nan_weights_do_not_pass_unseen() {
    let mut network = network(200, 40, 4, 1, 1);
    network.parameters.tensors[0].data[3] = f32::NAN;
    let error = CpuTrainer::new(spec(network.clone(), None), tracks(1)).err().unwrap();
    assert!(error.to_string().contains("bpnet_1st_conv/kernel"), "{error}");
    // Set later, as a diverged optimizer would.
    let broken = network.parameters.clone();
    network.parameters.tensors[0].data[3] = 0.0;
    let mut engine = CpuTrainer::new(spec(network, None), tracks(1)).unwrap();
    engine.set_parameters(&broken).unwrap();
    let error = engine.evaluate(&plan(&[100])).unwrap_err().to_string();
    assert!(error.contains("not a finite number"), "{error}");
}

#[test]
fn bad_plans_are_errors() {
    let network = network(200, 40, 4, 1, 1);
    let tracks = tracks(1);
    let no_signal = Tracks::new(tracks.genome.clone(), None);
    let mut engine = CpuTrainer::new(spec(network.clone(), None), no_signal).unwrap();
    assert!(engine.train_step(&plan(&[1])).unwrap_err().to_string().contains("signal"));
    assert!(engine.predict(&plan(&[1]), &mut Predictions::default()).is_ok());
    assert!(engine.predict(&[], &mut Predictions::default()).is_err());
    let mut engine = CpuTrainer::new(spec(network, None), tracks).unwrap();
    let elsewhere = Example { contig: 9, start: 0, flags: 0, row: 0 };
    assert!(engine.evaluate(&[elsewhere]).unwrap_err().to_string().contains("contig 9"));
}

/// Every way to compute the same: instruction sets, paired or plain.
fn variants() -> Vec<Options> {
    let mut all = Vec::new();
    for isa in Isa::available() {
        for pairs in [false, true] {
            all.push(Options { isa, pairs: Some(pairs) });
        }
    }
    all
}

/// A full model of awkward sizes. Real lengths would be slow here; dilations up to 16 with lengths
/// that leave odd remainders are not.
fn awkward(filters: usize, layers: usize, outputlen: usize, extra: usize, seed: u64) -> TrainSpec {
    let outputlen = 2 * outputlen;
    let context = 20 + 74 + 2 * (2usize.pow(layers as u32 + 1) - 2);
    let main = network(context + outputlen + 2 * extra, outputlen, filters, layers, seed);
    let bias = network(main.arch.inputlen, outputlen, 1 + filters / 2, layers.min(1), seed + 1);
    spec(main, Some(bias))
}

fn gradients<T: Scalar>(spec: &TrainSpec, seed: u64, options: Options) -> Gradients<T> {
    CpuTrainerOf::<T>::with_options(spec.clone(), tracks(seed), options)
        .unwrap()
        .gradients(&plan(&[50, 3000, 4400]))
        .unwrap()
}

fn predictions<T: Scalar>(spec: &TrainSpec, seed: u64, options: Options) -> [Vec<f64>; 2] {
    let mut out = Predictions::default();
    CpuTrainerOf::<T>::with_options(spec.clone(), tracks(seed), options)
        .unwrap()
        .predict(&plan(&[50, 3000, 4400]), &mut out)
        .unwrap();
    [out.logits, out.logcounts].map(|values| values.into_iter().map(f64::from).collect())
}

/// What the definition makes of the examples of `gradients` and `predictions`.
fn wanted(spec: &TrainSpec, seed: u64) -> Step {
    defined(spec, &tracks(seed), &plan(&[50, 3000, 4400]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// f64 in every variant against the definition: the algorithms and the instruction sets.
    #[test]
    fn every_variant_is_the_definition_to_rounding(
        filters in 1..70_usize,
        layers in 0..5_usize,
        outputlen in 1..60_usize,
        extra in 0..40_usize,
        seed in 0..1000_u64,
    ) {
        let spec = awkward(filters, layers, outputlen, extra, seed);
        let wanted = wanted(&spec, seed);
        for options in variants() {
            let found = gradients::<f64>(&spec, seed, options);
            let loss = distance(
                &[found.loss.profile, found.loss.counts, found.loss.total],
                &[wanted.profile, wanted.counts, wanted.total(spec.counts_loss_weight)],
            );
            prop_assert!(loss < 1e-12, "{options:?}: {loss:e}");
            let logits = distance(&found.logits, &wanted.logits);
            let logcounts = distance(&found.logcounts, &wanted.logcounts);
            prop_assert!(logits < 1e-12 && logcounts < 1e-12, "{options:?}: {logits:e} {logcounts:e}");
            let [logits, logcounts] = predictions::<f64>(&spec, seed, options);
            let logits = distance(&logits, &wanted.logits);
            let logcounts = distance(&logcounts, &wanted.logcounts);
            // Predictions are handed out in f32.
            prop_assert!(logits < 1e-7 && logcounts < 1e-7, "{options:?}: {logits:e} {logcounts:e}");
            for (at, (found, wanted)) in
                found.parameters.iter().zip(&wanted.gradient).enumerate()
            {
                // Zero but for rounding: the profile bias.
                if at == 2 * layers + 3 { continue; }
                let off = distance(found, wanted);
                prop_assert!(off < 1e-11, "{options:?}: tensor {at} off by {off:e}");
            }
        }
    }
}

proptest! {
    // The same draws in every run: now and then a unit of f32 lies on the other side of its ReLU's kink, which in windows as short as these moves a gradient by up to 1e-2 (seen at 51
    // filters, 2 layers, 56 bp, seed 893: f64 agrees to 1e-15 there).
    #![proptest_config(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// f32 in every variant against the definition: outputs and gradients.
    #[test]
    fn every_variant_computes_the_same(
        filters in 1..70_usize,
        layers in 0..5_usize,
        outputlen in 1..60_usize,
        extra in 0..40_usize,
        seed in 0..1000_u64,
    ) {
        let spec = awkward(filters, layers, outputlen, extra, seed);
        let wanted = wanted(&spec, seed);
        for options in variants() {
            let found = gradients::<f32>(&spec, seed, options);
            let single = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let logits = distance(&single(&found.logits), &wanted.logits);
            let logcounts = distance(&found.logcounts, &wanted.logcounts);
            prop_assert!(logits < 1e-5 && logcounts < 1e-5, "{options:?}: {logits:e} {logcounts:e}");
            let [logits, logcounts] = predictions::<f32>(&spec, seed, options);
            let logits = distance(&logits, &wanted.logits);
            let logcounts = distance(&logcounts, &wanted.logcounts);
            prop_assert!(logits < 1e-5 && logcounts < 1e-5, "{options:?}: {logits:e} {logcounts:e}");
            for (at, (found, wanted)) in
                found.parameters.iter().zip(&wanted.gradient).enumerate()
            {
                // Zero but for rounding: the profile bias.
                if at == 2 * layers + 3 { continue; }
                let off = distance(&single(found), wanted);
                prop_assert!(off < 5e-3, "{options:?}: tensor {at} off by {off:e}");
            }
        }
    }
}

#[test]
fn plain_and_paired_products_at_real_lengths_and_dilations() {
    let spec = spec(network(2114, 1000, 3, 8, 5), None);
    let plan = plan(&[1000, 2000]);
    let wanted = defined(&spec, &tracks(1), &plan);
    for pairs in [false, true] {
        let found = CpuTrainerOf::<f64>::with_options(spec.clone(), tracks(1), options(pairs))
            .unwrap()
            .gradients(&plan)
            .unwrap();
        assert!(distance(&found.logits, &wanted.logits) < 1e-12);
        for (at, (found, wanted)) in found.parameters.iter().zip(&wanted.gradient).enumerate() {
            assert!(at == 19 || distance(found, wanted) < 1e-11, "tensor {at}");
        }
    }
}

#[test]
fn same_bits_with_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let spec = spec(network(300, 80, 33, 3, 1), Some(network(300, 80, 6, 2, 2)));
            let mut engine = CpuTrainer::new(spec, tracks(9)).unwrap();
            let starts: Vec<u32> = (0..11).map(|i| 37 + 450 * i).collect();
            let mut losses = Vec::new();
            for _ in 0..4 {
                losses.push(engine.train_step(&plan(&starts)).unwrap().total.to_bits());
            }
            losses.push(engine.evaluate(&plan(&starts)).unwrap().total.to_bits());
            let parameters = engine.parameters().unwrap();
            let bits: Vec<u32> =
                parameters.tensors.iter().flat_map(|t| &t.data).map(|v| v.to_bits()).collect();
            (losses, bits)
        })
    };
    let one = run(1);
    assert!(run(2) == one, "2 threads");
    assert!(run(3) == one, "3 threads");
    assert!(run(8) == one, "8 threads");
}

#[test]
fn a_prediction_does_not_depend_on_its_batch() {
    let spec = spec(network(300, 80, 20, 3, 1), Some(network(300, 80, 6, 2, 2)));
    let mut engine = CpuTrainer::new(spec, tracks(4)).unwrap();
    let plan = plan(&[10, 700, 1500, 2600, 4000]);
    let mut all = Predictions::default();
    engine.predict(&plan, &mut all).unwrap();
    // Buffers of a training step serve predictions as well.
    let loss = engine.evaluate(&plan).unwrap();
    let found = engine.gradients(&plan).unwrap();
    assert_eq!(found.loss, loss);
    assert_eq!(found.logits, all.logits);
    let mut appended = Predictions::default();
    for example in plan.iter() {
        engine.predict(std::slice::from_ref(example), &mut appended).unwrap();
    }
    assert_eq!(appended, all);
}

#[test]
fn optimizer_state_continues_bit_for_bit() {
    let spec = spec(network(300, 80, 7, 2, 1), None);
    let plan = plan(&[10, 700, 1500]);
    let mut whole = CpuTrainer::new(spec.clone(), tracks(4)).unwrap();
    for _ in 0..3 {
        whole.train_step(&plan).unwrap();
    }
    let (parameters, state) = (whole.parameters().unwrap(), whole.optimizer_state().unwrap());
    assert_eq!(state.step, 3);
    let mut resumed = CpuTrainer::new(spec, tracks(4)).unwrap();
    resumed.set_parameters(&parameters).unwrap();
    resumed.restore_optimizer(&state).unwrap();
    for _ in 0..2 {
        assert_eq!(whole.train_step(&plan).unwrap(), resumed.train_step(&plan).unwrap());
    }
    assert_eq!(whole.parameters().unwrap(), resumed.parameters().unwrap());
}

/// The kernel follows the gradient of its centered form, and the mean prediction only the bias's own step.
#[test]
fn a_centered_counts_head_moves_by_its_formula() {
    let mut spec = spec(network(160, 24, 5, 2, 1), Some(network(160, 24, 3, 1, 2)));
    spec.counts_head = CountsHead::Centered;
    let plan = plan(&[3, 40, 77]);
    let mut engine = CpuTrainerOf::<f64>::new(spec.clone(), tracks(4)).unwrap();
    let mut plain = CpuTrainerOf::<f64>::new(
        TrainSpec { counts_head: CountsHead::Plain, ..spec.clone() },
        tracks(4),
    )
    .unwrap();
    // Of one step, with Adam's moments at zero: every move but the head's is plain Adam's.
    let before = engine.weights().to_vec();
    let Gradients { parameters, features, .. } = engine.gradients(&plan).unwrap();
    engine.train_step(&plan).unwrap();
    plain.train_step(&plan).unwrap();
    let (kernel, bias) = (before.len() - 2, before.len() - 1);
    assert_eq!(engine.weights()[..kernel], plain.weights()[..kernel]);

    let by_bias = parameters[bias][0];
    let rate = 1e-3 * 0.001f64.sqrt() / (1.0 - 0.9);
    let mut shared = 0.0;
    for (c, mean) in features.iter().enumerate() {
        let g = parameters[kernel][c] - mean * by_bias;
        let step = rate * 0.1 * g / (0.001f64.sqrt() * g.abs() + 1e-7);
        let moved = engine.weights()[kernel][c] - before[kernel][c];
        assert!((moved + step).abs() < 1e-12, "{c}: moved by {moved}, wanted {}", -step);
        shared += moved * mean;
    }
    let moved = engine.weights()[bias][0] - before[bias][0];
    let wanted = -0.1 / (2.0 * 2.5) * by_bias - shared;
    assert!((moved - wanted).abs() < 1e-12, "bias moved by {moved}, wanted {wanted}");
    let moments = engine.optimizer_state().unwrap();
    assert_eq!(moments.tensors["first_moment"].tensors[bias].data, [0.0], "the bias is not Adam's");
}

/// Features are means over positions of the last map, and their centered gradient is the covariance with the
/// errors: what it is does not depend on the mean error.
#[test]
fn the_features_of_the_counts_head_are_its_inputs() {
    let spec = spec(network(160, 24, 5, 2, 1), None);
    let plan = plan(&[3, 40, 77]);
    let mut engine = CpuTrainerOf::<f64>::new(spec.clone(), tracks(4)).unwrap();
    let mut features = vec![0.0; 5];
    for example in &plan {
        let one = engine.gradients(std::slice::from_ref(example)).unwrap();
        let by_logcounts = one.by_logcounts[0];
        for ((sum, feature), by_kernel) in
            features.iter_mut().zip(&one.features).zip(&one.parameters[one.parameters.len() - 2])
        {
            *sum += feature / plan.len() as f64;
            assert!((by_kernel - by_logcounts * feature).abs() < 1e-12 * by_logcounts.abs());
        }
    }
    let batch = engine.gradients(&plan).unwrap();
    for (found, wanted) in batch.features.iter().zip(&features) {
        assert!((found - wanted).abs() < 1e-12, "{found}, wanted {wanted}");
    }
}

#[test]
fn training_lowers_the_loss() {
    let mut spec = spec(network(300, 80, 16, 2, 1), None);
    spec.optimizer = Optimizer::adam(5e-3);
    let mut engine = CpuTrainer::new(spec, tracks(4)).unwrap();
    let plan = plan(&[10, 700, 1500, 2600]);
    let first = engine.evaluate(&plan).unwrap();
    for _ in 0..60 {
        engine.train_step(&plan).unwrap();
    }
    let last = engine.evaluate(&plan).unwrap();
    assert!(
        last.profile < 0.97 * first.profile && last.counts < 0.1 * first.counts,
        "{first:?} {last:?}"
    );
}

fn bench(args: &[&str]) -> std::process::Output {
    assert_cmd::Command::cargo_bin("cbp-fast")
        .unwrap()
        .env("CUDA_VISIBLE_DEVICES", "")
        .args(["bench", "train", "--filters", "8", "--n-dilation-layers", "2"])
        .args(["--bias-filters", "4", "--bias-layers", "1", "--batch-size", "3"])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn bench_train_ends_with_one_json_line() {
    for set in [Isa::PORTABLE, Isa::detect()] {
        let set_args = ["--instruction-set", set.name()];
        let output =
            bench(&[&["--device", "cpu", "--steps", "2", "--json"], &set_args[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let found: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        for field in
            ["examples_per_s", "gflops", "ceiling_gflops", "percent_of_ceiling", "copy_tb_per_s"]
        {
            assert!(found[field].as_f64().unwrap() > 0.0, "{field}: {found}");
        }
        let [tflops, gflops] = ["tflops", "gflops"].map(|field| found[field].as_f64().unwrap());
        assert!((1e3 * tflops / gflops - 1.0).abs() < 1e-9, "{found}");
        assert_eq!(found["step_seconds"].as_array().unwrap().len(), 2);
        assert_eq!(found["instruction_set"], set.name());
    }
}

#[test]
fn bench_train_refuses_what_it_cannot_do() {
    for (args, wanted) in [
        (["--device", "cuda"], "--device cuda: "),
        (["--device", "tpu"], "tpu is not a device"),
        (["--instruction-set", "mmx"], "it has portable"),
        (["--inputlen", "500"], "at least"),
        (["--steps", "0"], "at least 1"),
    ] {
        let output = bench(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(wanted), "{args:?}: {text}");
    }
}
