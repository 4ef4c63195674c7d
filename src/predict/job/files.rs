//! Every file that a command may leave, by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Job;
use super::groups::Group;
use crate::predict::test_groups::GROUPS;
use crate::run::claim::Claim;
use crate::run::prefix;
use crate::run::prefix::suffixed;

/// What the command reads and writes.
pub fn claim(job: &Job, groups: &[Group]) -> Claim {
    let claim = Claim::new("predict")
        .reads("-m", &job.models.any)
        .reads("-bm", &job.models.bias)
        .reads("-cm", &job.models.full)
        .reads("-cmb", &job.models.nobias)
        .reads("-g", &job.genome)
        .reads("-c", &job.chrom_sizes)
        .reads("-bw", &job.bigwig)
        .reads("-r", &job.regions)
        .reads("-p", &job.peaks)
        .reads("-n", &job.nonpeaks)
        .reads("-fl", &job.folds)
        .reads("--fasta", &job.fasta);
    let mut files = BTreeSet::from_iter(dropped(&job.output_prefix));
    for Group { prefix, models } in groups {
        files.extend(dropped(prefix));
        let n = models.files().len();
        if n == 1 {
            files.extend(of_series(prefix));
            continue;
        }
        let folds = (0..n).map(|i| format!("_fold_{i}"));
        let series = folds.chain(["_mean".to_string()]);
        files.extend(series.flat_map(|name| of_series(&suffixed(prefix, &name))));
        files.insert(suffixed(prefix, "_sd.bw"));
    }
    let claim = claim.writes("-op", files).prefix("-op", &prefix::named(&job.output_prefix, "_"));
    match &job.stats {
        Some(stats) => claim.writes("-os", [stats.clone()]).prefix("-os", stats),
        None => claim,
    }
}

/// Tables of regions that are left out.
fn dropped(prefix: &Path) -> Vec<PathBuf> {
    let kinds = ["regions", "peaks", "nonpeaks"];
    kinds.map(|kind| suffixed(prefix, &format!("_dropped_{kind}.tsv"))).into()
}

/// The files of one model, or of a mean.
fn of_series(prefix: &Path) -> Vec<PathBuf> {
    let names = [".bw", "_preds.bed", "_predicted_counts.tsv", "_predictions.h5", "_metrics.json"];
    let mut files: Vec<PathBuf> = names.iter().map(|name| suffixed(prefix, name)).collect();
    let groups = GROUPS.iter().map(|group| format!("_{}", group.in_names));
    for group in groups.chain([String::new()]) {
        for figure in [".counts_pearsonr.png", ".profile_jsd.png"] {
            files.push(suffixed(prefix, &format!("{group}{figure}")));
        }
    }
    files
}
