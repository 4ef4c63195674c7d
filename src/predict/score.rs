//! Runs a plan through an engine, writes the predictions file as it goes, and scores against the
//! signal where there is one. Memory: a batch, and four numbers a region.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::metrics::{self, Metrics, RegionScores};
use crate::batch::Example;
use crate::console::Console;
use crate::engine::{Engine, Predictions};
use crate::files::atomic;
use crate::files::predictions_h5::{PredictionRows, PredictionsOptions, PredictionsWriter};
use crate::input::regions::Region;
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
    /// [n]
    pub logcounts: Vec<f32>,
    /// Observed total counts [n], where there is a signal.
    pub total_counts: Option<Vec<f64>>,
    pub metrics: Option<Metrics>,
}

/// Predicts every example of the job's plan and writes its files.
pub fn predict_and_score(engine: &mut dyn Engine, job: &Job, console: &Console) -> Result<Scored> {
    let with_peaks = job.groups == Groups::PeaksAndNonpeaks;
    let options = PredictionsOptions { peaks: with_peaks, logits: job.logits };
    let mut writer = PredictionsWriter::create(
        &suffixed(job.prefix, "_predictions.h5"),
        job.plan.len(),
        job.arch.outputlen,
        options,
    )?;
    let mut scores = job.tracks.signal.is_some().then(RegionScores::default);
    let mut total_counts = scores.is_some().then(Vec::new);
    let mut logcounts = Vec::with_capacity(job.plan.len());
    let mut counts = vec![0.0f32; job.arch.outputlen];
    let mut progress = console.progress("predict", job.plan.len() as u64);
    for batch in job.plan.chunks(job.batch_size) {
        let mut predicted = Predictions::default();
        engine.predict(batch, &mut predicted)?;
        let contigs = job.tracks.genome.contigs();
        let chrom: Vec<&str> =
            batch.iter().map(|e| contigs[e.contig as usize].name.as_str()).collect();
        let center: Vec<i64> =
            batch.iter().map(|e| i64::from(e.start) + (job.arch.inputlen / 2) as i64).collect();
        let is_peak: Vec<bool> = batch.iter().filter(|_| with_peaks).map(|e| e.is_peak()).collect();
        writer.append(PredictionRows {
            chrom: &chrom,
            center: &center,
            is_peak: &is_peak,
            logits: &predicted.logits,
            logcounts: &predicted.logcounts,
        })?;
        if let Some(scores) = &mut scores {
            let rows = predicted.logits.chunks_exact(job.arch.outputlen);
            for ((example, logits), logcount) in batch.iter().zip(rows).zip(&predicted.logcounts) {
                job.tracks.fill_counts(example, job.arch.inputlen, &mut counts);
                scores.push(example.is_peak(), &counts, logits, *logcount);
                if let Some(totals) = &mut total_counts {
                    totals.push(counts.iter().copied().map(f64::from).sum());
                }
            }
        }
        logcounts.extend_from_slice(&predicted.logcounts);
        progress.advance(batch.len() as u64, "");
    }
    progress.finish();
    writer.finish()?;
    let metrics = scores.map(|scores| match job.groups {
        Groups::PeaksAndNonpeaks => scores.peaks_and_nonpeaks(),
        Groups::Regions => scores.regions(),
    });
    if let Some(metrics) = &metrics {
        metrics::write_json(&suffixed(job.prefix, "_metrics.json"), metrics)?;
    }
    Ok(Scored { logcounts, total_counts, metrics })
}

/// `PREFIX_predicted_counts.tsv`: one row per prediction, with the observed counts where known.
/// Predicted counts are exp(logcounts) - 1, since targets are ln(1 + n).
pub fn write_counts_tsv(
    prefix: &Path,
    rows: &[Region],
    plan: &[Example],
    scored: &Scored,
) -> Result<()> {
    let mut text = String::from("chrom\tstart\tend\tsummit\tis_peak\tlogcounts\tpredicted_counts");
    text.push_str(if scored.total_counts.is_some() { "\tobserved_counts\n" } else { "\n" });
    for (i, (example, logcount)) in plan.iter().zip(&scored.logcounts).enumerate() {
        let r = &rows[example.row as usize];
        let predicted = f64::from(*logcount).exp_m1().max(0.0);
        let _ = write!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{logcount}\t{predicted:.3}",
            r.chrom,
            r.start,
            r.end,
            r.summit,
            u8::from(example.is_peak())
        );
        if let Some(totals) = &scored.total_counts {
            let _ = write!(text, "\t{}", totals[i]);
        }
        text.push('\n');
    }
    atomic::write(&suffixed(prefix, "_predicted_counts.tsv"), |out| {
        Ok(std::io::Write::write_all(out, text.as_bytes())?)
    })
}

/// `PREFIX` with `suffix` glued on: prefixes are not folders.
pub fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
