//! `train`: the bias-factorized model. Scales the bias model to this data, freezes it, trains the
//! main branch on what it cannot explain.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::training::{self, Data, Run, Trained};
use crate::batch::sampler::{Sampler, Site, fixed_plan};
use crate::batch::{Example, Windows};
use crate::cli::args::TrainingArgs;
use crate::console::{Console, duration};
use crate::engine::{self, ComingPlans, CountsHead, Optimizer, Predictions, Train, TrainSpec};
use crate::error::Problem;
use crate::files::keras_h5::{self, Naming, Role};
use crate::files::params_tsv::{self, ModelParams};
use crate::input::folds::Split;
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::predict::score::{self, Groups};
use crate::preflight::{Goal, Training};
use crate::select::numpy_random::RandomState;
use crate::select::{self, ChrombpnetOptions};
use crate::train::counts_head;

#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub common: TrainingArgs,

    /// Bias model (.h5)
    #[arg(short = 'b', long, help_heading = "Inputs")]
    pub bias_model_path: PathBuf,

    /// Nonpeaks drawn per epoch divided by peaks (-sr)
    #[arg(long, default_value_t = 0.1, help_heading = "Training")]
    pub negative_sampling_ratio: f64,

    /// Filters of every layer (-fil)
    #[arg(long, default_value_t = 512, help_heading = "Model")]
    pub filters: usize,

    /// Dilated layers (-dil)
    #[arg(long, default_value_t = 8, help_heading = "Model")]
    pub n_dilation_layers: usize,

    /// Training peaks move up to this many bp to either side (-j)
    #[arg(short = 'j', long, default_value_t = 500, help_heading = "Training")]
    pub max_jitter: u32,

    /// How the counts head is updated
    #[arg(long, value_enum, default_value_t = CountsHead::Centered, help_heading = "Training")]
    pub counts_head: CountsHead,
}

impl TrainArgs {
    /// What the preflight needs to know.
    pub fn training(&self) -> Training {
        Training {
            inputlen: self.common.inputlen,
            outputlen: self.common.outputlen,
            max_jitter: self.max_jitter as usize,
            goal: Goal::Chrombpnet { negative_sampling_ratio: self.negative_sampling_ratio },
        }
    }
}

pub fn run(args: TrainArgs) -> Result<()> {
    train(&args)?.report(&args.common);
    Ok(())
}

