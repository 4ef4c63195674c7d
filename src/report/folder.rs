//! What kind of run a folder holds, and where its files are: ours or the official tool's, with or
//! without a prefix.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::Problem;
use crate::run::kind::Kind;
use crate::run::record::QC_RECORD;
use crate::run::tree::OutputTree;
use crate::run_files;

/// Files that tell a run, by folder; the stem stands for `bias` or `chrombpnet`.
const TELLING: [(&str, &str); 5] = [
    ("models", ".h5"),
    ("logs", ".log"),
    ("logs", ".run.json"),
    ("evaluation", "_metrics.json"),
    ("evaluation", "_predictions.h5"),
];

/// A run's folder.
pub struct Folder {
    pub kind: Kind,
    pub tree: OutputTree,
    /// `x_` of `x_chrombpnet.h5`, often empty.
    pub prefix: String,
}

impl Folder {
    /// Finds the run in `root`. A chrombpnet run holds files of its bias model too.
    ///
    /// Errors: no folder, no run in it, runs with several prefixes and none chosen.
    pub fn open(root: &Path, file_prefix: Option<&str>) -> Result<Self> {
        if !root.is_dir() {
            return Err(Problem::new("there is no such folder")
                .at(root.display())
                .fix("pass the output folder of train, bias train, qc or pipeline")
                .into());
        }
        for kind in [Kind::Chrombpnet, Kind::Bias] {
            let prefixes = prefixes(root, kind.stem());
            let prefix = match file_prefix {
                Some(wanted) => prefixes.get(&format!("{wanted}_")).cloned(),
                // Official chrombpnet runs leave the bias metrics without a prefix.
                None if prefixes.len() > 1 => return Err(several(root, &prefixes).into()),
                None => prefixes.first().cloned(),
            };
            if let Some(prefix) = prefix {
                let name = prefix.strip_suffix('_');
                return Ok(Self { kind, tree: OutputTree::new(root, name), prefix });
            }
        }
        Err(Problem::new(match file_prefix {
            Some(prefix) => format!("no run with the prefix {prefix} was found in the folder"),
            None => "no run was found in the folder".to_string(),
        })
        .at(root.display())
        .fix("pass the folder that holds models/, logs/ or evaluation/ of a run")
        .into())
    }

    /// A file in `evaluation/`, without the prefix where the official tool leaves it out.
    pub fn evaluation(&self, name: &str) -> PathBuf {
        let path = self.tree.evaluation(name);
        let bare = self.tree.root().join("evaluation").join(name);
        if !path.exists() && bare.exists() { bare } else { path }
    }

    /// A file in `auxiliary/interpret_subsample/`.
    pub fn interpreted(&self, name: &str) -> PathBuf {
        self.tree.interpreted(name)
    }

    /// The run's files that a report shows or rests on: all but the report itself, and what changes
    /// without saying anything new of the run.
    pub fn shown_files(&self) -> Vec<PathBuf> {
        let own: Vec<PathBuf> = run_files::of_report(&self.tree, self.kind);
        let left_out = ["stages.json", QC_RECORD, ".partial", ".state.safetensors"];
        let mut files = Vec::new();
        for name in ["models", "logs", "auxiliary", "auxiliary/interpret_subsample", "evaluation"] {
            for entry in fs::read_dir(self.tree.root().join(name)).into_iter().flatten().flatten() {
                let (name, path) = (entry.file_name(), entry.path());
                let name = name.to_string_lossy();
                let is_shown = name.starts_with(&self.prefix)
                    && !name.starts_with('.')
                    && !left_out.iter().any(|end| name.ends_with(end))
                    && !own.contains(&path);
                if is_shown && path.is_file() {
                    files.push(path);
                }
            }
        }
        files.extend(
            run_files::of_motifs(&self.tree).into_iter().filter(|p| p.ends_with("motifs.html")),
        );
        files
    }

    /// Path as it is shown: from the run's folder on.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.tree.root()).unwrap_or(path).display().to_string()
    }
}

/// Prefixes, each with its underscore, of the files that tell a run of `stem`.
fn prefixes(root: &Path, stem: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (folder, ending) in TELLING {
        for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(prefix) = name.strip_suffix(&format!("{stem}{ending}")) else { continue };
            let is_hidden = prefix.starts_with('.');
            if !is_hidden && (prefix.is_empty() || prefix.ends_with('_')) {
                found.insert(prefix.to_string());
            }
        }
    }
    found
}

fn several(root: &Path, prefixes: &BTreeSet<String>) -> Problem {
    let names: Vec<&str> = prefixes
        .iter()
        .map(|p| if p.is_empty() { "(none)" } else { p.trim_end_matches('_') })
        .collect();
    Problem::new(format!("the folder holds runs with several prefixes: {}", names.join(", ")))
        .at(root.display())
        .fix("choose one with --file-prefix (-fp)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn kinds_and_prefixes() {
        let found = |files: &[&str], prefix| {
            Folder::open(with(files).path(), prefix).map(|f| (f.kind, f.prefix))
        };
        let plain = ["models/chrombpnet.h5", "logs/chrombpnet.log", "evaluation/bias_metrics.json"];
        assert_eq!(found(&plain, None).unwrap(), (Kind::Chrombpnet, String::new()));
        assert_eq!(found(&["logs/bias.log"], None).unwrap(), (Kind::Bias, String::new()));
        let official = ["models/k562_x_chrombpnet.h5", "evaluation/bias_metrics.json"];
        assert_eq!(found(&official, None).unwrap(), (Kind::Chrombpnet, "k562_x_".into()));
        assert_eq!(found(&official, Some("k562_x")).unwrap().1, "k562_x_");
        let two = ["models/a_chrombpnet.h5", "models/b_chrombpnet.h5", "models/xchrombpnet.h5"];
        let error = found(&two, None).unwrap_err().to_string();
        assert!(error.contains("prefixes: a, b\n"), "{error}");
        assert_eq!(found(&two, Some("b")).unwrap().1, "b_");
        assert!(found(&two, Some("c")).unwrap_err().to_string().contains("prefix c"));
        assert!(found(&["models/xbias.h5"], None).is_err());
        assert!(Folder::open(Path::new("/no/such/folder"), None).is_err());
    }
}
