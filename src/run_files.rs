//! Every file that a run may leave in its folder: `train` and what the pipelines and `qc` make of the
//! trained model. A run claims all of them, since what is made of a model must not outlive it.

use std::path::PathBuf;

use crate::footprint::motifs::{self, CONTROL};
use crate::pack::shift::DataType;
use crate::predict::test_groups::GROUPS;
use crate::run::kind::Kind;
use crate::run::record::QC_RECORD;
use crate::run::tree::OutputTree;

/// What training leaves, and its logs.
pub fn of_training(tree: &OutputTree, kind: Kind) -> Vec<PathBuf> {
    let stem = kind.stem();
    let (models, auxiliary): (&[&str], &[&str]) = match kind {
        Kind::Bias => (&["bias.h5"], &["filtered.bias_peaks.bed", "filtered.bias_nonpeaks.bed"]),
        Kind::Chrombpnet => (
            &["chrombpnet.h5", "chrombpnet_nobias.h5", "bias_model_scaled.h5"],
            &["filtered.peaks.bed", "filtered.nonpeaks.bed"],
        ),
    };
    let logs = [
        ".run.json",
        ".state.safetensors",
        ".log",
        ".log.batch",
        ".args.json",
        "_data_params.tsv",
        "_model_params.tsv",
    ];
    let mut files: Vec<PathBuf> = models.iter().map(|name| tree.models(name)).collect();
    files.extend(logs.iter().map(|name| tree.logs(&format!("{stem}{name}"))));
    files.extend(auxiliary.iter().map(|name| tree.auxiliary(name)));
    files.push(tree.auxiliary("dropped.tsv"));
    files
}

/// What counts of reads leave.
pub fn of_reads(tree: &OutputTree) -> Vec<PathBuf> {
    let shift = ["shift.svg", "shift.png", "shift.tsv", "shift_pwm.tsv"];
    let mut files = vec![tree.auxiliary("data_unstranded.bw")];
    files.extend(shift.map(|name| tree.evaluation(name)));
    files
}

/// What is made of a trained model, and shown of it.
pub fn of_evaluation(tree: &OutputTree, kind: Kind, data_type: DataType) -> Vec<PathBuf> {
    let explained = kind.explained();
    let mut files: Vec<PathBuf> = [
        "stages.json",
        "30K_subsample_peaks.bed",
        "test_dropped_peaks.tsv",
        "test_dropped_nonpeaks.tsv",
        "footprints_dropped_nonpeaks.tsv",
    ]
    .map(|name| tree.auxiliary(name))
    .into();
    files.push(tree.auxiliary(&format!("{explained}_footprints.h5")));
    // Without the files' prefix, as officially.
    files.push(tree.root().join("auxiliary/motif_to_pwm.tsv"));
    files.push(tree.logs(QC_RECORD));

    let scores = |name: &str| tree.interpreted(&format!("{explained}.{name}"));
    for head in ["counts_scores", "profile_scores", "scores"] {
        files.extend(["h5", "bw", "run.json", "partial"].map(|e| scores(&format!("{head}.{e}"))));
    }
    files.extend(["interpreted_regions.bed", "interpret.args.json"].map(scores));
    files.extend(of_motifs(tree));

    for stem in evaluated(kind) {
        let names = ["metrics.json", "predictions.h5"];
        files.extend(names.map(|name| tree.evaluation(&format!("{stem}_{name}"))));
    }
    files.extend(["svg", "png", "tsv"].map(|e| tree.evaluation(&format!("bw_shift_qc.{e}"))));
    files.push(tree.evaluation(&format!("{explained}_max_bias_response.txt")));
    let enzyme = motifs::enzyme(data_type);
    for name in [CONTROL].into_iter().chain(enzyme.iter().map(|m| &m.name[..])) {
        let figure = format!("{explained}.{name}.footprint");
        files.extend(["png", "svg"].map(|e| tree.evaluation(&format!("{figure}.{e}"))));
    }
    files.push(tree.evaluation("verdicts.json"));
    files.extend(of_report(tree, kind));
    files
}

/// What tfmodisco-lite leaves.
pub fn of_motifs(tree: &OutputTree) -> Vec<PathBuf> {
    let of_head = |head: &str| {
        [
            tree.interpreted(&format!("modisco_results_{head}_scores.h5")),
            tree.logs(&format!("modisco_{head}.log")),
            tree.logs(&format!("modisco_{head}.run.json")),
            tree.root().join(format!("evaluation/modisco_{head}/motifs.html")),
        ]
    };
    ["profile", "counts"].into_iter().flat_map(of_head).collect()
}

/// The page and its figures, in `evaluation/`.
pub fn of_report(tree: &OutputTree, kind: Kind) -> Vec<PathBuf> {
    let names = figures(kind).into_iter().chain(["overall_report.html".to_string()]);
    names.map(|name| tree.evaluation(&name)).collect()
}

/// Figures that a report draws, by name, without a prefix.
pub fn figures(kind: Kind) -> Vec<String> {
    let mut names = vec!["epoch_loss.png".to_string()];
    for stem in evaluated(kind) {
        for group in &GROUPS {
            for what in ["counts_pearsonr", "profile_jsd"] {
                names.push(format!("{stem}_{}.{what}.png", group.in_names));
            }
        }
    }
    names
}

/// Models that are evaluated in a run's folder; of a main model its bias model too.
fn evaluated(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bias => &["bias"],
        Kind::Chrombpnet => &["bias", "chrombpnet"],
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A name as the page has it, with capitals for what varies.
    fn on_the_page(name: &str) -> String {
        let model = ["chrombpnet_nobias", "chrombpnet", "bias"];
        let rest = model.iter().find_map(|model| name.strip_prefix(model));
        let model =
            if name.contains("scores") || name.contains("interpret") { "PREFIX" } else { "MODEL" };
        let mut name = rest.map_or(name.to_string(), |rest| format!("{model}{rest}"));
        for group in &GROUPS {
            name = name.replace(&format!("_{}.", group.in_names), "_GROUP.");
        }
        for motif in
            [CONTROL].into_iter().chain(motifs::enzyme(DataType::Atac).iter().map(|m| &m.name[..]))
        {
            name = name.replace(&format!(".{motif}."), ".MOTIF.");
        }
        for head in ["counts", "profile"] {
            name = name
                .replace(&format!("{head}_scores"), "HEAD_scores")
                .replace(&format!("modisco_{head}"), "modisco_HEAD");
        }
        name
    }

    #[test]
    fn every_file_is_documented() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/outputs.md");
        let page = std::fs::read_to_string(page).unwrap();
        let tree = OutputTree::new(Path::new("out"), None);
        for kind in [Kind::Bias, Kind::Chrombpnet] {
            let mut files = of_training(&tree, kind);
            files.extend(of_reads(&tree));
            files.extend(of_evaluation(&tree, kind, DataType::Atac));
            for file in files {
                let name = file.file_name().unwrap().to_str().unwrap();
                // Both heads together have a record, but no scores in one file.
                let no_file = name.ends_with(".scores.h5") || name.ends_with(".scores.bw");
                let shown = on_the_page(name);
                let known = [name, &shown].iter().any(|n| page.contains(&format!("{n}`")));
                assert!(no_file || known, "{}: {shown}", file.display());
            }
        }
    }
}
