//! Every launch of a training step and of a chunk of contribution scores on a GPU, timed alone, beside the ceilings
//! of the same GPU in the same process.
//!
//! Launches run on what a real step left in the buffers, so with real sparsity, and find their operands cold: before each a
//! buffer larger than any L2 cache is written. Times are medians by the GPU's own clock.

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::train::{Config, experiment, keep_bias};
use crate::engine::cuda::arena::Arena;
use crate::engine::cuda::cuda_device::CudaDevice;
use crate::engine::cuda::device::{Device, Launch};
use crate::engine::cuda::driver::Gpu;
use crate::engine::cuda::engine::CudaEngine;
use crate::engine::cuda::ops::ceiling;
use crate::engine::cuda::precision::Precision;
use crate::engine::cuda::schedule::Schedule;
use crate::engine::cuda::step::Kind;
use crate::engine::cuda::trainer::CudaTrainer;
use crate::engine::{Contributions, Engine, Explain, Heads, Rule, ToExplain, Train};

/// Times taken of a launch, fewer of one that takes long.
const MOST_REPEATS: usize = 101;
const LEAST_REPEATS: usize = 11;
/// Time of all repeats that is enough, ms.
const ENOUGH_MS: f64 = 50.0;
/// Twice the largest L2 cache that we know (126 MB, B200).
const FLUSH_BYTES: usize = 256 << 20;
/// A chunk of contribution scores: references of a sequence, as is usual, and sequences that go together then.
const REFERENCES: usize = 20;
const SEQUENCES: usize = 3;

/// Times of all launches but the two single-thread ones around a step.
pub fn run(gpu: &Gpu, precision: Precision, config: &Config) -> Result<Value> {
    let (spec, tracks, mut plans) = experiment(config);
    let mut device = CudaDevice::open(gpu.clone())?;
    let ceilings = Ceilings::measure(&mut device, gpu, precision)?;
    let network = spec.branches.main.clone();
    let mut engine = CudaTrainer::new(device, precision, spec, tracks)?;
    let plan = plans();
    keep_bias(&mut engine, &plan, config.batch_size)?;
    for _ in 0..3 {
        engine.train_step(&plan)?;
    }
    // Leaves the state at the beginning of a step of a full batch.
    engine.gradients(&plan)?;
    let prepared = engine.schedule(Kind::Train, config.batch_size)?;
    let launches = prepared.schedule.launches().iter();
    let work = launches.filter(|launch| !launch.kernel.starts_with("step_"));
    let rows = time_all(engine.device(), work, ceilings)?;
    let step = engine.device().time(&prepared, 1)?;
    let (memory, keeps_bias) = (engine.memory_bytes(), engine.keeps_bias());
    let plan = engine.memory_plan().filter(|_| config.memory);
    drop(engine);

    let device = CudaDevice::open(gpu.clone())?;
    let mut engine = CudaEngine::new(device, precision, network, None)?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let bases = (1 + REFERENCES) * SEQUENCES * config.main.inputlen;
    let codes: Vec<u8> = (0..bases).map(|_| rng.random_range(0..4)).collect();
    let (codes, references) = codes.split_at(SEQUENCES * config.main.inputlen);
    let rule = Rule::Rescale { references, per_sequence: REFERENCES };
    engine.contributions(
        &ToExplain { codes, rule, heads: Heads::BOTH },
        &mut Contributions::default(),
    )?;
    let chunk = engine.explain_schedule(SEQUENCES, REFERENCES)?;
    let chunk = engine.device().prepare(chunk)?;
    let chunk_ms = engine.device().time(&chunk, 1)?;
    let contributions = time_all(engine.device(), chunk.schedule.launches().iter(), ceilings)?;
    Ok(json!({
        "gpu": gpu.line(), "precision": precision.name(), "batch_size": config.batch_size,
        "core": engine.device().core().name(),
        "filters": config.main.filters, "n_dilation_layers": config.main.n_dilation_layers,
        "copy_tb_per_s": ceilings.copy_tb_per_s, "matrix_tflops": ceilings.matrix_tflops,
        "keeps_bias": keeps_bias,
        "launches_per_step": prepared.schedule.launches().len(), "ms_per_step": step, "examples_per_s": 1e3 * config.batch_size as f64 / step,
        "gpu_memory_bytes": memory,
        "memory_plan": plan.map(|plan| plan.lines().map(String::from).collect::<Vec<_>>()),
        "kernels": rows,
        "contributions": {
            "sequences": SEQUENCES, "references": REFERENCES, "graph_ms": chunk_ms,
            "gpu_memory_bytes": engine.memory_bytes(), "kernels": contributions,
        },
    }))
}

