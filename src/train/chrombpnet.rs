//! The bias-factorized model: scales the bias model to this data, freezes it, trains the main branch on
//! what it cannot explain.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::counts_head;
use super::run::{Trained, TrainingRun, sites};
use super::setup::Setup;
use crate::batch::sampler::{Sampler, Site, fixed_plan};
use crate::batch::{Example, Windows};
use crate::console::{Console, duration};
use crate::engine::{self, ComingPlans, CountsHead, Predictions, Train, TrainSpec};
use crate::error::Problem;
use crate::files::keras_h5::{self, Naming, Role};
use crate::files::params_tsv::ModelParams;
use crate::input::folds::Split;
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::numpy::random::RandomState;
use crate::predict::score::{self, Groups};
use crate::preflight::{Data, Goal, Training};
use crate::run::claim::Claim;
use crate::run::kind::Kind;
use crate::select::{self, ChrombpnetOptions, ChrombpnetSelection, SelectedRegions};

/// Filters of every layer. Source: official default.
pub const FILTERS: usize = 512;
/// Dilated layers. Source: official default.
pub const DILATED_LAYERS: usize = 8;
/// Nonpeaks drawn per epoch divided by peaks. Source: official default.
pub const NEGATIVE_SAMPLING_RATIO: f64 = 0.1;
/// bp to either side. Source: official default.
pub const MAX_JITTER: u32 = 500;

/// A training of the bias-factorized model.
#[derive(Clone, Debug)]
pub struct Job {
    pub setup: Setup,
    /// The bias model's file, or an archive that holds one.
    pub bias_model: PathBuf,
    /// Nonpeaks drawn per epoch divided by peaks.
    pub negative_sampling_ratio: f64,
    /// Training peaks move up to this many bp to either side.
    pub max_jitter: u32,
    /// How the counts head is updated.
    pub counts_head: CountsHead,
}

impl Job {
    /// A training with the official settings and our update of the counts head.
    pub fn new(setup: Setup, bias_model: &Path) -> Self {
        Self {
            setup,
            bias_model: bias_model.to_path_buf(),
            negative_sampling_ratio: NEGATIVE_SAMPLING_RATIO,
            max_jitter: MAX_JITTER,
            counts_head: CountsHead::Centered,
        }
    }

    /// What the preflight needs to know.
    pub fn training(&self) -> Training {
        let goal = Goal::Chrombpnet { negative_sampling_ratio: self.negative_sampling_ratio };
        Training::new(&self.setup.arch, self.max_jitter as usize, goal)
    }

    /// What the job reads and writes.
    pub fn claim(&self) -> Claim {
        self.setup.claim(Kind::Chrombpnet, Some(&self.bias_model))
    }

