//! `report`: what a run left, as one page.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::ConsoleArgs;
use crate::files::atomic::folder_of;
use crate::report::folder::Folder;
use crate::report::{self, Request};
use crate::run::claim::Claim;
use crate::run::tree::OutputTree;
use crate::run_files;
use crate::threads;

/// Write the report of a run: one HTML file that needs nothing else, and its figures as PNG.
///
/// Works on the output folder of `train`, `bias train`, `qc` or a pipeline, and on one of the official
/// tool. What is missing is said in the report; what cannot be read or drawn is a warning.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct ReportArgs {
    /// The run's output folder
    #[arg(short = 'o', long)]
    pub output_dir: PathBuf,

    /// Prefix of the run's file names (-fp) [default: the one that is there]
    #[arg(long)]
    pub file_prefix: Option<String>,

    /// Observed counts (-bw), bigWig or signal pack [default: those of the run, where they still are]
    #[arg(long)]
    pub bigwig: Option<PathBuf>,

    /// The report to write, PNGs go beside it [default: evaluation/overall_report.html]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,

    /// Replace a report that another program wrote
    #[arg(long, help_heading = "Output")]
    pub force: bool,

    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub fn run(args: ReportArgs) -> Result<()> {
    threads::pool(0)?;
    let console = args.console.console();
    let _claimed = claim(&args)?.take(&console)?;
    let request = Request {
        folder: &args.output_dir,
        file_prefix: args.file_prefix.as_deref(),
        signal: args.bigwig.as_deref(),
        html: args.html.as_deref(),
        force: args.force,
    };
    report::write(&request, &console)?;
    Ok(())
}

/// A report elsewhere only reads the run's folder.
fn claim(args: &ReportArgs) -> Result<Claim> {
    OutputTree::check_prefix(args.file_prefix.as_deref())?;
    let folder = Folder::open(&args.output_dir, args.file_prefix.as_deref())?;
    let claim = Claim::new("report").reads("-bw", &args.bigwig);
    Ok(match &args.html {
        None => {
            let files = run_files::of_report(&folder.tree, folder.kind);
            claim.writes("-o", files).folder("-o", &args.output_dir)
        }
        Some(html) => {
            let beside = folder_of(html);
            let figures = run_files::figures(folder.kind).into_iter();
            let figures = figures.map(|name| beside.join(format!("{}{name}", folder.prefix)));
            let claim = claim.reads("-o", &folder.shown_files());
            let claim = claim.writes("--html", figures.chain([html.clone()]));
            // Its folder is made where it is missing, and nobody writes there then.
            if beside.is_dir() { claim.prefix("--html", html) } else { claim }
        }
    })
}
