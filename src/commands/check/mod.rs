//! `check`: the preflight of a training command, by that command's own flags.

mod before_training;
mod estimates;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::bias::BiasTrainArgs;
use super::pipeline::{BiasPipelineArgs, PipelineArgs};
use super::train::TrainArgs;
use crate::cli::args::TrainingArgs;
use crate::cli::reads_args::SignalInput;
use crate::console;
use crate::error::Problem;
use crate::files::keras_h5::{self, Role};
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds};
use crate::input::intervals;
use crate::input::reads::peek;
use crate::input::regions;
use crate::model::Architecture;
use crate::preflight::contigs::ContigTable;
use crate::preflight::counts;
use crate::preflight::regions::File;
use crate::preflight::sources::{self, Signal};
use crate::preflight::{self, Finding, Training, Verdict};

pub use before_training::{before_packing, opened};

/// Check the inputs of a training command against each other, in seconds.
///
/// Put `check` before the command and keep its flags: `cbp-fast check train -g hg38.fa ...`.
/// Nothing is packed or written. Exit code 1 when something fails.
#[derive(Args)]
#[command(next_help_heading = "Inputs")]
pub struct CheckArgs {
    #[command(subcommand)]
    command: Checked,

    /// Blacklist to hold the peaks against (-br)
    #[arg(long, global = true)]
    blacklist_regions: Option<PathBuf>,

    /// The report as JSON
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
}

#[derive(Subcommand)]
enum Checked {
    /// Check the inputs of `train`
    Train(Box<TrainArgs>),
    /// Check the inputs of `pipeline`
    Pipeline(Box<PipelineArgs>),
    /// Check the inputs of `bias train` or `bias pipeline`
    #[command(subcommand)]
    Bias(CheckedBias),
}

#[derive(Subcommand)]
enum CheckedBias {
    /// Check the inputs of `bias train`
    Train(Box<BiasTrainArgs>),
    /// Check the inputs of `bias pipeline`
    Pipeline(Box<BiasPipelineArgs>),
}

/// How long a FASTA without index or pack is read, and how long training steps are timed.
const PATIENCE_FASTA: Duration = Duration::from_secs(3);
const PATIENCE_STEPS: Duration = Duration::from_secs(3);

/// The command under check.
struct Subject<'a> {
    common: &'a TrainingArgs,
    training: Training,
    /// The trained branch, or why there can be none.
    arch: Result<Architecture, Problem>,
    bias_model: Option<&'a Path>,
}

impl<'a> Subject<'a> {
    fn of_train(args: &'a TrainArgs) -> Self {
        let common = &args.common;
        let (filters, layers) = (args.filters, args.n_dilation_layers);
        Self {
            common,
            training: args.training(),
            arch: Architecture::new(common.inputlen, common.outputlen, filters, layers),
            bias_model: Some(&args.bias_model_path),
        }
    }

    fn of_bias(args: &'a BiasTrainArgs) -> Self {
        let common = &args.common;
        let (filters, layers) = (args.filters, args.n_dilation_layers);
        Self {
            common,
            training: args.training(),
            arch: Architecture::new(common.inputlen, common.outputlen, filters, layers),
            bias_model: None,
        }
    }
}

/// Findings so far, and the table.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    contigs: ContigTable,
    estimates: serde_json::Map<String, Value>,
}

impl Report {
    /// The value, or a failed check of the file.
    fn read<T>(&mut self, check: &'static str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.findings.push(failed(check, &error))).ok()
    }
}

fn failed(check: &'static str, error: &anyhow::Error) -> Finding {
    Finding::fail(check, problem(error))
}

fn problem(error: &anyhow::Error) -> Problem {
    match error.downcast_ref::<Problem>() {
        Some(problem) => problem.clone(),
        None => Problem::new(format!("{error:#}")),
    }
}

