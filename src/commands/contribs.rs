//! `contribs` (official name `contribs_bw`): contribution scores of regions or sequences, as h5 and
//! bigWig.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli;
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::interpret::Head;
use crate::interpret::job::{Job, MethodName, REFERENCES, SEED};
use crate::interpret::writers::Format;

/// Contribution scores of regions (-r) or sequences (--fasta).
///
/// Writes for each head PREFIX.counts_scores.h5 and PREFIX.profile_scores.h5 (what modisco and
/// finemo read) and, for regions, a .bw beside each; PREFIX.interpreted_regions.bed, the rows of the
/// h5 in their order; and PREFIX.interpret.args.json. Give a bias or a chrombpnet_nobias model;
/// several (folds) are averaged in one pass.
///
/// A run that is stopped or killed goes on where it was when the same command is given again.
/// Finished rows wait in PREFIX.scores.partial (with one head PREFIX.counts_scores.partial or
/// PREFIX.profile_scores.partial); PREFIX.scores.run.json says what they were made from.
///
/// A PREFIX that ends in / is a folder, in which names begin with _ and the model's kind.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Scores")]
pub struct ContribsArgs {
    /// Keras .h5 model of one branch, or several of one kind (folds)
    #[arg(short = 'm', long, alias = "model", num_args = 1.., required = true,
          help_heading = "Inputs")]
    pub model_h5: Vec<PathBuf>,

    /// Regions, 10 columns; windows are centred on start + column 10
    #[arg(short = 'r', long, required_unless_present = "fasta", help_heading = "Regions")]
    pub regions: Option<PathBuf>,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long, required_unless_present = "fasta", help_heading = "Inputs")]
    pub genome: Option<PathBuf>,

    /// Chromosome sizes, 2 columns: the order of contigs in the bigWigs
    #[arg(short = 'c', long, required_unless_present = "fasta", help_heading = "Inputs")]
    pub chrom_sizes: Option<PathBuf>,

    /// Heads that are explained (-pc)
    #[arg(long, value_enum, num_args = 1.., default_values = ["counts", "profile"],
          overrides_with = "profile_or_counts")]
    pub profile_or_counts: Vec<Head>,

    /// Sequences as long as the model's input, instead of regions of a genome; no bigWig is written
    #[arg(long, conflicts_with_all = ["regions", "genome", "chrom_sizes"],
          help_heading = "Regions")]
    pub fasta: Option<PathBuf>,

    /// Only regions on these chromosomes
    #[arg(short = 'd', long, alias = "chroms", num_args = 1.., conflicts_with = "fasta",
          overrides_with = "debug_chr", help_heading = "Regions")]
    pub debug_chr: Vec<String>,

    /// How scores are computed
    #[arg(long, value_enum, default_value = "deepshap")]
    pub method: MethodName,

    /// Shuffled references per sequence, for deepshap
    #[arg(long, default_value_t = REFERENCES)]
    pub n_references: usize,

    /// Seed of the shuffles; with it and its sequence a reference is always the same
    #[arg(short = 's', long, default_value_t = SEED)]
    pub seed: u64,

    /// safetensors file of references, u8 tensor `references`, instead of shuffles
    ///
    /// Shape [regions, references, length, 4] one-hot or [regions, references, length] base codes
    /// (0..=3 = ACGT, 4 = N); rows in the order of PREFIX.interpreted_regions.bed.
    #[arg(long)]
    pub references: Option<PathBuf>,

    /// Output prefix (-op)
    #[arg(short = 'o', long, help_heading = "Output")]
    pub output_prefix: PathBuf,

    /// File for the quantiles of the bigWig's values (-os); of two heads it is the profile's, and
    /// the counts' has .counts added to its name
    #[arg(long, conflicts_with = "fasta", help_heading = "Output")]
    pub output_prefix_stats: Option<PathBuf>,

    /// Write the scores in these formats, too
    #[arg(long, value_enum, num_args = 1.., overrides_with = "also", value_name = "FORMAT",
          help_heading = "Output")]
    pub also: Vec<Format>,

    /// Start over: replace what an earlier run left under this prefix
    #[arg(long, help_heading = "Output")]
    pub force: bool,

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

impl ContribsArgs {
    /// What will happen.
    fn job(self) -> Result<Job> {
        Ok(Job {
            models: self.model_h5,
            regions: self.regions,
            genome: self.genome,
            chrom_sizes: self.chrom_sizes,
            fasta: self.fasta,
            chroms: self.debug_chr,
            heads: self.profile_or_counts,
            method: self.method,
            n_references: self.n_references,
            seed: self.seed,
            references: self.references,
            output_prefix: self.output_prefix,
            also: self.also,
            stats: self.output_prefix_stats,
            force: self.force,
            tqdm: self.tqdm,
            cache_dir: self.cache.cache_dir,
            device: self.device.choose_whole()?,
            command_line: cli::command_line(),
        })
    }
}

pub fn run(args: ContribsArgs) -> Result<()> {
    let console = args.console.console();
    args.job()?.run(&console)
}
