//! `bias train`: the enzyme model, trained on background regions below a count ceiling.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::pipeline::qc::BiasQcArgs;
use super::pipeline::{self, BiasPipelineArgs};
use super::training::{self, Run, Trained};
use crate::batch::sampler::{Sampler, fixed_plan};
use crate::cli::args::{DataType, TrainingArgs};
use crate::cli::examples;
use crate::engine::{self, CountsHead, Optimizer, TrainSpec};
use crate::files::keras_h5::{self, Naming};
use crate::files::params_tsv::{self, ModelParams};
use crate::input::folds::Split;
use crate::model::{Architecture, Network, ParameterSet};
use crate::preflight::{Goal, Training};
use crate::select::{self, BiasOptions};

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
    #[arg(long, default_value_t = 128, help_heading = "Model")]
    pub filters: usize,

    /// Dilated layers (-dil)
    #[arg(long, default_value_t = 4, help_heading = "Model")]
    pub n_dilation_layers: usize,

    /// bp to either side (-j); nonpeaks are never jittered, so this changes nothing but is recorded
    #[arg(short = 'j', long, default_value_t = 0, help_heading = "Training")]
    pub max_jitter: u32,
}

impl BiasTrainArgs {
    /// The threshold factor, given or by assay.
    fn factor(&self) -> f64 {
        self.bias_threshold_factor.unwrap_or(match self.common.data_type {
            DataType::Atac => 0.5,
            DataType::Dnase => 0.8,
        })
    }

    /// What the preflight needs to know.
    pub fn training(&self) -> Training {
        Training {
            inputlen: self.common.inputlen,
            outputlen: self.common.outputlen,
            max_jitter: 0,
            goal: Goal::Bias { threshold_factor: self.factor() },
        }
    }
}

pub fn run(command: BiasCommand) -> Result<()> {
    match command {
        BiasCommand::Train(args) => {
            train(&args)?.report(&args.common);
            Ok(())
        }
        BiasCommand::Qc(args) => pipeline::qc::run_bias(&args),
        BiasCommand::Pipeline(args) => pipeline::run_bias(&args),
    }
}

/// Trains, or finds that it is done already.
pub fn train(args: &BiasTrainArgs) -> Result<Trained> {
    let common = &args.common;
    let arch =
        Architecture::new(common.inputlen, common.outputlen, args.filters, args.n_dilation_layers)?;
    let factor = args.factor();
    let settings = [
        ("filters", json!(args.filters)),
        ("n_dilation_layers", json!(args.n_dilation_layers)),
        ("bias_threshold_factor", json!(factor)),
    ];
    let mut run = Run::settle(common, "bias", arch, &settings, &[])?;
    if run.is_done() {
        return Ok(Trained { run, data: None });
    }
    let data = run.open(common, &args.training())?;

    let options = BiasOptions {
        inputlen: common.inputlen,
        outputlen: common.outputlen,
        outlier_threshold: common.outlier_threshold,
        bias_threshold_factor: factor,
    };
    let selection = run.timed("regions", || {
        select::select_bias(&data.peaks, &data.nonpeaks, &data.folds, &data.tracks, &options)
    })?;
    run.report_selection(&selection.regions)?;
    let nonpeaks_bed = run.tree.auxiliary("filtered.bias_nonpeaks.bed");
    params_tsv::write_filtered_bed(&nonpeaks_bed, selection.regions.all_nonpeaks())?;
    params_tsv::write_filtered_bed(
        &run.tree.auxiliary("filtered.bias_peaks.bed"),
        selection.regions.all_peaks(),
    )?;
    params_tsv::write_data_params(
        &run.tree.logs("bias_data_params.tsv"),
        &selection.regions.data_params(),
    )?;
    params_tsv::write_model_params(
        &run.tree.logs("bias_model_params.tsv"),
        &ModelParams {
            counts_loss_weight: selection.regions.counts_loss_weight,
            filters: args.filters,
            n_dil_layers: args.n_dilation_layers,
            bias_model_path: None,
            inputlen: common.inputlen,
            outputlen: common.outputlen,
            max_jitter: args.max_jitter,
            chr_fold_path: common.chr_fold_path.display().to_string(),
            negative_sampling_ratio: 1.0,
        },
    )?;

    let rows = &selection.regions.nonpeaks;
    let sites = |split| training::sites(rows, &data.folds, split, &data.tracks.genome);
    let sampler = Sampler::new(common.seed, common.inputlen, 0, 1.0, vec![], sites(Split::Train))?;
    let valid = fixed_plan(common.inputlen, &[], &sites(Split::Valid));
    let network = Network { arch, parameters: ParameterSet::glorot_uniform(&arch, common.seed) };
    let spec = TrainSpec {
        branches: network.into(),
        optimizer: Optimizer::adam(common.learning_rate),
        counts_loss_weight: selection.regions.counts_loss_weight,
        counts_head: CountsHead::Plain,
    };
    let mut engine = engine::open_train(&run.device, spec, &data.tracks)?;
    let fitted = run.fit(common, engine.as_mut(), &sampler, &valid, None)?;

    run.write_args(common, None, &nonpeaks_bed)?;
    let model = run.tree.models("bias.h5");
    let network = Network { arch, parameters: fitted.best };
    keras_h5::write_single(&model, &network, Naming::Bias).context("writing the bias model")?;
    run.console.info(format!("wrote {}", model.display()));
    run.complete(fitted.outcome)?;
    Ok(Trained { run, data: Some(data) })
}
