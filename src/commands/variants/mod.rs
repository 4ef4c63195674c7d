//! `variants` (official name `snp_score`): what variants do to a model's prediction, with the
//! windows, metrics, names and tables of variant-scorer.

mod contributions;
mod listed;
mod outputs;
mod stages;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::listed::Listed;
use self::outputs::Names;
use self::stages::Run;
use super::prefix;
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::console::Console;
use crate::error::Problem;
use crate::input::variants::Schema;
use crate::predict::models::Models;
use crate::run::claim::Claim;
use crate::variants::alleles::Cut;
use crate::variants::predict::Predictor;

/// Score variants: log fold change of the predicted counts (log2, allele2 over allele1),
/// Jensen-Shannon distance of the predicted profiles, quantiles against peaks, and p-values
/// against shuffled sequences.
///
/// Writes PREFIX.variant_scores.tsv and, as asked for, PREFIX.variant_scores.shuffled.tsv (unless
/// -n 0; PREFIX.variant_scores.shuffled.run.json says what they were made from), PREFIX.peak_scores.tsv
/// (-p), PREFIX.variant_predictions.h5 (--h5) and
/// PREFIX.variant_shap.{counts,profile}.h5 (-st), in the layouts of variant-scorer. Several models
/// (folds) are asked in one pass: each adds .fold_0, .fold_1, ... to PREFIX, in the order given, and
/// PREFIX.mean.variant_scores.tsv has the means, geometric ones of p-values.
///
/// Rows that cannot be scored are counted, and listed with their reasons in PREFIX.skipped.tsv:
/// above all those of which neither allele is what the genome has there.
///
/// A PREFIX that ends in / is a folder, in which names begin with _ and the model's kind.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Scores")]
pub struct VariantsArgs {
    /// Variants: a list without header (see --schema), VCF or BCF; plain, gzip or bgzip
    #[arg(
        short = 'l',
        long,
        required_unless_present = "snp_data",
        conflicts_with = "snp_data",
        help_heading = "Inputs"
    )]
    pub list: Option<PathBuf>,

    /// The list of the official snp_score: chr, position (0-based), allele1, allele2 (-snps)
    #[arg(long, help_heading = "Inputs")]
    pub snp_data: Option<PathBuf>,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long, help_heading = "Inputs")]
    pub genome: PathBuf,

    /// Keras .h5 models, usually chrombpnet_nobias.h5: one, or the folds of one experiment
    #[arg(short = 'm', long, alias = "model-h5", num_args = 1.., required = true,
          help_heading = "Inputs")]
    pub model: Vec<PathBuf>,

    /// Chromosome sizes, 2 columns: variants on other chromosomes are skipped
    #[arg(short = 's', long, alias = "chrom_sizes", help_heading = "Inputs")]
    pub chrom_sizes: Option<PathBuf>,

    /// Columns of the list (-sc); without it, VCF and BCF are recognised, and all else is chrombpnet
    #[arg(long, value_enum, conflicts_with = "snp_data", help_heading = "Inputs")]
    pub schema: Option<Schema>,

    /// Peaks (BED of 3 to 10 columns): adds quantiles of the counts among those of peaks
    #[arg(short = 'p', long, help_heading = "Inputs")]
    pub peaks: Option<PathBuf>,

    /// Genome of the peaks, if it is another one (-pg)
    #[arg(long, alias = "peak_genome", requires = "peaks", help_heading = "Inputs")]
    pub peak_genome: Option<PathBuf>,

    /// Chromosome sizes of the peaks: peaks on other chromosomes are left out (-ps)
    #[arg(long, alias = "peak_chrom_sizes", requires = "peaks", help_heading = "Inputs")]
    pub peak_chrom_sizes: Option<PathBuf>,

    /// Peaks at most, a sample of them where there are more (-mp)
    #[arg(long, alias = "max_peaks", requires = "peaks", help_heading = "Inputs")]
    pub max_peaks: Option<usize>,

    /// Shuffled windows a variant, for p-values; 0 for none
    #[arg(short = 'n', long, alias = "num_shuf", default_value_t = 10)]
    pub num_shuf: u32,

    /// Shuffled windows in all, instead of --num-shuf: bounds time and memory of p-values
    #[arg(short = 't', long, alias = "total_shuf")]
    pub total_shuf: Option<u64>,

    /// Shuffled scores of an earlier run, a file for each model, instead of shuffling (-sh); refused
    /// where the record beside them names another model, genome or set of peaks
    #[arg(long, alias = "shuffled_scores", num_args = 1..,
          conflicts_with_all = ["num_shuf", "total_shuf"])]
    pub shuffled_scores: Vec<PathBuf>,

    /// Only variants on this chromosome
    #[arg(short = 'c', long, help_heading = "Inputs")]
    pub chrom: Option<String>,

    /// Seed of shuffles and samples
    #[arg(short = 'r', long, alias = "random_seed", default_value_t = 1234)]
    pub random_seed: u32,

    /// Predict the forward strand only, instead of the mean of both (-fo)
    #[arg(long, alias = "forward_only")]
    pub forward_only: bool,

    /// Score substitutions even where neither allele is the genome's
    #[arg(long)]
    pub allow_ref_mismatch: bool,

    /// Output prefix, FOLDER/NAME; the folder exists (-op)
    #[arg(short = 'o', long, aliases = ["out_prefix", "output-prefix"], help_heading = "Output")]
    pub out_prefix: PathBuf,

    /// Write the predictions of both alleles, counts and logits, to an h5
    #[arg(long, conflicts_with = "no_hdf5", help_heading = "Output")]
    pub h5: bool,

    /// Write contribution scores of both alleles for these outputs (-st)
    #[arg(long, alias = "shap_type", value_enum, num_args = 1.., overrides_with = "shap_type",
          help_heading = "Output")]
    pub shap_type: Vec<Head>,

    /// Sequences per step (-bs)
    #[arg(long, alias = "batch_size", default_value_t = 512, help_heading = "Device")]
    pub batch_size: usize,

    // Accepted so that command lines of variant-scorer run unedited: without effect there, or here.
    #[arg(short = 'b', long, hide = true, help_heading = "Inputs")]
    pub bias: Option<PathBuf>,
    #[arg(long, alias = "num_chunks", hide = true, help_heading = "Device")]
    pub num_chunks: Option<usize>,
    #[arg(long = "no_hdf5", alias = "no-hdf5", hide = true, help_heading = "Output")]
    pub no_hdf5: bool,
    #[arg(long, hide = true, help_heading = "Output")]
    pub merge: bool,

    // Understood, and refused.
    #[arg(long, hide = true, help_heading = "Output")]
    pub lite: bool,
    #[arg(long, aliases = ["debug_mode", "debug-mode-on", "debug_mode_on"], hide = true, num_args = 0..=1, default_missing_value = "1",
          help_heading = "Output")]
    pub debug_mode: Option<u32>,

    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// An output of the model that contributions explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Head {
    Counts,
    Profile,
}

