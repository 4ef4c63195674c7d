//! `motifs`: tfmodisco-lite on a run's contributions.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::ConsoleArgs;
use crate::error::Problem;
use crate::interpret::Head;
use crate::motifs::{self, Request};
use crate::report;
use crate::report::folder::Folder;
use crate::run::claim::Claim;
use crate::run::tree::OutputTree;
use crate::run_files;

/// Find motifs in a run's contributions with tfmodisco-lite, where it is installed.
///
/// Runs `modisco motifs` and `modisco report` as the official pipelines do, on the contributions in
/// auxiliary/interpret_subsample/, and leaves modisco_results_*_scores.h5 there and motifs.html in
/// evaluation/modisco_*/. Nothing else needs tfmodisco-lite.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Explanation")]
pub struct MotifsArgs {
    /// The run's output folder
    #[arg(short = 'o', long, help_heading = "Inputs")]
    pub output_dir: PathBuf,

    /// Prefix of the run's file names (-fp) [default: the one that is there]
    #[arg(long, help_heading = "Inputs")]
    pub file_prefix: Option<String>,

    /// Contributions to look at (-pc) [default: those that are there]
    #[arg(long, value_enum, num_args = 1.., overrides_with = "profile_or_counts",
          help_heading = "Inputs")]
    pub profile_or_counts: Vec<Head>,

    /// Seqlets of each sign at most
    #[arg(short = 'n', long, default_value_t = 50_000)]
    pub max_seqlets: u64,

    /// Search this far around the centre, bp in all
    #[arg(short = 'w', long, default_value_t = 500)]
    pub window: usize,

    /// Motif database in MEME format, to name what is found
    #[arg(short = 'm', long, value_name = "FILE")]
    pub meme_db: Option<PathBuf>,

    /// The program [default: modisco on PATH]
    #[arg(long, value_name = "PATH")]
    pub modisco: Option<PathBuf>,

    /// Do again what is there
    #[arg(long, help_heading = "Output")]
    pub force: bool,

    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub fn run(args: MotifsArgs) -> Result<()> {
    if args.max_seqlets == 0 || args.window == 0 {
        return Err(Problem::new("--max-seqlets and --window must be at least 1").into());
    }
    motifs::check_database(args.meme_db.as_deref())?;
    let console = args.console.console();
    OutputTree::check_prefix(args.file_prefix.as_deref())?;
    let folder = Folder::open(&args.output_dir, args.file_prefix.as_deref())?;
    let _claimed = Claim::new("motifs")
        .reads("-m", &args.meme_db)
        .reads("--modisco", &args.modisco)
        .writes("-o", run_files::of_motifs(&folder.tree))
        .folder("-o", &args.output_dir)
        .take(&console)?;
    let request = Request {
        folder: &args.output_dir,
        file_prefix: args.file_prefix.as_deref(),
        heads: &args.profile_or_counts,
        max_seqlets: args.max_seqlets,
        window: args.window,
        meme_db: args.meme_db.as_deref(),
        modisco: args.modisco.as_deref(),
        force: args.force,
    };
    motifs::run(&request, &console)?;
    // What is there must not show other motifs, or none.
    let page = report::Request {
        folder: &args.output_dir,
        file_prefix: args.file_prefix.as_deref(),
        signal: None,
        html: None,
        force: false,
    };
    if let Err(error) = report::renew(&page, &console) {
        console.warning(format!("the report shows what was there before: {error:#}"));
    }
    Ok(())
}
