//! `cohort`: several trainings at the same time, one command line each in a file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Args, Parser};

use super::any_training::{AnyTraining, BiasTraining};
use crate::cli::NAME;
use crate::cli::args::ConsoleArgs;
use crate::cli::argv::expand_short_flags;
use crate::cohort::list::{self, Asked};
use crate::cohort::{self, Work};
use crate::error::Problem;
use crate::pipeline::Training;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct CohortArgs {
    /// Command lines, one a run: `train`, `bias train`, `pipeline` or `bias pipeline` with its flags
    ///
    /// As on a command line, with or without `cbp-fast` in front, quotes as in a shell. Empty lines and lines that begin
    /// with # are skipped; a backslash at the end of a line joins the next to it. Each run needs an output folder (-o) of its own, after which it is named in messages.
    #[arg(value_name = "RUNS")]
    pub runs: PathBuf,

    /// Runs at the same time [default: 4 on a GPU, 1 on the CPU]
    ///
    /// Each has its own copy of genome, signal and model on the GPU: lower it where memory is short.
    #[arg(long, value_name = "N", help_heading = "Device")]
    pub at_once: Option<usize>,

    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// A line of the file.
#[derive(Parser)]
#[command(name = NAME, args_override_self = true)]
struct Line {
    #[command(subcommand)]
    training: AnyTraining,
}

pub fn run(args: &CohortArgs) -> Result<()> {
    let console = args.console.console();
    let members = list::read(&args.runs, console, ask)?;
    cohort::run(&args.runs, members, args.at_once, &console)
}

/// What a command line asks for.
fn ask(line: &str) -> Result<Asked, Problem> {
    let mut words = shlex::split(line)
        .ok_or_else(|| Problem::new("a quotation does not end").fix("close it"))?;
    let program = words.first().map(Path::new).and_then(Path::file_name);
    if program.is_none_or(|name| name != NAME && name != "chrombpnet") {
        words.insert(0, NAME.into());
    }
    let parsed = Line::try_parse_from(expand_short_flags(words.iter().map(OsString::from)));
    let mut training = parsed.map_err(|error| no_training(&error))?.training;
    let common = training.common();
    common.command_line = Some(words);
    let output_dir = common.output_dir.clone();
    let work = match training {
        AnyTraining::Train(args) => args.job().map(Training::Chrombpnet).map(Work::Train),
        AnyTraining::Pipeline(args) => args.job().map(Work::Pipeline),
        AnyTraining::Bias(BiasTraining::Train(args)) => {
            args.job().map(Training::Bias).map(Work::Train)
        }
        AnyTraining::Bias(BiasTraining::Pipeline(args)) => args.job().map(Work::Pipeline),
    };
    Ok(Asked { output_dir, work })
}

fn no_training(error: &clap::Error) -> Problem {
    let text = error.to_string();
    let what = match error.use_stderr() && error.kind() != ErrorKind::InvalidSubcommand {
        true => text.lines().next().unwrap_or_default().trim_start_matches("error: "),
        false => "this is no training",
    };
    Problem::new(what).fix("write each run on one line, or with a backslash at the end of a line that goes on: train, bias train, pipeline or bias pipeline with its flags; try it on its own")
}
