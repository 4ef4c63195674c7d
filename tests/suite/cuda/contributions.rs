//! Contribution scores on emulated GPUs, against the goldens and the CPU engine in double precision.

use cbp_fast::doctor::selftest::Shape;
use cbp_fast::engine::cpu::CpuEngineOf;
use cbp_fast::engine::cuda::emulated::{Delivery, EmulatedDevice, Options};
use cbp_fast::engine::cuda::engine::CudaEngine;
use cbp_fast::engine::cuda::ops::hopper::Core;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{Contributions, Engine, Explain, Heads, Predictions, Rule, ToExplain};
use cbp_fast::model::Branches;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::network;
use crate::parity::deepshap::{Input, TOLERANCE};
use crate::shared;

/// Sequences and references of a model, as codes.
struct Case {
    branches: Branches,
    codes: Vec<u8>,
    references: Vec<u8>,
    per_sequence: usize,
}

impl Case {
    /// References share a stretch with their sequence, so that some units do not change; both have Ns.
    fn new(shape: Shape, n: usize, per_sequence: usize) -> Self {
        let inputlen = shape.0;
        let mut rng = ChaCha8Rng::seed_from_u64(29);
        let mut code = || [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 4][rng.random_range(0..13)];
        let codes: Vec<u8> = (0..n * inputlen).map(|_| code()).collect();
        let mut references: Vec<u8> = (0..n * per_sequence * inputlen).map(|_| code()).collect();
        for (at, reference) in references.chunks_exact_mut(inputlen).enumerate() {
            let same = 20..inputlen / 2;
            reference[same.clone()].copy_from_slice(&codes[at / per_sequence * inputlen..][same]);
        }
        Self { branches: network(shape, 3).into(), codes, references, per_sequence }
    }

    fn inputlen(&self) -> usize {
        self.branches.main.arch.inputlen
    }

    fn rescale(&self) -> ToExplain<'_> {
        let rule = Rule::Rescale { references: &self.references, per_sequence: self.per_sequence };
        ToExplain { codes: &self.codes, rule, heads: Heads::BOTH }
    }

    fn gradient(&self) -> ToExplain<'_> {
        ToExplain { rule: Rule::Gradient, ..self.rescale() }
    }

    fn wanted(&self, of: &ToExplain) -> Contributions {
        run(&mut CpuEngineOf::<f64>::new(self.branches.clone(), None).unwrap(), of)
    }

    fn found(&self, options: Options, precision: Precision, of: &ToExplain) -> Contributions {
        run(&mut self.engine(EmulatedDevice::new(options), precision), of)
    }

    fn engine(&self, device: EmulatedDevice, precision: Precision) -> CudaEngine<EmulatedDevice> {
        CudaEngine::new(device, precision, self.branches.clone(), None).unwrap()
    }

    /// Fails when a score is further off than `tolerance` times the largest of its sequence, or a delta or a
    /// prediction out of line. Returns the largest such share.
    fn check(
        &self,
        what: &str,
        found: &Contributions,
        wanted: &Contributions,
        tolerance: f64,
    ) -> f64 {
        let size = 4 * self.inputlen();
        let mut worst = 0.0f64;
        for (head, found, wanted) in [
            ("counts", &found.counts, &wanted.counts),
            ("profile", &found.profile, &wanted.profile),
        ] {
            assert_eq!(found.len(), wanted.len(), "{what} {head}");
            let sequences = found.chunks_exact(size).zip(wanted.chunks_exact(size));
            for (sequence, (found, wanted)) in sequences.enumerate() {
                let off = furthest(found, wanted);
                assert!(off <= tolerance, "{what} {head} {sequence}: off by {off:.1e}");
                worst = worst.max(off);
            }
        }
        for (found, wanted) in [
            (&found.delta_counts, &wanted.delta_counts),
            (&found.delta_profile, &wanted.delta_profile),
        ] {
            let as_f32 = |deltas: &[f64]| deltas.iter().map(|&d| d as f32).collect::<Vec<_>>();
            let off = furthest(&as_f32(found), &as_f32(wanted));
            assert!(off <= 10.0 * tolerance.max(1e-6), "{what}: deltas off by {off:.1e}");
        }
        let off = furthest(&found.predictions.logits, &wanted.predictions.logits);
        assert!(off <= tolerance.max(1e-5), "{what}: logits off by {off:.1e}");
        worst
    }
}

