//! Is a model fit for use? Numbers of an evaluation in, graded verdicts out.
//!
//! The thresholds are those of the official reports, where people read them off tables and one of
//! them stops the run. Here each is a verdict that says what to do; none stops anything unless asked
//! to. `evaluation/verdicts.json` holds them for machines, the report puts them first.

mod rules;

pub use rules::{
    bias_in_nonpeaks, bias_in_peaks, bias_response, chrombpnet_in_peaks, corrected_response,
};

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::Console;
use crate::error::Problem;
use crate::files::atomic;
pub use crate::preflight::Verdict as Grade;

/// One graded number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was measured, for machines.
    pub name: String,
    pub grade: Grade,
    /// `None` (null in the file) where it does not exist: a correlation with a constant.
    pub value: Option<f64>,
    /// When it passes, in words.
    pub rule: String,
    /// What it means, in words.
    pub message: String,
    /// What to do about it; `None` when it passes.
    pub advice: Option<String>,
}

/// All verdicts of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// `bias` or `chrombpnet`.
    pub model: String,
    pub verdicts: Vec<Verdict>,
}

impl Verdicts {
    pub fn new(model: &str, verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        Self { model: model.to_string(), verdicts: verdicts.into_iter().collect() }
    }

    /// The worst grade; a pass where nothing was graded.
    pub fn worst(&self) -> Grade {
        self.verdicts.iter().map(|v| v.grade).max().unwrap_or(Grade::Pass)
    }

    /// Says each verdict: what passes as a line, the rest as warnings.
    pub fn say(&self, console: &Console) {
        for v in &self.verdicts {
            match (v.grade, &v.advice) {
                (Grade::Pass, _) => console.info(format!("pass: {}", v.message)),
                (grade, advice) => {
                    let advice = advice.as_ref().map(|a| format!("\n  fix: {a}"));
                    let failed = if grade == Grade::Fail { "failed: " } else { "" };
                    console.warning(format!(
                        "{failed}{} ({}){}",
                        v.message,
                        v.rule,
                        advice.unwrap_or_default()
                    ));
                }
            }
        }
    }

    /// An error when any verdict is a fail: what `--strict` asks for.
    pub fn refuse_failed(&self) -> Result<(), Problem> {
        let failed: Vec<&str> = self
            .verdicts
            .iter()
            .filter(|v| v.grade == Grade::Fail)
            .map(|v| v.message.as_str())
            .collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Problem::new(format!("--strict: {}", failed.join("; "))).fix(
                "see the advice above; without --strict the command ends well and only warns",
            )),
        }
    }

    /// Writes `verdicts.json`: the worst grade, then every verdict.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&json!({
            "model": self.model, "worst": self.worst(), "verdicts": self.verdicts,
        }))?;
        atomic::write(path, |out| Ok(out.write_all(text.as_bytes())?))
    }

    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
        read().with_context(|| format!("{}: no verdicts", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_written_and_the_worst_counts() {
        let verdicts = Verdicts::new(
            "bias",
            [bias_in_peaks(0.1), bias_in_peaks(-0.6), bias_in_peaks(f64::NAN)],
        );
        assert_eq!(verdicts.worst(), Grade::Fail);
        assert_eq!(Verdicts::new("bias", []).worst(), Grade::Pass);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.json");
        verdicts.write(&path).unwrap();
        assert_eq!(Verdicts::read(&path).unwrap(), verdicts);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""worst": "fail""#) && text.contains(r#""value": null"#), "{text}");
    }

    #[test]
    fn strict_refuses_fails_only() {
        let warned = Verdicts::new("bias", [bias_in_peaks(-0.4), bias_in_nonpeaks(0.2)]);
        assert!(warned.worst() == Grade::Warn && warned.refuse_failed().is_ok());
        let failed = Verdicts::new("bias", [bias_in_peaks(-0.5)]);
        let text = failed.refuse_failed().unwrap_err().to_string();
        assert!(text.contains("--strict: ") && text.contains("-0.500"), "{text}");
    }
}
