//! `qc` and `bias qc`: the stages after training, on any model with its own inputs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::pipeline::ExplainArgs;
use crate::cli;
use crate::cli::args::{CacheArgs, ConsoleArgs, DataType, DeviceArgs};
use crate::pipeline::qc::{Job, Looked};
use crate::preflight::Inputs;

/// What `qc` and `bias qc` have in common.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct QcInputs {
    /// bigWig of observed cut sites (-bw), or a signal pack
    #[arg(long)]
    pub bigwig: PathBuf,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long)]
    pub genome: PathBuf,

    /// Chromosome sizes, 2 columns
    #[arg(short = 'c', long)]
    pub chrom_sizes: PathBuf,

    /// Output folder
    #[arg(short = 'o', long, help_heading = "Output")]
    pub output_dir: PathBuf,

    /// Assay
    #[arg(short = 'd', long, value_enum)]
    pub data_type: DataType,

    /// Peaks, 10 columns; those on the test chromosomes are predicted, a sample of all is explained
    #[arg(short = 'p', long)]
    pub peaks: PathBuf,

    /// Background regions, 10 columns; motifs are inserted into those on the test chromosomes
    #[arg(short = 'n', long)]
    pub nonpeaks: PathBuf,

    /// Fold JSON with train, valid and test lists of chromosomes (-fl)
    #[arg(long)]
    pub chr_fold_path: PathBuf,

    /// Prefix of every output file name (-fp)
    #[arg(long, help_heading = "Output")]
    pub file_prefix: Option<String>,

    /// Examples per step (-bs)
    #[arg(long, default_value_t = 64, help_heading = "Device")]
    pub batch_size: usize,

    /// End with an error when a verdict is a fail
    #[arg(long, help_heading = "Output")]
    pub strict: bool,

    /// Do every stage again
    #[arg(long, help_heading = "Output")]
    pub force: bool,

    // Accepted so that official command lines run unedited; the report needs no links.
    #[arg(long, hide = true, help_heading = "Output")]
    pub html_prefix: Option<String>,

    #[command(flatten)]
    pub explain: ExplainArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// Evaluate a ChromBPNet model: predictions and metrics of the test peaks, footprints of the enzyme's
/// motifs, contributions of a sample of peaks, verdicts, report.
///
/// Works on any model with its own inputs. Run again, it keeps what is complete.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct QcArgs {
    /// ChromBPNet model with bias (-cm)
    #[arg(long)]
    pub chrombpnet_model: PathBuf,

    /// ChromBPNet model without bias (-cmb)
    #[arg(long)]
    pub chrombpnet_model_nb: PathBuf,

    #[command(flatten)]
    pub inputs: QcInputs,
}

/// Evaluate a bias model: predictions and metrics of the test regions, footprints of its enzyme's
/// motifs, contributions of a sample of peaks, verdicts, report.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct BiasQcArgs {
    /// Bias model (-bm)
    #[arg(long)]
    pub bias_model: PathBuf,

    #[command(flatten)]
    pub inputs: QcInputs,
}

impl QcInputs {
    /// What will happen to `looked`.
    fn job(&self, looked: Looked) -> Result<Job> {
        Ok(Job {
            looked,
            inputs: Inputs {
                genome: self.genome.clone(),
                chrom_sizes: self.chrom_sizes.clone(),
                peaks: self.peaks.clone(),
                nonpeaks: self.nonpeaks.clone(),
                folds: self.chr_fold_path.clone(),
                cache_dir: self.cache.cache_dir.clone(),
            },
            bigwig: self.bigwig.clone(),
            data_type: self.data_type,
            output_dir: self.output_dir.clone(),
            file_prefix: self.file_prefix.clone(),
            batch_size: self.batch_size,
            explain: self.explain.explain(),
            strict: self.strict,
            force: self.force,
            device: self.device.choose_whole()?,
            command_line: cli::command_line(),
        })
    }
}

pub fn run(args: &QcArgs) -> Result<()> {
    let looked = Looked::Chrombpnet {
        model: args.chrombpnet_model.clone(),
        nobias: args.chrombpnet_model_nb.clone(),
    };
    args.inputs.job(looked)?.run(&args.inputs.console.console())
}

pub fn run_bias(args: &BiasQcArgs) -> Result<()> {
    let looked = Looked::Bias { model: args.bias_model.clone() };
    args.inputs.job(looked)?.run(&args.inputs.console.console())
}
