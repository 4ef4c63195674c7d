//! What a run was made from: settings and input fingerprints, kept beside the model so that a rerun
//! can tell "go on", "already done" and "something changed".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Problem;
use crate::files::atomic;
use crate::pack::cache::Fingerprint;
use crate::run::prints::Print;

/// Name of the record that `qc` and `bias qc` leave in `logs/`.
pub const QC_RECORD: &str = "qc.run.json";

/// The contents of `*.run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of this program that began the run.
    pub version: String,
    /// The command line as typed.
    pub command_line: Vec<String>,
    /// Every setting that the result depends on.
    pub settings: BTreeMap<String, Value>,
    /// Input files by role.
    pub inputs: BTreeMap<String, Fingerprint>,
    /// True once all outputs are written.
    pub complete: bool,
    /// Device, best epoch, throughput: filled in at the end.
    #[serde(default)]
    pub outcome: Value,
    /// Files that a complete run left, by name, as they were.
    #[serde(default)]
    pub left: BTreeMap<String, Print>,
}

impl RunRecord {
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let record = serde_json::from_str(&text).map_err(|error| {
            Problem::new(format!("not a run record of this program: {error}"))
                .at(path.display())
                .fix("pass --force to start over, or choose another output folder")
        })?;
        Ok(Some(record))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        atomic::write(path, |out| Ok(std::io::Write::write_all(out, text.as_bytes())?))
    }

    /// Notes what the files are that the run leaves.
    pub fn remember(&mut self, files: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        for path in files {
            let print =
                Print::of(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.left.insert(name, print);
        }
        Ok(())
    }

    /// True when all that the run left in `folder` is still there.
    ///
    /// Errors: a file that is no longer what the run left. `flag` chooses another place.
    pub fn is_whole(&self, folder: &Path, flag: &str) -> Result<bool, Problem> {
        let mut whole = true;
        for (name, print) in &self.left {
            let path = folder.join(name);
            if !path.exists() {
                whole = false;
            } else if !print.is_of(&path) {
                return Err(Problem::new("this is not the file that the run left here")
                    .at(path.display())
                    .fix(format!("put the run's own file back, choose another {flag}, or pass --force to start over")));
            }
        }
        Ok(whole)
    }

    /// One line for each setting or input that differs from `self` to `now`.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for key in self.settings.keys().chain(now.settings.keys()) {
            let (old, new) = (self.settings.get(key), now.settings.get(key));
            let text = |v: Option<&Value>| v.map_or("unset".to_string(), Value::to_string);
            let line = format!("{key}: {} now {}", text(old), text(new));
            if old != new && !changes.contains(&line) {
                changes.push(line);
            }
        }
        for key in self.inputs.keys().chain(now.inputs.keys()) {
            let (old, new) = (self.inputs.get(key), now.inputs.get(key));
            let hash = |f: Option<&Fingerprint>| {
                f.map_or("none".to_string(), |f| format!("{} (xxh3 {})", f.name, f.xxh3))
            };
            let line = format!("{key}: {} now {}", hash(old), hash(new));
            let same = match (old, new) {
                (Some(old), Some(new)) => old.same_content(new),
                _ => false,
            };
            if !same && !changes.contains(&line) {
                changes.push(line);
            }
        }
        changes
    }

    /// Short hash of settings and input contents: names the run inside its state file.
    pub fn key(&self) -> String {
        let contents: Vec<(&String, &String)> =
            self.inputs.iter().map(|(k, f)| (k, &f.xxh3)).collect();
        let text = format!("{:?} {:?}", self.settings, contents);
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }
}
