//! What a run was made from: settings and input fingerprints, kept beside what it makes, so that a
//! rerun can tell "go on", "already done" and "something changed".
//!
//! A setting at its default is the same as none: what a later version can be told in addition does
//! not make the folders of this one those of other runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Problem;
use crate::files::atomic;
use crate::files::content;
use crate::run::prints::Print;
use crate::store::format::Fingerprint;

/// Name of the record that `qc` and `bias qc` leave in `logs/`.
pub const QC_RECORD: &str = "qc.run.json";

/// What a result depends on beside inputs, and what each setting is unless it is given.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, Value>,
    defaults: BTreeMap<String, Value>,
}

impl Settings {
    /// Adds a setting that has no default.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_string(), value.into());
        self
    }

    /// Adds a setting that is `default` unless it is given.
    pub fn or(mut self, name: &str, value: impl Into<Value>, default: impl Into<Value>) -> Self {
        self.defaults.insert(name.to_string(), default.into());
        self.with(name, value)
    }
}

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
    /// What `settings` are unless they are given; known to the program, not to the file.
    #[serde(skip)]
    defaults: BTreeMap<String, Value>,
}

impl RunRecord {
    /// The record of a run that begins. `inputs` are files by role, which are read once; hashes are
    /// remembered in `cache_dir`.
    pub fn new<'a>(
        command_line: Vec<String>,
        settings: Settings,
        inputs: impl IntoIterator<Item = (String, &'a Path)>,
        cache_dir: &Path,
    ) -> Result<Self> {
        let print = |(role, path)| Ok((role, content::fingerprint(path, Some(cache_dir))?));
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line,
            settings: settings.values,
            inputs: inputs.into_iter().map(print).collect::<Result<_>>()?,
            complete: false,
            outcome: Value::Null,
            left: BTreeMap::new(),
            defaults: settings.defaults,
        })
    }

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

    /// Leaves the record at `path`, or goes on with the one there, of the same settings and inputs: a
    /// rerun that finds everything done must not put its own device and command in the place of those
    /// that did it.
    pub fn begin(&mut self, path: &Path, force: bool) -> Result<()> {
        match Self::read(path).ok().flatten() {
            Some(earlier) if !force && earlier.changes(self).is_empty() => {
                *self = earlier;
                Ok(())
            }
            _ => self.write(path),
        }
    }

    /// Writes to `path` that the run is complete, what came of it, and what the files are that it left.
    pub fn complete(
        &mut self,
        files: impl IntoIterator<Item = PathBuf>,
        outcome: Value,
        path: &Path,
    ) -> Result<()> {
        self.remember(files)?;
        self.complete = true;
        self.outcome = outcome;
        self.write(path)
    }

    /// Notes what the files are that the run leaves.
    fn remember(&mut self, files: impl IntoIterator<Item = PathBuf>) -> Result<()> {
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
            let default = now.defaults.get(key);
            let text = |v: Option<&Value>| v.map_or("unset".to_string(), Value::to_string);
            let line = format!("{key}: {} now {}", text(old), text(new));
            if given(old, default) != given(new, default) && !changes.contains(&line) {
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

/// What was given of a setting: nothing where it is at its default. Of settings in settings, those
/// that are not at theirs.
fn given(value: Option<&Value>, default: Option<&Value>) -> Option<Value> {
    match (value?, default) {
        (value, Some(default)) if value == default => None,
        (Value::Object(parts), Some(Value::Object(defaults))) => {
            let differs = |(name, part): &(&String, &Value)| defaults.get(*name) != Some(*part);
            let parts =
                parts.iter().filter(differs).map(|(name, part)| (name.clone(), part.clone()));
            Some(parts.collect::<serde_json::Map<_, _>>())
                .filter(|p| !p.is_empty())
                .map(Value::Object)
        }
        (value, _) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(settings: Settings) -> RunRecord {
        RunRecord::new(vec![], settings, [], Path::new("")).unwrap()
    }

    #[test]
    fn a_setting_at_its_default_is_none() {
        let reads = |mapq: u8, pairs: bool| json!({"min_mapq": mapq, "proper_pairs": pairs});
        let now = |epochs: usize, mapq: u8| {
            let settings = Settings::default().with("model", "bias").or("epochs", epochs, 50);
            record(settings.or("reads", reads(mapq, false), reads(0, false)))
        };
        let earlier = record(Settings::default().with("model", "bias"));
        assert_eq!(earlier.changes(&now(50, 0)), [""; 0]);
        assert_eq!(earlier.changes(&now(49, 0)), ["epochs: unset now 49"]);
        let partly =
            Settings::default().with("model", "bias").with("reads", json!({"min_mapq": 0}));
        assert_eq!(record(partly.clone()).changes(&now(50, 0)), [""; 0], "a later part of reads");
        assert_eq!(record(partly).changes(&now(50, 3)).len(), 1);
        assert_eq!(now(50, 3).changes(&now(50, 0)).len(), 1);
        assert_eq!(record(Settings::default()).changes(&now(50, 0)), ["model: unset now \"bias\""]);
    }
}
