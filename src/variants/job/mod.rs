//! What variants do to a model's prediction, with the windows, metrics, names and tables of
//! variant-scorer.
//!
//! ```text
//! Job -> listed variants -> peaks -> shuffled windows -> scores -> contributions
//! ```

mod contributions;
mod listed;
mod outputs;
mod stages;

use std::path::PathBuf;

use anyhow::Result;

use self::listed::Listed;
use self::outputs::Names;
use self::stages::ScoreRun;
use super::alleles::Cut;
use super::predict::Predictor;
use crate::console::Console;
use crate::engine::Chosen;
use crate::error::Problem;
use crate::input::variants::Schema;
use crate::interpret::Head;
use crate::predict::models::Models;
use crate::run::claim::Claim;
use crate::run::prefix;

/// Scores of a list of variants.
#[derive(Clone, Debug)]
pub struct Job {
    pub list: PathBuf,
    /// The flag that named the list.
    pub list_flag: &'static str,
    /// Columns of the list; `None` where its content tells.
    pub schema: Option<Schema>,
    pub genome: PathBuf,
    /// One model, or the folds of one experiment.
    pub models: Vec<PathBuf>,
    /// Variants on other chromosomes are skipped.
    pub chrom_sizes: Option<PathBuf>,
    /// Quantiles of the counts are taken among those of peaks.
    pub peaks: Option<PathBuf>,
    /// Genome of the peaks, if it is another one.
    pub peak_genome: Option<PathBuf>,
    pub peak_chrom_sizes: Option<PathBuf>,
    /// Peaks at most, a sample of them where there are more.
    pub max_peaks: Option<usize>,
    /// Shuffled windows a variant, for p-values.
    pub shuffles: u32,
    /// Shuffled windows in all, instead.
    pub shuffles_in_all: Option<u64>,
    /// Shuffled scores of an earlier run, a file for each model, instead of shuffling.
    pub shuffled_scores: Vec<PathBuf>,
    /// Only variants on this chromosome.
    pub chrom: Option<String>,
    /// Seed of shuffles and samples.
    pub seed: u32,
    /// Predict the forward strand only, instead of the mean of both.
    pub forward_only: bool,
    /// Score substitutions even where neither allele is the genome's.
    pub allow_ref_mismatch: bool,
    pub output_prefix: PathBuf,
    /// Write the predictions of both alleles.
    pub h5: bool,
    /// Outputs whose contribution scores are written.
    pub explained: Vec<Head>,
    /// Sequences a step.
    pub batch_size: usize,
    pub cache_dir: PathBuf,
    pub device: Chosen,
}

impl Job {
    /// Scores the variants, and writes what comes of it.
    ///
    /// Errors: inputs that do not fit, a list of which nothing is left, a place where another run writes.
    pub fn run(mut self, console: &Console) -> Result<()> {
        self.check()?;
        self.device.begin(console)?;
        let models = Models::read(&self.models, console)?;
        let cut = self.cut(&models, console)?;
        self.output_prefix = prefix::of_role(&self.output_prefix, models.role());
        let names = Names::new(&self.output_prefix, models.files().len());
        let _claimed = self.claim(&names).take(console)?;
        let mut listed = Listed::open(&self, cut, console)?;
        listed.check(&names.of_all("skipped.tsv"), console)?;

        let arch = *models.arch();
        let ensemble = models.open_for_sequences(&self.device.device)?;
        let predictor = Predictor {
            engines: ensemble.members.into_iter().map(|member| member.engine).collect(),
            arch,
            batch_size: self.batch_size,
            both_strands: !self.forward_only,
        };
        let mut run =
            ScoreRun { job: &self, console: *console, names, predictor, peaks_hash: None };
        let peak_counts = run.peaks(&listed)?;
        let backgrounds = run.backgrounds(&mut listed, peak_counts.as_deref())?;
        run.score(&mut listed, peak_counts.as_deref(), backgrounds.as_deref())?;
        run.explain(&mut listed)
    }

    /// What the job reads and writes.
    fn claim(&self, names: &Names) -> Claim {
        Claim::new("variants")
            .reads("-m", &self.models)
            .reads(self.list_flag, [&self.list])
            .reads("-g", [&self.genome])
            .reads("-s", &self.chrom_sizes)
            .reads("-p", &self.peaks)
            .reads("-pg", &self.peak_genome)
            .reads("-ps", &self.peak_chrom_sizes)
            .reads("-sh", &self.shuffled_scores)
            .writes("-o", names.all(self))
            .prefix("-o", &self.output_prefix)
    }

    /// Errors: settings that contradict each other, a place where nothing can be written.
    fn check(&self) -> Result<(), Problem> {
        if self.batch_size == 0 {
            return Err(Problem::new("--batch-size must be at least 1"));
        }
        if self.max_peaks == Some(0) {
            return Err(Problem::new("--max-peaks must be at least 1"));
        }
        let (files, models) = (self.shuffled_scores.len(), self.models.len());
        if files > 0 && files != models {
            return Err(Problem::new(format!(
                "--shuffled-scores names {files} files for {models} models"
            ))
            .fix("give one file of shuffled scores for each model, in the same order"));
        }
        prefix::check(&self.output_prefix, "-op")
    }

    /// Windows of the models; says which models are unusual.
    fn cut(&self, models: &Models, console: &Console) -> Result<Cut> {
        let (inputlen, outputlen) = models.lengths();
        let file = models.files()[0].path.display();
        match models.role() {
            "chrombpnet" if !self.explained.is_empty() => {
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
        Ok(Cut { inputlen, outputlen, allow_mismatch: self.allow_ref_mismatch })
    }
}
