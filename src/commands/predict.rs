//! `predict` (official name `pred_bw`): profiles and counts of one or several models on regions,
//! sequences or whole contigs; with a bigWig, the official metrics.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::predict::count_transform::CountTransform;
use crate::predict::job::{Asked, Job};

/// Predict on regions (-r), on peaks and nonpeaks (-p, -n; with -fl the test chromosomes), on
/// sequences (--fasta) or on whole contigs (--tile).
///
/// Writes for every model PREFIX_predicted_counts.tsv; for regions and tiles PREFIX.bw (softmax of
/// the logits times the counts) and for regions PREFIX_preds.bed, the rows that were used; with
/// --bigwig PREFIX_metrics.json and its figures as PNG; and with -m, --bigwig or --h5 PREFIX_predictions.h5. Models given
/// as -bm, -cm and -cmb add _bias, _chrombpnet and _chrombpnet_nobias to PREFIX. A full ChromBPNet
/// model predicts the total signal, a nobias model the part that enzyme bias does not explain.
///
/// Several models of one kind (folds) are predicted in one pass: each adds _fold_0, _fold_1, ... to
/// its names, in the order given; _mean is the profile of the mean logits with the mean log count;
/// PREFIX_sd.bw and the column logcounts_sd are standard deviations between the models.
///
/// A PREFIX that ends in / is a folder, in which names begin with _ and the model's kind.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Regions")]
pub struct PredictArgs {
    /// Keras .h5 models of any kind; files are named after the kind when there are several
    #[arg(short = 'm', long, num_args = 1..,
          conflicts_with_all = ["bias_model", "chrombpnet_model", "chrombpnet_model_nb"],
          help_heading = "Inputs")]
    pub model: Vec<PathBuf>,

    /// Bias model, or its folds (-bm)
    #[arg(long, num_args = 1.., help_heading = "Inputs")]
    pub bias_model: Vec<PathBuf>,

    /// ChromBPNet model with bias, or its folds (-cm)
    #[arg(long, num_args = 1.., help_heading = "Inputs")]
    pub chrombpnet_model: Vec<PathBuf>,

    /// ChromBPNet model without bias, or its folds (-cmb)
    #[arg(long, num_args = 1.., help_heading = "Inputs")]
    pub chrombpnet_model_nb: Vec<PathBuf>,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long, required_unless_present = "fasta", help_heading = "Inputs")]
    pub genome: Option<PathBuf>,

    /// Chromosome sizes, 2 columns: the order of contigs in bigWigs (else that of the genome)
    #[arg(short = 'c', long, conflicts_with = "fasta", help_heading = "Inputs")]
    pub chrom_sizes: Option<PathBuf>,

    /// bigWig of observed cut sites (-bw), or a signal pack
    #[arg(long, conflicts_with = "fasta", help_heading = "Inputs")]
    pub bigwig: Option<PathBuf>,

    /// Regions, 10 columns
    #[arg(short = 'r', long, conflicts_with_all = ["peaks", "nonpeaks", "fasta", "tile"])]
    pub regions: Option<PathBuf>,

    /// Peaks, 10 columns
    #[arg(short = 'p', long, conflicts_with_all = ["fasta", "tile"])]
    pub peaks: Option<PathBuf>,

    /// Nonpeaks, 10 columns
    #[arg(short = 'n', long, conflicts_with_all = ["fasta", "tile"])]
    pub nonpeaks: Option<PathBuf>,

    /// Fold JSON; only its test chromosomes are predicted (-fl)
    #[arg(long, conflicts_with_all = ["fasta", "tile"])]
    pub chr_fold_path: Option<PathBuf>,

    /// Only regions on these chromosomes
    #[arg(short = 'd', long, alias = "chroms", num_args = 1..,
          conflicts_with_all = ["fasta", "tile"], overrides_with = "debug_chr")]
    pub debug_chr: Vec<String>,

    /// Sequences as long as the model's input, instead of regions of a genome; with --tile of any
    /// length
    #[arg(long, required_unless_present_any = ["regions", "peaks", "nonpeaks", "tile"])]
    pub fasta: Option<PathBuf>,

    /// Cover whole contigs, e.g. --tile chr1,chr2; without a name, every contig
    ///
    /// Output windows lie side by side; the last one of a contig is moved back until its sequence
    /// fits. Every base with full context on both sides gets a value, no sequence is padded.
    #[arg(long, num_args = 0.., value_delimiter = ',', value_name = "CONTIGS")]
    pub tile: Option<Vec<String>>,

    /// Output prefix (-op)
    #[arg(short = 'o', long, help_heading = "Output")]
    pub output_prefix: PathBuf,

    /// File for the quantiles of the bigWig's values (-os); of several bigWigs the last, in the
    /// order nobias, chrombpnet, bias
    #[arg(long, help_heading = "Output")]
    pub output_prefix_stats: Option<PathBuf>,

    /// Counts from log counts; exp in bigWigs (official) and expm1 in the table unless given
    #[arg(long, value_enum, help_heading = "Output")]
    pub count_transform: Option<CountTransform>,

    /// Examples per step (-bs)
    #[arg(long, default_value_t = 64, help_heading = "Device")]
    pub batch_size: usize,

    /// Write the predictions h5 in any case
    #[arg(long, help_heading = "Output")]
    pub h5: bool,

    /// Add raw logits to the h5
    #[arg(long, help_heading = "Output")]
    pub logits: bool,

    /// 0 shows no progress
    #[arg(short = 't', long, default_value_t = 1, hide = true, help_heading = "Output")]
    pub tqdm: i64,

    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

impl PredictArgs {
    /// What will happen.
    fn job(self) -> Result<Job> {
        let device = self.device.choose()?;
        Ok(Job {
            models: Asked {
                any: self.model,
                bias: self.bias_model,
                full: self.chrombpnet_model,
                nobias: self.chrombpnet_model_nb,
            },
            genome: self.genome,
            chrom_sizes: self.chrom_sizes,
            bigwig: self.bigwig,
            regions: self.regions,
            peaks: self.peaks,
            nonpeaks: self.nonpeaks,
            folds: self.chr_fold_path,
            chroms: self.debug_chr,
            fasta: self.fasta,
            tile: self.tile,
            output_prefix: self.output_prefix,
            stats: self.output_prefix_stats,
            count_transform: self.count_transform,
            batch_size: self.batch_size,
            h5: self.h5,
            logits: self.logits,
            shows_progress: self.tqdm != 0,
            cache_dir: self.cache.cache_dir,
            device,
        })
    }
}

pub fn run(args: PredictArgs) -> Result<()> {
    let console = args.console.console();
    args.job()?.run(&console)
}
