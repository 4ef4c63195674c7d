//! Training steps on random data in memory, beside the matrix-product ceiling of the same process.

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::ceiling::{self, Ceiling};
use super::kernels::Ceilings;
use crate::batch::{Example, Windows};
use crate::engine::cpu::{CpuTrainer, Options};
use crate::engine::cuda::cuda_device::CudaDevice;
use crate::engine::{self, ComingPlans, CountsHead, Device, Optimizer, Train, TrainSpec};
use crate::model::arch::BASES;
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::preflight::machine::peak_rss;
use crate::store::{GenomePack, SignalPack, Tracks};

const CONTIG: usize = 4 << 20;

/// What to time.
#[derive(Clone, Debug)]
pub struct Config {
    pub main: Architecture,
    /// frozen bias branch
    pub bias: Option<Architecture>,
    pub batch_size: usize,
    pub steps: usize,
    pub device: Device,
    /// of the CPU engine
    pub options: Options,
    /// adds the plan of the device's memory
    pub memory: bool,
    /// that train at the same time
    pub models: usize,
}

/// Arithmetic of one training step of one example, by direct convolution: the main branch
/// forward and both gradients (the first layer's input has none), the bias branch forward.
pub fn flops_per_example(main: &Architecture, bias: Option<&Architecture>) -> f64 {
    let first = 2.0 * (main.trunk_len(0) * main.first_kernel * BASES * main.filters) as f64;
    3.0 * main.forward_flops() - first + bias.map_or(0.0, Architecture::forward_flops)
}

/// A model, a genome and a signal in memory, and a source of plans of a batch.
pub fn experiment(config: &Config) -> (TrainSpec, Tracks, impl FnMut() -> Vec<Example> + use<>) {
    let network = |arch: Architecture, seed| Network {
        arch,
        parameters: ParameterSet::glorot_uniform(&arch, seed),
    };
    let bias = config.bias.map(|arch| network(arch, 2));
    let spec = TrainSpec {
        branches: Branches { main: network(config.main, 1), bias },
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight: 10.0,
        counts_head: CountsHead::Centered,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let bases: Vec<u8> = (0..CONTIG).map(|_| b"ACGT"[rng.random_range(0..4)]).collect();
    let mut signal = vec![0.0f32; CONTIG];
    for _ in 0..CONTIG / 10 {
        signal[rng.random_range(0..CONTIG)] += 1.0;
    }
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([("chr1", &signal[..])]))),
    );
    let last_start = (CONTIG - config.main.inputlen) as u32;
    let batch_size = config.batch_size as u32;
    let plan = move || -> Vec<Example> {
        let example = |row| Example {
            contig: 0,
            start: rng.random_range(0..last_start),
            flags: if row % 2 == 0 { Example::REVCOMP } else { Example::PEAK },
            row,
        };
        (0..batch_size).map(example).collect()
    };
    (spec, tracks, plan)
}

