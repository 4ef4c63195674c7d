//! `demo`: simulates an experiment, trains on it with the commands a user would type, and compares
//! what was learned with the truth.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{ConsoleArgs, DeviceArgs};
use crate::demo::job::Job;

/// Simulate a small genome with a known truth, train on it, compare.
///
/// Writes the inputs (genome.fa, signal.bw, peaks.narrowPeak, nonpeaks.bed, folds.json), the truth
/// behind them (truth/), and runs `bias train`, `train` and `predict` on them, showing each command
/// line. Prints a table to stdout. Exit code 1 when the models did not learn.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct DemoArgs {
    /// Seed of the simulation and of the training
    #[arg(short = 's', long, default_value_t = 1234, help_heading = "Training")]
    pub seed: u64,

    /// Output folder
    #[arg(short = 'o', long)]
    pub output_dir: PathBuf,

    /// Replace what an earlier demo left in the output folder
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub fn run(args: DemoArgs) -> Result<()> {
    let ConsoleArgs { quiet, log_json, .. } = args.console;
    let talk = [(quiet, "--quiet"), (log_json, "--log-json")];
    let job = Job {
        seed: args.seed,
        output_dir: args.output_dir,
        force: args.force,
        threads: args.device.threads,
        flags: args.device.flags(),
        talk: talk.into_iter().filter_map(|(on, flag)| on.then_some(flag)).collect(),
    };
    job.run(&args.console.console())
}
