//! Contribution scores of the sample of peaks, in `auxiliary/interpret_subsample/`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::subject::{Subject, Which};
use super::subsample;
use crate::engine::Chosen;
use crate::interpret::Head;
use crate::interpret::job::{self, Job, MethodName};
use crate::run::kind::Kind;
use crate::run::prefix::suffixed;
use crate::run::stages::Outcome;

/// What is explained. Source: the official pipelines, which leave out the counts of the main model.
fn heads(kind: Kind) -> Vec<Head> {
    match kind {
        Kind::Bias => vec![Head::Counts, Head::Profile],
        Kind::Chrombpnet => vec![Head::Profile],
    }
}

fn folder(subject: &Subject) -> PathBuf {
    subject.tree.root().join("auxiliary/interpret_subsample")
}

/// `auxiliary/interpret_subsample/<stem>`
fn prefix(subject: &Subject) -> PathBuf {
    subject.tree.interpreted(subject.kind.explained())
}

pub fn files(subject: &Subject) -> Vec<PathBuf> {
    let scores = heads(subject.kind).into_iter().map(|head| match head {
        Head::Counts => [".counts_scores.h5", ".counts_scores.bw"],
        Head::Profile => [".profile_scores.h5", ".profile_scores.bw"],
    });
    let regions = std::iter::once(".interpreted_regions.bed");
    scores.flatten().chain(regions).map(|name| suffixed(&prefix(subject), name)).collect()
}

/// `afresh`: what is there was made from something else.
pub fn run(subject: &Subject, afresh: bool) -> Result<Outcome> {
    std::fs::create_dir_all(folder(subject))
        .with_context(|| format!("cannot make {}", folder(subject).display()))?;
    let job = Job {
        models: vec![subject.models.explained.clone()],
        regions: Some(subsample::path(subject)),
        genome: Some(subject.inputs.genome.clone()),
        chrom_sizes: Some(subject.inputs.chrom_sizes.clone()),
        fasta: None,
        chroms: Vec::new(),
        heads: heads(subject.kind),
        method: MethodName::Deepshap,
        n_references: job::REFERENCES,
        seed: job::SEED,
        references: None,
        output_prefix: prefix(subject),
        also: Vec::new(),
        stats: None,
        force: afresh,
        tqdm: 1,
        cache_dir: subject.inputs.cache_dir.clone(),
        device: Chosen::asked(subject.device.clone()),
        command_line: subject.command_line.clone(),
    };
    job.explain(subject.read(Which::Explained)?, &subject.console)?;
    Ok(Outcome::Done)
}
