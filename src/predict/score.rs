//! Runs a plan through one model, writes the predictions file as it goes, and scores against the
//! signal where there is one: what training does with its test set.

use std::path::Path;

use anyhow::Result;

use super::metrics::Metrics;
use super::outputs::{Observed, Outputs, Subject, Wanted};
use crate::batch::Example;
use crate::console::Console;
use crate::engine::{Predict, Predictions};
use crate::model::Architecture;
use crate::store::Tracks;

/// How regions are grouped in the metrics, as the official tools group them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// `peaks`, `nonpeaks` and both, of a test set; the h5 has `coords_peak`.
    PeaksAndNonpeaks,
    /// One group, `regions`.
    Regions,
}

/// What to predict and where to put it.
pub struct Job<'a> {
    pub arch: &'a Architecture,
    pub tracks: &'a Tracks,
    pub plan: &'a [Example],
    pub batch_size: usize,
    pub groups: Groups,
    /// `PREFIX_predictions.h5`, `PREFIX_metrics.json`
    pub prefix: &'a Path,
    /// Add raw logits to the h5.
    pub logits: bool,
}

/// What came out, in plan order.
pub struct Scored {
    /// `[n]`
    pub logcounts: Vec<f32>,
    /// Observed total counts `[n]`, where there is a signal.
    pub total_counts: Option<Vec<f64>>,
    pub metrics: Option<Metrics>,
}

/// Predicts every example of the job's plan and writes its files.
pub fn predict_and_score(engine: &mut dyn Predict, job: &Job, console: &Console) -> Result<Scored> {
    let Job { arch, tracks, plan, groups, .. } = *job;
    let subject = Subject { arch, tracks, plan, groups };
    let prefix = job.prefix.to_path_buf();
    let wanted = Wanted { prefix, h5: Some(job.logits), table: None, track: None, figures: false };
    let mut outputs = Outputs::create(subject, wanted, false)?;
    let mut total_counts = tracks.signal.is_some().then(Vec::new);
    let mut logcounts = Vec::with_capacity(plan.len());
    let mut progress = console.progress("predict", plan.len() as u64);
    for batch in plan.chunks(job.batch_size) {
        let mut predicted = Predictions::default();
        engine.predict(batch, &mut predicted)?;
        let observed = Observed::of(&subject, batch);
        outputs.append(batch, &predicted, &[], observed.as_ref())?;
        logcounts.extend_from_slice(&predicted.logcounts);
        if let (Some(totals), Some(observed)) = (&mut total_counts, observed) {
            totals.extend(observed.totals);
        }
        progress.advance(batch.len() as u64, "");
    }
    progress.finish();
    let metrics = outputs.finish()?;
    Ok(Scored { logcounts, total_counts, metrics })
}
