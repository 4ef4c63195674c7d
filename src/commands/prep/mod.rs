//! `prep`: background regions and folds.

mod nonpeaks;
mod splits;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::examples;

/// What a training set needs beside signal and peaks.
#[derive(Subcommand)]
pub enum PrepCommand {
    /// Draw background regions that match the peaks in GC content
    #[command(after_help = examples::PREP_NONPEAKS)]
    Nonpeaks(Box<nonpeaks::NonpeaksArgs>),
    /// Choose the chromosomes that train, validate and test
    #[command(after_help = examples::PREP_SPLITS)]
    Splits(splits::SplitsArgs),
}

pub fn run(command: PrepCommand) -> Result<()> {
    match command {
        PrepCommand::Nonpeaks(args) => nonpeaks::run(*args),
        PrepCommand::Splits(args) => splits::run(&args),
    }
}
