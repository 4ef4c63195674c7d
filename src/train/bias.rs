//! The enzyme model, trained on background regions below a count ceiling.

use anyhow::{Context, Result};

use super::run::{Trained, TrainingRun, sites};
use super::setup::Setup;
use crate::batch::sampler::{Sampler, fixed_plan};
use crate::console::Console;
use crate::engine::{self, CountsHead, TrainSpec};
use crate::files::keras_h5::{self, Naming};
use crate::files::params_tsv::ModelParams;
use crate::input::folds::Split;
use crate::model::{Network, ParameterSet};
use crate::pack::shift::DataType;
use crate::preflight::{Goal, Training};
use crate::run::claim::Claim;
use crate::run::kind::Kind;
use crate::select::{self, BiasOptions};

/// Filters of every layer. Source: official default.
pub const FILTERS: usize = 128;
/// Dilated layers. Source: official default.
pub const DILATED_LAYERS: usize = 4;

/// A training of the bias model.
#[derive(Clone, Debug)]
pub struct Job {
    pub setup: Setup,
    /// Nonpeaks train when their counts lie below this times the 1 % quantile of the peaks' counts.
    pub threshold_factor: f64,
    /// Changes nothing, since nonpeaks are never jittered, but is written among the parameters.
    pub max_jitter: u32,
}

/// The factor that is usual for an assay.
pub fn threshold_factor(data_type: DataType) -> f64 {
    match data_type {
        DataType::Atac => 0.5,
        DataType::Dnase => 0.8,
    }
}

impl Job {
    /// A training with the settings that are usual for the assay.
    pub fn new(setup: Setup) -> Self {
        Self { threshold_factor: threshold_factor(setup.data_type), max_jitter: 0, setup }
    }

    /// What the preflight needs to know.
    pub fn training(&self) -> Training {
        Training::new(&self.setup.arch, 0, Goal::Bias { threshold_factor: self.threshold_factor })
    }

    /// What the job reads and writes.
    pub fn claim(&self) -> Claim {
        self.setup.claim(Kind::Bias, None)
    }

    /// Trains, or finds that it is done already.
    ///
    /// Errors: inputs that do not fit, a folder that holds another run, a signal to stop; the state is
    /// saved then, and the same job goes on.
    pub fn run(&self, console: &Console) -> Result<Trained> {
        let Setup { arch, options, inputs, .. } = &self.setup;
        let settings = self
            .setup
            .settings(Kind::Bias)
            .or("filters", arch.filters, FILTERS)
            .or("n_dilation_layers", arch.n_dilation_layers, DILATED_LAYERS)
            .or(
                "bias_threshold_factor",
                self.threshold_factor,
                threshold_factor(self.setup.data_type),
            );
        let mut run = TrainingRun::settle(&self.setup, Kind::Bias, settings, None, console)?;
        if run.is_done() {
            return Ok(Trained { run, data: None });
        }
        let data = run.open(&self.training())?;

        let filters = BiasOptions {
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            outlier_threshold: options.outlier_threshold,
            bias_threshold_factor: self.threshold_factor,
        };
        let selection = run.timed("regions", || {
            select::select_bias(&data.peaks, &data.nonpeaks, &data.folds, &data.tracks, &filters)
        })?;
        let counts_loss_weight = selection.regions.counts_loss_weight;
        let peaks_bed = run.tree.auxiliary("filtered.bias_peaks.bed");
        let nonpeaks_bed = run.tree.auxiliary("filtered.bias_nonpeaks.bed");
        let params = ModelParams {
            counts_loss_weight,
            filters: arch.filters,
            n_dil_layers: arch.n_dilation_layers,
            bias_model_path: None,
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            max_jitter: self.max_jitter,
            chr_fold_path: inputs.folds.display().to_string(),
            negative_sampling_ratio: 1.0,
        };
        run.write_tables(&selection.regions, [&peaks_bed, &nonpeaks_bed], params)?;

        let rows = &selection.regions.nonpeaks;
        let sites = |split| sites(rows, &data.folds, split, &data.tracks.genome);
        let sampler =
            Sampler::new(options.seed, arch.inputlen, 0, 1.0, vec![], sites(Split::Train))?;
        let valid = fixed_plan(arch.inputlen, &[], &sites(Split::Valid));
        let network =
            Network { arch: *arch, parameters: ParameterSet::glorot_uniform(arch, options.seed) };
        let spec = TrainSpec {
            branches: network.into(),
            optimizer: options.optimizer(),
            counts_loss_weight,
            counts_head: CountsHead::Plain,
        };
        let mut engine = engine::open_train(&self.setup.device.device, spec, &data.tracks)?;
        let fitted = run.fit(engine.as_mut(), &sampler, &valid, None)?;

        run.write_args(None, &nonpeaks_bed)?;
        let model = run.model();
        let network = Network { arch: *arch, parameters: fitted.best };
        keras_h5::write_single(&model, &network, Naming::Bias).context("writing the bias model")?;
        console.info(format!("wrote {}", model.display()));
        run.complete(fitted.outcome)?;
        Ok(Trained { run, data: Some(data) })
    }
}