/// Trains, or finds that it is done already.
pub fn train(args: &TrainArgs) -> Result<Trained> {
    let common = &args.common;
    let arch =
        Architecture::new(common.inputlen, common.outputlen, args.filters, args.n_dilation_layers)?;
    let settings = [
        ("filters", json!(args.filters)),
        ("n_dilation_layers", json!(args.n_dilation_layers)),
        ("negative_sampling_ratio", json!(args.negative_sampling_ratio)),
        ("max_jitter", json!(args.max_jitter)),
        ("counts_head", json!(args.counts_head.name())),
    ];
    let inputs = [("bias_model", args.bias_model_path.as_path())];
    let mut run = Run::settle(common, "chrombpnet", arch, &settings, &inputs)?;
    if run.is_done() {
        return Ok(Trained { run, data: None });
    }
    let bias = read_bias_model(&args.bias_model_path, &arch)?;
    let data = run.open(common, &args.training())?;

    let options = ChrombpnetOptions {
        inputlen: common.inputlen,
        outputlen: common.outputlen,
        outlier_threshold: common.outlier_threshold,
        max_jitter: args.max_jitter as usize,
        negative_sampling_ratio: args.negative_sampling_ratio,
        seed: common.seed as u32,
    };
    let selection = run.timed("regions", || {
        select::select_chrombpnet(&data.peaks, &data.nonpeaks, &data.folds, &data.tracks, &options)
    })?;
    run.report_selection(&selection.regions)?;
    write_tables(&run, args, &selection)?;

    run.timed("bias in peaks", || {
        bias_in_peaks(&run, &data, &bias, &selection.regions, common.batch_size)
    })?;
    let bias =
        run.timed("bias scaling", || scale_bias(&run, &data, bias, &selection, common.batch_size))?;

    let peaks =
        |split| training::sites(&selection.regions.peaks, &data.folds, split, &data.tracks.genome);
    let nonpeaks = |split| {
        training::sites(&selection.regions.nonpeaks, &data.folds, split, &data.tracks.genome)
    };
    let sampler = Sampler::new(
        common.seed,
        common.inputlen,
        args.max_jitter,
        args.negative_sampling_ratio,
        peaks(Split::Train),
        nonpeaks(Split::Train),
    )?;
    let valid = validation_plan(
        common.inputlen,
        &peaks(Split::Valid),
        &nonpeaks(Split::Valid),
        args.negative_sampling_ratio,
        common.seed as u32,
    )?;

    // A single example has nothing that tells it from others.
    let counts_head = if common.batch_size > 1 { args.counts_head } else { CountsHead::Plain };
    let mut main = Network { arch, parameters: ParameterSet::glorot_uniform(&arch, common.seed) };
    counts_head::settle_fresh(&mut main, &run.device, &sampler, &data.tracks, common.batch_size)?;
    let spec = TrainSpec {
        branches: Branches { main, bias: Some(bias.clone()) },
        optimizer: Optimizer::adam(common.learning_rate),
        counts_loss_weight: selection.regions.counts_loss_weight,
        counts_head,
    };
    let mut engine = engine::open_train(&run.device, spec, &data.tracks)?;
    keep_bias(engine.as_mut(), &sampler, &valid, common.batch_size, &run.console)?;
    let settle = (counts_head == CountsHead::Centered).then(|| data.tracks.clone());
    let fitted = run.fit(common, engine.as_mut(), &sampler, &valid, settle)?;

    let peaks_bed = run.tree.auxiliary("filtered.peaks.bed");
    run.write_args(common, Some(&peaks_bed), &run.tree.auxiliary("filtered.nonpeaks.bed"))?;
    let main = Network { arch, parameters: fitted.best };
    let (full, nobias) =
        (run.tree.models("chrombpnet.h5"), run.tree.models("chrombpnet_nobias.h5"));
    keras_h5::write_single(&nobias, &main, Naming::WithoutBias)?;
    keras_h5::write_full(&full, &main, &bias)?;
    run.console.info(format!("wrote {} and {}", full.display(), nobias.display()));
    run.complete(fitted.outcome)?;
    Ok(Trained { run, data: Some(data) })
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

/// A bias model of the same lengths.
fn read_bias_model(path: &std::path::Path, arch: &Architecture) -> Result<Network> {
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

fn write_tables(
    run: &Run,
    args: &TrainArgs,
    selection: &select::ChrombpnetSelection,
) -> Result<()> {
    let regions = &selection.regions;
    params_tsv::write_filtered_bed(&run.tree.auxiliary("filtered.peaks.bed"), regions.all_peaks())?;
    params_tsv::write_filtered_bed(
        &run.tree.auxiliary("filtered.nonpeaks.bed"),
        regions.all_nonpeaks(),
    )?;
    params_tsv::write_data_params(
        &run.tree.logs("chrombpnet_data_params.tsv"),
        &regions.data_params(),
    )?;
    params_tsv::write_model_params(
        &run.tree.logs("chrombpnet_model_params.tsv"),
        &ModelParams {
            counts_loss_weight: regions.counts_loss_weight,
            filters: args.filters,
            n_dil_layers: args.n_dilation_layers,
            bias_model_path: Some(run.tree.models("bias_model_scaled.h5").display().to_string()),
            inputlen: args.common.inputlen,
            outputlen: args.common.outputlen,
            max_jitter: args.max_jitter,
            chr_fold_path: args.common.chr_fold_path.display().to_string(),
            negative_sampling_ratio: args.negative_sampling_ratio,
        },
    )
}

/// Shifts the bias model's log counts to this data's depth and leaves `bias_model_scaled.h5`.
fn scale_bias(
    run: &Run,
    data: &Data,
    mut bias: Network,
    selection: &select::ChrombpnetSelection,
    batch_size: usize,
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
    let mut engine = engine::open_predict(&run.device, bias.clone(), &data.tracks)?;
    let mut predicted = Predictions::default();
    let mut progress = run.console.progress("scaling the bias model", plan.len() as u64);
    for batch in plan.chunks(batch_size) {
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
    let path = run.tree.models("bias_model_scaled.h5");
    keras_h5::write_single(&path, &bias, Naming::Bias)?;
    run.console.info(format!(
        "bias model scaled: log counts shifted by {offset:.4} over {} nonpeaks; wrote {}",
        plan.len(),
        path.display()
    ));
    Ok(bias)
}

/// `evaluation/bias_metrics.json`: the unscaled bias model in the test peaks, as official. A clearly
/// negative correlation means an AT-rich bias model; the official tool stops there, we warn.
fn bias_in_peaks(
    run: &Run,
    data: &Data,
    bias: &Network,
    regions: &select::SelectedRegions,
    batch_size: usize,
) -> Result<()> {
    let sites = training::sites(regions.all_peaks(), &data.folds, Split::Test, &data.tracks.genome);
    if sites.is_empty() {
        run.console.warning("no peak on a test chromosome: the bias model is not evaluated");
        return Ok(());
    }
    let plan = fixed_plan(bias.arch.inputlen, &sites, &[]);
    let mut engine = engine::open_predict(&run.device, bias.clone(), &data.tracks)?;
    let scored = score::predict_and_score(
        engine.as_mut(),
        &score::Job {
            arch: &bias.arch,
            tracks: &data.tracks,
            plan: &plan,
            batch_size,
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

/// Every validation peak, and one draw of `int(ratio x peaks)` nonpeaks that stays the same all run:
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
