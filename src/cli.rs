//! Command line: the parser, shared argument groups, the argv shim for official two-letter flags.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;

/// Train bias-factorized ChromBPNet models.
#[derive(Parser)]
#[command(name = "cbp-fast", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make and inspect memory-mapped genome and signal packs
    Pack(commands::pack::PackArgs),
    /// Time the engine
    #[command(subcommand)]
    Bench(commands::bench::BenchCommand),
    /// Simulate a genome with known truth, train on it, compare
    Demo(commands::demo::DemoArgs),
}

/// Runs one command line; exit codes: 0 done, 1 failed, 2 bad usage.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Pack(args) => commands::pack::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Demo(args) => commands::demo::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
