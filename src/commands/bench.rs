//! `bench`: timings, for people and (with --json) for scripts.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::bench::{contributions, data, kernels, train};
use crate::cli::args::DeviceArgs;
use crate::console::{self, Console};
use crate::engine::cpu::{Isa, Options};
use crate::engine::{Device, Heads};
use crate::error::Problem;
use crate::model::Architecture;
use crate::threads;

#[derive(clap::Subcommand)]
pub enum BenchCommand {
    /// Training steps on random data, beside the machine's matrix-product ceiling
    Train(TrainArgs),
    /// Contribution scores and predictions on random sequences, beside the same ceiling
    Contribs(ContribsArgs),
    /// Every kernel of a training step on a GPU, beside its copy and matrix ceilings
    Kernels(TrainArgs),
    /// Plans and windows per second, with the engine off
    Data(DataArgs),
}

#[derive(clap::Args)]
#[command(next_help_heading = "Measurement")]
pub struct TrainArgs {
    /// Channels of the trained branch
    #[arg(long, default_value_t = 512, help_heading = "Model")]
    filters: usize,
    /// Dilated layers of the trained branch
    #[arg(long, default_value_t = 8, help_heading = "Model")]
    n_dilation_layers: usize,
    /// Channels of the frozen bias branch; 0 trains without one
    #[arg(long, default_value_t = 128, help_heading = "Model")]
    bias_filters: usize,
    /// Dilated layers of the frozen bias branch
    #[arg(long, default_value_t = 4, help_heading = "Model")]
    bias_layers: usize,
    /// bp of sequence
    #[arg(long, default_value_t = 2114, help_heading = "Model")]
    inputlen: usize,
    /// bp of profile
    #[arg(long, default_value_t = 1000, help_heading = "Model")]
    outputlen: usize,
    /// Examples of a step
    #[arg(long, default_value_t = 64, help_heading = "Model")]
    batch_size: usize,
    /// Timed steps, after some that are not: one on a CPU, ten on a GPU
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Use a narrower instruction set than the machine has: portable, avx2, avx512
    #[arg(long, help_heading = "Device")]
    instruction_set: Option<String>,
    /// Form of the dilated layers: true = two positions at a time, false = direct; default by size
    #[arg(long)]
    pairs: Option<bool>,
    /// Models that train at the same time, each on its own
    #[arg(long, default_value_t = 1)]
    models: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Add the plan of the GPU's memory, a line a buffer
    #[arg(long, help_heading = "Output")]
    memory: bool,
    /// End with one line of JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Measurement")]
pub struct ContribsArgs {
    /// Channels of the model
    #[arg(long, default_value_t = 512, help_heading = "Model")]
    filters: usize,
    /// Dilated layers of the model
    #[arg(long, default_value_t = 8, help_heading = "Model")]
    n_dilation_layers: usize,
    /// bp of sequence
    #[arg(long, default_value_t = 2114, help_heading = "Model")]
    inputlen: usize,
    /// bp of profile
    #[arg(long, default_value_t = 1000, help_heading = "Model")]
    outputlen: usize,
    /// Sequences that are explained, all in one call; 0 for predictions alone
    #[arg(long, default_value_t = 4)]
    regions: usize,
    /// References of each
    #[arg(long, default_value_t = 20)]
    references: usize,
    /// Sequences that are predicted
    #[arg(long, default_value_t = 64)]
    predictions: usize,
    /// Heads to explain: both, counts, profile
    #[arg(long, default_value = "both")]
    heads: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Leave model, sequences, references and results in this folder, for a peer
    #[arg(long, help_heading = "Output")]
    write: Option<PathBuf>,
    /// End with one line of JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Measurement")]
pub struct DataArgs {
    /// Peaks of the simulated epoch
    #[arg(long, default_value_t = 100_000)]
    peaks: usize,
    /// End with one line of JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub fn run(command: BenchCommand) -> Result<()> {
    let (result, json) = match command {
        BenchCommand::Train(args) => (run_train(&args)?, args.json),
        BenchCommand::Contribs(args) => (run_contribs(&args)?, args.json),
        BenchCommand::Kernels(args) => {
            let result = run_kernels(&args)?;
            if !args.json {
                console::print(&format!("{}{}", kernels::table(&result), memory_plan(&result)))?;
                return Ok(());
            }
            (result, true)
        }
        BenchCommand::Data(args) => {
            threads::pool(0)?;
            (data::run(args.peaks)?, args.json)
        }
    };
    match json {
        true => console::print_json(&result)?,
        false => console::print(&format!("{}{}", table(&result), memory_plan(&result)))?,
    }
    Ok(())
}

fn run_train(args: &TrainArgs) -> Result<Value> {
    let config = config(args)?;
    let pool = threads::own_pool(args.device.threads)?;
    pool.install(|| match config.models {
        1 => train::run(&config),
        _ => train::run_together(&config),
    })
}

fn run_contribs(args: &ContribsArgs) -> Result<Value> {
    if args.references == 0 || args.predictions == 0 {
        return Err(Problem::new("--references and --predictions must be at least 1").into());
    }
    let heads = match args.heads.as_str() {
        "both" => Heads::BOTH,
        "counts" => Heads { counts: true, profile: false },
        "profile" => Heads { counts: false, profile: true },
        other => {
            return Err(Problem::new(format!("{other:?} is not a head"))
                .at("--heads")
                .fix("pass both, counts or profile")
                .into());
        }
    };
    let config = contributions::Config {
        arch: Architecture::new(
            args.inputlen,
            args.outputlen,
            args.filters,
            args.n_dilation_layers,
        )?,
        regions: args.regions,
        references: args.references,
        heads,
        predictions: args.predictions,
        device: args.device.apply(&Console::new(args.json, false))?.device,
    };
    contributions::run(&config, args.write.as_deref())
}

fn run_kernels(args: &TrainArgs) -> Result<Value> {
    let config = config(args)?;
    match &config.device {
        Device::Cuda { gpu, precision } => kernels::run(gpu, *precision, &config),
        other => Err(Problem::new(format!("bench kernels times kernels on a GPU, not on {other}"))
            .fix("pass --device cuda on a machine that has one")
            .into()),
    }
}

fn config(args: &TrainArgs) -> Result<train::Config> {
    if args.batch_size == 0 || args.steps == 0 || args.models == 0 {
        return Err(Problem::new("--batch-size, --steps and --models must be at least 1").into());
    }
    let shape = |filters, layers| Architecture::new(args.inputlen, args.outputlen, filters, layers);
    Ok(train::Config {
        main: shape(args.filters, args.n_dilation_layers)?,
        bias: match args.bias_filters {
            0 => None,
            filters => Some(shape(filters, args.bias_layers)?),
        },
        batch_size: args.batch_size,
        steps: args.steps,
        options: Options { isa: instruction_set(args)?, pairs: args.pairs },
        memory: args.memory,
        models: args.models,
        device: args.device.apply(&Console::new(args.json, false))?.device,
    })
}

fn instruction_set(args: &TrainArgs) -> Result<Isa> {
    let Some(wanted) = &args.instruction_set else {
        return Ok(Isa::detect());
    };
    let available = Isa::available();
    let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
    match available.iter().find(|isa| isa.name() == wanted) {
        Some(isa) => Ok(*isa),
        None => Err(Problem::new(format!(
            "this machine has no instruction set {wanted:?}, it has {}",
            names.join(", ")
        ))
        .at("--instruction-set")
        .into()),
    }
}

fn memory_plan(result: &Value) -> String {
    let lines = result["memory_plan"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.map(|line| format!("{line}\n")).collect()
}

fn table(result: &Value) -> String {
    let mut lines = String::new();
    let all = result.as_object().into_iter().flatten();
    for (name, value) in all.filter(|(name, _)| *name != "memory_plan") {
        let text = match value {
            Value::Number(number) if number.is_f64() => {
                format!("{:.3}", number.as_f64().unwrap_or(f64::NAN))
            }
            Value::Array(values) => values
                .iter()
                .filter_map(Value::as_f64)
                .map(|v| format!("{v:.3}"))
                .collect::<Vec<_>>()
                .join(" "),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        lines += &format!("{:<24} {text}\n", name.replace('_', " "));
    }
    lines
}
