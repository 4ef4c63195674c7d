//! `bench`: timings, for people and (with --json) for scripts.

use anyhow::Result;
use serde_json::Value;

use crate::bench::{data, train};
use crate::engine::cpu::{Isa, Options};
use crate::error::Problem;
use crate::model::Architecture;

#[derive(clap::Subcommand)]
pub enum BenchCommand {
    /// Training steps on random data, beside the machine's matrix-product ceiling
    Train(TrainArgs),
    /// Plans and windows per second, with the engine off
    Data(DataArgs),
}

#[derive(clap::Args)]
pub struct TrainArgs {
    /// auto or cpu
    #[arg(long, default_value = "auto")]
    device: String,
    /// Channels of the trained branch
    #[arg(long, default_value_t = 512)]
    filters: usize,
    /// Dilated layers of the trained branch
    #[arg(long, default_value_t = 8)]
    n_dilation_layers: usize,
    /// Channels of the frozen bias branch; 0 trains without one
    #[arg(long, default_value_t = 128)]
    bias_filters: usize,
    /// Dilated layers of the frozen bias branch
    #[arg(long, default_value_t = 4)]
    bias_layers: usize,
    /// bp of sequence
    #[arg(long, default_value_t = 2114)]
    inputlen: usize,
    /// bp of profile
    #[arg(long, default_value_t = 1000)]
    outputlen: usize,
    /// Examples of a step
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Timed steps, after one that is not
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Threads; 0 uses every core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Use a narrower instruction set than the machine has: portable, avx2, avx512
    #[arg(long)]
    instruction_set: Option<String>,
    /// Form of the dilated layers: true = two positions at a time, false = direct; default by size
    #[arg(long)]
    pairs: Option<bool>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct DataArgs {
    /// Peaks of the simulated epoch
    #[arg(long, default_value_t = 100_000)]
    peaks: usize,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: BenchCommand) -> Result<()> {
    let (result, json) = match command {
        BenchCommand::Train(args) => (run_train(&args)?, args.json),
        BenchCommand::Data(args) => (data::run(args.peaks)?, args.json),
    };
    if json {
        println!("{result}");
    } else {
        print_table(&result);
    }
    Ok(())
}

fn run_train(args: &TrainArgs) -> Result<Value> {
    match args.device.as_str() {
        "cpu" | "auto" => {}
        device if device.starts_with("cuda") => {
            return Err(Problem::new("this binary has no CUDA engine yet")
                .at(format!("--device {device}"))
                .fix("use --device cpu")
                .into());
        }
        device => {
            return Err(Problem::new(format!("unknown device {device:?}, expected auto or cpu"))
                .at("--device")
                .into());
        }
    }
    if args.batch_size == 0 || args.steps == 0 {
        return Err(Problem::new("--batch-size and --steps must be at least 1").into());
    }
    let shape = |filters, layers| Architecture::new(args.inputlen, args.outputlen, filters, layers);
    let config = train::Config {
        main: shape(args.filters, args.n_dilation_layers)?,
        bias: match args.bias_filters {
            0 => None,
            filters => Some(shape(filters, args.bias_layers)?),
        },
        batch_size: args.batch_size,
        steps: args.steps,
        options: Options { isa: instruction_set(args)?, pairs: args.pairs },
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    pool.install(|| train::run(&config))
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

fn print_table(result: &Value) {
    for (name, value) in result.as_object().into_iter().flatten() {
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
        println!("{:<24} {text}", name.replace('_', " "));
    }
}
