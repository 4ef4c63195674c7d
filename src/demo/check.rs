//! What the trained models learned, against the truth that made the data.
//!
//! In: the experiment, the model files, the metrics that `predict` left. Out: rows of the table.
//! Everything is measured on chromosomes that training never saw.

use std::path::Path;

use anyhow::{Context, Result};

use super::biology::{self, COVER, Effect, MOTIFS, Motif};
use super::experiment::{DemoRegion, Experiment};
use super::table::{Row, Wanted};
use crate::engine::{self, Device, Predictions};
use crate::files::keras_h5;
use crate::input::folds::Split;
use crate::model::{Architecture, Branches};
use crate::numpy::correlation;
use crate::numpy::quantile::nanmedian;
use crate::predict::profile_distance::{median_shuffled_jsd, profile_distance};

/// Backgrounds that motifs are put into.
const BACKGROUNDS: usize = 96;
/// bp from the opening motif to the protecting one, start to start.
const APART: usize = 40;

/// The files to judge.
pub struct Trained<'a> {
    pub bias: &'a Path,
    pub nobias: &'a Path,
    /// `predict`'s metrics of the full model on the test chromosomes.
    pub metrics: &'a Path,
}

/// Compares models and truth.
pub fn compare(experiment: &Experiment, trained: &Trained) -> Result<Vec<Row>> {
    let bias = Model::read(trained.bias)?;
    let nobias = Model::read(trained.nobias)?;
    let mut rows = enzyme_rows(experiment, &bias, &nobias)?;
    rows.extend(motif_rows(experiment, &nobias)?);
    rows.extend(test_rows(experiment, &nobias.arch, trained.metrics)?);
    Ok(rows)
}

/// One branch, ready to predict sequences.
struct Model {
    branches: Branches,
    arch: Architecture,
}

impl Model {
    fn read(path: &Path) -> Result<Self> {
        let branches = keras_h5::read(path)?.into_branches();
        Ok(Self { arch: branches.main.arch, branches })
    }

    /// Outputs for sequences of the model's input length.
    fn predict(&self, sequences: &[Vec<u8>]) -> Result<Predictions> {
        let mut engine = engine::open_explain(&Device::Cpu, self.branches.clone())?;
        let mut out = Predictions::default();
        engine.predict_sequences(&sequences.concat(), &mut out)?;
        Ok(out)
    }
}

/// Test regions of one kind.
fn test_regions<'a>(
    experiment: &'a Experiment,
    regions: &'a [DemoRegion],
) -> impl Iterator<Item = &'a DemoRegion> {
    regions.iter().filter(|r| {
        experiment.folds.split_of(&experiment.contigs[r.contig].name) == Some(Split::Test)
    })
}

/// `length` bases around a summit.
fn window<T: Clone>(track: &[T], region: &DemoRegion, length: usize) -> Vec<T> {
    let start = region.summit - length / 2;
    track[start..start + length].to_vec()
}

/// A line through (truth, logits), both centred within their window: the profile is a softmax, so
/// only differences within a window mean anything.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Line {
    fn add(&mut self, truth: &[f64], logits: &[f32]) {
        let n = truth.len() as f64;
        let mean_x = truth.iter().sum::<f64>() / n;
        let mean_y = logits.iter().copied().map(f64::from).sum::<f64>() / n;
        for (&x, &y) in truth.iter().zip(logits) {
            let (x, y) = (x - mean_x, f64::from(y) - mean_y);
            self.xx += x * x;
            self.xy += x * y;
            self.yy += y * y;
        }
    }

    /// 1: the logits hold all of the preference; 0: none.
    fn slope(&self) -> f64 {
        self.xy / self.xx
    }

    fn pearsonr(&self) -> f64 {
        self.xy / (self.xx * self.yy).sqrt()
    }
}