/// Several models at the same time, as `cohort` trains them: the rate of all together.
pub fn run_together(config: &Config) -> Result<Value> {
    let together = Barrier::new(config.models);
    let of_one = || -> Result<(f64, String, Option<u64>)> {
        let (spec, tracks, mut plan) = experiment(config);
        let mut plans = |steps| (0..steps).flat_map(|_| plan()).collect::<Vec<Example>>();
        let go_on = ControlFlow::Continue(());
        let warmed = engine::open_train(&config.device, spec, &tracks).and_then(|mut engine| {
            let warm_up = plans(if config.device == Device::Cpu { 1 } else { 10 });
            let timed = plans(config.steps);
            keep_bias(engine.as_mut(), &[&warm_up[..], &timed].concat(), config.batch_size)?;
            engine.train_steps(&warm_up, config.batch_size, &mut |_, _| go_on)?;
            Ok((engine, timed))
        });
        // Also those that failed, or the others would wait for ever.
        together.wait();
        let (mut engine, timed) = warmed?;
        let start = Instant::now();
        engine.train_steps(&timed, config.batch_size, &mut |_, _| go_on)?;
        Ok((start.elapsed().as_secs_f64(), engine.describe(), engine.memory_bytes()))
    };
    let outcomes: Result<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..config.models).map(|_| scope.spawn(of_one)).collect();
        threads.into_iter().map(|t| t.join().expect("a bench does not panic")).collect()
    });
    let outcomes = outcomes?;
    let seconds = outcomes.iter().map(|(seconds, ..)| *seconds).fold(0.0, f64::max);
    let examples = config.models * config.steps * config.batch_size;
    let memory: Option<u64> = outcomes.iter().map(|(.., bytes)| *bytes).sum();
    Ok(json!({
        "device": config.device.to_string(),
        "precision": config.device.precision().name(),
        "models": config.models,
        "filters": config.main.filters,
        "n_dilation_layers": config.main.n_dilation_layers,
        "batch_size": config.batch_size,
        "steps": config.steps,
        "seconds": seconds,
        // Of one model, while the others train.
        "ms_per_step": 1e3 * seconds / config.steps as f64,
        // Of all.
        "examples_per_s": examples as f64 / seconds,
        "gpu_memory_bytes": memory,
        "engine": outcomes[0].1,
    }))
}

/// Tells the engine of `plan` ahead, as training does: nine rows of ten come again, the tenth is drawn afresh.
pub fn keep_bias(engine: &mut dyn Train, plan: &[Example], batch_size: usize) -> Result<()> {
    let again = plan.iter().filter(|e| e.row % 10 != 0);
    let windows: Vec<Windows> =
        again.map(|e| Windows { both_strands: true, ..Windows::of(e) }).collect();
    let others = plan.len() - windows.len();
    let rows = plan.len();
    engine.keep_bias(&ComingPlans { windows: &windows, others, rows, batch_size })
}

