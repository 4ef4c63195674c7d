//! The preflight: every input of a training command against every other, before the long work.
//!
//! ```text
//! genome, sizes, signal, reads -- names and lengths --+
//! peaks, nonpeaks, blacklist  -- names, places -------+-> contigs   one table; other names, other assembly
//! folds ----------------------------------------------+
//! peaks, nonpeaks, blacklist, folds ---------------------> regions   summits, edges, overlaps, splits
//! counts of a sample of regions -------------------------> counts    depth, silent peaks, bias threshold
//! this machine ------------------------------------------> machine   memory, disk, time an epoch
//!                                                               |
//!                                       findings: pass, warn or fail, each with its fix
//! ```
//!
//! `cbp-fast check` runs all of it on what headers and indexes say, without packing anything; a
//! training command runs the cheap parts on what it has opened anyway.

mod before_training;
pub mod check;
pub mod contigs;
pub mod counts;
mod estimates;
pub mod machine;
pub mod regions;
mod report;
pub mod sources;

pub use before_training::{Data, Inputs, before_packing, opened};
use serde::{Deserialize, Serialize};

use crate::console::Console;
pub(crate) use crate::console::grouped;
use crate::error::Problem;
use crate::model::Architecture;

/// How a check went; `pass`, `warn` or `fail` in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    /// It surprises, and the result may be poor.
    Warn,
    /// There can be no useful result.
    Fail,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which check: `contigs`, `summits`, `depth`, ...
    pub check: &'static str,
    pub verdict: Verdict,
    /// What, where, how to fix it.
    pub problem: Problem,
}

impl Finding {
    pub fn pass(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Pass, problem: Problem::new(what) }
    }

    pub fn warn(check: &'static str, problem: Problem) -> Self {
        Self { check, verdict: Verdict::Warn, problem }
    }

    pub fn fail(check: &'static str, problem: Problem) -> Self {
        Self { check, verdict: Verdict::Fail, problem }
    }
}

/// What is trained, as far as a check depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// bp
    pub inputlen: usize,
    /// bp
    pub outputlen: usize,
    /// bp to either side of train and valid peaks.
    pub max_jitter: usize,
    pub goal: Goal,
}

impl Training {
    pub fn new(arch: &Architecture, max_jitter: usize, goal: Goal) -> Self {
        Self { inputlen: arch.inputlen, outputlen: arch.outputlen, max_jitter, goal }
    }
}

/// Which of the two models.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    Bias { threshold_factor: f64 },
    Chrombpnet { negative_sampling_ratio: f64 },
}

/// The worst of all verdicts.
pub fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Pass)
}

/// Says the warnings, and stops on what fails.
pub fn stop_on_fail(findings: Vec<Finding>, console: &Console) -> Result<(), Problem> {
    let mut failed = Vec::new();
    for finding in findings {
        match finding.verdict {
            Verdict::Pass => {}
            Verdict::Warn => console.warning(finding.problem.to_string()),
            Verdict::Fail => failed.push(finding.problem),
        }
    }
    match failed.len() {
        0 => Ok(()),
        1 => Err(failed.remove(0)),
        n => {
            let all: Vec<String> = failed
                .iter()
                .zip(1..)
                .map(|(problem, i)| {
                    format!("  {i}. {}", problem.to_string().replace('\n', "\n   "))
                })
                .collect();
            Err(Problem::new(format!("{n} problems with the inputs\n{}", all.join("\n"))).fix(
                "put `check` before the command (cbp-fast check train ...) to see every check",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_itself_and_several_are_a_list() {
        let console = Console::new(true, false);
        let problem = |what: &str| Problem::new(what).at("a.bed").fix("mend it");
        assert!(stop_on_fail(vec![Finding::pass("x", "fine")], &console).is_ok());
        let one = stop_on_fail(vec![Finding::fail("x", problem("bad"))], &console).unwrap_err();
        assert_eq!(one.to_string(), "bad\n  where: a.bed\n  fix: mend it");
        let findings = ["bad", "worse"].map(|what| Finding::fail("x", problem(what))).to_vec();
        assert_eq!(worst(&findings), Verdict::Fail);
        let two = stop_on_fail(findings, &console).unwrap_err().to_string();
        for wanted in ["2 problems", "  1. bad\n     where: a.bed", "  2. worse", "check train"] {
            assert!(two.contains(wanted), "{two}");
        }
    }
}
