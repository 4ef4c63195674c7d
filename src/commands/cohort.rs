//! `cohort`: several trainings at the same time, in one process on one device.
//!
//! Each run has an engine of its own: on a GPU its own graphs on its own stream, in one context, so that kernels of one
//! run fill what those of another leave. That is much where kernels are short (bias models, small batches) and little
//! where a single run already fills the GPU. What a run leaves does not depend on the others: every file is that of
//! the same command line alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use super::bias::{self, BiasCommand, BiasTrainArgs};
use super::pipeline::{self, BiasPipelineArgs, PipelineArgs};
use super::train::{self, TrainArgs};
use super::training;
use crate::cli::args::{ConsoleArgs, TrainingArgs};
use crate::cli::{self, Command};
use crate::console::{Console, duration};
use crate::engine::Device;
use crate::error::Problem;
use crate::input::lines;
use crate::run::claim::real_folder;
use crate::train::stop::StopFlag;
use crate::{defect, threads};

/// Runs at a time on a GPU.
const AT_ONCE: usize = 4;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct CohortArgs {
    /// Command lines, one a run: `train`, `bias train`, `pipeline` or `bias pipeline` with its flags
    ///
    /// As on a command line, with or without `cbp-fast` in front, quotes as in a shell. Empty lines and lines that begin
    /// with # are skipped; a backslash at the end of a line joins the next to it. Each run needs an output folder (-o) of its own, after which it is named in messages.
    #[arg(value_name = "RUNS")]
    pub runs: PathBuf,

    /// Runs at the same time [default: 4 on a GPU, 1 on the CPU]
    ///
    /// Each has its own copy of genome, signal and model on the GPU: lower it where memory is short.
    #[arg(long, value_name = "N", help_heading = "Device")]
    pub at_once: Option<usize>,

    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// A line of the file.
enum Work {
    Train(Box<TrainArgs>),
    Bias(Box<BiasTrainArgs>),
    Pipeline(Box<PipelineArgs>),
    BiasPipeline(Box<BiasPipelineArgs>),
}

impl Work {
    fn common(&mut self) -> &mut TrainingArgs {
        match self {
            Work::Train(args) => &mut args.common,
            Work::Bias(args) => &mut args.common,
            Work::Pipeline(args) => &mut args.train.common,
            Work::BiasPipeline(args) => &mut args.train.common,
        }
    }

    /// What the names of its files begin with.
    fn stem(&self) -> &'static str {
        match self {
            Work::Train(_) | Work::Pipeline(_) => "chrombpnet",
            Work::Bias(_) | Work::BiasPipeline(_) => "bias",
        }
    }

    fn run(self) -> Result<()> {
        match self {
            Work::Train(args) => train::run(*args),
            Work::Bias(args) => bias::run(BiasCommand::Train(args)),
            Work::Pipeline(args) => pipeline::run(&args),
            Work::BiasPipeline(args) => pipeline::run_bias(&args),
        }
    }
}

struct Run {
    /// The last part of its output folder.
    name: String,
    work: Work,
}