fn run(engine: &mut dyn Explain, of: &ToExplain) -> Contributions {
    let mut out = Contributions::default();
    engine.contributions(of, &mut out).unwrap();
    out
}

/// Largest difference over the largest number.
fn furthest(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let (mut off, mut size) = (0.0f64, 1e-30f64);
    for (&f, &w) in found.iter().zip(wanted) {
        assert!(f.is_finite());
        off = off.max((f64::from(f) - f64::from(w)).abs());
        size = size.max(f64::from(w).abs());
    }
    off / size
}

fn mean(all: &[Vec<f64>]) -> Vec<f32> {
    let of_one =
        |at| (all.iter().map(|one: &Vec<f64>| one[at]).sum::<f64>() / all.len() as f64) as f32;
    (0..all[0].len()).map(of_one).collect()
}

/// Padded channels and a crop; two tiles of channels; no dilated layer; a whole tile of rows.
const SHAPES: [Shape; 4] = [(160, 24, 6, 2), (190, 30, 40, 3), (114, 20, 4, 0), (250, 60, 64, 2)];

/// Of the largest score of a sequence. Random models with few references: one unit whose sums for sequence and reference
/// lie close to each other and to zero has a ratio of little more than noise, and nothing averages it out.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 | Precision::Plain => 1e-4, // as the goldens ask; 3.5e-5 and 1.9e-6 seen
        Precision::Fp16 | Precision::Tf32 => 5e-2, // 2.8e-2 seen, 1e-3 without such a unit
        Precision::Bf16 => 1e-1,                   // 4.7e-2 seen
        Precision::Int8 => unreachable!("it predicts only"),
    }
}

fn check_precision(precision: Precision) {
    let mut worst = 0.0f64;
    for shape in SHAPES {
        let case = Case::new(shape, 2, 3);
        let found = case.found(Options::fast(), precision, &case.rescale());
        let wanted = case.wanted(&case.rescale());
        let what = format!("{precision} {shape:?}");
        worst = worst.max(case.check(&what, &found, &wanted, tolerance(precision)));
    }
    println!("{precision}: off by at most {worst:.1e}");
}

#[test]
fn scores_in_plain_f32() {
    check_precision(Precision::Plain);
}

#[test]
fn scores_in_f32() {
    check_precision(Precision::F32);
}

#[test]
fn scores_in_tf32() {
    check_precision(Precision::Tf32);
}

#[test]
fn scores_in_fp16() {
    check_precision(Precision::Fp16);
}

#[test]
fn scores_in_bf16() {
    check_precision(Precision::Bf16);
}

#[test]
fn gradients_are_those_of_the_cpu_engine() {
    for shape in SHAPES {
        let case = Case::new(shape, 3, 1);
        let wanted = case.wanted(&case.gradient());
        for precision in [Precision::Plain, Precision::F32] {
            let found = case.found(Options::fast(), precision, &case.gradient());
            let off = case.check(&format!("{precision} {shape:?}"), &found, &wanted, 1e-4);
            println!("{precision} {shape:?}: off by {off:.1e}");
            assert!(found.delta_counts.is_empty() && found.delta_profile.is_empty());
        }
    }
}

/// The same bits whatever shares a chunk: all at once, one sequence a call, and on a device with room for few
/// references at a time.
#[test]
fn scores_do_not_depend_on_the_chunk() {
    let case = Case::new((140, 24, 6, 1), 3, 5);
    let (codes, references) = (case.inputlen(), case.inputlen() * case.per_sequence);
    for precision in [Precision::Fp16, Precision::F32] {
        let engine = |bytes: u64| {
            case.engine(EmulatedDevice::new(Options::fast()).with_free_bytes(bytes), precision)
        };
        let mut whole = engine(1 << 30);
        let wanted = run(&mut whole, &case.rescale());
        let all = whole.memory_bytes().unwrap();
        for bytes in [0, 300_000, 800_000] {
            let mut small = engine(bytes);
            assert_eq!(run(&mut small, &case.rescale()), wanted, "{precision}, {bytes} bytes");
            let used = small.memory_bytes().unwrap();
            assert!(used < all, "{precision}: {used} bytes instead of {all}");
        }

        // One by one, between steps of other kinds, with the buffers of the larger call.
        let mut found = Contributions::default();
        let mut predicted = Predictions::default();
        for (codes, references) in
            case.codes.chunks_exact(codes).zip(case.references.chunks_exact(references))
        {
            let rule = Rule::Rescale { references, per_sequence: case.per_sequence };
            let of = ToExplain { codes, rule, heads: Heads::BOTH };
            whole.contributions(&of, &mut found).unwrap();
            whole.predict_sequences(codes, &mut predicted).unwrap();
        }
        assert_eq!(found, wanted, "{precision}");
        assert_eq!(predicted, wanted.predictions, "{precision}");
    }
}