/// How the model's logits follow the enzyme's true log preference in test regions.
fn enzyme_line(experiment: &Experiment, model: &Model, regions: &[DemoRegion]) -> Result<Line> {
    let regions: Vec<&DemoRegion> = test_regions(experiment, regions).collect();
    let sequences: Vec<Vec<u8>> = regions
        .iter()
        .map(|r| window(&experiment.contigs[r.contig].codes, r, model.arch.inputlen))
        .collect();
    let predicted = model.predict(&sequences)?;
    let crop = (model.arch.inputlen - model.arch.outputlen) / 2;
    let mut line = Line::default();
    for (codes, logits) in sequences.iter().zip(predicted.logits.chunks(model.arch.outputlen)) {
        let scores = biology::enzyme_scores(codes);
        line.add(&scores[crop..crop + model.arch.outputlen], logits);
    }
    Ok(line)
}

fn enzyme_rows(experiment: &Experiment, bias: &Model, nobias: &Model) -> Result<Vec<Row>> {
    let captured = enzyme_line(experiment, bias, &experiment.nonpeaks)?;
    let left = enzyme_line(experiment, nobias, &experiment.peaks)?;
    Ok(vec![
        Row {
            what: "enzyme preference in the bias model, slope (nonpeaks)".into(),
            found: captured.slope(),
            truth: Some(1.0),
            wanted: Wanted::Between(0.8, 1.2),
        },
        Row {
            what: "enzyme preference in the bias model, pearsonr (nonpeaks)".into(),
            found: captured.pearsonr(),
            truth: Some(1.0),
            wanted: Wanted::AtLeast(0.9),
        },
        Row {
            what: "enzyme preference left in chrombpnet_nobias, slope (peaks)".into(),
            found: left.slope(),
            truth: Some(0.0),
            wanted: Wanted::Between(-0.15, 0.15),
        },
    ])
}

/// Overwrites bases of a sequence with the motif's first instance.
fn put(codes: &mut [u8], start: usize, motif: &Motif) {
    for (code, mask) in codes[start..].iter_mut().zip(motif.admits(false)) {
        *code = mask.trailing_zeros() as u8;
    }
}

/// What happens when a motif is put into closed chromatin.
fn motif_rows(experiment: &Experiment, nobias: &Model) -> Result<Vec<Row>> {
    let Architecture { inputlen, outputlen, .. } = nobias.arch;
    let crop = (inputlen - outputlen) / 2;
    let closed: Vec<Vec<u8>> = test_regions(experiment, &experiment.nonpeaks)
        .take(BACKGROUNDS)
        .map(|r| window(&experiment.contigs[r.contig].codes, r, inputlen))
        .collect();
    let with = |sequences: &[Vec<u8>], start: usize, motif: &Motif| {
        let mut changed = sequences.to_vec();
        changed.iter_mut().for_each(|codes| put(codes, start, motif));
        changed
    };
    let middle = inputlen / 2;
    let mut rows = Vec::new();
    for motif in MOTIFS.iter().filter(|m| m.effect != Effect::Protects) {
        let opened = with(&closed, middle, motif);
        let added: f64 = opened
            .iter()
            .zip(&closed)
            .map(|(with, without)| {
                let total =
                    |codes| biology::cut_rates(codes)[crop..crop + outputlen].iter().sum::<f64>();
                total(with) - total(without)
            })
            .sum::<f64>()
            / closed.len() as f64;
        let predicted = mean_cuts(&nobias.predict(&opened)?) - mean_cuts(&nobias.predict(&closed)?);
        rows.push(Row {
            what: format!("cuts that {} adds to closed chromatin", motif.name),
            found: predicted,
            truth: Some(added),
            // Log counts are linear in pooled features, so one motif alone is underestimated where
            // peaks have several: a half is usual. What has learned nothing adds nothing.
            wanted: Wanted::Between(0.15 * added, 2.0 * added),
        });
    }
    let opened = with(&closed, middle, &MOTIFS[0]);
    for motif in MOTIFS.iter().filter(|m| m.effect == Effect::Protects) {
        let start = middle + APART;
        let bound = with(&opened, start, motif);
        let covered = start - COVER - crop..start + motif.len() + COVER - crop;
        let share = |profiles: Vec<Vec<f64>>| {
            profiles.iter().map(|p| p[covered.clone()].iter().sum::<f64>()).sum::<f64>()
        };
        let truth = |sequences: &[Vec<u8>]| {
            share(
                sequences
                    .iter()
                    .map(|codes| {
                        normalised(biology::accessibility(codes)[crop..crop + outputlen].to_vec())
                    })
                    .collect(),
            )
        };
        let predicted = |sequences: &[Vec<u8>]| -> Result<f64> {
            let out = nobias.predict(sequences)?;
            Ok(share(out.logits.chunks(outputlen).map(softmax).collect()))
        };
        rows.push(Row {
            what: format!("share of cuts left under {}", motif.name),
            found: predicted(&bound)? / predicted(&opened)?,
            truth: Some(truth(&bound) / truth(&opened)),
            wanted: Wanted::AtMost(0.4),
        });
    }
    Ok(rows)
}

