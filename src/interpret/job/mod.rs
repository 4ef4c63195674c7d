//! Contribution scores of regions or sequences, as h5 and bigWig.
//!
//! ```text
//! Job -> settle (what is there already) -> work (windows, rows) -> spool of finished rows -> files
//! ```

mod outputs;
mod run;
mod work;

use std::path::PathBuf;

use anyhow::Result;

use self::outputs::Outputs;
use self::run::ScoreRun;
use self::work::Work;
use super::reference_file::ReferenceFile;
use super::writers::Format;
use super::{Head, Method, References};
use crate::console::Console;
use crate::engine::{Chosen, Device, Heads};
use crate::error::Problem;
use crate::predict::models::Models;
use crate::run::claim::Claim;
use crate::run::prefix;

/// Shuffled references per sequence. Source: official `interpret`.
pub const REFERENCES: usize = 20;
/// Seed of the shuffles, which are unseeded officially.
pub const SEED: u64 = 1234;

/// Contribution scores of one model, or of the mean of several.
#[derive(Clone, Debug)]
pub struct Job {
    /// Models of one branch: one, or the folds of one experiment.
    pub models: Vec<PathBuf>,
    /// Needed, with a genome and sizes, unless there is a `fasta`.
    pub regions: Option<PathBuf>,
    pub genome: Option<PathBuf>,
    /// Order of contigs in the bigWigs.
    pub chrom_sizes: Option<PathBuf>,
    /// Sequences instead of regions; no bigWig is written.
    pub fasta: Option<PathBuf>,
    /// Only regions on these chromosomes; all where there are none.
    pub chroms: Vec<String>,
    pub heads: Vec<Head>,
    pub method: MethodName,
    /// Shuffled references per sequence.
    pub n_references: usize,
    pub seed: u64,
    /// References of a file, instead of shuffles.
    pub references: Option<PathBuf>,
    pub output_prefix: PathBuf,
    /// Formats beside the h5 and the bigWig.
    pub also: Vec<Format>,
    /// File for the quantiles of the bigWigs' values.
    pub stats: Option<PathBuf>,
    /// Start over.
    pub force: bool,
    /// 0 shows no progress. It is among the official arguments that are written.
    pub tqdm: i64,
    pub cache_dir: PathBuf,
    pub device: Chosen,
    /// How the run was asked for, for its record.
    pub command_line: Vec<String>,
}

/// A way to compute scores. All are hypothetical: one for each base at each position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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

impl Job {
    /// Explains, and writes what comes of it; goes on with what an earlier run left.
    ///
    /// Errors: inputs that do not fit, a place where another run writes, a signal to stop.
    pub fn run(mut self, console: &Console) -> Result<()> {
        self.check()?;
        self.device.begin(console)?;
        prefix::check(&self.output_prefix, "-op")?;
        if let Some(stats) = &self.stats {
            prefix::check(stats, "-os")?;
        }
        let models = Models::read(&self.models, console)?;
        self.output_prefix = prefix::of_role(&self.output_prefix, models.role());
        let _claimed = self.claim().take(console)?;
        self.explain(models, console)
    }

    /// Explains with models that are read already, on a device that has begun, in a run that has claimed the place.
    pub fn explain(&self, models: Models, console: &Console) -> Result<()> {
        let device = &self.device.device;
        work::check_explainable(&models)?;
        let outputs = Outputs::new(&self.output_prefix, self.asked());
        let Some(run) = ScoreRun::settle(self, outputs, console)? else {
            return Ok(());
        };
        let work = Work::open(self, models.arch(), console)?;
        let method = self.method(&work)?;
        let engines = models.open_for_sequences(device)?.members.into_iter().map(|m| m.engine);
        run.go(self, &work, engines.collect(), method, self.group(device), console)
    }

    fn asked(&self) -> Heads {
        let asks = |head| self.heads.contains(&head);
        Heads { counts: asks(Head::Counts), profile: asks(Head::Profile) }
    }

    /// What the job reads and writes.
    fn claim(&self) -> Claim {
        let outputs = Outputs::new(&self.output_prefix, self.asked());
        let claim = Claim::new("contribs")
            .reads("-m", &self.models)
            .reads("-r", &self.regions)
            .reads("-g", &self.genome)
            .reads("-c", &self.chrom_sizes)
            .reads("--fasta", &self.fasta)
            .reads("--references", &self.references)
            .writes("-op", outputs.all(self))
            .writes("-os", outputs.all_stats(self))
            .prefix("-op", &self.output_prefix);
        match &self.stats {
            Some(stats) => claim.prefix("-os", stats),
            None => claim,
        }
    }

    /// Refuses settings that would have no effect.
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
