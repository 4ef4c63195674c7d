//! The bases around the cut sites of the counts that a model is looked at with. Training makes the
//! same figure of its own.

use std::path::PathBuf;

use anyhow::Result;

use super::subject::Subject;
use crate::pack::shift::qc::{self, ShiftQc};
use crate::run::prefix::suffixed;
use crate::run::stages::Outcome;

fn prefix(subject: &Subject) -> PathBuf {
    subject.tree.evaluation(qc::STEM)
}

pub fn files(subject: &Subject) -> Vec<PathBuf> {
    [".svg", ".png", ".tsv"].map(|ending| suffixed(&prefix(subject), ending)).into()
}

pub fn run(subject: &Subject) -> Result<Outcome> {
    let (tracks, folds) = (&subject.tracks, &subject.folds);
    let found = ShiftQc::of_fold(tracks, folds, subject.data_type, None, &prefix(subject))?;
    Ok(match found {
        Some(found) => {
            found.say(&subject.console);
            Outcome::Done
        }
        None => Outcome::NotRun("the fold has no validation chromosome".into()),
    })
}