    /// Trains, or finds that it is done already.
    ///
    /// Errors: inputs that do not fit, a folder that holds another run, a signal to stop; the state is
    /// saved then, and the same job goes on.
    pub fn run(&self, console: &Console) -> Result<Trained> {
        let Setup { arch, options, device, .. } = &self.setup;
        let (kind, batch_size) = (Kind::Chrombpnet, options.batch_size);
        let settings = self
            .setup
            .settings(kind)
            .or("filters", arch.filters, FILTERS)
            .or("n_dilation_layers", arch.n_dilation_layers, DILATED_LAYERS)
            .or("negative_sampling_ratio", self.negative_sampling_ratio, NEGATIVE_SAMPLING_RATIO)
            .or("max_jitter", self.max_jitter, MAX_JITTER)
            .or("counts_head", self.counts_head.name(), CountsHead::Centered.name());
        let mut run =
            TrainingRun::settle(&self.setup, kind, settings, Some(&self.bias_model), console)?;
        if run.is_done() {
            return Ok(Trained { run, data: None });
        }
        let bias = read_bias_model(&self.bias_model, arch)?;
        let data = run.open(&self.training())?;

        let filters = ChrombpnetOptions {
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            outlier_threshold: options.outlier_threshold,
            max_jitter: self.max_jitter as usize,
            negative_sampling_ratio: self.negative_sampling_ratio,
            seed: options.seed as u32,
        };
        let selection = run.timed("regions", || {
            let Data { peaks, nonpeaks, folds, tracks } = &data;
            select::select_chrombpnet(peaks, nonpeaks, folds, tracks, &filters)
        })?;
        let regions = &selection.regions;
        let peaks_bed = run.tree.auxiliary("filtered.peaks.bed");
        let nonpeaks_bed = run.tree.auxiliary("filtered.nonpeaks.bed");
        run.write_tables(regions, [&peaks_bed, &nonpeaks_bed], self.params(&run, regions))?;
        run.timed("bias in peaks", || bias_in_peaks(&run, &data, &bias, regions))?;
        let bias = run.timed("bias scaling", || scale_bias(&run, &data, bias, &selection))?;

        let of = |rows, split| sites(rows, &data.folds, split, &data.tracks.genome);
        let sampler = Sampler::new(
            options.seed,
            arch.inputlen,
            self.max_jitter,
            self.negative_sampling_ratio,
            of(&regions.peaks, Split::Train),
            of(&regions.nonpeaks, Split::Train),
        )?;
        let valid = validation_plan(
            arch.inputlen,
            &of(&regions.peaks, Split::Valid),
            &of(&regions.nonpeaks, Split::Valid),
            self.negative_sampling_ratio,
            options.seed as u32,
        )?;

        // A single example has nothing that tells it from others.
        let counts_head = if batch_size > 1 { self.counts_head } else { CountsHead::Plain };
        let mut main =
            Network { arch: *arch, parameters: ParameterSet::glorot_uniform(arch, options.seed) };
        let device = &device.device;
        counts_head::settle_fresh(&mut main, device, &sampler, &data.tracks, batch_size)?;
        let spec = TrainSpec {
            branches: Branches { main, bias: Some(bias.clone()) },
            optimizer: options.optimizer(),
            counts_loss_weight: regions.counts_loss_weight,
            counts_head,
        };
        let mut engine = engine::open_train(device, spec, &data.tracks)?;
        keep_bias(engine.as_mut(), &sampler, &valid, batch_size, console)?;
        let settle = (counts_head == CountsHead::Centered).then(|| data.tracks.clone());
        let fitted = run.fit(engine.as_mut(), &sampler, &valid, settle)?;

        run.write_args(Some(&peaks_bed), &nonpeaks_bed)?;
        let main = Network { arch: *arch, parameters: fitted.best };
        let (full, nobias) = (run.model(), run.tree.models("chrombpnet_nobias.h5"));
        keras_h5::write_single(&nobias, &main, Naming::WithoutBias)?;
        keras_h5::write_full(&full, &main, &bias)?;
        console.info(format!("wrote {} and {}", full.display(), nobias.display()));
        run.complete(fitted.outcome)?;
        Ok(Trained { run, data: Some(data) })
    }

    fn params(&self, run: &TrainingRun, regions: &SelectedRegions) -> ModelParams {
        let Setup { arch, inputs, .. } = &self.setup;
        ModelParams {
            counts_loss_weight: regions.counts_loss_weight,
            filters: arch.filters,
            n_dil_layers: arch.n_dilation_layers,
            bias_model_path: Some(scaled_bias(run).display().to_string()),
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            max_jitter: self.max_jitter,
            chr_fold_path: inputs.folds.display().to_string(),
            negative_sampling_ratio: self.negative_sampling_ratio,
        }
    }
}

fn scaled_bias(run: &TrainingRun) -> PathBuf {
    run.tree.models("bias_model_scaled.h5")
}

/// Lets the engine keep the bias model's outputs of all windows that come in every epoch.
fn keep_bias(
    engine: &mut dyn Train,
    sampler: &Sampler,
    valid: &[Example],
    batch_size: usize,
    console: &Console,
) -> Result<()> {
    let start = Instant::now();
    let mut windows = sampler.windows();
    windows.extend(valid.iter().map(Windows::of));
    let others = sampler.drawn_afresh();
    let rows = sampler.examples_per_epoch().max(valid.len());
    engine.keep_bias(&ComingPlans { windows: &windows, others, rows, batch_size })?;
    if engine.keeps_bias() {
        let took = duration(start.elapsed().as_secs_f64());
        console.info(format!("bias model's outputs of all peaks kept on the GPU: took {took}"));
    }
    Ok(())
}

/// Reads a bias model, which must have the same lengths.
fn read_bias_model(path: &Path, arch: &Architecture) -> Result<Network> {
    let network = keras_h5::read_role(path, Role::Bias, "-b")?.into_branches().main;
    for (what, found, wanted) in [
        ("inputlen", network.arch.inputlen, arch.inputlen),
        ("outputlen", network.arch.outputlen, arch.outputlen),
    ] {
        if found != wanted {
            return Err(Problem::new(format!(
                "the bias model has {what} {found}, but this run has {wanted}"
            ))
            .at(path.display())
            .fix(format!("pass --{what} {found}, or another bias model"))
            .into());
        }
    }
    Ok(network)
}

