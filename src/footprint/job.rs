//! What models predict around motifs that stand in background sequences.

use std::path::PathBuf;

use anyhow::Result;

use super::made::Made;
use super::{Motif, figure, motifs};
use crate::batch::sampler::fixed_plan;
use crate::console::Console;
use crate::engine::Chosen;
use crate::error::Problem;
use crate::input::folds::{self, Split};
use crate::pack::inputs;
use crate::pack::shift::DataType;
use crate::plot::canvas::with_extension;
use crate::predict::models::Models;
use crate::predict::regions::{self, RegionFilter};
use crate::run::claim::Claim;
use crate::run::prefix;
use crate::run::prefix::suffixed;

/// Marginal footprints of motifs.
#[derive(Clone, Debug)]
pub struct Job {
    /// One model, or the folds of one experiment.
    pub models: Vec<PathBuf>,
    /// Background; its regions on the test chromosomes are used.
    pub regions: PathBuf,
    pub genome: PathBuf,
    pub folds: PathBuf,
    pub motifs: Motifs,
    /// Regions a step.
    pub batch_size: usize,
    pub output_prefix: PathBuf,
    /// Range of the figures' y axis; `None` fits each footprint.
    pub ylim: Option<(f64, f64)>,
    pub cache_dir: PathBuf,
    pub device: Chosen,
}

/// Where motifs come from.
#[derive(Clone, Debug)]
pub enum Motifs {
    /// Lines of name, tab, sequence.
    File(PathBuf),
    /// The motifs that the assay's enzyme likes to cut.
    Enzyme(DataType),
}

impl Job {
    /// Predicts the footprints, and writes them and their figures.
    ///
    /// Errors: inputs that do not fit, no region left, a place where another run writes.
    pub fn run(mut self, console: &Console) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Problem::new("--batch-size must be at least 1").into());
        }
        prefix::check(&self.output_prefix, "-op")?;
        self.device.begin(console)?;
        let motifs = match &self.motifs {
            Motifs::File(path) => motifs::read(path)?,
            Motifs::Enzyme(data_type) => motifs::enzyme(*data_type),
        };
        let models = Models::read(&self.models, console)?;
        self.output_prefix = prefix::of_role(&self.output_prefix, models.role());
        let claimed = self.claim(&motifs).take(console)?;
        let inputlen = models.arch().inputlen;
        let tracks = inputs::open_tracks(&self.genome, None, &self.cache_dir, console)?;
        let folds = folds::read(&self.folds)?;
        inputs::check_folds(&folds, &self.folds, &tracks.genome, console)?;
        let filter = RegionFilter {
            width: inputlen,
            folds: Some(&folds),
            chroms: None,
            prefix: &self.output_prefix,
        };
        let background = regions::open(&self.regions, "regions", 0, &tracks, &filter, console)?;
        if background.rows.is_empty() {
            return Err(Problem::new("no region is left on the test chromosomes")
                .at(format!("{} with {}", self.regions.display(), self.folds.display()))
                .fix(format!(
                    "give background regions on {}, whose windows of {inputlen} bp fit",
                    folds.names(Split::Test).join(", ")
                ))
                .into());
        }
        let plan = fixed_plan(inputlen, &[], &background.sites);
        let mut ensemble = models.open_for_sequences(&self.device.device)?;
        let made = Made::new(&mut ensemble, &tracks, &plan, &motifs, self.batch_size, console)?;
        let h5 = suffixed(&self.output_prefix, "_footprints.h5");
        made.write(&self.output_prefix, &h5)?;
        figure::write_all(&self.output_prefix, &made.footprints, self.ylim)?;
        // A verdict on other motifs, regions dropped of another file.
        claimed.remove_stale();
        console.info(format!(
            "wrote {} and the figures of {} footprints",
            h5.display(),
            made.footprints.len()
        ));
        Ok(())
    }

    /// What the job reads and writes.
    fn claim(&self, motifs: &[Motif]) -> Claim {
        let names = ["_footprints.h5", "_max_bias_response.txt", "_dropped_regions.tsv"];
        let figures = [motifs::CONTROL].into_iter().chain(motifs.iter().map(|m| &m.name[..]));
        let figures = figures.flat_map(|motif| {
            let figure = figure::prefix(&self.output_prefix, motif);
            ["png", "svg"].map(|extension| with_extension(&figure, extension))
        });
        let file = match &self.motifs {
            Motifs::File(path) => Some(path),
            Motifs::Enzyme(_) => None,
        };
        Claim::new("footprints")
            .reads("-m", &self.models)
            .reads("-r", [&self.regions])
            .reads("-g", [&self.genome])
            .reads("-fl", [&self.folds])
            .reads("-pwm_f", file)
            .writes("-op", names.map(|name| suffixed(&self.output_prefix, name)))
            .writes("-op", figures)
            .prefix("-op", &self.output_prefix)
    }
}
