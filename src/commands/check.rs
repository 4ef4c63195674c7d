//! `check`: the preflight of a training command, by that command's own flags.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::any_training::{AnyTraining, BiasTraining};
use super::bias::BiasTrainArgs;
use super::train::TrainArgs;
use crate::cli::args::TrainingArgs;
use crate::console;
use crate::error::Problem;
use crate::model::Architecture;
use crate::preflight::check::{Checked, Report};
use crate::preflight::{Goal, Training, Verdict};

/// Check the inputs of a training command against each other, in seconds.
///
/// Put `check` before the command and keep its flags: `cbp-fast check train -g hg38.fa ...`.
/// Nothing is packed or written. Exit code 1 when something fails.
#[derive(Args)]
#[command(next_help_heading = "Inputs")]
pub struct CheckArgs {
    #[command(subcommand)]
    command: AnyTraining,

    /// Blacklist to hold the peaks against (-br)
    #[arg(long, global = true)]
    blacklist_regions: Option<PathBuf>,

    /// The report as JSON
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

pub fn run(args: &CheckArgs) -> Result<()> {
    let blacklist = args.blacklist_regions.as_deref();
    let report = match &args.command {
        AnyTraining::Train(train) => of_train(train, blacklist),
        AnyTraining::Pipeline(pipeline) => of_train(&pipeline.train, blacklist),
        AnyTraining::Bias(BiasTraining::Train(bias)) => of_bias(bias, blacklist),
        AnyTraining::Bias(BiasTraining::Pipeline(pipeline)) => of_bias(&pipeline.train, blacklist),
    };
    match args.json {
        true => console::print_json(&report.as_json())?,
        false => console::print(&report.as_text())?,
    }
    match report.count(Verdict::Fail) {
        0 => Ok(()),
        n => Err(Problem::new(format!("{n} checks failed")).fix("see the report above").into()),
    }
}

fn of_train(args: &TrainArgs, blacklist: Option<&Path>) -> Report {
    let goal = Goal::Chrombpnet { negative_sampling_ratio: args.negative_sampling_ratio };
    let bias_model = Some(args.bias_model_path.as_path());
    let (arch, jitter) = (args.arch(), args.max_jitter as usize);
    check(&args.common, arch, goal, jitter, bias_model, blacklist)
}

fn of_bias(args: &BiasTrainArgs, blacklist: Option<&Path>) -> Report {
    let goal = Goal::Bias { threshold_factor: args.threshold_factor() };
    check(&args.common, args.arch(), goal, 0, None, blacklist)
}

/// What a job would start from, each part by itself: one that is wrong is a finding among others.
fn check(
    args: &TrainingArgs,
    arch: Result<Architecture, Problem>,
    goal: Goal,
    max_jitter: usize,
    bias_model: Option<&Path>,
    blacklist: Option<&Path>,
) -> Report {
    let (inputlen, outputlen) = (args.inputlen, args.outputlen);
    Checked {
        inputs: &args.inputs(),
        signal: args.signal(),
        settings: args.refuse_unsupported(),
        arch,
        training: Training { inputlen, outputlen, max_jitter, goal },
        bias_model,
        epochs: args.epochs,
        batch_size: args.batch_size,
        output_dir: &args.output_dir,
        device: args.device.choose(),
        names_gpu: args.device.names_gpu(),
        blacklist,
    }
    .report()
}
