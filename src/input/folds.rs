//! Folds: which chromosomes train, validate and test.
//!
//! In: JSON `{"train": [names], "valid": [names], "test": [names]}` as the official tool writes it.
//! Out: three lists that share no name. A chromosome in none of them is simply not used.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::lines;
use super::sniff::{self, Kind};
use crate::error::Problem;

/// One part of a fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    Valid,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// The key in the fold file.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Chromosome names of one fold. `train` and `valid` are never empty; `test` may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    pub train: Vec<String>,
    pub valid: Vec<String>,
    pub test: Vec<String>,
}

impl Folds {
    /// The part that `chrom` belongs to; `None` where the fold leaves it out. For one name or a few.
    pub fn split_of(&self, chrom: &str) -> Option<Split> {
        Split::ALL.into_iter().find(|&split| self.names(split).iter().any(|n| n == chrom))
    }

    /// The part that each chromosome belongs to. Draft genomes have 200,000 of them, so a loop asks
    /// this map and not the lists.
    pub fn splits(&self) -> Splits<'_> {
        let named = |split| self.names(split).iter().map(move |name| (name.as_str(), split));
        Splits(Split::ALL.into_iter().flat_map(named).collect())
    }

    pub fn names(&self, split: Split) -> &[String] {
        match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
            Split::Test => &self.test,
        }
    }
}

/// Parts by the name of the chromosome.
pub struct Splits<'a>(HashMap<&'a str, Split>);

impl Splits<'_> {
    /// The part that `chrom` belongs to; `None` where the fold leaves it out.
    pub fn of(&self, chrom: &str) -> Option<Split> {
        self.0.get(chrom).copied()
    }
}

/// Reads a fold file.
///
/// Errors: invalid JSON (line and column), a missing key, a value that is no list of names, an
/// empty train or valid list, a chromosome in two lists.
pub fn read(path: &Path) -> Result<Folds> {
    let mut text = Vec::new();
    lines::open(path)?.read_to_end(&mut text).map_err(|e| lines::unreadable(path, &e))?;
    let value: Result<Value, Problem> = serde_json::from_slice(&text).map_err(|e| {
        // serde_json ends its text with the position, which belongs to `where`.
        let reason = e.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Problem::new(format!("not valid JSON: {reason}"))
            .at(format!("{} line {} column {}", path.display(), e.line(), e.column()))
            .fix(SHAPE)
    });
    let value = value.map_err(|p| sniff::explain(path, p.into(), &[Kind::Json]))?;
    check(&value).map_err(|p| p.at(path.display()).into())
}

const SHAPE: &str =
    "a fold file looks like {\"train\": [\"chr2\"], \"valid\": [\"chr8\"], \"test\": [\"chr1\"]}";

fn check(value: &Value) -> Result<Folds, Problem> {
    let folds = Folds {
        train: list(value, Split::Train)?,
        valid: list(value, Split::Valid)?,
        test: list(value, Split::Test)?,
    };
    for split in [Split::Train, Split::Valid] {
        if folds.names(split).is_empty() {
            return Err(Problem::new(format!("fold lists no {split} chromosomes")).fix(SHAPE));
        }
    }
    for (a, b) in
        [(Split::Train, Split::Valid), (Split::Train, Split::Test), (Split::Valid, Split::Test)]
    {
        let known: HashSet<&String> = folds.names(b).iter().collect();
        if let Some(both) = folds.names(a).iter().find(|name| known.contains(name)) {
            return Err(Problem::new(format!("chromosome {both} is in both {a} and {b}"))
                .fix("each chromosome belongs to one list, or the scores are not held out"));
        }
    }
    Ok(folds)
}

fn list(value: &Value, split: Split) -> Result<Vec<String>, Problem> {
    let Some(object) = value.as_object() else {
        return Err(Problem::new("fold file is not a JSON object").fix(SHAPE));
    };
    let Some(list) = object.get(split.name()) else {
        let found: Vec<&str> = object.keys().map(String::as_str).collect();
        return Err(Problem::new(format!(
            "fold file has no {:?} list; its keys are: {}",
            split.name(),
            if found.is_empty() { "none".to_string() } else { found.join(", ") }
        ))
        .fix(SHAPE));
    };
    let wrong =
        || Problem::new(format!("{:?} is not a list of chromosome names", split.name())).fix(SHAPE);
    let mut names: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for name in list.as_array().ok_or_else(wrong)? {
        let name = name.as_str().filter(|n| !n.is_empty()).ok_or_else(wrong)?;
        if seen.insert(name) {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Folds> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        read(file.path())
    }

    #[test]
    fn splits() {
        let folds =
            read_text(r#"{"test": [], "train": ["chr1","chr3"], "valid": ["chr2"], "x": 1}"#)
                .unwrap();
        assert_eq!(folds.split_of("chr3"), Some(Split::Train));
        assert_eq!(folds.split_of("chr2"), Some(Split::Valid));
        assert_eq!(folds.split_of("chr9"), None);
        assert!(folds.test.is_empty());
    }

    #[test]
    fn bad_files() {
        for (text, wanted) in [
            ("{\"train\": [\"a\"],\n \"valid\" [\"b\"]}", "line 2 column"),
            ("", "not valid JSON"),
            ("[1]", "not a JSON object"),
            (r#"{"train": ["a"], "test": []}"#, "no \"valid\" list; its keys are: train, test"),
            (r#"{"train": "a", "valid": ["b"], "test": []}"#, "\"train\" is not a list"),
            (r#"{"train": ["a"], "valid": [2], "test": []}"#, "\"valid\" is not a list"),
            (r#"{"train": ["a"], "valid": [], "test": []}"#, "no valid chromosomes"),
            (r#"{"train": [], "valid": ["b"], "test": []}"#, "no train chromosomes"),
            (r#"{"train": ["a"], "valid": ["b"], "test": ["b"]}"#, "b is in both valid and test"),
            (r#"{"train": ["a"], "valid": ["a"], "test": []}"#, "a is in both train and valid"),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}