pub fn run(args: &CheckArgs) -> Result<()> {
    let subject = match &args.command {
        Checked::Train(train) => Subject::of_train(train),
        Checked::Pipeline(pipeline) => Subject::of_train(&pipeline.train),
        Checked::Bias(CheckedBias::Train(bias)) => Subject::of_bias(bias),
        Checked::Bias(CheckedBias::Pipeline(pipeline)) => Subject::of_bias(&pipeline.train),
    };
    let mut report = Report::default();
    check(&subject, args.blacklist_regions.as_deref(), &mut report);
    let verdict = preflight::worst(&report.findings);
    match args.json {
        true => console::print_json(&report::as_json(&report, verdict))?,
        false => console::print(&report::as_text(&report, verdict))?,
    }
    match verdict {
        Verdict::Fail => {
            let n = report.findings.iter().filter(|f| f.verdict == Verdict::Fail).count();
            Err(Problem::new(format!("{n} checks failed")).fix("see the report above").into())
        }
        _ => Ok(()),
    }
}

fn check(subject: &Subject, blacklist: Option<&Path>, report: &mut Report) {
    let common = subject.common;
    let settings = common.refuse_unsupported();
    report.read("settings", settings);
    let arch = match &subject.arch {
        Ok(arch) => Some(*arch),
        Err(problem) => {
            report.findings.push(Finding::fail("settings", problem.clone()));
            None
        }
    };

    // First, so that what the engine takes of memory is seen apart from the tables.
    let bias = subject.bias_model.and_then(|path| bias_model(path, arch, report));
    let speed = arch.and_then(|arch| estimates::measure(subject, arch, bias, report));
    contig_lists(subject, report);
    let peaks = report.read("peaks", regions::read(&common.peaks));
    let nonpeaks = report.read("nonpeaks", regions::read(&common.nonpeaks));
    let folds = report.read("folds", folds::read(&common.chr_fold_path));
    let blacklist_rows =
        blacklist.and_then(|path| Some((path, report.read("blacklist", intervals::read(path))?)));
    let mut signal = open_signal(subject, report);
    for (role, path, read) in
        [("peaks", &common.peaks, &peaks), ("nonpeaks", &common.nonpeaks, &nonpeaks)]
    {
        if let Some(regions) = read {
            report.contigs.add_regions(role, path, regions);
        }
    }
    if let Some((path, rows)) = &blacklist_rows {
        let rows = rows.iter().map(|r| (r.chrom.as_str(), r.end, r.line));
        report.contigs.add_rows("blacklist", path, rows);
    }
    if let Some(folds) = &folds {
        report.contigs.set_folds(&common.chr_fold_path, folds);
    }
    report.findings.extend(report.contigs.findings());

    if let (Some(peaks), Some(nonpeaks)) = (&peaks, &nonpeaks) {
        let peaks = File { path: &common.peaks, regions: peaks };
        let nonpeaks = File { path: &common.nonpeaks, regions: nonpeaks };
        let blacklist = blacklist_rows.as_ref().map(|(path, rows)| (*path, &rows[..]));
        about_regions(subject, peaks, nonpeaks, blacklist, folds.as_ref(), report);
        if let (Some(folds), Some(signal)) = (&folds, &mut signal) {
            about_counts(subject, peaks, nonpeaks, folds, signal, report);
        }
    }
    estimates::about_machine(subject, speed, [&peaks, &nonpeaks], folds.as_ref(), report);
    if let Some(arch) = arch {
        estimates::disk(subject, arch, [&peaks, &nonpeaks], report);
    }
}

/// Adds the contigs of the signal or of the reads to the table. Counts can be asked of a signal only:
/// training counts reads first, and then checks them.
fn open_signal(subject: &Subject, report: &mut Report) -> Option<Signal> {
    match report.read("signal", subject.common.signal())? {
        SignalInput::Track(path) => {
            let signal = Signal::open(&path, &subject.common.cache.cache_dir);
            let signal = report.read("signal", signal)?;
            let contigs = signal.contigs().into_iter().map(|(name, length)| (name, Some(length)));
            report.contigs.add_list("signal", &path, contigs);
            Some(signal)
        }
        SignalInput::Reads(sources) => {
            for (path, peeked) in
                sources.files.iter().zip(report.read("reads", peek::contigs(&sources))?)
            {
                report.contigs.add_reads(path, peeked);
            }
            let later = "counts are checked when training has counted the reads";
            report.findings.push(Finding::pass("reads", later));
            None
        }
    }
}

