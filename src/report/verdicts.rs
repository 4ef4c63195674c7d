//! Is the run as it should be? Graded by stated rules, most of them the official report's.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::context::Context;
use super::figures::loss::best_epoch;
use super::folder::Kind;
use super::read::{logs, tables};
use crate::footprint::LIMIT;
use crate::preflight::Verdict as Grade;

/// One graded question.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub what: String,
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What is asked for.
    pub rule: String,
    /// What to do about a warning or a failure.
    pub advice: String,
}

/// All verdicts that the folder's files allow, and what could not be graded.
pub struct Verdicts {
    pub graded: Vec<Verdict>,
    pub missing: Vec<String>,
}

/// Grades a run. Files that cannot be read are missing here; their own sections say why.
pub fn of(context: &Context) -> Verdicts {
    let mut verdicts = Verdicts { graded: Vec::new(), missing: Vec::new() };
    let folder = &context.folder;
    let mut add = |what: &str, verdict: Result<Option<Verdict>>| match verdict {
        Ok(Some(verdict)) => verdicts.graded.push(verdict),
        Ok(None) => verdicts.missing.push(what.to_string()),
        Err(error) => verdicts.missing.push(format!("{what}: {error:#}")),
    };
    if folder.kind == Kind::Chrombpnet {
        let path = folder.evaluation("chrombpnet_metrics.json");
        let what = "counts of ChromBPNet in test peaks";
        add(what, counts(&path, "peaks").map(|r| r.map(|r| chrombpnet_in_peaks(what, r))));
        let path = folder.evaluation("chrombpnet_nobias_max_bias_response.txt");
        let what = "response of the bias-corrected model to enzyme motifs";
        add(what, tables::text(&path).map(|text| text.and_then(|t| bias_response(what, &t))));
    }
    let path = folder.evaluation("bias_metrics.json");
    let what = "counts of the bias model in test peaks";
    add(what, counts(&path, "peaks").map(|r| r.map(|r| bias_in_peaks(what, r))));
    if folder.kind == Kind::Bias {
        let what = "counts of the bias model in test nonpeaks";
        add(what, counts(&path, "nonpeaks").map(|r| r.map(|r| bias_in_nonpeaks(what, r))));
    }
    let path = folder.tree.logs(&format!("{}.log", folder.kind.stem()));
    let what = "end of training";
    add(what, logs::epochs(&path).map(|rows| rows.and_then(|rows| training(what, &rows))));
    let path = folder.tree.evaluation("bw_shift_qc.tsv");
    let what = "shift of the cut sites";
    add(what, tables::text(&path).map(|text| text.and_then(|t| shift(what, &t))));
    verdicts
}

/// Pearson's r of log counts in a group of a metrics file.
fn counts(path: &Path, group: &str) -> Result<Option<f64>> {
    let metrics = tables::json(path)?;
    let r = |m: &Value| m.get("counts_metrics")?.get(group)?.get("pearsonr")?.as_f64();
    Ok(metrics.as_ref().and_then(r))
}

fn verdict(what: &str, grade: Grade, found: String, rule: &str, advice: &str) -> Verdict {
    Verdict {
        what: what.into(),
        grade,
        found,
        rule: rule.into(),
        advice: if grade == Grade::Pass { String::new() } else { advice.into() },
    }
}

/// Source: official report, r above 0.5.
fn chrombpnet_in_peaks(what: &str, r: f64) -> Verdict {
    let grade = match r {
        r if r > 0.5 => Grade::Pass,
        r if r > 0.0 => Grade::Warn,
        _ => Grade::Fail,
    };
    verdict(
        what,
        grade,
        format!("Pearson r = {r:.3}"),
        "pass above 0.5, fail at 0 and below",
        "Depth, peak calls and the loss curves are the first places to look.",
    )
}

/// Source: official report (-0.3) and the assertion of the official pipeline (-0.5).
fn bias_in_peaks(what: &str, r: f64) -> Verdict {
    let grade = match r {
        r if r > -0.3 => Grade::Pass,
        r if r > -0.5 => Grade::Warn,
        _ => Grade::Fail,
    };
    verdict(
        what,
        grade,
        format!("Pearson r = {r:.3}"),
        "pass above \u{2212}0.3, fail at \u{2212}0.5 and below",
        "The bias model may follow AT content instead of the enzyme. Look for GC-rich motifs among \
         the contributions of the bias-corrected model; if there are many, take another bias model \
         or train one with a higher --bias-threshold-factor.",
    )
}

