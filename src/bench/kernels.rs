//! Every launch of a training step on a GPU, timed alone, beside the ceilings of the same GPU in the same process.
//!
//! Launches run on what a real step left in the buffers, so with real sparsity; at 512 filters and batch 64 a feature
//! map is larger than any L2 cache, so repeats find theirs cold. Times are medians over groups of repeats, by
//! the GPU's own clock.

use anyhow::Result;
use serde_json::{Value, json};

use super::train::{Config, experiment};
use crate::engine::Engine;
use crate::engine::cuda::arena::Arena;
use crate::engine::cuda::cuda_device::CudaDevice;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::driver::Gpu;
use crate::engine::cuda::engine::CudaEngine;
use crate::engine::cuda::ops::ceiling;
use crate::engine::cuda::precision::Precision;
use crate::engine::cuda::step::{Kind, floor};

const GROUPS: usize = 7;
/// A group runs about this long, ms.
const GROUP_MS: f64 = 5.0;

/// Times of all launches but the two single-thread ones around a step.
pub fn run(gpu: &Gpu, precision: Precision, config: &Config) -> Result<Value> {
    let (spec, tracks, mut plans) = experiment(config);
    let mut device = CudaDevice::open(gpu.clone())?;
    let ceilings = Ceilings::measure(&mut device, gpu, precision)?;
    let mut engine = CudaEngine::new(device, precision, spec, tracks)?;
    let plan = plans();
    for _ in 0..3 {
        engine.train_step(&plan)?;
    }
    // Leaves the state at the beginning of a step of a full batch.
    engine.gradients(&plan)?;
    let list = engine.list(Kind::Train, config.batch_size)?;
    let adam = engine.adam_floor();
    let mut rows = Vec::new();
    for launch in list.launches.iter().filter(|l| !l.kernel.starts_with("step_")) {
        let work = floor(engine.workspace().expect("a step has run"), launch, adam);
        let device = engine.device();
        let single = device.prepare(vec![launch.clone()])?;
        let first = device.time(&single, 3)? / 3.0;
        let repeats = ((GROUP_MS / first.max(1e-4)) as usize).clamp(1, 500);
        let mut times = Vec::new();
        for _ in 0..GROUPS {
            times.push(device.time(&single, repeats)? / repeats as f64);
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[GROUPS / 2] * 1e-3;
        let (tflops, gb) = (work.flop / seconds / 1e12, work.bytes / seconds / 1e9);
        rows.push(json!({
            "label": launch.label, "kernel": launch.kernel,
            "us": seconds * 1e6, "fastest_us": times[0] * 1e3, "slowest_us": times[GROUPS - 1] * 1e3,
            "tflops": tflops, "percent_of_matrix_ceiling": 100.0 * tflops / ceilings.matrix_tflops,
            "gb_per_s": gb, "percent_of_copy_ceiling": 0.1 * gb / ceilings.copy_tb_per_s,
        }));
    }
    let step = engine.device().time(&list, 1)?;
    Ok(json!({
        "gpu": gpu.line(), "precision": precision.name(), "batch_size": config.batch_size,
        "core": engine.device().core().name(),
        "filters": config.main.filters, "n_dilation_layers": config.main.n_dilation_layers,
        "copy_tb_per_s": ceilings.copy_tb_per_s, "matrix_tflops": ceilings.matrix_tflops,
        "launches_per_step": list.launches.len(), "graph_ms": step,
        "gpu_memory_bytes": engine.memory_bytes(),
        "kernels": rows,
    }))
}

/// A table of the same, for people.
pub fn table(result: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let mut out = format!(
        "{}, {}: copy {:.2} TB/s, tensor cores {:.0} TFLOP/s\n{:<34} {:>10} {:>9} {:>6} {:>7} {:>6}\n",
        result["gpu"].as_str().unwrap_or_default(),
        result["precision"].as_str().unwrap_or_default(),
        number(&result["copy_tb_per_s"]),
        number(&result["matrix_tflops"]),
        "launch",
        "us",
        "TFLOP/s",
        "%",
        "GB/s",
        "%"
    );
    for row in result["kernels"].as_array().into_iter().flatten() {
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
        let list = device.prepare(vec![launch])?;
        device.time(&list, 3)?;
        let mut best = Self { copy_tb_per_s: 0.0, matrix_tflops: 0.0 };
        for _ in 0..5 {
            let ms = device.time(&list, 1)?;
            best.matrix_tflops = best.matrix_tflops.max(operations / ms / 1e9);
            let ms = device.time_copies(arena[to], arena[from], bytes, 4)?;
            // read and written
            best.copy_tb_per_s = best.copy_tb_per_s.max(4.0 * 2.0 * bytes as f64 / ms / 1e9);
        }
        arena.free(device)?;
        Ok(best)
    }
}
