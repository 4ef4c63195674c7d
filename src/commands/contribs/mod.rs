//! `contribs` (official name `contribs_bw`): contribution scores of regions or sequences, as h5 and
//! bigWig.

mod outputs;
mod run;
mod work;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::outputs::Outputs;
use self::run::ScoreRun;
use self::work::Work;
use super::prefix;
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::console::Console;
use crate::engine::{Device, Heads};
use crate::error::Problem;
use crate::interpret::reference_file::ReferenceFile;
use crate::interpret::{Method, References};
use crate::predict::models::Models;
use crate::run::claim::Claim;

/// Shuffled references per sequence. Source: official `interpret`.
pub const REFERENCES: usize = 20;
/// Of the shuffles, which are unseeded officially.
pub const SEED: u64 = 1234;

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

/// An output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Head {
    /// Log counts
    Counts,
    /// sum(softmax(l) * l), l = logits minus their mean
    Profile,
}

/// A way to compute scores. All are hypothetical: one for each base at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// DeepLIFT's rescale rule against shuffled references, as the official tool
    Deepshap,
    /// Saturation mutagenesis: the output with each base minus the mean over the four bases;
    /// 3 x length forward passes a sequence
    Ism,
    /// Gradient (projected: input x gradient)
    Grad,
}

impl MethodName {
    fn name(self) -> &'static str {
        match self {
            Self::Deepshap => "deepshap",
            Self::Ism => "ism",
            Self::Grad => "grad",
        }
    }
}

impl ContribsArgs {
    fn heads(&self) -> Heads {
        let asks = |head| self.profile_or_counts.contains(&head);
        Heads { counts: asks(Head::Counts), profile: asks(Head::Profile) }
    }

    /// What the command reads and writes.
    fn claim(&self) -> Claim {
        let outputs = Outputs::new(&self.output_prefix, self.heads());
        let claim = Claim::new("contribs")
            .reads("-m", &self.model_h5)
            .reads("-r", &self.regions)
            .reads("-g", &self.genome)
            .reads("-c", &self.chrom_sizes)
            .reads("--fasta", &self.fasta)
            .reads("--references", &self.references)
            .writes("-op", outputs.all(self))
            .writes("-os", outputs.all_stats(self))
            .prefix("-op", &self.output_prefix);
        match &self.output_prefix_stats {
            Some(stats) => claim.prefix("-os", stats),
            None => claim,
        }
    }

    /// Refuses flags that would have no effect.
    fn check(&self) -> Result<(), Problem> {
        if self.method != MethodName::Deepshap && self.references.is_some() {
            return Err(Problem::new(format!(
                "--references: --method {} compares with no references",
                self.method.name()
            ))
            .fix("leave --references out, or use --method deepshap"));
        }
        if self.n_references == 0 {
            return Err(Problem::new("--n-references must be at least 1; 20 is usual"));
        }
        Ok(())
    }

    fn method(&self, work: &Work) -> Result<Method> {
        Ok(match (self.method, &self.references) {
            (MethodName::Ism, _) => Method::Ism,
            (MethodName::Grad, _) => Method::Gradient,
            (MethodName::Deepshap, Some(path)) => {
                let file = ReferenceFile::open(path)?;
                file.check(work.len(), work.inputlen, work.left_out)?;
                Method::DeepShap(References::File(file))
            }
            (MethodName::Deepshap, None) => {
                let (seed, n) = (self.seed, self.n_references);
                Method::DeepShap(References::Shuffled { seed, n })
            }
        })
    }

    /// Rows explained at once. A stopped run loses at most these.
    fn group(&self, device: &Device) -> usize {
        match (self.method, device) {
            // Thousands of forward passes a row.
            (MethodName::Ism, _) => 1,
            (_, Device::Cpu) => 4,
            _ => 16,
        }
    }
}

pub fn run(mut args: ContribsArgs) -> Result<()> {
    let console = args.console.console();
    args.check()?;
    let device = args.device.apply(&console)?.device;
    prefix::check(&args.output_prefix, "-op")?;
    if let Some(stats) = &args.output_prefix_stats {
        prefix::check(stats, "-os")?;
    }
    let models = Models::read(&args.model_h5, &console)?;
    args.output_prefix = prefix::of_role(&args.output_prefix, models.role());
    let _claimed = args.claim().take(&console)?;
    explain(&args, models, &device, &console)
}

/// The command for models that are read and on a device that is settled already, in a run that has
/// claimed the place.
pub fn explain(
    args: &ContribsArgs,
    models: Models,
    device: &Device,
    console: &Console,
) -> Result<()> {
    work::check_explainable(&models)?;
    let outputs = Outputs::new(&args.output_prefix, args.heads());
    let Some(run) = ScoreRun::settle(args, device, outputs, console)? else {
        return Ok(());
    };
    let work = Work::open(args, models.arch(), console)?;
    let method = args.method(&work)?;
    let engines = models.open_for_sequences(device)?.members.into_iter().map(|m| m.engine);
    run.go(args, &work, engines.collect(), method, args.group(device), console)
}
