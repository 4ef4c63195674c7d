//! The test set: predictions and the official metrics.

use std::path::PathBuf;

use anyhow::Result;

use super::subject::{Subject, Which};
use crate::batch::sampler::fixed_plan;
use crate::predict::regions::{self, RegionFilter, RegionSet};
use crate::predict::score::{self, Groups};
use crate::run::prefix::suffixed;
use crate::run::stages::Outcome;

/// `evaluation/<stem>_predictions.h5` and `evaluation/<stem>_metrics.json`.
pub fn files(subject: &Subject) -> Vec<PathBuf> {
    let prefix = subject.evaluation_prefix(subject.kind.stem());
    ["_predictions.h5", "_metrics.json"].map(|name| suffixed(&prefix, name)).into()
}

pub fn run(subject: &Subject) -> Result<Outcome> {
    let models = subject.read(Which::Evaluated)?;
    let arch = *models.arch();
    let open = |path, kind, first_row| {
        let filter = RegionFilter {
            width: arch.inputlen,
            folds: Some(&subject.folds),
            chroms: None,
            prefix: &subject.tree.auxiliary("test"),
        };
        regions::open(path, kind, first_row, &subject.tracks, &filter, &subject.console)
    };
    let peaks = open(&subject.peaks, "peaks", 0)?;
    let nonpeaks = match &subject.nonpeaks {
        Some(path) => open(path, "nonpeaks", peaks.rows.len())?,
        None => RegionSet::default(),
    };
    let plan = fixed_plan(arch.inputlen, &peaks.sites, &nonpeaks.sites);
    if plan.is_empty() {
        return Ok(Outcome::NotRun("no region lies on a test chromosome".into()));
    }
    let mut ensemble = models.open(&subject.device, &subject.tracks)?;
    let job = score::Job {
        arch: &arch,
        tracks: &subject.tracks,
        plan: &plan,
        batch_size: subject.batch_size,
        groups: Groups::PeaksAndNonpeaks,
        prefix: &subject.evaluation_prefix(subject.kind.stem()),
        logits: false,
    };
    for member in &mut ensemble.members {
        let scored = score::predict_and_score(member.engine.as_mut(), &job, &subject.console)?;
        if let Some(metrics) = scored.metrics {
            subject.console.info(metrics.to_string());
        }
    }
    Ok(Outcome::Done)
}