#[test]
fn a_head_alone_scores_as_with_the_other() {
    let case = Case::new((190, 30, 40, 3), 2, 2);
    let mut engine = case.engine(EmulatedDevice::new(Options::fast()), Precision::Tf32);
    for of in [case.rescale(), case.gradient()] {
        let both = run(&mut engine, &of);
        for (counts, profile) in [(true, false), (false, true), (false, false)] {
            let one = run(&mut engine, &ToExplain { heads: Heads { counts, profile }, ..of });
            let taken = |wanted: bool, all: &[f32]| if wanted { all.to_vec() } else { Vec::new() };
            assert_eq!(one.counts, taken(counts, &both.counts));
            assert_eq!(one.profile, taken(profile, &both.profile));
            assert_eq!(one.delta_counts.len(), if counts { both.delta_counts.len() } else { 0 });
            assert_eq!(one.predictions, both.predictions);
        }
    }
}

/// On the Hopper core, in tiles of 128 and of 256 columns; the same bits in every chunk and schedule. They are the portable
/// core's, too, since on the host both add products in the order of k. (Gradients of 16 bits against f64: `doctor`'s.)
#[test]
fn scores_on_the_hopper_core() {
    let on = |core: Core, case: &Case, device: EmulatedDevice, precision, of: &ToExplain| {
        run(&mut case.engine(device.with_core(core), precision), of)
    };
    let fast = || EmulatedDevice::new(Options::fast());
    for precision in [Precision::Fp16, Precision::Bf16] {
        for shape in [(200, 40, 128, 3), (150, 30, 250, 2)] {
            let case = Case::new(shape, 2, 3);
            let what = format!("{precision} {shape:?}");
            let found = on(Core::H100, &case, fast(), precision, &case.rescale());
            let wanted = case.wanted(&case.rescale());
            let off = case.check(&what, &found, &wanted, tolerance(precision));
            println!("{what}: off by {off:.1e}");
            assert_eq!(found, on(Core::Portable, &case, fast(), precision, &case.rescale()));
            let [hopper, portable] = [Core::H100, Core::Portable]
                .map(|core| on(core, &case, fast(), precision, &case.gradient()));
            assert_eq!(hopper, portable, "{what}: gradients");
        }
        let case = Case::new((130, 24, 128, 2), 2, 3);
        let wanted = on(Core::H100, &case, fast(), precision, &case.rescale());
        let small = fast().with_free_bytes(0);
        assert_eq!(on(Core::H100, &case, small, precision, &case.rescale()), wanted, "{precision}");
        for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
            let device = EmulatedDevice::new(Options::checked(seed, delivery));
            let found = on(Core::H100, &case, device, precision, &case.rescale());
            assert_eq!(found, wanted, "{precision}");
        }
    }
}

/// What the dilated layers of a chunk of scores launch, on either core and where Hopper's kernels do not fit.
#[test]
fn the_core_chooses_the_kernels() {
    let kernels = |filters: usize, core: Core, precision: Precision| -> Vec<&'static str> {
        let case = Case::new((140, 24, filters, 1), 1, 2);
        let device = EmulatedDevice::new(Options::fast()).with_core(core);
        let schedule = case.engine(device, precision).explain_schedule(1, 2).unwrap();
        let launches = schedule.launches().iter().filter(|l| l.label.contains("dilated"));
        assert!(launches.clone().all(|l| l.floor.flop > 0.0 && l.floor.bytes > 0.0));
        launches.map(|launch| launch.kernel).collect()
    };
    let [forward, dgrad] = ["hopper_rescale_forward_bf16_n128", "hopper_rescale_dgrad_bf16_n128"];
    // sequences, references, the way back
    assert_eq!(kernels(128, Core::H100, Precision::Bf16), [forward, forward, dgrad]);
    for (filters, core, precision) in [
        (128, Core::Portable, Precision::Bf16),
        (96, Core::H100, Precision::Bf16),
        (128, Core::H100, Precision::Tf32),
    ] {
        for kernel in kernels(filters, core, precision) {
            assert!(kernel.starts_with("rescale_"), "{filters} {core:?} {precision}: {kernel}");
        }
    }
}

