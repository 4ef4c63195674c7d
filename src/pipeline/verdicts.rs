//! What the numbers of a run say about its models: `evaluation/verdicts.json`.

use std::path::PathBuf;

use anyhow::Result;

use super::footprints;
use super::subject::Subject;
use crate::footprint::BiasResponse;
use crate::predict::metrics::read_counts_pearsonr;
use crate::quality::{self, Verdict, Verdicts};
use crate::run::kind::Kind;
use crate::run::prefix::suffixed;

pub fn path(subject: &Subject) -> PathBuf {
    subject.tree.evaluation("verdicts.json")
}

/// Grades what is there and writes it. A stage that was not run leaves no verdict, one whose file cannot be
/// read is an error.
pub fn write(subject: &Subject) -> Result<Verdicts> {
    let verdicts = Verdicts::new(subject.kind.stem(), grade(subject)?);
    verdicts.write(&path(subject))?;
    Ok(verdicts)
}

fn grade(subject: &Subject) -> Result<Vec<Verdict>> {
    let pearsonr = |stem: &str, group: &str| {
        read_counts_pearsonr(&subject.tree.evaluation(&format!("{stem}_metrics.json")), group)
    };
    let response =
        BiasResponse::read(&suffixed(&footprints::prefix(subject), "_max_bias_response.txt"))?;
    let bias_in_peaks = pearsonr("bias", "peaks")?.map(quality::bias_in_peaks);
    let found = match subject.kind {
        Kind::Bias => vec![
            bias_in_peaks,
            pearsonr("bias", "nonpeaks")?.map(quality::bias_in_nonpeaks),
            response.as_ref().map(quality::bias_response),
        ],
        Kind::Chrombpnet => vec![
            // Training leaves it; a model that is only looked at may have none.
            bias_in_peaks,
            pearsonr("chrombpnet", "peaks")?.map(quality::chrombpnet_in_peaks),
            response.as_ref().map(quality::corrected_response),
        ],
    };
    Ok(found.into_iter().flatten().collect())
}