impl Head {
    pub fn name(self) -> &'static str {
        match self {
            Head::Counts => "counts",
            Head::Profile => "profile",
        }
    }
}

pub fn run(mut args: VariantsArgs) -> Result<()> {
    let console = args.console.console();
    refuse(&args, &console)?;
    prefix::check(&args.out_prefix, "-op")?;
    let device = match args.shap_type.is_empty() {
        true => args.device.apply_to_predict(&console)?.device,
        false => args.device.apply(&console)?.device,
    };
    let models = Models::read(&args.model, &console)?;
    let cut = cut_of(&models, &args, &console)?;
    args.out_prefix = prefix::of_role(&args.out_prefix, models.role());
    let names = Names::new(&args.out_prefix, models.files().len());
    let _claimed = claim(&args, &names).take(&console)?;
    let mut listed = Listed::open(&args, cut, &console)?;
    listed.check(&names.of_all("skipped.tsv"), &console)?;

    let arch = *models.arch();
    let ensemble = models.open_for_sequences(&device)?;
    let predictor = Predictor {
        engines: ensemble.members.into_iter().map(|member| member.engine).collect(),
        arch,
        batch_size: args.batch_size,
        both_strands: !args.forward_only,
    };
    let mut run = Run { args: &args, console, names, predictor, peaks_hash: None };
    let peak_counts = run.peaks(&listed)?;
    let backgrounds = run.backgrounds(&mut listed, peak_counts.as_deref())?;
    run.score(&mut listed, peak_counts.as_deref(), backgrounds.as_deref())?;
    run.explain(&mut listed)
}

/// What the command reads and writes.
fn claim(args: &VariantsArgs, names: &Names) -> Claim {
    Claim::new("variants")
        .reads("-m", &args.model)
        .reads("-l", &args.list)
        .reads("-snps", &args.snp_data)
        .reads("-g", [&args.genome])
        .reads("-s", &args.chrom_sizes)
        .reads("-p", &args.peaks)
        .reads("-pg", &args.peak_genome)
        .reads("-ps", &args.peak_chrom_sizes)
        .reads("-sh", &args.shuffled_scores)
        .writes("-o", names.all(args))
        .prefix("-o", &args.out_prefix)
}

/// Refuses what would change the result if it were ignored.
fn refuse(args: &VariantsArgs, console: &Console) -> Result<()> {
    if args.batch_size == 0 {
        return Err(Problem::new("--batch-size must be at least 1").into());
    }
    if args.max_peaks == Some(0) {
        return Err(Problem::new("--max-peaks must be at least 1").into());
    }
    if args.lite {
        return Err(Problem::new("--lite: models of chrombpnet-lite are not read")
            .fix("pass a Keras .h5 model of ChromBPNet and leave the flag out")
            .into());
    }
    if args.debug_mode.is_some_and(|d| d != 0) {
        return Err(Problem::new("--debug-mode scores a random part of the variants there")
            .fix("leave the flag out, or pass -c with one chromosome for a quick look")
            .into());
    }
    let (files, models) = (args.shuffled_scores.len(), args.model.len());
    if files > 0 && files != models {
        return Err(Problem::new(format!(
            "--shuffled-scores names {files} files for {models} models"
        ))
        .fix("give one file of shuffled scores for each model, in the same order")
        .into());
    }
    if args.bias.is_some() {
        console.warning("--bias plays no part: a variant is scored by the models of -m alone");
    }
    Ok(())
}

fn cut_of(models: &Models, args: &VariantsArgs, console: &Console) -> Result<Cut> {
    let (inputlen, outputlen) = models.lengths();
    let file = models.files()[0].path.display();
    match models.role() {
        "chrombpnet" if !args.shap_type.is_empty() => {
            return Err(Problem::new(
                "contributions explain models of one branch, and this is a full ChromBPNet model",
            )
            .at(file)
            .fix("pass chrombpnet_nobias.h5, or leave --shap-type out")
            .into());
        }
        "chrombpnet" => console.warning(format!(
            "{file} predicts enzyme bias too; variants are usually scored with chrombpnet_nobias.h5"
        )),
        "bias" => console.warning(format!(
            "{file} is a bias model: scores tell what a variant does to the enzyme's preference"
        )),
        _ => {}
    }
    Ok(Cut { inputlen, outputlen, allow_mismatch: args.allow_ref_mismatch })
}
