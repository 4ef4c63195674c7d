//! `variants` (official name `snp_score`): what variants do to a model's prediction, with the
//! windows, metrics, names and tables of variant-scorer.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::console::Console;
use crate::error::Problem;
use crate::input::variants::Schema;
use crate::interpret::Head;
use crate::variants::job::Job;

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

impl VariantsArgs {
    /// What will happen; says what plays no part.
    ///
    /// Errors: flags of variant-scorer that would change the result if they were ignored.
    fn job(self, console: &Console) -> Result<Job> {
        if self.lite {
            return Err(Problem::new("--lite: models of chrombpnet-lite are not read")
                .fix("pass a Keras .h5 model of ChromBPNet and leave the flag out")
                .into());
        }
        if self.debug_mode.is_some_and(|d| d != 0) {
            return Err(Problem::new("--debug-mode scores a random part of the variants there")
                .fix("leave the flag out, or pass -c with one chromosome for a quick look")
                .into());
        }
        if self.bias.is_some() {
            console.warning("--bias plays no part: a variant is scored by the models of -m alone");
        }
        let (list, list_flag, schema) = match (self.snp_data, self.list) {
            (Some(path), _) => (path, "-snps", Some(Schema::Snps)),
            (None, Some(path)) => (path, "-l", self.schema),
            (None, None) => return Err(Problem::new("no list of variants given").into()),
        };
        let device = match self.shap_type.is_empty() {
            true => self.device.choose()?,
            false => self.device.choose_whole()?,
        };
        Ok(Job {
            list,
            list_flag,
            schema,
            genome: self.genome,
            models: self.model,
            chrom_sizes: self.chrom_sizes,
            peaks: self.peaks,
            peak_genome: self.peak_genome,
            peak_chrom_sizes: self.peak_chrom_sizes,
            max_peaks: self.max_peaks,
            shuffles: self.num_shuf,
            shuffles_in_all: self.total_shuf,
            shuffled_scores: self.shuffled_scores,
            chrom: self.chrom,
            seed: self.random_seed,
            forward_only: self.forward_only,
            allow_ref_mismatch: self.allow_ref_mismatch,
            output_prefix: self.out_prefix,
            h5: self.h5,
            explained: self.shap_type,
            batch_size: self.batch_size,
            cache_dir: self.cache.cache_dir,
            device,
        })
    }
}

pub fn run(args: VariantsArgs) -> Result<()> {
    let console = args.console.console();
    args.job(&console)?.run(&console)
}