/// A row for each launch, after its floor.
fn time_all<'a>(
    device: &mut CudaDevice,
    launches: impl Iterator<Item = &'a Launch>,
    ceilings: Ceilings,
) -> Result<Vec<Value>> {
    let flush = device.alloc(FLUSH_BYTES, "flush of the L2 cache")?;
    let mut rows = Vec::new();
    for launch in launches {
        let work = launch.floor;
        let first = device.time_cold(launch, flush, FLUSH_BYTES)?;
        let repeats = ((ENOUGH_MS / first) as usize).clamp(LEAST_REPEATS, MOST_REPEATS);
        let mut times = Vec::new();
        for _ in 0..repeats {
            times.push(device.time_cold(launch, flush, FLUSH_BYTES)?);
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[repeats / 2] * 1e-3;
        let (tflops, gb) = (work.flop / seconds / 1e12, work.bytes / seconds / 1e9);
        rows.push(json!({
            "label": launch.label, "kernel": launch.kernel,
            "us": seconds * 1e6, "fastest_us": times[0] * 1e3, "slowest_us": times[repeats - 1] * 1e3,
            "tflops": tflops, "percent_of_matrix_ceiling": 100.0 * tflops / ceilings.matrix_tflops,
            "gb_per_s": gb, "percent_of_copy_ceiling": 0.1 * gb / ceilings.copy_tb_per_s,
        }));
    }
    device.free(flush)?;
    Ok(rows)
}

/// A table of the same, for people.
pub fn table(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut out = format!(
        "{}, {}: copy {:.2} TB/s, tensor cores {:.0} TFLOP/s; {:.2} ms a step, {:.0} ex/s\n{:<34} {:>10} {:>9} {:>6} {:>7} {:>6}\n",
        result["gpu"].as_str().unwrap_or_default(),
        result["precision"].as_str().unwrap_or_default(),
        number(&result["copy_tb_per_s"]),
        number(&result["matrix_tflops"]),
        number(&result["ms_per_step"]),
        number(&result["examples_per_s"]),
        "launch",
        "us",
        "TFLOP/s",
        "%",
        "GB/s",
        "%"
    );
    let steps = result["kernels"].as_array();
    let contributions = result["contributions"]["kernels"].as_array();
    for row in steps.into_iter().chain(contributions).flatten() {
        out += &format!(
            "{:<34} {:>10.1} {:>9.1} {:>6.1} {:>7.0} {:>6.1}\n",
            row["label"].as_str().unwrap_or_default(),
            number(&row["us"]),
            number(&row["tflops"]),
            number(&row["percent_of_matrix_ceiling"]),
            number(&row["gb_per_s"]),
            number(&row["percent_of_copy_ceiling"]),
        );
    }
    out
}

/// What copies and tensor cores reach on this GPU, now.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    pub copy_tb_per_s: f64,
    pub matrix_tflops: f64,
}

impl Ceilings {
    pub fn measure(device: &mut CudaDevice, gpu: &Gpu, precision: Precision) -> Result<Self> {
        let blocks = 2 * gpu.multiprocessors as usize;
        let bytes = 1 << 30;
        let mut arena = Arena::default();
        let [from, to] = ["from", "to"].map(|what| arena.plan_bytes(what, bytes));
        let out = arena.plan::<f32>("sums", ceiling::out_len(blocks));
        arena.allocate(device)?;
        device.zero(arena[from], bytes)?;

        let (launch, operations) = ceiling::launch(precision, blocks, 20_000, arena[out]);
        let prepared = device.prepare(Schedule::chain([launch]))?;
        device.time(&prepared, 3)?;
        let mut best = Self { copy_tb_per_s: 0.0, matrix_tflops: 0.0 };
        for _ in 0..5 {
            let ms = device.time(&prepared, 1)?;
            best.matrix_tflops = best.matrix_tflops.max(operations / ms / 1e9);
            let ms = device.time_copies(arena[to], arena[from], bytes, 4)?;
            // read and written
            best.copy_tb_per_s = best.copy_tb_per_s.max(4.0 * 2.0 * bytes as f64 / ms / 1e9);
        }
        arena.free(device)?;
        Ok(best)
    }
}
