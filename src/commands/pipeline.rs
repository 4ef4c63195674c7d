//! `pipeline` and `bias pipeline`: from reads to the report in one command.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::bias::BiasTrainArgs;
use super::train::TrainArgs;
use crate::pipeline::{Explain, Job, SUBSAMPLE, Training};

/// What is done with a trained model.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Explanation")]
pub struct ExplainArgs {
    /// Peaks whose contributions are computed, drawn as the official pipelines draw; 0 for none
    #[arg(long, value_name = "N", default_value_t = SUBSAMPLE)]
    pub num_interpret: usize,

    /// Motif database in MEME format, to name the motifs that are found
    #[arg(long, value_name = "FILE")]
    pub meme_db: Option<PathBuf>,

    /// tfmodisco-lite's program [default: modisco on PATH]
    #[arg(long, value_name = "PATH")]
    pub modisco: Option<PathBuf>,
}

impl ExplainArgs {
    pub fn explain(&self) -> Explain {
        Explain {
            num_interpret: self.num_interpret,
            meme_db: self.meme_db.clone(),
            modisco: self.modisco.clone(),
        }
    }
}

const STRICT: &str = "End with an error when a verdict is a fail; refuse reads on contigs that the \
                      genome lacks or past a contig's end, instead of dropping them";

/// Train a ChromBPNet model, evaluate it on the test chromosomes, and explain it.
///
/// Takes every flag of `train`, and leaves what `train`, `predict`, `footprints`, `contribs` and
/// `report` make, under the official names. Run again, it goes on where it stopped.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("strict", |arg| arg.help(STRICT)))]
pub struct PipelineArgs {
    #[command(flatten)]
    pub train: TrainArgs,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

/// Train a bias model, evaluate it on the test chromosomes, and explain it.
///
/// Takes every flag of `bias train`. Run again, it goes on where it stopped.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("strict", |arg| arg.help(STRICT)))]
pub struct BiasPipelineArgs {
    #[command(flatten)]
    pub train: BiasTrainArgs,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

impl PipelineArgs {
    /// What will happen.
    pub fn job(&self) -> Result<Job> {
        Ok(Job {
            training: Training::Chrombpnet(self.train.job()?),
            explain: self.explain.explain(),
            strict: self.train.common.reads.strict,
        })
    }
}

impl BiasPipelineArgs {
    /// What will happen.
    pub fn job(&self) -> Result<Job> {
        Ok(Job {
            training: Training::Bias(self.train.job()?),
            explain: self.explain.explain(),
            strict: self.train.common.reads.strict,
        })
    }
}

pub fn run(args: &PipelineArgs) -> Result<()> {
    args.job()?.run(&args.train.common.console.console())
}

pub fn run_bias(args: &BiasPipelineArgs) -> Result<()> {
    args.job()?.run(&args.train.common.console.console())
}
