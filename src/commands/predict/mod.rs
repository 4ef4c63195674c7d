//! `predict` (official name `pred_bw`): profiles and counts of one or several models on regions,
//! sequences or whole contigs; with a bigWig, the official metrics.

mod figures;
mod files;
mod groups;
mod series;
mod work;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use self::groups::Group;
use self::work::Work;
use super::prefix;
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::error::Problem;
use crate::predict::count_transform::CountTransform;

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

pub fn run(args: PredictArgs) -> Result<()> {
    let console = args.console.console();
    if args.batch_size == 0 {
        return Err(Problem::new("--batch-size must be at least 1").into());
    }
    if args.output_prefix_stats.is_some() && args.regions.is_none() && args.tile.is_none() {
        return Err(Problem::new("--output-prefix-stats describes a bigWig, and none is written")
            .fix("predict on regions (-r) or whole contigs (--tile)")
            .into());
    }
    // The parser would name but one of the flags.
    if [&args.model, &args.bias_model, &args.chrombpnet_model, &args.chrombpnet_model_nb]
        .iter()
        .all(|paths| paths.is_empty())
    {
        return Err(Problem::new("no model given")
            .fix("pass models as -bm, -cm or -cmb, in any combination, or as -m")
            .into());
    }
    prefix::check(&args.output_prefix, "-op")?;
    if let Some(stats) = &args.output_prefix_stats {
        prefix::check(stats, "-os")?;
    }
    let device = args.device.apply_to_predict(&console)?.device;
    let groups = groups::read(&args, &console)?;
    let claimed = files::claim(&args, &groups).take(&console)?;
    let source = work::Source::open(&args, &console)?;
    // The regions that are left depend on the lengths, which models of one experiment share.
    let mut work: Option<Work> = None;
    let same = groups.iter().all(|g| g.models.lengths() == groups[0].models.lengths());
    for Group { prefix, models } in groups {
        let work = match &mut work {
            Some(work) if work.lengths == models.lengths() => work,
            slot => {
                let dropped = if same { &args.output_prefix } else { &prefix };
                slot.insert(source.work(&args, models.arch(), dropped, &console)?)
            }
        };
        series::run(&args, work, models, &prefix, &device, &console)?;
    }
    // Metrics and figures of an earlier command are not those of these predictions.
    claimed.remove_stale();
    Ok(())
}