/// Shifts the bias model's log counts to this data's depth and leaves `bias_model_scaled.h5`.
fn scale_bias(
    run: &TrainingRun,
    data: &Data,
    mut bias: Network,
    selection: &ChrombpnetSelection,
) -> Result<Network> {
    let sites: Vec<Site> = selection
        .scaling_nonpeaks
        .iter()
        .zip(0..)
        .filter_map(|(region, row)| {
            let contig = data.tracks.genome.contig_id(&region.chrom)?;
            Some(Site { contig, center: region.center() as u32, row })
        })
        .collect();
    let plan = fixed_plan(bias.arch.inputlen, &[], &sites);
    let device = &run.setup.device.device;
    let mut engine = engine::open_predict(device, bias.clone(), &data.tracks)?;
    let mut predicted = Predictions::default();
    let mut progress = run.console.progress("scaling the bias model", plan.len() as u64);
    for batch in plan.chunks(run.setup.options.batch_size) {
        engine.predict(batch, &mut predicted)?;
        // Profiles of half a million nonpeaks would take 2 GB; the offset is one of counts.
        predicted.logits.clear();
        progress.advance(batch.len() as u64, "");
    }
    progress.finish();
    let offset = select::bias_logcount_offset(&selection.scaling_counts, &predicted.logcounts);
    let dense = bias
        .parameters
        .get_mut("logcount_predictions/bias")
        .context("the bias model has no logcount_predictions/bias")?;
    // NumPy casts the offset to the weight's f32 before it adds.
    dense.data[0] += offset as f32;
    let path = scaled_bias(run);
    keras_h5::write_single(&path, &bias, Naming::Bias)?;
    run.console.info(format!(
        "bias model scaled: log counts shifted by {offset:.4} over {} nonpeaks; wrote {}",
        plan.len(),
        path.display()
    ));
    Ok(bias)
}

/// Leaves `evaluation/bias_metrics.json`: the unscaled bias model in the test peaks, as official. A clearly
/// negative correlation means an AT-rich bias model; the official tool stops there, we warn.
fn bias_in_peaks(
    run: &TrainingRun,
    data: &Data,
    bias: &Network,
    regions: &SelectedRegions,
) -> Result<()> {
    let sites = sites(regions.all_peaks(), &data.folds, Split::Test, &data.tracks.genome);
    if sites.is_empty() {
        run.console.warning("no peak on a test chromosome: the bias model is not evaluated");
        return Ok(());
    }
    let plan = fixed_plan(bias.arch.inputlen, &sites, &[]);
    let device = &run.setup.device.device;
    let mut engine = engine::open_predict(device, bias.clone(), &data.tracks)?;
    let scored = score::predict_and_score(
        engine.as_mut(),
        &score::Job {
            arch: &bias.arch,
            tracks: &data.tracks,
            plan: &plan,
            batch_size: run.setup.options.batch_size,
            groups: Groups::PeaksAndNonpeaks,
            prefix: &run.tree.evaluation("bias"),
            logits: false,
        },
        &run.console,
    )?;
    if let Some(r) = scored.metrics.and_then(|m| m.counts_pearsonr("peaks")) {
        let text = format!("bias model in test peaks: counts pearsonr {r:.3}");
        if r <= -0.5 {
            run.console.warning(format!(
                "{text}; below -0.5 the bias model follows AT content rather than the enzyme: retrain it with a higher --bias-threshold-factor"
            ));
        } else {
            run.console.info(text);
        }
    }
    Ok(())
}

/// Plans every validation peak, and one draw of `int(ratio x peaks)` nonpeaks that stays the same all run:
/// pandas' `sample(random_state=seed)`, as the official generator draws it.
fn validation_plan(
    inputlen: usize,
    peaks: &[Site],
    nonpeaks: &[Site],
    ratio: f64,
    seed: u32,
) -> Result<Vec<Example>, Problem> {
    let wanted = (ratio * peaks.len() as f64) as usize;
    if wanted > nonpeaks.len() {
        return Err(Problem::new(format!(
            "validation draws {wanted} nonpeaks ({ratio} x {} peaks), but only {} are left after the filters",
            peaks.len(),
            nonpeaks.len()
        ))
        .fix("give more nonpeaks on the validation chromosomes, or lower --negative-sampling-ratio"));
    }
    let drawn: Vec<Site> = RandomState::new(seed)
        .choice(nonpeaks.len(), wanted)
        .into_iter()
        .map(|i| nonpeaks[i])
        .collect();
    Ok(fixed_plan(inputlen, peaks, &drawn))
}
