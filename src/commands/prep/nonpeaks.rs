//! `prep nonpeaks`: free windows of the genome, drawn to match the peaks in GC content.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs};
use crate::prep::job::{DrawNonpeaks, FoldFiles};

/// Draw background regions that match the peaks in GC content.
///
/// Windows of --inputlen bp at every --stride bp of the genome, none of which comes within half a
/// window of a peak or a blacklisted region, drawn so that each split of the fold has the GC
/// content of its peaks. Writes PREFIX_negatives.bed and PREFIX_auxiliary/. The same seed draws the
/// same regions as the official tool.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct NonpeaksArgs {
    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long)]
    genome: PathBuf,

    /// Peaks, 10-column narrowPeak; windows are centred on start + column 10
    #[arg(short = 'p', long)]
    peaks: PathBuf,

    /// Chromosome sizes, 2 columns
    #[arg(short = 'c', long)]
    chrom_sizes: PathBuf,

    /// Fold JSON with train, valid and test lists of chromosomes (-fl)
    #[arg(long, required_unless_present = "all_folds")]
    chr_fold_path: Option<PathBuf>,

    /// Several fold files, served by one pass over the genome
    ///
    /// Each fold gets PREFIX_NAME_negatives.bed, where NAME is the file's name without .json.
    #[arg(long, num_args = 1.., value_name = "FOLD_JSON", conflicts_with = "chr_fold_path")]
    all_folds: Vec<PathBuf>,

    /// Width of the regions, bp (-il)
    #[arg(long, default_value_t = 2114, help_heading = "Sampling")]
    inputlen: usize,

    /// Distance between the starts of windows, bp (-st)
    #[arg(long, default_value_t = 1000, help_heading = "Sampling")]
    stride: usize,

    /// Nonpeaks for each peak on train and valid chromosomes; test peaks get one (-npr)
    #[arg(long, default_value_t = 2, help_heading = "Sampling")]
    neg_to_pos_ratio_train: usize,

    /// Regions to stay away from, BED with 3 columns or more (-br)
    #[arg(long)]
    blacklist_regions: Option<PathBuf>,

    /// Seed of the draw
    #[arg(short = 's', long, default_value_t = 1234, help_heading = "Sampling")]
    seed: u64,

    /// Prefix of the output: PREFIX_negatives.bed and the folder PREFIX_auxiliary
    #[arg(short = 'o', long, help_heading = "Output")]
    output_prefix: PathBuf,

    /// Fail instead of warning when there are fewer windows than wanted
    #[arg(long, help_heading = "Output")]
    strict: bool,

    /// Replace an earlier PREFIX_negatives.bed
    #[arg(long, help_heading = "Output")]
    force: bool,

    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    console: ConsoleArgs,
}

impl NonpeaksArgs {
    /// What will happen.
    fn job(self) -> DrawNonpeaks {
        DrawNonpeaks {
            genome: self.genome,
            peaks: self.peaks,
            chrom_sizes: self.chrom_sizes,
            folds: match self.chr_fold_path {
                Some(path) => FoldFiles::One(path),
                None => FoldFiles::Several(self.all_folds),
            },
            inputlen: self.inputlen,
            stride: self.stride,
            neg_to_pos_ratio_train: self.neg_to_pos_ratio_train,
            blacklist: self.blacklist_regions,
            seed: self.seed,
            output_prefix: self.output_prefix,
            strict: self.strict,
            force: self.force,
            cache_dir: self.cache.cache_dir,
        }
    }
}

pub fn run(args: NonpeaksArgs) -> Result<()> {
    let console = args.console.console();
    args.job().run(&console)
}
