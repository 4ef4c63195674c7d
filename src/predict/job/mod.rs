//! Profiles and counts of one or several models on regions, sequences or whole contigs; with observed
//! counts, the official metrics.
//!
//! ```text
//! Job -> groups (models of one role) -> work (windows, rows) -> series: one pass, and its files
//! ```

mod figures;
mod files;
mod groups;
mod series;
mod work;

use std::path::PathBuf;

use anyhow::Result;

use self::groups::Group;
use self::work::{Source, Work};
use super::count_transform::CountTransform;
use crate::console::Console;
use crate::engine::Chosen;
use crate::error::Problem;
use crate::run::prefix;

/// Predictions of models on windows.
///
/// The windows are those of `regions`, of `peaks` and `nonpeaks`, the sequences of `fasta`, or whole
/// contigs (`tile`); one of these is given.
#[derive(Clone, Debug)]
pub struct Job {
    pub models: Asked,
    /// Needed unless there is a `fasta`.
    pub genome: Option<PathBuf>,
    /// Order of contigs in bigWigs, else that of the genome.
    pub chrom_sizes: Option<PathBuf>,
    /// Observed counts: a bigWig or a signal pack.
    pub bigwig: Option<PathBuf>,
    pub regions: Option<PathBuf>,
    pub peaks: Option<PathBuf>,
    pub nonpeaks: Option<PathBuf>,
    /// Only test chromosomes are predicted.
    pub folds: Option<PathBuf>,
    /// Only regions on these chromosomes; all where there are none.
    pub chroms: Vec<String>,
    pub fasta: Option<PathBuf>,
    /// Contigs that are covered; all where none is named.
    pub tile: Option<Vec<String>>,
    pub output_prefix: PathBuf,
    /// File for the quantiles of the bigWig's values.
    pub stats: Option<PathBuf>,
    pub count_transform: Option<CountTransform>,
    pub batch_size: usize,
    /// Write the predictions' h5 in any case.
    pub h5: bool,
    /// Add raw logits to the h5.
    pub logits: bool,
    pub shows_progress: bool,
    pub cache_dir: PathBuf,
    pub device: Chosen,
}

/// Files of models, each of one or several folds: of any role, or by role.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub any: Vec<PathBuf>,
    pub bias: Vec<PathBuf>,
    pub full: Vec<PathBuf>,
    pub nobias: Vec<PathBuf>,
}

impl Job {
    /// Errors: settings that contradict each other.
    fn check(&self) -> Result<(), Problem> {
        if self.batch_size == 0 {
            return Err(Problem::new("--batch-size must be at least 1"));
        }
        if self.stats.is_some() && self.regions.is_none() && self.tile.is_none() {
            return Err(Problem::new(
                "--output-prefix-stats describes a bigWig, and none is written",
            )
            .fix("predict on regions (-r) or whole contigs (--tile)"));
        }
        let Asked { any, bias, full, nobias } = &self.models;
        if [any, bias, full, nobias].iter().all(|paths| paths.is_empty()) {
            return Err(Problem::new("no model given")
                .fix("pass models as -bm, -cm or -cmb, in any combination, or as -m"));
        }
        prefix::check(&self.output_prefix, "-op")?;
        self.stats.as_ref().map_or(Ok(()), |stats| prefix::check(stats, "-os"))
    }

    /// Predicts, and writes what comes of it.
    ///
    /// Errors: inputs that do not fit, a place where another run writes, predictions that are no
    /// numbers.
    pub fn run(&self, console: &Console) -> Result<()> {
        self.check()?;
        self.device.begin(console)?;
        let groups = groups::read(self, console)?;
        let claimed = files::claim(self, &groups).take(console)?;
        let source = Source::open(self, console)?;
        // The regions that are left depend on the lengths, which models of one experiment share.
        let mut work: Option<Work> = None;
        let same = groups.iter().all(|g| g.models.lengths() == groups[0].models.lengths());
        for Group { prefix, models } in groups {
            let work = match &mut work {
                Some(work) if work.lengths == models.lengths() => work,
                slot => {
                    let dropped = if same { &self.output_prefix } else { &prefix };
                    slot.insert(source.work(self, models.arch(), dropped, console)?)
                }
            };
            series::run(self, work, models, &prefix, console)?;
        }
        // Metrics and figures of an earlier command are not those of these predictions.
        claimed.remove_stale();
        Ok(())
    }
}
