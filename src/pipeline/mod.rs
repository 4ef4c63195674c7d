//! From reads to the report: a training, and everything that is made of its models.
//!
//! ```text
//! reads | bigWig -> train (counts, shift figure, regions, bias scaling, training: as `train` does)
//!                     |-> predictions      test set, official metrics          `predict` does the same
//!                     |-> footprints       of the enzyme's motifs              `footprints`
//!                     |-> subsample        30,000 peaks as officially drawn
//!                     |     `-> contributions -> motifs (modisco, if it is there)
//!                     |-> verdicts         evaluation/verdicts.json
//!                     `-> report           evaluation/overall_report.html, last
//! ```
//!
//! `qc` is the part below `train`, on any model and any inputs, after the shift figure
//! and `logs/qc.run.json`, which says what was looked at. A rerun keeps every
//! stage whose files were made from the same inputs. Figures, motifs and report are there to be looked
//! at: when one of them fails, it is told, and the exit code stays that of the rest.

mod contributions;
mod footprints;
mod motifs;
mod predictions;
pub mod qc;
mod shift;
mod subject;
mod subsample;
mod verdicts;

use std::path::PathBuf;

use anyhow::Result;

use self::subject::Subject;
pub use self::subsample::SIZE as SUBSAMPLE;
use crate::console::Console;
use crate::error::Problem;
use crate::motifs as modisco;
use crate::quality::Verdicts;
use crate::report;
use crate::run::claim::Claim;
use crate::run::stages::{Outcome, Stages};
use crate::run::stop::StopFlag;
use crate::train::{Setup, Trained, bias, chrombpnet};

/// How a trained model is explained.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Peaks whose contributions are computed; 0: none.
    pub num_interpret: usize,
    /// Motif database in MEME format.
    pub meme_db: Option<PathBuf>,
    /// tfmodisco-lite's program; `None`: `modisco` on the PATH.
    pub modisco: Option<PathBuf>,
}

impl Explain {
    /// Errors: a program or a database that is named and not there. Called before the long work.
    pub fn check(&self) -> Result<(), Problem> {
        if let Some(program) = &self.modisco {
            modisco::find(Some(program))?;
        }
        modisco::check_database(self.meme_db.as_deref())
    }
}

/// The training that a pipeline begins with.
#[derive(Clone, Debug)]
pub enum Training {
    Bias(bias::Job),
    Chrombpnet(chrombpnet::Job),
}

impl Training {
    pub fn setup(&self) -> &Setup {
        match self {
            Self::Bias(job) => &job.setup,
            Self::Chrombpnet(job) => &job.setup,
        }
    }

    /// What the job reads and writes.
    pub fn claim(&self) -> Claim {
        match self {
            Self::Bias(job) => job.claim(),
            Self::Chrombpnet(job) => job.claim(),
        }
    }

    /// Trains, or finds that it is done already.
    pub fn run(&self, console: &Console) -> Result<Trained> {
        match self {
            Self::Bias(job) => job.run(console),
            Self::Chrombpnet(job) => job.run(console),
        }
    }
}

/// A training, and what is made of its models.
#[derive(Clone, Debug)]
pub struct Job {
    pub training: Training,
    pub explain: Explain,
    /// A failed verdict is an error.
    pub strict: bool,
}

impl Job {
    /// Trains, evaluates, explains and reports; goes on where an earlier run stopped.
    ///
    /// Errors: those of training and of each stage whose files others need.
    pub fn run(&self, console: &Console) -> Result<()> {
        self.explain.check()?;
        self.training.claim().reads("--meme-db", &self.explain.meme_db).check()?;
        let trained = self.training.run(console)?;
        let subject = Subject::of_run(&trained)?;
        let mut stages = stages(&subject, self.training.setup().force)?;
        for (part, time) in trained.run.times() {
            stages.add(part, time, Outcome::Done);
        }
        if trained.run.is_done() {
            stages.add("training", Default::default(), Outcome::Kept);
        }
        let verdicts = evaluate(&subject, &self.explain, stages)?;
        if self.strict {
            verdicts.refuse_failed()?;
        }
        Ok(())
    }
}

/// The stages of a run are remembered beside what they make.
fn stages(subject: &Subject, force: bool) -> Result<Stages> {
    let path = subject.tree.auxiliary("stages.json");
    Ok(Stages::open(&path, &subject.key, force, StopFlag::on_signals()?, &subject.console))
}

/// Everything after training.
fn evaluate(subject: &Subject, explain: &Explain, mut stages: Stages) -> Result<Verdicts> {
    let page = subject.tree.evaluation("overall_report.html");
    stages.show(vec![page.clone(), verdicts::path(subject)]);
    let key = subject.stage_key(&[]);
    stages.run("predictions", &key, &predictions::files(subject), || predictions::run(subject))?;
    stages.run("footprints", &key, &footprints::files(subject), || footprints::run(subject))?;
    let figures = footprints::figures(subject);
    stages.attempt("footprint figures", &key, &figures, || footprints::draw(subject))?;

    let sampled = subject.stage_key(&[("num_interpret", explain.num_interpret.to_string())]);
    if explain.num_interpret > 0 {
        let path = subsample::path(subject);
        stages.run("subsample", &sampled, std::slice::from_ref(&path), || {
            let n = subsample::write(&subject.peaks, explain.num_interpret, &path)?;
            subject.console.info(format!("{n} peaks to explain: {}", path.display()));
            Ok(Outcome::Done)
        })?;
        let files = contributions::files(subject);
        let afresh = stages.is_outdated("contributions", &sampled, &files);
        stages.run("contributions", &sampled, &files, || contributions::run(subject, afresh))?;
        let named = motifs::key(subject, explain, &sampled)?;
        let files = motifs::files(subject);
        let force = stages.is_forced();
        stages.attempt("motifs", &named, &files, || motifs::run(subject, explain, force))?;
    }

    let verdicts = verdicts::write(subject)?;
    stages.show(Vec::new());
    // It shows what the other stages left.
    let request = request(subject);
    if report::is_current(&request) {
        stages.keep("report");
    } else {
        let write = || report::write(&request, &subject.console).map(|_| Outcome::Done);
        stages.attempt("report", &report::identity(&request)?, &[page], write)?;
    }
    stages.table();
    verdicts.say(&subject.console);
    Ok(verdicts)
}

fn request(subject: &Subject) -> report::Request<'_> {
    report::Request {
        folder: subject.tree.root(),
        file_prefix: subject.file_prefix.as_deref(),
        signal: subject.signal.as_deref(),
        html: None,
        // The folder is this run's: `train` and `qc` have seen to that.
        force: true,
    }
}
