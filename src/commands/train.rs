//! `train`: the bias-factorized model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::TrainingArgs;
use crate::engine::CountsHead;
use crate::error::Problem;
use crate::model::Architecture;
use crate::train::chrombpnet::{DILATED_LAYERS, FILTERS, Job, MAX_JITTER, NEGATIVE_SAMPLING_RATIO};

#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub common: TrainingArgs,

    /// Bias model (.h5)
    #[arg(short = 'b', long, help_heading = "Inputs")]
    pub bias_model_path: PathBuf,

    /// Nonpeaks drawn per epoch divided by peaks (-sr)
    #[arg(long, default_value_t = NEGATIVE_SAMPLING_RATIO, help_heading = "Training")]
    pub negative_sampling_ratio: f64,

    /// Filters of every layer (-fil)
    #[arg(long, default_value_t = FILTERS, help_heading = "Model")]
    pub filters: usize,

    /// Dilated layers (-dil)
    #[arg(long, default_value_t = DILATED_LAYERS, help_heading = "Model")]
    pub n_dilation_layers: usize,

    /// Training peaks move up to this many bp to either side (-j)
    #[arg(short = 'j', long, default_value_t = MAX_JITTER, help_heading = "Training")]
    pub max_jitter: u32,

    /// How the counts head is updated
    #[arg(long, value_enum, default_value_t = CountsHead::Centered, help_heading = "Training")]
    pub counts_head: CountsHead,
}

impl TrainArgs {
    pub fn arch(&self) -> Result<Architecture, Problem> {
        self.common.arch(self.filters, self.n_dilation_layers)
    }

    /// What will happen.
    pub fn job(&self) -> Result<Job> {
        Ok(Job {
            setup: self.common.setup(self.arch()?)?,
            bias_model: self.bias_model_path.clone(),
            negative_sampling_ratio: self.negative_sampling_ratio,
            max_jitter: self.max_jitter,
            counts_head: self.counts_head,
        })
    }
}

pub fn run(args: &TrainArgs) -> Result<()> {
    args.job()?.run(&args.common.console.console())?.report();
    Ok(())
}
