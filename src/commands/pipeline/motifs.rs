//! Motifs in the contributions, with tfmodisco-lite where that is installed.

use std::path::PathBuf;

use anyhow::Result;

use super::stages::Outcome;
use super::subject::{Kind, Subject};
use crate::motifs::{self, Request};

/// `evaluation/modisco_<head>/motifs.html`
pub fn files(subject: &Subject) -> Vec<PathBuf> {
    let heads: &[&str] = match subject.kind {
        Kind::Bias => &["profile", "counts"],
        Kind::Chrombpnet => &["profile"],
    };
    let folder = subject.tree.root().join("evaluation");
    heads.iter().map(|head| folder.join(format!("modisco_{head}/motifs.html"))).collect()
}

/// `afresh`: what is there was made from something else.
pub fn run(subject: &Subject, afresh: bool) -> Result<Outcome> {
    if let Err(problem) = motifs::find(None) {
        let fix = problem.way_out().unwrap_or_default();
        return Ok(Outcome::NotRun(format!("{}: {fix}", problem.what())));
    }
    let official = Request::official(subject.tree.root(), subject.file_prefix.as_deref());
    motifs::run(&Request { force: afresh, ..official }, &subject.console)?;
    Ok(Outcome::Done)
}