/// Genome and sizes; the signal follows when it is open.
fn contig_lists(subject: &Subject, report: &mut Report) {
    let common = subject.common;
    let with_lengths = |contigs: Vec<(String, u64)>| {
        contigs.into_iter().map(|(name, length)| (name, Some(length))).collect::<Vec<_>>()
    };
    let genome = sources::genome(&common.genome, &common.cache.cache_dir, PATIENCE_FASTA);
    let genome = report.read("genome", genome);
    let sizes = report.read("chrom_sizes", chrom_sizes::read(&common.chrom_sizes));
    // A genome that was read in part still tells another assembly; then the sizes say what exists.
    let complete = genome.as_ref().is_some_and(|g| g.complete);
    if let Some(genome) = &genome
        && !complete
    {
        let problem = Problem::new(format!(
            "only the first {} contigs were read in {} s",
            genome.contigs.len(),
            PATIENCE_FASTA.as_secs()
        ))
        .at(common.genome.display())
        .fix("index it (samtools faidx), or pack it once: cbp-fast pack genome");
        report.findings.push(Finding::warn("genome", problem));
    }
    let genome = genome.map(|g| ("genome", &common.genome, with_lengths(g.contigs)));
    let sizes = sizes.map(|s| ("chrom_sizes", &common.chrom_sizes, with_lengths(s.entries)));
    let lists = if complete { [genome, sizes] } else { [sizes, genome] };
    for (role, path, contigs) in lists.into_iter().flatten() {
        report.contigs.add_list(role, path, contigs);
    }
}

fn about_regions(
    subject: &Subject,
    peaks: File,
    nonpeaks: File,
    blacklist: Option<(&Path, &[intervals::BedRow])>,
    folds: Option<&Folds>,
    report: &mut Report,
) {
    let training = &subject.training;
    report.findings.extend(preflight::regions::summits(peaks));
    let length = |name: &str| report.contigs.length(name);
    let jittered = training.inputlen + 2 * training.max_jitter;
    let edges = [
        preflight::regions::edges(peaks, "peaks", jittered, length),
        preflight::regions::edges(nonpeaks, "nonpeaks", training.inputlen, length),
    ];
    report.findings.extend(edges.into_iter().flatten());
    let overlaps = preflight::regions::overlaps(peaks, nonpeaks, blacklist, training.inputlen);
    report.findings.extend(overlaps);
    if let Some(folds) = folds {
        report.findings.extend(preflight::regions::splits(peaks, nonpeaks, folds, training));
    }
}

fn about_counts(
    subject: &Subject,
    peaks: File,
    nonpeaks: File,
    folds: &Folds,
    signal: &mut Signal,
    report: &mut Report,
) {
    let result = subject.common.signal().and_then(|input| {
        counts::of_signal([peaks, nonpeaks], folds, signal, input.path(), &subject.training)
    });
    if let Some((found, prospects)) = report.read("signal", result) {
        report.findings.extend(found);
        let rows: Vec<Value> = prospects
            .iter()
            .map(|p| json!({"factor": p.factor, "threshold": p.threshold, "nonpeaks": p.nonpeaks.round()}))
            .collect();
        report.estimates.insert("bias_threshold".into(), rows.into());
    }
}

/// The bias model's shape, when it can be read and has our lengths.
fn bias_model(
    path: &Path,
    arch: Option<Architecture>,
    report: &mut Report,
) -> Option<Architecture> {
    const CHECK: &str = "bias model";
    let model = report.read(CHECK, keras_h5::read_role(path, Role::Bias, "-b"))?;
    let bias = *model.arch();
    let wanted = arch.map_or((bias.inputlen, bias.outputlen), |a| (a.inputlen, a.outputlen));
    if (bias.inputlen, bias.outputlen) != wanted {
        let problem = Problem::new(format!(
            "the bias model has inputlen {} and outputlen {}, but this run has {} and {}",
            bias.inputlen, bias.outputlen, wanted.0, wanted.1
        ))
        .at(path.display())
        .fix("pass its --inputlen and --outputlen, or another bias model");
        report.findings.push(Finding::fail(CHECK, problem));
        return None;
    }
    let text = format!("{} filters, {} dilated layers", bias.filters, bias.n_dilation_layers);
    report.findings.push(Finding::pass(CHECK, text));
    Some(bias)
}
