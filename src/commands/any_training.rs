//! A training command inside another one: after `check`, or on a line of a cohort's file.

use clap::Subcommand;

use super::bias::BiasTrainArgs;
use super::pipeline::{BiasPipelineArgs, PipelineArgs};
use super::train::TrainArgs;
use crate::cli::args::TrainingArgs;

#[derive(Subcommand)]
pub enum AnyTraining {
    /// Check the inputs of `train`
    Train(Box<TrainArgs>),
    /// Check the inputs of `pipeline`
    Pipeline(Box<PipelineArgs>),
    /// Check the inputs of `bias train` or `bias pipeline`
    #[command(subcommand)]
    Bias(BiasTraining),
}

#[derive(Subcommand)]
pub enum BiasTraining {
    /// Check the inputs of `bias train`
    Train(Box<BiasTrainArgs>),
    /// Check the inputs of `bias pipeline`
    Pipeline(Box<BiasPipelineArgs>),
}

impl AnyTraining {
    /// What all of them share.
    pub fn common(&mut self) -> &mut TrainingArgs {
        match self {
            Self::Train(args) => &mut args.common,
            Self::Pipeline(args) => &mut args.train.common,
            Self::Bias(BiasTraining::Train(args)) => &mut args.common,
            Self::Bias(BiasTraining::Pipeline(args)) => &mut args.train.common,
        }
    }
}