/// Every access checked, threads in random order, copies late.
#[test]
fn scores_under_random_schedules() {
    let case = Case::new((140, 40, 5, 1), 2, 2);
    for precision in [Precision::Fp16, Precision::F32] {
        let wanted = case.found(Options::fast(), precision, &case.rescale());
        for (seed, delivery) in [(1, Delivery::Random), (2, Delivery::Starved)] {
            let options = Options::checked(seed, delivery);
            assert_eq!(case.found(options, precision, &case.rescale()), wanted, "{precision}");
        }
    }
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let case = Case::new((114, 20, 4, 0), 2, 2);
    let device = || EmulatedDevice::new(Options::fast());
    let mut full = case.branches.clone();
    full.bias = Some(network((114, 20, 3, 0), 4));
    let mut engine = CudaEngine::new(device(), Precision::F32, full, None).unwrap();
    let mut out = Contributions::default();
    let error = engine.contributions(&case.rescale(), &mut out).unwrap_err().to_string();
    assert!(error.contains("one branch"), "{error}");

    // Weights that take a multiplier beyond fp16, and outputs beyond f32.
    for (dense, first, precision) in [(1e7, 1.0, Precision::Fp16), (1e38, 1e4, Precision::F32)] {
        let mut broken = case.branches.clone();
        for tensor in &mut broken.main.parameters.tensors {
            let factor = match tensor.name.as_str() {
                "logcount_predictions/kernel" => dense,
                "bpnet_1st_conv/kernel" => first,
                _ => 1.0,
            };
            tensor.data.iter_mut().for_each(|v| *v *= factor);
        }
        let mut engine = CudaEngine::new(device(), precision, broken, None).unwrap();
        let error = engine.contributions(&case.rescale(), &mut out).unwrap_err().to_string();
        assert!(error.contains("not a finite number in"), "{error}");
        assert!(error.contains("sequence"), "{error}");
    }
    let mut engine = case.engine(device(), Precision::F32);
    let none = ToExplain { codes: &[], ..case.rescale() };
    assert!(engine.contributions(&none, &mut out).is_err(), "references without sequences");
    assert_eq!(out, Contributions::default());
}

/// The official explainer's scores of a bias model against all twenty references of the first sequence, and of the main
/// model, in every precision that it may run in, against the first few.
#[test]
fn scores_of_both_heads_are_the_official_ones() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let (main, bias) = ("chrombpnet_nobias", "bias_trained");
    for (name, references, precision, tolerance) in [
        (bias, input.per_sequence, Precision::Plain, TOLERANCE), // 5.8e-6 seen
        (main, 4, Precision::F32, TOLERANCE),                    // 1.7e-5
        (main, 1, Precision::Tf32, 5e-3),                        // 8e-4
        (main, 1, Precision::Fp16, 5e-3),                        // 1e-3
        (main, 1, Precision::Bf16, 3e-2),                        // 6e-3
    ] {
        let width = input.inputlen;
        let codes = &input.references[..references * width];
        let rule = Rule::Rescale { references: codes, per_sequence: references };
        let of = ToExplain { codes: &input.codes[..width], rule, heads: Heads::BOTH };
        let device = EmulatedDevice::new(Options::fast());
        let branches = input.branches(&goldens, name);
        let mut engine = CudaEngine::new(device, precision, branches, None).unwrap();
        let found = run(&mut engine, &of);
        for (head, found) in [("counts", &found.counts), ("profile", &found.profile)] {
            let wanted = match references == input.per_sequence {
                true => input.hypothetical(name, head)[..4 * width].to_vec(),
                false => mean(&input.of_single_references(name, head)[..references]),
            };
            let off = furthest(found, &wanted);
            println!("{name} {head} {precision}: off by {off:.1e}");
            assert!(off <= tolerance, "{name} {head} {precision}: off by {off:.1e}");
        }
    }
}