/// Source: official report, r above 0.
fn bias_in_nonpeaks(what: &str, r: f64) -> Verdict {
    let grade = if r > 0.0 { Grade::Pass } else { Grade::Warn };
    verdict(
        what,
        grade,
        format!("Pearson r = {r:.3}"),
        "pass above 0",
        "The model predicts nothing about the counts of background regions.",
    )
}

/// The official one-line file: `corrected_<mean>_<a/b/...>`; `None` for any other text.
fn bias_response(what: &str, text: &str) -> Option<Verdict> {
    let mut parts = text.trim().split('_');
    let (word, mean, each) = (parts.next()?, parts.next()?, parts.next()?);
    let grade = match word {
        "corrected" => Grade::Pass,
        "uncorrected" => Grade::Fail,
        _ => return None,
    };
    Some(verdict(
        what,
        grade,
        format!("highest point {} (mean {mean})", each.replace('/', ", ")),
        &format!("pass below {LIMIT} for every motif"),
        "Bias is left in the model: take another bias model, or one trained on more regions.",
    ))
}

/// Ours: a run that ends on its last epoch while it still improves was stopped too early.
fn training(what: &str, rows: &[crate::train::log::EpochRow]) -> Option<Verdict> {
    let best = best_epoch(rows)?;
    let grade = if best + 1 < rows.len() { Grade::Pass } else { Grade::Warn };
    Some(verdict(
        what,
        grade,
        format!("lowest val_loss in epoch {} of {}", best + 1, rows.len()),
        "pass when later epochs brought nothing better",
        "The loss was still falling in the last epoch: train on with more --epochs.",
    ))
}

/// Ours: `pack shift-qc` compares the bases around cut sites with the textbook.
fn shift(what: &str, table: &str) -> Option<Verdict> {
    let line = table.lines().find(|l| l.starts_with('#') && l.contains("fits best at"))?;
    let found = line.trim_start_matches(['#', ' ']).to_string();
    let grade = if found.contains("fits best at 0 bp") { Grade::Pass } else { Grade::Warn };
    Some(verdict(
        what,
        grade,
        found,
        "pass when the enzyme's pattern fits best at 0 bp",
        "The reads were shifted wrongly, or this is another enzyme: look at the figure below.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::log::{EpochRow, Losses};

    #[test]
    fn grades_change_at_the_official_limits() {
        for (r, wanted) in [(0.51, Grade::Pass), (0.5, Grade::Warn), (0.0, Grade::Fail)] {
            assert_eq!(chrombpnet_in_peaks("", r).grade, wanted, "{r}");
        }
        for (r, wanted) in
            [(0.2, Grade::Pass), (-0.3, Grade::Warn), (-0.49, Grade::Warn), (-0.5, Grade::Fail)]
        {
            let verdict = bias_in_peaks("", r);
            assert_eq!(verdict.grade, wanted, "{r}");
            assert_eq!(verdict.advice.is_empty(), wanted == Grade::Pass);
        }
        assert_eq!(bias_in_nonpeaks("", 0.0).grade, Grade::Warn);
    }

    #[test]
    fn the_response_file_is_read_and_other_text_is_not() {
        let verdict = bias_response("", "uncorrected_0.004_0.003/0.005").unwrap();
        assert_eq!(verdict.grade, Grade::Fail);
        assert_eq!(verdict.found, "highest point 0.003, 0.005 (mean 0.004)");
        assert_eq!(bias_response("", "corrected_0.002_0.002").unwrap().grade, Grade::Pass);
        assert_eq!(bias_response("", "perfect_0_0"), None);
        assert_eq!(bias_response("", ""), None);
    }

    #[test]
    fn a_run_that_was_still_improving_is_warned_about() {
        let rows = |losses: &[f64]| -> Vec<EpochRow> {
            let valid = |&total: &f64| Losses { total, ..Losses::default() };
            losses.iter().map(|l| EpochRow { train: Losses::default(), valid: valid(l) }).collect()
        };
        assert_eq!(training("", &rows(&[3.0, 2.0, 2.5])).unwrap().grade, Grade::Pass);
        assert_eq!(training("", &rows(&[3.0, 2.0])).unwrap().grade, Grade::Warn);
        assert_eq!(training("", &[]), None);
        let table = "# x\n# ATAC pattern around the cut sites fits best at 4 bp, similarity 0.9\n";
        assert_eq!(shift("", table).unwrap().grade, Grade::Warn);
    }
}
