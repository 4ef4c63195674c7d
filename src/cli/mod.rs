//! Command line: the parser, the argument groups that several commands share, the argv shim.

pub mod args;
pub mod argv;
pub mod reads_args;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{commands, console, defect};

/// Train bias-factorized ChromBPNet models from one native binary.
///
/// Official command lines work with the program name replaced, two-letter flags such as -fl included.
#[derive(Parser)]
// As argparse does it, of a flag that is given twice the last one counts.
#[command(name = "cbp-fast", version, arg_required_else_help = true, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train the bias-factorized ChromBPNet model
    Train(Box<commands::train::TrainArgs>),
    /// Train the enzyme bias model
    #[command(subcommand)]
    Bias(commands::bias::BiasCommand),
    /// Predict profiles and counts on regions, sequences or whole contigs (official name: pred_bw)
    #[command(visible_alias = "pred_bw")]
    Predict(Box<commands::predict::PredictArgs>),
    /// Contribution scores of regions or sequences (official name: contribs_bw)
    #[command(visible_alias = "contribs_bw")]
    Contribs(Box<commands::contribs::ContribsArgs>),
    /// Score variants: what each allele does to counts and profile (official name: snp_score)
    #[command(visible_alias = "snp_score")]
    Variants(Box<commands::variants::VariantsArgs>),
    /// Marginal footprints: what models predict around motifs in background sequences
    Footprints(commands::footprints::FootprintsArgs),
    /// Find motifs in a run's contributions with tfmodisco-lite, where it is installed
    Motifs(commands::motifs::MotifsArgs),
    /// Evaluate a ChromBPNet model on its own inputs: predictions, footprints, contributions, report
    Qc(Box<commands::pipeline::qc::QcArgs>),
    /// From reads (or a bigWig) to the report: train, evaluate, explain
    Pipeline(Box<commands::pipeline::PipelineArgs>),
    /// Train several models at the same time, on one device
    Cohort(commands::cohort::CohortArgs),
    /// Write the report of a run: one HTML file, and its figures as PNG
    Report(commands::report::ReportArgs),
    /// Check the inputs of a training command, in seconds: cbp-fast check train ...
    Check(commands::check::CheckArgs),
    /// Prepare background regions and folds
    #[command(subcommand)]
    Prep(commands::prep::PrepCommand),
    /// Make and inspect memory-mapped genome and signal packs
    Pack(commands::pack::PackArgs),
    /// Simulate a genome with a known truth, train on it, compare
    Demo(commands::demo::DemoArgs),
    /// Time the engine and the data path
    #[command(subcommand)]
    Bench(commands::bench::BenchCommand),
    /// Show what this machine and this binary can do, and test it
    Doctor(commands::doctor::DoctorArgs),
}

/// A command line, the program's name first.
pub(crate) fn parse(argv: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Cli::try_parse_from(argv::expand_short_flags(argv)).map(|cli| cli.command)
}

/// Runs one command line; exit codes: 0 done, 1 failed, 2 bad usage.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    defect::watch();
    let result = match parse(argv) {
        Ok(command) => defect::caught(|| run(command)),
        Err(usage) if usage.use_stderr() => {
            // Without clap's colours, which it would mix with those of an argument.
            console::say_lines(&console::plain::data(&usage.to_string()));
            return ExitCode::from(2);
        }
        Err(help) => console::printed(help.print()).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::say(&format!("error: {}", chain(&error)));
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => commands::train::run(*args),
        Command::Bias(command) => commands::bias::run(command),
        Command::Predict(args) => commands::predict::run(*args),
        Command::Contribs(args) => commands::contribs::run(*args),
        Command::Variants(args) => commands::variants::run(*args),
        Command::Footprints(args) => commands::footprints::run(args),
        Command::Motifs(args) => commands::motifs::run(args),
        Command::Qc(args) => commands::pipeline::qc::run(&args),
        Command::Pipeline(args) => commands::pipeline::run(&args),
        Command::Cohort(args) => commands::cohort::run(&args),
        Command::Report(args) => commands::report::run(args),
        Command::Check(args) => commands::check::run(&args),
        Command::Prep(command) => commands::prep::run(command),
        Command::Pack(args) => commands::pack::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Bench(command) => commands::bench::run(command),
        Command::Doctor(args) => commands::doctor::run(args),
    }
}

/// The command line of this process, for records; what is not UTF-8 in it is replaced.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The error and its causes, outermost first, each on a line of its own.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because: ")
}
