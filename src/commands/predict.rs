//! `predict`: a model's profiles and counts on regions or on sequences; with a bigWig, the official
//! metrics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::inputs;
use super::regions::{self, RegionFilter};
use crate::batch::Example;
use crate::batch::sampler::{Site, fixed_plan};
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::console::Console;
use crate::engine::{self, EngineSpec};
use crate::error::Problem;
use crate::files::keras_h5;
use crate::input::fasta;
use crate::input::folds;
use crate::input::regions::Region;
use crate::model::Architecture;
use crate::predict::score::{self, Groups};
use crate::store::{GenomePack, Tracks};

/// Predict on regions (-r), on peaks and nonpeaks (-p, -n; with -fl the test chromosomes), or on
/// sequences (--fasta).
///
/// Writes PREFIX_predictions.h5 and PREFIX_predicted_counts.tsv; with --bigwig also
/// PREFIX_metrics.json. A full ChromBPNet model predicts the total signal, a nobias model the part
/// that enzyme bias does not explain.
#[derive(Args, Clone, Debug)]
pub struct PredictArgs {
    /// Keras .h5 model: bias, bias_model_scaled, chrombpnet or chrombpnet_nobias
    #[arg(short = 'm', long)]
    pub model: PathBuf,

    /// Output prefix (-op)
    #[arg(short = 'o', long)]
    pub output_prefix: PathBuf,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long, required_unless_present = "fasta")]
    pub genome: Option<PathBuf>,

    /// bigWig of observed cut sites (-bw), or a signal pack
    #[arg(long, conflicts_with = "fasta")]
    pub bigwig: Option<PathBuf>,

    /// Regions, 10 columns
    #[arg(short = 'r', long, conflicts_with_all = ["peaks", "nonpeaks", "fasta"])]
    pub regions: Option<PathBuf>,

    /// Peaks, 10 columns
    #[arg(short = 'p', long, conflicts_with = "fasta")]
    pub peaks: Option<PathBuf>,

    /// Nonpeaks, 10 columns
    #[arg(short = 'n', long, conflicts_with = "fasta")]
    pub nonpeaks: Option<PathBuf>,

    /// Fold JSON; only its test chromosomes are predicted (-fl)
    #[arg(long)]
    pub chr_fold_path: Option<PathBuf>,

    /// Sequences as long as the model's input, instead of regions of a genome
    #[arg(long, required_unless_present_any = ["regions", "peaks", "nonpeaks"])]
    pub fasta: Option<PathBuf>,

    /// Examples per step (-bs)
    #[arg(long, default_value_t = 64)]
    pub batch_size: usize,

    /// Add raw logits to the h5
    #[arg(long)]
    pub logits: bool,

    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// What is predicted, and the rows that name it.
struct Work {
    tracks: Tracks,
    plan: Vec<Example>,
    rows: Vec<Region>,
    groups: Groups,
}

pub fn run(args: PredictArgs) -> Result<()> {
    let console = args.console.console();
    if args.batch_size == 0 {
        return Err(Problem::new("--batch-size must be at least 1").into());
    }
    let device = args.device.apply(&console)?.device;
    let model = keras_h5::read(&args.model)?;
    let arch = *model.arch();
    console.info(format!(
        "{}: {} model, {} bp in, {} bp out",
        args.model.display(),
        model.role(),
        arch.inputlen,
        arch.outputlen
    ));
    let work = match &args.fasta {
        Some(fasta) => sequences_work(fasta, &arch)?,
        None => regions_work(&args, &arch, &console)?,
    };
    if work.plan.is_empty() {
        return Err(Problem::new("no region is left to predict").into());
    }
    let (main, bias) = model.into_branches();
    let mut engine = engine::open(&device, EngineSpec::for_prediction(main, bias), &work.tracks)?;
    let scored = score::predict_and_score(
        engine.as_mut(),
        &score::Job {
            arch: &arch,
            tracks: &work.tracks,
            plan: &work.plan,
            batch_size: args.batch_size,
            groups: work.groups,
            prefix: &args.output_prefix,
            logits: args.logits,
        },
        &console,
    )?;
    score::write_counts_tsv(&args.output_prefix, &work.rows, &work.plan, &scored)?;
    if let Some(metrics) = &scored.metrics {
        console.info(metrics.to_string());
    }
    console.info(format!("wrote {}_predictions.h5", args.output_prefix.display()));
    Ok(())
}

/// Each sequence is a contig of a small genome in memory, and one example.
fn sequences_work(path: &Path, arch: &Architecture) -> Result<Work> {
    let sequences = fasta::read_all(path)?;
    let mut plan = Vec::new();
    let mut rows = Vec::new();
    for (index, (name, bases)) in sequences.iter().enumerate() {
        let length = bases.len();
        if length != arch.inputlen {
            return Err(Problem::new(format!(
                "sequence is {length} bp long, but the model reads {} bp",
                arch.inputlen
            ))
            .at(format!("{}, sequence {name}", path.display()))
            .fix("cut or pad (with N) every sequence to the model's input length")
            .into());
        }
        plan.push(Example { contig: index as u32, start: 0, flags: 0, row: index as u32 });
        rows.push(Region {
            chrom: name.clone(),
            start: 0,
            end: length as u64,
            summit: length as u64 / 2,
            extra: Default::default(),
            line: index + 1,
        });
    }
    let genome = GenomePack::from_sequences(sequences.iter().map(|(n, b)| (n.as_str(), &b[..])));
    let tracks = Tracks::new(Arc::new(genome), None);
    Ok(Work { tracks, plan, rows, groups: Groups::Regions })
}

fn regions_work(args: &PredictArgs, arch: &Architecture, console: &Console) -> Result<Work> {
    let Some(genome) = &args.genome else {
        return Err(Problem::new("no genome given").fix("pass -g with a FASTA").into());
    };
    let tracks =
        inputs::open_tracks(genome, args.bigwig.as_deref(), &args.cache.cache_dir, console)?;
    let folds = match &args.chr_fold_path {
        Some(path) => {
            let folds = folds::read(path)?;
            inputs::check_folds(&folds, path, &tracks.genome, console)?;
            Some(folds)
        }
        None => None,
    };
    let filter = RegionFilter {
        width: arch.inputlen,
        folds: folds.as_ref(),
        chroms: None,
        prefix: &args.output_prefix,
    };
    let mut rows = Vec::new();
    let mut sites = |path: &Option<PathBuf>, kind| -> Result<Vec<Site>> {
        let Some(path) = path else { return Ok(Vec::new()) };
        let set = regions::open(path, kind, rows.len(), &tracks, &filter, console)?;
        rows.extend(set.rows);
        Ok(set.sites)
    };
    let (plan, groups) = match &args.regions {
        Some(_) => {
            let sites = sites(&args.regions, "regions")?;
            (fixed_plan(arch.inputlen, &sites, &[]), Groups::Regions)
        }
        None => {
            let peaks = sites(&args.peaks, "peaks")?;
            let nonpeaks = sites(&args.nonpeaks, "nonpeaks")?;
            (fixed_plan(arch.inputlen, &peaks, &nonpeaks), Groups::PeaksAndNonpeaks)
        }
    };
    Ok(Work { tracks, plan, rows, groups })
}
