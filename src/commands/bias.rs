//! `bias train`, and the commands around it.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::pipeline::{self, BiasPipelineArgs};
use super::qc::{self, BiasQcArgs};
use crate::cli::args::TrainingArgs;
use crate::cli::examples;
use crate::error::Problem;
use crate::model::Architecture;
use crate::train::bias::{self, DILATED_LAYERS, FILTERS, Job};

/// The bias model.
#[derive(Subcommand)]
pub enum BiasCommand {
    /// Train the enzyme bias model on nonpeaks
    #[command(after_help = examples::BIAS_TRAIN)]
    Train(Box<BiasTrainArgs>),
    /// Evaluate a bias model on its own inputs: predictions, footprints, contributions, report
    #[command(after_help = examples::BIAS_QC)]
    Qc(Box<BiasQcArgs>),
    /// From reads (or a bigWig) to the report: train, evaluate, explain
    #[command(after_help = examples::BIAS_PIPELINE)]
    Pipeline(Box<BiasPipelineArgs>),
}

#[derive(Args, Clone, Debug)]
pub struct BiasTrainArgs {
    #[command(flatten)]
    pub common: TrainingArgs,

    /// Nonpeaks train when their counts lie below this times the 1 % quantile of the peaks' counts
    /// [default: 0.5 for ATAC, 0.8 for DNASE]
    #[arg(short = 'b', long, help_heading = "Training")]
    pub bias_threshold_factor: Option<f64>,

    /// Filters of every layer (-fil)
    #[arg(long, default_value_t = FILTERS, help_heading = "Model")]
    pub filters: usize,

    /// Dilated layers (-dil)
    #[arg(long, default_value_t = DILATED_LAYERS, help_heading = "Model")]
    pub n_dilation_layers: usize,

    /// bp to either side (-j); nonpeaks are never jittered, so this changes nothing but is recorded
    #[arg(short = 'j', long, default_value_t = 0, help_heading = "Training")]
    pub max_jitter: u32,
}

impl BiasTrainArgs {
    pub fn arch(&self) -> Result<Architecture, Problem> {
        self.common.arch(self.filters, self.n_dilation_layers)
    }

    /// What will happen.
    pub fn job(&self) -> Result<Job> {
        let setup = self.common.setup(self.arch()?)?;
        Ok(Job { setup, threshold_factor: self.threshold_factor(), max_jitter: self.max_jitter })
    }

    /// The factor given, or that of the assay.
    pub fn threshold_factor(&self) -> f64 {
        let usual = bias::threshold_factor(self.common.data_type);
        self.bias_threshold_factor.unwrap_or(usual)
    }
}

pub fn run(command: BiasCommand) -> Result<()> {
    match command {
        BiasCommand::Train(args) => {
            args.job()?.run(&args.common.console.console())?.report();
            Ok(())
        }
        BiasCommand::Qc(args) => qc::run_bias(&args),
        BiasCommand::Pipeline(args) => pipeline::run_bias(&args),
    }
}
