//! Contribution scores of the sample of peaks, in `auxiliary/interpret_subsample/`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::subject::{Subject, Which};
use super::subsample;
use crate::cli::args::{CacheArgs, ConsoleArgs, DeviceArgs};
use crate::commands::contribs::{self, ContribsArgs, Head, MethodName};
use crate::predict::outputs::suffixed;
use crate::run::kind::Kind;
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
    let args = ContribsArgs {
        model_h5: vec![subject.models.explained.clone()],
        regions: Some(subsample::path(subject)),
        genome: Some(subject.inputs.genome.clone()),
        chrom_sizes: Some(subject.inputs.chrom_sizes.clone()),
        output_prefix: prefix(subject),
        profile_or_counts: heads(subject.kind),
        output_prefix_stats: None,
        debug_chr: vec![],
        fasta: None,
        method: MethodName::Deepshap,
        n_references: contribs::REFERENCES,
        seed: contribs::SEED,
        references: None,
        force: afresh,
        tqdm: 1,
        cache: CacheArgs { cache_dir: subject.inputs.cache_dir.clone() },
        device: DeviceArgs { device: "auto".into(), precision: None, threads: 0 },
        console: ConsoleArgs { quiet: false, log_json: false, label: None },
    };
    let models = subject.read(Which::Explained)?;
    contribs::explain(&args, models, &subject.device, &subject.console)?;
    Ok(Outcome::Done)
}
