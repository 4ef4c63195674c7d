//! Every file that a command may leave, by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::PredictArgs;
use super::groups::Group;
use crate::predict::outputs::suffixed;
use crate::predict::test_groups::GROUPS;
use crate::run::claim::Claim;

/// What the command reads and writes.
pub fn claim(args: &PredictArgs, groups: &[Group]) -> Claim {
    let mut claim = Claim::new("predict")
        .reads("-m", &args.model)
        .reads("-bm", &args.bias_model)
        .reads("-cm", &args.chrombpnet_model)
        .reads("-cmb", &args.chrombpnet_model_nb)
        .reads("-g", &args.genome)
        .reads("-c", &args.chrom_sizes)
        .reads("-bw", &args.bigwig)
        .reads("-r", &args.regions)
        .reads("-p", &args.peaks)
        .reads("-n", &args.nonpeaks)
        .reads("-fl", &args.chr_fold_path)
        .reads("--fasta", &args.fasta);
    let mut files = BTreeSet::from_iter(dropped(&args.output_prefix));
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
    claim =
        claim.writes("-op", files).prefix("-op", &super::prefix::named(&args.output_prefix, "_"));
    match &args.output_prefix_stats {
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
