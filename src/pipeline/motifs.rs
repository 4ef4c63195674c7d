//! Motifs in the contributions, with tfmodisco-lite where that is installed.

use std::path::PathBuf;

use anyhow::Result;

use super::Explain;
use super::subject::Subject;
use crate::motifs::{self, Request};
use crate::pack::cache;
use crate::run::kind::Kind;
use crate::run::stages::Outcome;

/// `evaluation/modisco_<head>/motifs.html`
pub fn files(subject: &Subject) -> Vec<PathBuf> {
    let heads: &[&str] = match subject.kind {
        Kind::Bias => &["profile", "counts"],
        Kind::Chrombpnet => &["profile"],
    };
    let folder = subject.tree.root().join("evaluation");
    heads.iter().map(|head| folder.join(format!("modisco_{head}/motifs.html"))).collect()
}

/// What the page depends on: `sampled`, the key of the contributions, and the database.
pub fn key(subject: &Subject, explain: &Explain, sampled: &str) -> Result<String> {
    Ok(match &explain.meme_db {
        None => sampled.to_string(),
        Some(db) => subject.stage_key(&[
            ("contributions", sampled.to_string()),
            ("meme_db", cache::fingerprint(db)?.xxh3),
        ]),
    })
}

/// Motifs that were made from other contributions, or named by another database, are made again; with
/// `force` all are.
pub fn run(subject: &Subject, explain: &Explain, force: bool) -> Result<Outcome> {
    let modisco = explain.modisco.as_deref();
    if let Err(problem) = motifs::find(modisco) {
        let fix = problem.way_out().unwrap_or_default();
        return Ok(Outcome::NotRun(format!("{}: {fix}", problem.what())));
    }
    let request = Request {
        meme_db: explain.meme_db.as_deref(),
        modisco,
        force,
        ..Request::official(subject.tree.root(), subject.file_prefix.as_deref())
    };
    motifs::run(&request, &subject.console)?;
    Ok(Outcome::Done)
}
