//! The files of one series of predictions, filled batch by batch: `PREFIX_predictions.h5`,
//! `PREFIX.bw`, `PREFIX_predicted_counts.tsv`, and with a signal `PREFIX_metrics.json`.
//!
//! Memory: a batch, and five numbers a region where there is a signal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::count_transform::CountTransform;
use super::counts_table::{CountsTable, Extra};
use super::metrics::{self, Metrics, RegionScores};
use super::rows::Rows;
use super::score::Groups;
use crate::batch::Example;
use crate::engine::Predictions;
use crate::files::atomic::{self, Pending};
use crate::files::predictions_h5::{
    PredictionRows, PredictionsOptions, PredictionsWriter, softmax_into,
};
use crate::files::region_track::{RegionTrack, TrackLayout};
use crate::files::track_stats::TrackStats;
use crate::model::Architecture;
use crate::run::prefix::suffixed;
use crate::store::Tracks;

/// What is predicted, and how its rows are called.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub arch: &'a Architecture,
    pub tracks: &'a Tracks,
    pub plan: &'a [Example],
    pub groups: Groups,
}

/// Which files to write.
pub struct Wanted<'a> {
    pub prefix: PathBuf,
    /// `PREFIX_predictions.h5`; with raw logits or without.
    pub h5: Option<bool>,
    /// `PREFIX_predicted_counts.tsv`
    pub table: Option<(&'a Rows, CountTransform)>,
    /// `PREFIX.bw`
    pub track: Option<WantedTrack<'a>>,
    /// Scores are kept for figures (`Completed::scores`).
    pub figures: bool,
}

/// A bigWig of softmax(logits) x counts.
#[derive(Clone, Copy)]
pub struct WantedTrack<'a> {
    pub layout: &'a Arc<TrackLayout>,
    pub transform: CountTransform,
    /// Where the quantiles of its values go.
    pub stats: Option<&'a Path>,
}

/// Files that are being written; each appears when it is complete, all of them at `finish`.
pub struct Outputs<'a> {
    subject: Subject<'a>,
    prefix: PathBuf,
    h5: Option<PredictionsWriter>,
    table: Option<CountsTable<'a>>,
    track: Option<(RegionTrack, WantedTrack<'a>)>,
    scores: Option<RegionScores>,
    /// Values of the track of the last batch, [n, outputlen].
    values: Vec<f32>,
}

/// Observed counts of a batch.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// [n, outputlen]
    pub counts: Vec<f32>,
    /// `[n]`
    pub totals: Vec<f64>,
}

impl Observed {
    /// `None` where there is no signal.
    pub fn of(subject: &Subject, batch: &[Example]) -> Option<Self> {
        subject.tracks.signal.as_ref()?;
        let Architecture { inputlen, outputlen, .. } = *subject.arch;
        let mut counts = vec![0.0; batch.len() * outputlen];
        for (example, row) in batch.iter().zip(counts.chunks_exact_mut(outputlen)) {
            subject.tracks.fill_counts(example, inputlen, row);
        }
        let totals = counts
            .chunks_exact(outputlen)
            .map(|row| row.iter().copied().map(f64::from).sum())
            .collect();
        Some(Self { counts, totals })
    }
}

impl<'a> Outputs<'a> {
    /// Begins every file, so that a folder that cannot be written is an error before the long work.
    /// `spread`: the table shows how far several models differ.
    pub fn create(subject: Subject<'a>, wanted: Wanted<'a>, spread: bool) -> Result<Self> {
        let prefix = wanted.prefix;
        let h5 = match wanted.h5 {
            None => None,
            Some(logits) => Some(PredictionsWriter::create(
                &suffixed(&prefix, "_predictions.h5"),
                subject.plan.len(),
                subject.arch.outputlen,
                PredictionsOptions { peaks: subject.groups == Groups::PeaksAndNonpeaks, logits },
            )?),
        };
        let with_signal = subject.tracks.signal.is_some();
        let table = match wanted.table {
            None => None,
            Some((rows, transform)) => {
                let path = suffixed(&prefix, "_predicted_counts.tsv");
                Some(CountsTable::create(&path, rows, transform, spread, with_signal)?)
            }
        };
        let track = match wanted.track {
            None => None,
            Some(track) => {
                if let Some(path) = track.stats {
                    // Made and gone again: can it be written?
                    Pending::create(path).map_err(|error| atomic::unwritable(path, error))?;
                }
                let path = suffixed(&prefix, ".bw");
                Some((RegionTrack::create(&path, track.layout, track.stats.is_some())?, track))
            }
        };
        let scores = with_signal.then(|| match wanted.figures {
            true => RegionScores::for_figures(),
            false => RegionScores::default(),
        });
        Ok(Self { subject, prefix, h5, table, track, scores, values: Vec::new() })
    }