/// A warm-up (one step on a CPU, ten on a GPU), then `steps` timed ones. The ceiling is measured before and after.
pub fn run(config: &Config) -> Result<Value> {
    let (spec, tracks, mut plan) = experiment(config);
    let on_cpu = config.device == Device::Cpu;
    let mut engine: Box<dyn Train> = match on_cpu {
        true => Box::new(CpuTrainer::with_options(spec, tracks, config.options)?),
        false => engine::open_train(&config.device, spec, &tracks)?,
    };
    let before = ceiling_of(&config.device)?;
    let mut plans = |steps: usize| (0..steps).flat_map(|_| plan()).collect::<Vec<Example>>();
    let warm_up = plans(if on_cpu { 1 } else { 10 });
    let timed = plans(config.steps);
    keep_bias(engine.as_mut(), &[&warm_up[..], &timed].concat(), config.batch_size)?;
    let go_on = ControlFlow::Continue(());
    engine.train_steps(&warm_up, config.batch_size, &mut |_, _| go_on)?;

    let (mut seconds, mut loss) = (Vec::new(), 0.0);
    let cpu_start = cpu_seconds();
    let start = Instant::now();
    let mut last = start;
    engine.train_steps(&timed, config.batch_size, &mut |step, _| {
        seconds.push(last.elapsed().as_secs_f64());
        last = Instant::now();
        loss = step.total;
        go_on
    })?;
    if !on_cpu {
        // A GPU tells of several steps at once: only their mean is known.
        seconds = vec![start.elapsed().as_secs_f64() / config.steps as f64];
    }
    let cpu = cpu_start.zip(cpu_seconds()).map(|(start, end)| end - start);
    let ceiling = before.max(ceiling_of(&config.device)?);

    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let flops = flops_per_example(&config.main, config.bias.as_ref());
    let rate = |seconds: f64| config.batch_size as f64 / seconds;
    let gflops = rate(median) * flops / 1e9;
    // What the cores do while they are ours: on a machine shared with others the wall clock also
    // counts what these take, and not evenly.
    let by_cpu_time = cpu.zip(ceiling.gflop_per_cpu_second).map(|(cpu, ceiling)| {
        let gflop = (config.steps * config.batch_size) as f64 * flops / 1e9;
        100.0 * gflop / cpu / ceiling
    });
    // Before the buffers of the copies come to it.
    let peak_rss = peak_rss();
    let copy_tb_per_s = ceiling.copy_tb_per_s.unwrap_or_else(|| ceiling::copy(3));
    // Everything a step has to move, where the engine counts it.
    let copied = engine.step_bytes().map(|bytes| 1e-12 * bytes / median);
    let plan = engine.memory_plan().filter(|_| config.memory);
    Ok(json!({
        "device": config.device.to_string(),
        "precision": config.device.precision().name(),
        "ms_per_step": 1e3 * median,
        "gpu_memory_bytes": engine.memory_bytes(),
        "filters": config.main.filters,
        "n_dilation_layers": config.main.n_dilation_layers,
        "bias_filters": config.bias.map_or(0, |b| b.filters),
        "bias_layers": config.bias.map_or(0, |b| b.n_dilation_layers),
        "keeps_bias": engine.keeps_bias(),
        "batch_size": config.batch_size,
        "steps": config.steps,
        "examples_per_s": rate(median),
        "best_examples_per_s": rate(sorted[0]),
        "step_seconds": seconds,
        "gflop_per_example": flops / 1e9,
        "gflops": gflops,
        "tflops": 1e-3 * gflops,
        "ceiling_gflops": ceiling.gflops,
        "percent_of_ceiling": 100.0 * gflops / ceiling.gflops,
        "percent_of_ceiling_by_cpu_time": by_cpu_time,
        "copy_tb_per_s": copy_tb_per_s,
        "percent_of_copy_ceiling": copied.map(|copied| 100.0 * copied / copy_tb_per_s),
        "memory_plan": plan.map(|plan| plan.lines().map(String::from).collect::<Vec<_>>()),
        "threads": rayon::current_num_threads(),
        "instruction_set": config.options.isa.name(),
        "engine": engine.describe(),
        "peak_rss_bytes": peak_rss,
        "last_loss": loss,
    }))
}

/// The ceiling of matrix products, and on a GPU of copies. An emulated GPU has none.
pub fn ceiling_of(device: &Device) -> Result<Ceiling> {
    match device {
        Device::Cpu => Ok(ceiling::measure(3)),
        Device::Cuda { gpu, precision } => {
            let found = Ceilings::measure(&mut CudaDevice::open(gpu.clone())?, gpu, *precision)?;
            Ok(Ceiling {
                gflops: 1e3 * found.matrix_tflops,
                gflop_per_cpu_second: None,
                copy_tb_per_s: Some(found.copy_tb_per_s),
            })
        }
        #[cfg(feature = "emulate")]
        Device::Emulated { .. } => {
            let none = Some(f64::NAN);
            Ok(Ceiling { gflops: f64::NAN, gflop_per_cpu_second: None, copy_tb_per_s: none })
        }
    }
}

/// CPU time of this process so far, all threads; `None` where /proc does not tell.
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields after the command in brackets; utime and stime are the 12th and 13th, in ticks, which
    // Linux shows as 100 a second on every machine.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_of_the_full_model() {
        let main = Architecture::new(2114, 1000, 512, 8).unwrap();
        let bias = Architecture::new(2114, 1000, 128, 4).unwrap();
        // 8 dilated layers: 14744 positions x 3 x 512^2 multiply-adds, three times.
        let dilated = 2.0 * 14744.0 * 3.0 * 512.0 * 512.0 * 3.0;
        let flops = flops_per_example(&main, Some(&bias));
        assert!(flops > dilated && flops < 1.04 * dilated, "{flops:e}");
    }
}