/// exp(logcounts), averaged over sequences as a geometric mean.
fn mean_cuts(predicted: &Predictions) -> f64 {
    let n = predicted.logcounts.len() as f64;
    (predicted.logcounts.iter().copied().map(f64::from).sum::<f64>() / n).exp()
}

fn normalised(mut values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|v| *v /= sum);
    values
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::MIN, f32::max);
    normalised(logits.iter().map(|&l| f64::from(l - top).exp()).collect())
}

/// `predict`'s own metrics beside what the true rates and a shuffled profile would get.
fn test_rows(experiment: &Experiment, arch: &Architecture, metrics: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(metrics)
        .with_context(|| format!("cannot read {}", metrics.display()))?;
    let found: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not JSON", metrics.display()))?;
    let value = |path: &str| found.pointer(path).and_then(|v| v.as_f64()).unwrap_or(f64::NAN);

    let (mut labels, mut expected) = (Vec::new(), Vec::new());
    let (mut observed, mut oracle) = (Vec::new(), Vec::new());
    for (regions, is_peak) in [(&experiment.peaks, true), (&experiment.nonpeaks, false)] {
        for region in test_regions(experiment, regions) {
            let counts = window(&experiment.cuts[region.contig], region, arch.outputlen);
            let rates = window(&experiment.rates[region.contig], region, arch.outputlen);
            labels.push(counts.iter().copied().map(f64::from).sum::<f64>().ln_1p());
            expected.push(rates.iter().sum::<f64>().ln_1p());
            if is_peak {
                // N has no rate; any very small one will do.
                let logits: Vec<f32> = rates.iter().map(|r| r.max(1e-6).ln() as f32).collect();
                oracle.push(profile_distance(&counts, &logits).jsd);
                observed.push(counts);
            }
        }
    }
    let shuffled = median_shuffled_jsd(observed.iter().map(Vec::as_slice), 1234);
    let jsd = value("/profile_metrics/peaks/median_jsd");
    Ok(vec![
        Row {
            what: "counts pearsonr, test peaks and nonpeaks".into(),
            found: value("/counts_metrics/peaks_and_nonpeaks/pearsonr"),
            truth: Some(correlation::pearson(&labels, &expected)),
            wanted: Wanted::AtLeast(0.9),
        },
        Row {
            what: format!("profile median_jsd, test peaks (shuffled: {shuffled:.3})"),
            found: jsd,
            truth: Some(nanmedian(&oracle)),
            wanted: Wanted::AtMost(0.8 * shuffled),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_fitted_within_windows() {
        let mut line = Line::default();
        // the same slope of 2 in both windows, whatever the level
        line.add(&[0.0, 1.0, 2.0], &[100.0, 102.0, 104.0]);
        line.add(&[5.0, 6.0], &[-7.0, -5.0]);
        assert!((line.slope() - 2.0).abs() < 1e-12);
        assert!((line.pearsonr() - 1.0).abs() < 1e-12);
        line.add(&[0.0, 1.0], &[3.0, 0.0]);
        assert!(line.slope() < 2.0 && line.pearsonr() < 1.0);
    }

    #[test]
    fn put_writes_a_match() {
        for motif in &MOTIFS {
            let mut codes = vec![0u8; 40];
            put(&mut codes, 7, motif);
            assert!(motif.matches(&codes).iter().any(|m| m.start == 7 && !m.revcomp));
            assert_eq!((codes[6], codes[7 + motif.len()]), (0, 0));
        }
    }

    #[test]
    fn softmax_survives_large_logits() {
        let p = softmax(&[500.0, 500.0, -500.0]);
        assert!((p[0] - 0.5).abs() < 1e-12 && p[2] == 0.0);
    }
}