    /// Adds the next batch of the plan. `spread`: [n], how far the log counts of several models
    /// differ, where `create` was told so.
    pub fn append(
        &mut self,
        batch: &[Example],
        predicted: &Predictions,
        spread: &[f64],
        observed: Option<&Observed>,
    ) -> Result<()> {
        let Subject { arch, tracks, groups, .. } = self.subject;
        let logits = || predicted.logits.chunks_exact(arch.outputlen);
        if let Some(h5) = &mut self.h5 {
            let contigs = tracks.genome.contigs();
            let half = (arch.inputlen / 2) as i64;
            let with_peaks = groups == Groups::PeaksAndNonpeaks;
            let chrom: Vec<&str> =
                batch.iter().map(|e| contigs[e.contig as usize].name.as_str()).collect();
            let center: Vec<i64> = batch.iter().map(|e| i64::from(e.start) + half).collect();
            let is_peak: Vec<bool> =
                batch.iter().filter(|_| with_peaks).map(|e| e.is_peak()).collect();
            h5.append(PredictionRows {
                chrom: &chrom,
                center: &center,
                is_peak: &is_peak,
                logits: &predicted.logits,
                logcounts: &predicted.logcounts,
            })?;
        }
        if let Some((track, wanted)) = &mut self.track {
            self.values.clear();
            let mut profile = Vec::with_capacity(arch.outputlen);
            for (logits, logcount) in logits().zip(&predicted.logcounts) {
                let counts = wanted.transform.counts(*logcount);
                profile.clear();
                softmax_into(logits, &mut profile);
                self.values.extend(profile.iter().map(|p| (p * counts) as f32));
            }
            self.values.chunks_exact(arch.outputlen).try_for_each(|values| track.push(values))?;
        }
        if let Some(table) = &mut self.table {
            for (i, example) in batch.iter().enumerate() {
                let extra = Extra {
                    spread: spread.get(i).copied(),
                    observed: observed.map(|o| o.totals[i]),
                };
                table.row(&self.subject, example, predicted.logcounts[i], extra)?;
            }
        }
        if let (Some(scores), Some(observed)) = (&mut self.scores, observed) {
            let counts = observed.counts.chunks_exact(arch.outputlen);
            for (((example, counts), logits), logcount) in
                batch.iter().zip(counts).zip(logits()).zip(&predicted.logcounts)
            {
                scores.push(example.is_peak(), counts, logits, *logcount);
            }
        }
        Ok(())
    }

    /// Values of the track of the last batch, [n, outputlen]; empty where there is no track.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Completes every file and gives it its name.
    pub fn finish(self) -> Result<Option<Metrics>> {
        self.complete()?.publish()
    }

    /// Completes every file; none has its name yet, so that one that fails takes all with it.
    pub fn complete(self) -> Result<Completed> {
        let mut files = Vec::new();
        let mut stats = None;
        if let Some((track, wanted)) = self.track {
            let (file, found) = track.complete()?;
            files.push(file);
            stats = wanted.stats.map(Path::to_path_buf).zip(found);
        }
        if let Some(h5) = self.h5 {
            files.push(h5.complete()?);
        }
        if let Some(table) = self.table {
            files.push(table.complete()?);
        }
        let metrics = self.scores.as_ref().map(|scores| match self.subject.groups {
            Groups::PeaksAndNonpeaks => scores.peaks_and_nonpeaks(),
            Groups::Regions => scores.regions(),
        });
        Ok(Completed { prefix: self.prefix, files, stats, metrics, scores: self.scores })
    }
}

/// Files that only lack their names.
pub struct Completed {
    prefix: PathBuf,
    files: Vec<Pending>,
    stats: Option<(PathBuf, TrackStats)>,
    metrics: Option<Metrics>,
    /// Scores of every region, where there is a signal.
    scores: Option<RegionScores>,
}

impl Completed {
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub fn scores(&self) -> Option<&RegionScores> {
        self.scores.as_ref()
    }

    pub fn publish(self) -> Result<Option<Metrics>> {
        self.files.into_iter().try_for_each(Pending::publish)?;
        if let Some((path, stats)) = self.stats {
            stats.write(&path)?;
        }
        if let Some(metrics) = &self.metrics {
            metrics::write_json(&suffixed(&self.prefix, "_metrics.json"), metrics)?;
        }
        Ok(self.metrics)
    }
}
