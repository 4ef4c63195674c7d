//! Command line: the parser, the argument groups that several commands share, the argv shim.

pub mod args;
pub mod argv;
pub(crate) mod examples;
pub mod reads_args;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::{commands, console, defect, error};

/// The program's name.
pub(crate) const NAME: &str = "cbp-fast";

/// Train bias-factorized ChromBPNet models from one native binary.
///
/// Official command lines work with the program name replaced, two-letter flags such as -fl included.
#[derive(Parser)]
// As argparse does it, of a flag that is given twice the last one counts.
#[command(name = NAME, version, arg_required_else_help = true, args_override_self = true)]
// Both have a heading of their own, so that help has no group of leftovers.
#[command(disable_help_flag = true, disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = "Messages")]
    help: Option<bool>,

    /// Print version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Messages")]
    version: Option<bool>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train the bias-factorized ChromBPNet model
    #[command(after_help = examples::TRAIN)]
    Train(Box<commands::train::TrainArgs>),
    /// Train the enzyme bias model
    #[command(subcommand)]
    Bias(commands::bias::BiasCommand),
    /// Predict profiles and counts on regions, sequences or whole contigs (official name: pred_bw)
    #[command(visible_alias = "pred_bw", after_help = examples::PREDICT)]
    Predict(Box<commands::predict::PredictArgs>),
    /// Contribution scores of regions or sequences (official name: contribs_bw)
    #[command(visible_alias = "contribs_bw", after_help = examples::CONTRIBS)]
    Contribs(Box<commands::contribs::ContribsArgs>),
    /// Score variants: what each allele does to counts and profile (official name: snp_score)
    #[command(visible_alias = "snp_score", after_help = examples::VARIANTS)]
    Variants(Box<commands::variants::VariantsArgs>),
    /// Marginal footprints: what models predict around motifs in background sequences
    #[command(after_help = examples::FOOTPRINTS)]
    Footprints(commands::footprints::FootprintsArgs),
    /// Find motifs in a run's contributions with tfmodisco-lite, where it is installed
    #[command(after_help = examples::MOTIFS)]
    Motifs(commands::motifs::MotifsArgs),
    /// Evaluate a ChromBPNet model on its own inputs: predictions, footprints, contributions, report
    #[command(after_help = examples::QC)]
    Qc(Box<commands::qc::QcArgs>),
    /// From reads (or a bigWig) to the report: train, evaluate, explain
    #[command(after_help = examples::PIPELINE)]
    Pipeline(Box<commands::pipeline::PipelineArgs>),
    /// Train several models at the same time, on one device
    #[command(after_help = examples::COHORT)]
    Cohort(commands::cohort::CohortArgs),
    /// Write the report of a run: one HTML file, and its figures as PNG
    #[command(after_help = examples::REPORT)]
    Report(commands::report::ReportArgs),
    /// Check the inputs of a training command, in seconds: cbp-fast check train ...
    #[command(after_help = examples::CHECK)]
    Check(commands::check::CheckArgs),
    /// Prepare background regions and folds
    #[command(subcommand)]
    Prep(commands::prep::PrepCommand),
    /// Make and inspect memory-mapped genome and signal packs
    #[command(after_help = examples::PACK)]
    Pack(commands::pack::PackArgs),
    /// Simulate a genome with a known truth, train on it, compare
    #[command(after_help = examples::DEMO)]
    Demo(commands::demo::DemoArgs),
    /// Time the engine and the data path
    #[command(subcommand, after_help = examples::BENCH)]
    Bench(commands::bench::BenchCommand),
    /// Show what this machine and this binary can do, and test it
    #[command(after_help = examples::DOCTOR)]
    Doctor(commands::doctor::DoctorArgs),
    /// Print completions for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(commands::completions::CompletionsArgs),
    /// Write manual pages
    #[command(after_help = examples::MAN)]
    Man(commands::man::ManArgs),
}

/// The whole parser, for what is made from it: completions and manual pages.
pub(crate) fn parser() -> clap::Command {
    Cli::command()
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
            console::say(&format!("error: {}", error::chain(&error)));
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(args) => commands::train::run(&args),
        Command::Bias(command) => commands::bias::run(command),
        Command::Predict(args) => commands::predict::run(*args),
        Command::Contribs(args) => commands::contribs::run(*args),
        Command::Variants(args) => commands::variants::run(*args),
        Command::Footprints(args) => commands::footprints::run(args),
        Command::Motifs(args) => commands::motifs::run(args),
        Command::Qc(args) => commands::qc::run(&args),
        Command::Pipeline(args) => commands::pipeline::run(&args),
        Command::Cohort(args) => commands::cohort::run(&args),
        Command::Report(args) => commands::report::run(args),
        Command::Check(args) => commands::check::run(&args),
        Command::Prep(command) => commands::prep::run(command),
        Command::Pack(args) => commands::pack::run(args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Bench(command) => commands::bench::run(command),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
    }
}

/// The command line of this process, for records; what is not UTF-8 in it is replaced.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests;
