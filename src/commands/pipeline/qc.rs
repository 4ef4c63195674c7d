//! `qc` and `bias qc`: the stages after training, on any model with its own inputs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::look::Look;
use super::subject::{Kind, Subject};
use super::{ExplainArgs, evaluate, predictions, shift, stages};
use crate::cli::args::{CacheArgs, ConsoleArgs, DataType, DeviceArgs};
use crate::commands::{inputs, prefix};
use crate::error::Problem;
use crate::files::keras_h5::{self, Role};
use crate::input::{chrom_sizes, folds, regions};
use crate::report::folder;
use crate::run::claim::Claim;
use crate::run::outputs;
use crate::train::output::OutputTree;

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

pub fn run(args: &QcArgs) -> Result<()> {
    let (model, explained) = (&args.chrombpnet_model, &args.chrombpnet_model_nb);
    let full = lengths(model, Role::Full, "-cm")?;
    let nobias = lengths(explained, Role::WithoutBias, "-cmb")?;
    if full != nobias {
        return Err(Problem::new(format!(
            "the models have different lengths: {} bp in and {} out, {} in and {} out",
            full.0, full.1, nobias.0, nobias.1
        ))
        .at(format!("{} and {}", model.display(), explained.display()))
        .fix("pass both models of one run")
        .into());
    }
    look(Kind::Chrombpnet, model, explained, &args.inputs)
}

pub fn run_bias(args: &BiasQcArgs) -> Result<()> {
    lengths(&args.bias_model, Role::Bias, "-bm")?;
    look(Kind::Bias, &args.bias_model, &args.bias_model, &args.inputs)
}

/// Input and output length of a model that must be of one role.
fn lengths(path: &Path, role: Role, flag: &str) -> Result<(usize, usize)> {
    let model = keras_h5::read_role(path, role, flag)?;
    Ok((model.arch().inputlen, model.arch().outputlen))
}

/// What the command reads and writes.
fn claim(kind: Kind, model: &Path, explained: &Path, args: &QcInputs, tree: &OutputTree) -> Claim {
    let (flags, command, of) = match kind {
        Kind::Bias => (["-bm", "-bm"], "bias qc", folder::Kind::Bias),
        Kind::Chrombpnet => (["-cm", "-cmb"], "qc", folder::Kind::Chrombpnet),
    };
    Claim::new(command)
        .reads(flags[0], [&model.to_path_buf()])
        .reads(flags[1], [&explained.to_path_buf()])
        .reads("-bw", [&args.bigwig])
        .reads("-g", [&args.genome])
        .reads("-c", [&args.chrom_sizes])
        .reads("-p", [&args.peaks])
        .reads("-n", [&args.nonpeaks])
        .reads("-fl", [&args.chr_fold_path])
        .reads("--meme-db", &args.explain.meme_db)
        .writes("-o", outputs::of_evaluation(tree, of, args.data_type))
        .folder("-o", &args.output_dir)
}

fn look(kind: Kind, model: &Path, explained: &Path, args: &QcInputs) -> Result<()> {
    let console = args.console.console();
    if args.batch_size == 0 {
        return Err(Problem::new("--batch-size must be at least 1").into());
    }
    args.explain.check()?;
    prefix::check_of_files(args.file_prefix.as_deref())?;
    let tree = OutputTree::new(&args.output_dir, args.file_prefix.as_deref());
    let _claimed = claim(kind, model, explained, args, &tree).take(&console)?;
    let device = args.device.apply(&console)?.device;
    // Everything small is read before anything is packed, made or predicted.
    let sizes = chrom_sizes::read(&args.chrom_sizes)?;
    let folds = folds::read(&args.chr_fold_path)?;
    let peaks = regions::read(&args.peaks)?;
    let nonpeaks = regions::read(&args.nonpeaks)?;
    let cache_dir = &args.cache.cache_dir;
    let tracks = inputs::open_tracks(&args.genome, Some(&args.bigwig), cache_dir, &console)?;
    let disputed = inputs::check_sizes(&sizes, &args.chrom_sizes, &tracks.genome, &console)?;
    let tracks = tracks.dispute(disputed);
    inputs::check_folds(&folds, &args.chr_fold_path, &tracks.genome, &console)?;
    inputs::check_regions(&peaks, &args.peaks, &tracks.genome)?;
    inputs::check_regions(&nonpeaks, &args.nonpeaks, &tracks.genome)?;
    let used = peaks.iter().chain(&nonpeaks).map(|r| r.chrom.as_str());
    inputs::refuse_disputed(&tracks.disputed, used)?;
    let mut look = Look::new(kind, model, explained, args, &device)?;
    tree.create_only(&["logs", "auxiliary", "evaluation"])?;
    let subject = Subject {
        kind,
        tree,
        model: model.to_path_buf(),
        explained: explained.to_path_buf(),
        tracks,
        genome: args.genome.clone(),
        chrom_sizes: args.chrom_sizes.clone(),
        signal: Some(args.bigwig.clone()),
        folds,
        peaks: args.peaks.clone(),
        nonpeaks: (kind == Kind::Bias).then(|| args.nonpeaks.clone()),
        background: args.nonpeaks.clone(),
        data_type: args.data_type,
        batch_size: args.batch_size,
        file_prefix: args.file_prefix.clone(),
        device,
        console,
        device_args: args.device.clone(),
        console_args: args.console,
        cache: args.cache.clone(),
        key: look.key(),
    };
    let mut stages = stages(&subject, args.force)?;
    stages.refuse_others(&predictions::files(&subject))?;
    look.begin(&subject.tree, args.force)?;
    let key = subject.stage_key(&[]);
    stages.attempt("shift figure", &key, &shift::files(&subject), || shift::run(&subject))?;
    let verdicts = evaluate(&subject, &args.explain, stages)?;
    look.complete(&subject.tree)?;
    if args.strict {
        verdicts.refuse_failed()?;
    }
    Ok(())
}
