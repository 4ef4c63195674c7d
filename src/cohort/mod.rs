//! Several trainings at the same time, in one process on one device.
//!
//! Each run has an engine of its own: on a GPU its own graphs on its own stream, in one context, so that kernels of one
//! run fill what those of another leave. That is much where kernels are short (bias models, small batches) and little
//! where a single run already fills the GPU. What a run leaves does not depend on the others: every file is that of
//! the same command line alone.

pub mod list;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::console::{Console, duration};
use crate::engine::Device;
use crate::error::{self, Problem};
use crate::pipeline::{self, Training};
use crate::run::claim::Claim;
use crate::run::stop::StopFlag;
use crate::{defect, threads};

/// Runs at a time on a GPU.
const AT_ONCE: usize = 4;

/// What a run of a cohort does.
pub enum Work {
    Train(Training),
    Pipeline(pipeline::Job),
}

impl Work {
    fn training(&self) -> &Training {
        match self {
            Self::Train(training) => training,
            Self::Pipeline(job) => &job.training,
        }
    }

    /// What it reads and writes.
    pub fn claim(&self) -> Claim {
        self.training().claim()
    }

    fn run(&self, console: &Console) -> Result<()> {
        match self {
            Self::Train(training) => training.run(console).map(|trained| trained.report()),
            Self::Pipeline(job) => job.run(console),
        }
    }
}

/// A run of a cohort.
pub struct Member {
    /// The last part of its output folder.
    pub name: String,
    /// What it does, or why it cannot.
    pub work: Result<Work>,
    pub console: Console,
}

/// Runs `members` of the file `list`, `at_once` at the same time; `None`: as many as their devices
/// take.
///
/// Errors: a run that failed or was not begun, once all others have ended.
pub fn run(
    list: &Path,
    members: Vec<Member>,
    at_once: Option<usize>,
    console: &Console,
) -> Result<()> {
    let at_once = match at_once {
        Some(0) => return Err(Problem::new("--at-once must be at least 1").into()),
        Some(n) => n,
        None => most_at_once(&members),
    };
    let (total, at_once) = (members.len(), at_once.min(members.len()));
    console.info(format!("{total} runs, {at_once} at a time"));

    let stop = StopFlag::on_signals()?;
    let start = Instant::now();
    let queue = Mutex::new(VecDeque::from(members));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(run) = next(&queue, &stop) {
            let name = run.name.clone();
            if !finish(run, console) {
                failed.lock().expect("no thread panics with it").push(name);
            }
        }
    };
    thread::scope(|scope| {
        // This thread is one of them, so that there is one wherever threads are refused.
        for _ in 1..at_once {
            if let Err(problem) = threads::scoped(scope, "cohort", work) {
                console.warning(format!("fewer runs at a time: {problem}"));
                break;
            }
        }
        work();
    });
    let left = queue.into_inner().expect("no thread panics with it").len();
    let mut failed = failed.into_inner().expect("no thread panics with it");
    if failed.is_empty() && left == 0 {
        let time = duration(start.elapsed().as_secs_f64());
        console.info(format!("all {total} runs are done, {time}"));
        return Ok(());
    }
    failed.sort();
    let what = format!("{} of {total} runs did not end well, {left} were not begun", failed.len());
    Err(Problem::new(what)
        .at(format!("{}: {}", list.display(), failed.join(", ")))
        .fix("see their messages above, then run the same command again: it keeps what is done and goes on with the rest")
        .into())
}

fn next(queue: &Mutex<VecDeque<Member>>, stop: &StopFlag) -> Option<Member> {
    if stop.is_requested() {
        return None;
    }
    queue.lock().expect("no thread panics with it").pop_front()
}

/// Runs it, says how it ended, and returns true when that was well.
fn finish(run: Member, console: &Console) -> bool {
    let (name, start) = (run.name, Instant::now());
    // What would end the program ends that run alone.
    match run.work.and_then(|work| defect::caught(|| work.run(&run.console))) {
        Ok(()) => {
            console.info(format!("{name}: done, {}", duration(start.elapsed().as_secs_f64())));
            true
        }
        Err(error) => {
            console.warning(format!("{name}: {}", error::chain(&error)));
            false
        }
    }
}

/// How many runs the devices take at a time.
fn most_at_once(members: &[Member]) -> usize {
    let mut works = members.iter().filter_map(|member| member.work.as_ref().ok());
    match works.any(|work| work.training().setup().device.device == Device::Cpu) {
        true => 1,
        false => AT_ONCE,
    }
}
