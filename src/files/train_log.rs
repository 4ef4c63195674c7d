//! The official training logs: a CSV row per epoch, a TSV row per batch.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::engine::StepLoss;
use crate::error::Problem;
use crate::files::atomic;

/// Losses averaged over examples, as Keras reports them: batches count by their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningLoss {
    total: f64,
    profile: f64,
    counts: f64,
    examples: u64,
}

impl RunningLoss {
    pub fn add(&mut self, loss: &StepLoss, examples: usize) {
        let weight = examples as f64;
        self.total += loss.total * weight;
        self.profile += loss.profile * weight;
        self.counts += loss.counts * weight;
        self.examples += examples as u64;
    }

    pub fn mean(&self) -> Losses {
        let n = self.examples.max(1) as f64;
        Losses { total: self.total / n, profile: self.profile / n, counts: self.counts / n }
    }
}

/// One row's worth of losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    pub total: f64,
    pub profile: f64,
    pub counts: f64,
}

/// One epoch's row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    pub train: Losses,
    pub valid: Losses,
}

/// The names that `--trackables` may list, in the official default order.
pub const TRACKABLES: [&str; 6] = [
    "logcount_predictions_loss",
    "loss",
    "logits_profile_predictions_loss",
    "val_logcount_predictions_loss",
    "val_loss",
    "val_logits_profile_predictions_loss",
];

/// Rewrites the epoch log (`*.log`): header and one CSV row per epoch, counted from 0.
pub fn write_epochs(path: &Path, rows: &[EpochRow]) -> Result<()> {
    let mut text = String::from(
        "epoch,logcount_predictions_loss,logits_profile_predictions_loss,loss,\
         val_logcount_predictions_loss,val_logits_profile_predictions_loss,val_loss\n",
    );
    for (epoch, EpochRow { train, valid }) in rows.iter().enumerate() {
        let _ = writeln!(
            text,
            "{epoch},{:?},{:?},{:?},{:?},{:?},{:?}",
            train.counts, train.profile, train.total, valid.counts, valid.profile, valid.total
        );
    }
    atomic::write(path, |out| Ok(std::io::Write::write_all(out, text.as_bytes())?))
}

/// Appends the rows of `epoch` to the batch log (`*.log.batch`): running means of the epoch, and
/// `None` for validation columns, as the official callback writes them. Rows of this and later
/// epochs that an interrupted run left behind are dropped first.
pub fn append_batches(
    path: &Path,
    trackables: &[String],
    epoch: usize,
    rows: &[Losses],
) -> Result<()> {
    let mut text = format!("Epoch\tBatch\t{}\n", trackables.join("\t"));
    if epoch > 0 && path.exists() {
        for line in fs::read_to_string(path)?.lines().skip(1) {
            let of: usize = line.split('\t').next().and_then(|e| e.parse().ok()).unwrap_or(epoch);
            if of < epoch {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    for (batch, row) in rows.iter().enumerate() {
        let _ = write!(text, "{epoch}\t{batch}");
        for name in trackables {
            let _ = match name.as_str() {
                "loss" => write!(text, "\t{:?}", row.total),
                "logcount_predictions_loss" => write!(text, "\t{:?}", row.counts),
                "logits_profile_predictions_loss" => write!(text, "\t{:?}", row.profile),
                _ => write!(text, "\tNone"),
            };
        }
        text.push('\n');
    }
    atomic::write(path, |out| Ok(std::io::Write::write_all(out, text.as_bytes())?))
}

/// Errors: a column that is none of `TRACKABLES`.
pub fn check(trackables: &[String]) -> Result<(), Problem> {
    match trackables.iter().find(|name| !TRACKABLES.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Problem::new(format!("--trackables: {name} is not a tracked loss"))
            .fix(format!("choose from {}", TRACKABLES.join(" ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_weight_batches_by_size() {
        let mut running = RunningLoss::default();
        running.add(&StepLoss { total: 1.0, profile: 2.0, counts: 3.0 }, 3);
        running.add(&StepLoss { total: 5.0, profile: 6.0, counts: 7.0 }, 1);
        assert_eq!(running.mean(), Losses { total: 2.0, profile: 3.0, counts: 4.0 });
    }

    #[test]
    fn the_batch_log_forgets_rows_of_an_interrupted_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log.batch");
        let tracked: Vec<String> = TRACKABLES.iter().map(|s| s.to_string()).collect();
        let row = |x| Losses { total: x, profile: x, counts: x };
        append_batches(&path, &tracked, 0, &[row(1.0)]).unwrap();
        append_batches(&path, &tracked, 1, &[row(2.0), row(3.0)]).unwrap();
        append_batches(&path, &tracked, 1, &[row(4.0)]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2], "1\t0\t4.0\t4.0\t4.0\tNone\tNone\tNone");
    }
}
