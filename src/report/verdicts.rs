//! Is the run as it should be? The verdicts that `qc` and the pipelines left, or the same rules on
//! the files of a run that has none, and two about the run itself.

use super::context::Context;
use super::read::logs;
use crate::figures::loss::best_epoch;
use crate::files::text;
use crate::files::train_log::EpochRow;
use crate::footprint::BiasResponse;
use crate::predict::metrics::read_counts_pearsonr;
use crate::quality::{self, Grade, Verdict, Verdicts};
use crate::run::kind::Kind;

/// All verdicts that the folder's files allow, and what could not be graded.
pub struct Found {
    pub verdicts: Vec<Verdict>,
    pub missing: Vec<String>,
}

/// Grades a run.
pub fn of(context: &Context) -> Found {
    let mut found = Found { verdicts: Vec::new(), missing: Vec::new() };
    let folder = &context.folder;
    let path = folder.tree.evaluation("verdicts.json");
    let recorded = context.guarded_option(|| match path.exists() {
        true => Verdicts::read(&path).map(Some),
        false => Ok(None),
    });
    if let Ok(Some(recorded)) = recorded {
        found.verdicts = recorded.verdicts;
    } else {
        from_files(context, &mut found);
    }
    let path = folder.tree.logs(&format!("{}.log", folder.kind.stem()));
    let rows = context.guarded_option(|| logs::epochs(&path)).ok().flatten();
    found.add("the end of training", rows.as_deref().and_then(training));
    let path = folder.tree.evaluation("bw_shift_qc.tsv");
    let table = context.guarded_option(|| Ok(text::read(&path)?)).ok().flatten();
    found.add("the shift of the cut sites", table.as_deref().and_then(shift));
    found
}

impl Found {
    fn add(&mut self, what: &str, verdict: Option<Verdict>) {
        match verdict {
            Some(verdict) => self.verdicts.push(verdict),
            None => self.missing.push(what.to_string()),
        }
    }
}

/// The rules of `quality` on metrics and footprints. Files that cannot be read are missing here;
/// their own sections say why.
fn from_files(context: &Context, found: &mut Found) {
    let folder = &context.folder;
    let pearsonr = |stem: &str, group: &str| {
        let path = folder.evaluation(&format!("{stem}_metrics.json"));
        read_counts_pearsonr(&path, group).ok().flatten()
    };
    if folder.kind == Kind::Chrombpnet {
        let r = pearsonr("chrombpnet", "peaks").map(quality::chrombpnet_in_peaks);
        found.add("counts of the model in peaks", r);
        let path = folder.evaluation("chrombpnet_nobias_max_bias_response.txt");
        let response = BiasResponse::read(&path).ok().flatten();
        let verdict = response.as_ref().map(quality::corrected_response);
        found.add("the response of the model without bias to enzyme motifs", verdict);
    }
    let r = pearsonr("bias", "peaks").map(quality::bias_in_peaks);
    found.add("counts of the bias model in peaks", r);
    if folder.kind == Kind::Bias {
        let r = pearsonr("bias", "nonpeaks").map(quality::bias_in_nonpeaks);
        found.add("counts of the bias model in nonpeaks", r);
    }
}

/// A run that ends on its last epoch while it still improves was stopped too early.
fn training(rows: &[EpochRow]) -> Option<Verdict> {
    let best = best_epoch(rows)?;
    let passes = best + 1 < rows.len();
    Some(Verdict {
        name: "training_levelled_off".into(),
        grade: if passes { Grade::Pass } else { Grade::Warn },
        value: Some((best + 1) as f64),
        rule: "passes when later epochs brought nothing better".into(),
        message: format!("val_loss was lowest in epoch {} of {}", best + 1, rows.len()),
        advice: (!passes).then(|| {
            "the loss still fell in the last epoch: train again with more --epochs".into()
        }),
    })
}

/// `pack shift-qc` compares the bases around cut sites with the enzyme's textbook.
fn shift(table: &str) -> Option<Verdict> {
    let line = table.lines().find(|l| l.starts_with('#') && l.contains("fits best at"))?;
    let message = line.trim_start_matches(['#', ' ']).to_string();
    let passes = message.contains("fits best at 0 bp");
    Some(Verdict {
        name: "shift".into(),
        grade: if passes { Grade::Pass } else { Grade::Warn },
        value: None,
        rule: "passes when the enzyme's pattern fits best at 0 bp".into(),
        message,
        advice: (!passes).then(|| {
            "the reads were shifted wrongly, or this is another enzyme: see Enzyme pattern".into()
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::train_log::Losses;

    #[test]
    fn a_run_that_was_still_improving_is_warned_about() {
        let rows = |losses: &[f64]| -> Vec<EpochRow> {
            let valid = |&total: &f64| Losses { total, ..Losses::default() };
            losses.iter().map(|l| EpochRow { train: Losses::default(), valid: valid(l) }).collect()
        };
        assert_eq!(training(&rows(&[3.0, 2.0, 2.5])).unwrap().grade, Grade::Pass);
        assert_eq!(training(&rows(&[3.0, 2.0])).unwrap().grade, Grade::Warn);
        assert_eq!(training(&[]), None);
        let table = "# x\n# ATAC pattern around the cut sites fits best at 4 bp, similarity 0.9\n";
        assert_eq!(shift(table).unwrap().grade, Grade::Warn);
        assert_eq!(shift("position\tA\n"), None);
    }
}