pub fn run(args: &CohortArgs) -> Result<()> {
    let console = args.console.console();
    let mut runs = read(&args.runs, args.console)?;
    let at_once = at_once(args.at_once, &mut runs)?.min(runs.len());
    let total = runs.len();
    console.info(format!("{total} runs, {at_once} at a time"));

    let stop = StopFlag::on_signals()?;
    let start = Instant::now();
    let queue = Mutex::new(VecDeque::from(runs));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(run) = next(&queue, &stop) {
            let name = run.name.clone();
            if !finish(run, &console) {
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
        .at(format!("{}: {}", args.runs.display(), failed.join(", ")))
        .fix("see their messages above, then run the same command again: it keeps what is done and goes on with the rest")
        .into())
}

fn next(queue: &Mutex<VecDeque<Run>>, stop: &StopFlag) -> Option<Run> {
    if stop.is_requested() {
        return None;
    }
    queue.lock().expect("no thread panics with it").pop_front()
}

/// Whether it ended well; says so.
fn finish(run: Run, console: &Console) -> bool {
    let (name, start) = (run.name, Instant::now());
    // What would end the program ends that run alone.
    match defect::caught(|| run.work.run()) {
        Ok(()) => {
            console.info(format!("{name}: done, {}", duration(start.elapsed().as_secs_f64())));
            true
        }
        Err(error) => {
            console.warning(format!("{name}: {}", cli::chain(&error)));
            false
        }
    }
}

/// Runs of the file, in its order. They speak as `console` says, under their names.
fn read(path: &Path, console: ConsoleArgs) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut folders = HashMap::new();
    let mut names = HashSet::new();
    for (number, line) in joined_lines(path)? {
        let at = || lines::place(path, number);
        lines::used(&line, "the command line").map_err(|problem| problem.at(at()))?;
        let (words, mut work) = parse(&line).map_err(|problem| problem.at(at()))?;
        let stem = work.stem();
        let common = work.common();
        training::refuse_as_input(common, stem, "-o", Some(&path.to_path_buf()))
            .map_err(|problem| problem.within(at()))?;
        common.command_line = Some(words);
        let folder = common.output_dir.clone();
        if let Some(first) = folders.insert(real_folder(&folder), number) {
            return Err(Problem::new(format!(
                "a second run writes to {}, as that of line {first} does",
                folder.display()
            ))
            .at(at())
            .fix("give each run an output folder of its own")
            .into());
        }
        let last = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        let name = match names.insert(last.clone().into_owned()) {
            true => last.into_owned(),
            false => folder.display().to_string(),
        };
        // Lives as long as the process: there are as many as runs.
        let label: &'static str = Box::leak(name.clone().into_boxed_str());
        common.console = ConsoleArgs { label: Some(label), ..console };
        runs.push(Run { name, work });
    }
    if runs.is_empty() {
        return Err(Problem::new("no run in the file")
            .at(path.display())
            .fix("write one command line a run, e.g. train -g genome.fa ... -fl fold_0.json -o fold_0")
            .into());
    }
    Ok(runs)
}

/// Command lines and the number of the first line of each; as in a shell, a line that ends in a
/// backslash goes on in the next.
fn joined_lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    lines::for_each(path, |number, line| {
        if !goes_on && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(());
        }
        let text = line.trim_end();
        let backslashes = text.len() - text.trim_end_matches('\\').len();
        let open = backslashes % 2 == 1;
        let text = if open { &text[..text.len() - 1] } else { text };
        match runs.last_mut().filter(|_| goes_on) {
            Some((_, run)) => *run += text,
            None => runs.push((number, text.to_string())),
        }
        goes_on = open;
        Ok(())
    })?;
    Ok(runs)
}

/// A command line, the program's name first, and what it asks for.
fn parse(line: &str) -> Result<(Vec<String>, Work), Problem> {
    let mut words = shlex::split(line)
        .ok_or_else(|| Problem::new("a quotation does not end").fix("close it"))?;
    let program = words.first().map(Path::new).and_then(Path::file_name);
    if program.is_none_or(|name| name != "cbp-fast" && name != "chrombpnet") {
        words.insert(0, "cbp-fast".into());
    }
    let command = cli::parse(words.iter().map(Into::into));
    let wrong = "this is no training";
    let work = match command {
        Ok(Command::Train(args)) => Ok(Work::Train(args)),
        Ok(Command::Bias(BiasCommand::Train(args))) => Ok(Work::Bias(args)),
        Ok(Command::Bias(BiasCommand::Pipeline(args))) => Ok(Work::BiasPipeline(args)),
        Ok(Command::Pipeline(args)) => Ok(Work::Pipeline(args)),
        Ok(_) => Err(Problem::new(wrong)),
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let what = text.lines().next().unwrap_or(wrong).trim_start_matches("error: ");
            Err(Problem::new(what))
        }
        Err(_) => Err(Problem::new(wrong)),
    };
    let fix = "write each run on one line, or with a backslash at the end of a line that goes on: train, bias train, pipeline or bias pipeline with its flags; try it on its own";
    work.map(|work| (words, work)).map_err(|problem| problem.fix(fix))
}

/// As many as are wanted, or as the runs' devices take.
fn at_once(wanted: Option<usize>, runs: &mut [Run]) -> Result<usize> {
    match wanted {
        Some(0) => Err(Problem::new("--at-once must be at least 1").into()),
        Some(n) => Ok(n),
        None => {
            for run in runs {
                if run.work.common().device.choose()?.device == Device::Cpu {
                    return Ok(1);
                }
            }
            Ok(AT_ONCE)
        }
    }
}
