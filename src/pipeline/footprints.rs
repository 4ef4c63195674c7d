//! Footprints of the enzyme's motifs in the background of the test chromosomes.

use std::path::PathBuf;

use anyhow::Result;

use super::subject::{Subject, Which};
use crate::batch::sampler::fixed_plan;
use crate::footprint::made::Made;
use crate::footprint::motifs::CONTROL;
use crate::footprint::{figure, h5, motifs};
use crate::plot::canvas::with_extension;
use crate::predict::regions::{self, RegionFilter};
use crate::run::prefix::suffixed;
use crate::run::stages::Outcome;

/// `evaluation/<stem>`, before `_max_bias_response.txt` and `.<motif>.footprint.png`.
pub fn prefix(subject: &Subject) -> PathBuf {
    subject.evaluation_prefix(subject.kind.explained())
}

/// `auxiliary/<stem>_footprints.h5`, where the official pipeline moves it.
fn h5_path(subject: &Subject) -> PathBuf {
    subject.tree.auxiliary(&format!("{}_footprints.h5", subject.kind.explained()))
}

pub fn files(subject: &Subject) -> Vec<PathBuf> {
    vec![h5_path(subject), suffixed(&prefix(subject), "_max_bias_response.txt")]
}

pub fn run(subject: &Subject) -> Result<Outcome> {
    let motifs = motifs::enzyme(subject.data_type);
    // Without the files' prefix, as officially.
    motifs::write(&subject.tree.root().join("auxiliary/motif_to_pwm.tsv"), &motifs)?;
    let models = subject.read(Which::Explained)?;
    let inputlen = models.arch().inputlen;
    let filter = RegionFilter {
        width: inputlen,
        folds: Some(&subject.folds),
        chroms: None,
        prefix: &subject.tree.auxiliary("footprints"),
    };
    let tracks = &subject.tracks;
    let background =
        regions::open(&subject.inputs.nonpeaks, "nonpeaks", 0, tracks, &filter, &subject.console)?;
    if background.rows.is_empty() {
        return Ok(Outcome::NotRun("no nonpeak lies on a test chromosome".into()));
    }
    let plan = fixed_plan(inputlen, &[], &background.sites);
    let mut ensemble = models.open_for_sequences(&subject.device)?;
    let (batch_size, console) = (subject.batch_size, &subject.console);
    let made = Made::new(&mut ensemble, tracks, &plan, &motifs, batch_size, console)?;
    made.write(&prefix(subject), &h5_path(subject))?;
    Ok(Outcome::Done)
}

/// The figures that `draw` leaves.
pub fn figures(subject: &Subject) -> Vec<PathBuf> {
    let motifs = motifs::enzyme(subject.data_type);
    [CONTROL]
        .into_iter()
        .chain(motifs.iter().map(|m| m.name.as_str()))
        .map(|name| with_extension(&figure::prefix(&prefix(subject), name), "png"))
        .collect()
}

/// Draws what `run` left.
pub fn draw(subject: &Subject) -> Result<Outcome> {
    let path = h5_path(subject);
    if !path.exists() {
        return Ok(Outcome::NotRun("there are no footprints".into()));
    }
    figure::write_all(&prefix(subject), &h5::read(&path)?, None)?;
    Ok(Outcome::Done)
}
