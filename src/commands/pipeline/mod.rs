//! `pipeline` and `bias pipeline`: from reads to the report in one command.
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
//! `qc` and `bias qc` are the part below `train`, on any model and any inputs, after the shift figure
//! and `logs/qc.run.json`, which says what was looked at. A rerun keeps every
//! stage whose files were made from the same inputs. Figures, motifs and report are there to be looked
//! at: when one of them fails, it is told, and the exit code stays that of the rest.

mod contributions;
mod footprints;
mod look;
mod motifs;
mod predictions;
pub mod qc;
mod shift;
mod stages;
mod subject;
mod subsample;
mod verdicts;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use self::stages::{Outcome, Stages};
use self::subject::{Kind, Subject};
use super::bias::{self, BiasTrainArgs};
use super::train::{self, TrainArgs};
use super::training::{self, Trained};
use crate::cli::args::TrainingArgs;
use crate::error::Problem;
use crate::quality::Verdicts;
use crate::report;
use crate::train::stop::StopFlag;

/// What is done with a trained model.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Explanation")]
pub struct ExplainArgs {
    /// Peaks whose contributions are computed, drawn as the official pipelines draw; 0 for none
    #[arg(long, value_name = "N", default_value_t = subsample::SIZE)]
    pub num_interpret: usize,

    /// Motif database in MEME format, to name the motifs that are found
    #[arg(long, value_name = "FILE")]
    pub meme_db: Option<PathBuf>,

    /// tfmodisco-lite's program [default: modisco on PATH]
    #[arg(long, value_name = "PATH")]
    pub modisco: Option<PathBuf>,
}

impl ExplainArgs {
    /// Before the long work: what is named must be there.
    fn check(&self) -> Result<(), Problem> {
        if let Some(modisco) = &self.modisco {
            crate::motifs::find(Some(modisco))?;
        }
        crate::motifs::check_database(self.meme_db.as_deref())
    }
}

const STRICT: &str = "End with an error when a verdict is a fail; refuse reads on contigs that the \
                      genome lacks or past a contig's end, instead of dropping them";

/// Train a ChromBPNet model, evaluate it on the test chromosomes, and explain it.
///
/// Takes every flag of `train`, and leaves what `train`, `predict`, `footprints`, `contribs` and
/// `report` make, under the official names. Run again, it goes on where it stopped.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("strict", |arg| arg.help(STRICT)))]
pub struct PipelineArgs {
    #[command(flatten)]
    pub train: TrainArgs,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

/// Train a bias model, evaluate it on the test chromosomes, and explain it.
///
/// Takes every flag of `bias train`. Run again, it goes on where it stopped.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("strict", |arg| arg.help(STRICT)))]
pub struct BiasPipelineArgs {
    #[command(flatten)]
    pub train: BiasTrainArgs,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

pub fn run(args: &PipelineArgs) -> Result<()> {
    args.explain.check()?;
    let meme_db = args.explain.meme_db.as_ref();
    training::refuse_as_input(&args.train.common, "chrombpnet", "--meme-db", meme_db)?;
    let trained = train::train(&args.train)?;
    after_training(Kind::Chrombpnet, trained, &args.train.common, &args.explain)
}

pub fn run_bias(args: &BiasPipelineArgs) -> Result<()> {
    args.explain.check()?;
    let meme_db = args.explain.meme_db.as_ref();
    training::refuse_as_input(&args.train.common, "bias", "--meme-db", meme_db)?;
    let trained = bias::train(&args.train)?;
    after_training(Kind::Bias, trained, &args.train.common, &args.explain)
}

fn after_training(
    kind: Kind,
    trained: Trained,
    args: &TrainingArgs,
    explain: &ExplainArgs,
) -> Result<()> {
    let subject = Subject::of_run(kind, &trained, args)?;
    let mut stages = stages(&subject, args.force)?;
    for (part, time) in trained.run.times() {
        stages.add(part, time, Outcome::Done);
    }
    if trained.run.is_done() {
        stages.add("training", Default::default(), Outcome::Kept);
    }
    let verdicts = evaluate(&subject, explain, stages)?;
    if args.reads.strict {
        verdicts.refuse_failed()?;
    }
    Ok(())
}

/// The stages of a run are remembered beside what they make.
fn stages(subject: &Subject, force: bool) -> Result<Stages> {
    let path = subject.tree.auxiliary("stages.json");
    Ok(Stages::open(&path, &subject.key, force, StopFlag::on_signals()?, &subject.console))
}

/// Everything after training.
fn evaluate(subject: &Subject, explain: &ExplainArgs, mut stages: Stages) -> Result<Verdicts> {
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
        let renamed = stages.is_outdated("motifs", &named, &files);
        stages
            .attempt("motifs", &named, &files, || motifs::run(subject, explain, afresh, renamed))?;
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
