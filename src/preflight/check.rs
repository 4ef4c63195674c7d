//! Every check of a training's inputs, on what headers and indexes say: nothing is packed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::contigs::{ContigTable, with_lengths};
use super::regions::File;
use super::sources::{self, Signal};
use super::{Finding, Inputs, Training, Verdict, counts, estimates};
use crate::engine::Chosen;
use crate::error::Problem;
use crate::files::keras_h5::{self, Role};
use crate::input::folds::{self, Folds};
use crate::input::reads::peek::{self, Peeked};
use crate::input::regions::{self, Region};
use crate::input::{chrom_sizes, intervals};
use crate::model::Architecture;
use crate::pack::reads::{Reads, SignalInput};

/// How long a FASTA without index or pack is read, and how long training steps are timed.
const PATIENCE_FASTA: Duration = Duration::from_secs(3);
pub(super) const PATIENCE_STEPS: Duration = Duration::from_secs(3);

/// A training under check. What cannot be had is the reason, which becomes a finding.
pub struct Checked<'a> {
    pub inputs: &'a Inputs,
    pub signal: Result<SignalInput>,
    pub settings: Result<(), Problem>,
    /// Shape of the trained branch.
    pub arch: Result<Architecture, Problem>,
    pub training: Training,
    pub bias_model: Option<&'a Path>,
    pub epochs: usize,
    pub batch_size: usize,
    pub output_dir: &'a Path,
    pub device: Result<Chosen>,
    /// A GPU is asked for by name. A login node may check what a GPU node will train, so a GPU that
    /// is not here is no failure then.
    pub names_gpu: bool,
    /// Regions to hold the peaks against.
    pub blacklist: Option<&'a Path>,
}

/// Findings so far, and the table.
#[derive(Default)]
pub struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) contigs: ContigTable,
    pub(super) estimates: serde_json::Map<String, Value>,
}

impl Report {
    /// The value, or a failed check of the file.
    pub(super) fn read<T>(&mut self, check: &'static str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.findings.push(failed(check, &error))).ok()
    }

    /// Counts the checks that ended with `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|f| f.verdict == verdict).count()
    }
}

pub(super) fn failed(check: &'static str, error: &anyhow::Error) -> Finding {
    Finding::fail(check, problem(error))
}

pub(super) fn problem(error: &anyhow::Error) -> Problem {
    match error.downcast_ref::<Problem>() {
        Some(problem) => problem.clone(),
        None => Problem::new(format!("{error:#}")),
    }
}

impl Checked<'_> {
    /// Runs every check that can be.
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        check(self, &mut report);
        report
    }
}

fn check(subject: &Checked, report: &mut Report) {
    let inputs = subject.inputs;
    let arch = subject.arch.as_ref().ok().copied();
    let wrong = [subject.settings.as_ref().err(), subject.arch.as_ref().err()];
    let wrong = wrong.into_iter().flatten().cloned();
    report.findings.extend(wrong.map(|problem| Finding::fail("settings", problem)));

    // First, so that what the engine takes of memory is seen apart from the tables.
    let bias = subject.bias_model.and_then(|path| bias_model(path, arch, report));
    let speed = arch.and_then(|arch| estimates::measure(subject, arch, bias, report));
    contig_lists(subject, report);
    let peaks = report.read("peaks", regions::read(&inputs.peaks));
    let nonpeaks = report.read("nonpeaks", regions::read(&inputs.nonpeaks));
    let folds = report.read("folds", folds::read(&inputs.folds));
    let blacklist_rows = subject
        .blacklist
        .and_then(|path| Some((path, report.read("blacklist", intervals::read(path))?)));
    let mut signal = open_signal(subject, report);
    for (role, path, read) in
        [("peaks", &inputs.peaks, &peaks), ("nonpeaks", &inputs.nonpeaks, &nonpeaks)]
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
        report.contigs.set_folds(&inputs.folds, folds);
    }
    report.findings.extend(report.contigs.findings());

    if let (Some(peaks), Some(nonpeaks)) = (&peaks, &nonpeaks) {
        let peaks = File { path: &inputs.peaks, regions: peaks };
        let nonpeaks = File { path: &inputs.nonpeaks, regions: nonpeaks };
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

/// The first rows of reads, read as training will read them.
fn peek(reads: &Reads) -> Result<Vec<Peeked>> {
    peek::contigs(&reads.sources, &reads.options()?)
}

/// Adds the contigs of the signal or of the reads to the table. Counts can be asked of a signal only:
/// training counts reads first, and then checks them.
fn open_signal(subject: &Checked, report: &mut Report) -> Option<Signal> {
    match &subject.signal {
        Err(error) => {
            report.findings.push(failed("signal", error));
            None
        }
        Ok(SignalInput::Track(path)) => {
            let signal = Signal::open(path, &subject.inputs.cache_dir);
            let signal = report.read("signal", signal)?;
            report.contigs.add_list("signal", path, with_lengths(signal.contigs()));
            Some(signal)
        }
        Ok(SignalInput::Reads(reads)) => {
            let peeked = report.read("reads", peek(reads))?;
            for (path, peeked) in reads.sources.files.iter().zip(peeked) {
                report.contigs.add_reads(path, peeked);
            }
            let later = "counts are checked when training has counted the reads";
            report.findings.push(Finding::pass("reads", later));
            None
        }
    }
}

/// Genome and sizes; the signal follows when it is open.
fn contig_lists(subject: &Checked, report: &mut Report) {
    let inputs = subject.inputs;
    let genome = sources::genome(&inputs.genome, &inputs.cache_dir, PATIENCE_FASTA);
    let genome = report.read("genome", genome);
    let sizes = report.read("chrom_sizes", chrom_sizes::read(&inputs.chrom_sizes));
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
        .at(inputs.genome.display())
        .fix("index it (samtools faidx), or pack it once: cbp-fast pack genome");
        report.findings.push(Finding::warn("genome", problem));
    }
    let genome = genome
        .as_ref()
        .map(|g| ("genome", &inputs.genome, with_lengths(&g.contigs).collect::<Vec<_>>()));
    let sizes = sizes
        .as_ref()
        .map(|s| ("chrom_sizes", &inputs.chrom_sizes, with_lengths(s).collect::<Vec<_>>()));
    let lists = if complete { [genome, sizes] } else { [sizes, genome] };
    for (role, path, contigs) in lists.into_iter().flatten() {
        report.contigs.add_list(role, path, contigs);
    }
}

fn about_regions(
    subject: &Checked,
    peaks: File,
    nonpeaks: File,
    blacklist: Option<(&Path, &[intervals::BedRow])>,
    folds: Option<&Folds>,
    report: &mut Report,
) {
    let training = &subject.training;
    report.findings.extend(super::regions::summits(peaks));
    let length = |name: &str| report.contigs.length(name);
    let jittered = training.inputlen + 2 * training.max_jitter;
    let edges = [
        super::regions::edges(peaks, "peaks", jittered, length),
        super::regions::edges(nonpeaks, "nonpeaks", training.inputlen, length),
    ];
    report.findings.extend(edges.into_iter().flatten());
    let overlaps = super::regions::overlaps(peaks, nonpeaks, blacklist, training.inputlen);
    report.findings.extend(overlaps);
    if let Some(folds) = folds {
        let holds = |region: &Region, width| report.contigs.holds(region, width);
        let found = super::regions::splits(peaks, nonpeaks, folds, training, holds);
        report.findings.extend(found);
    }
}

fn about_counts(
    subject: &Checked,
    peaks: File,
    nonpeaks: File,
    folds: &Folds,
    signal: &mut Signal,
    report: &mut Report,
) {
    let Ok(input) = &subject.signal else { return };
    let files = [peaks, nonpeaks];
    let result = counts::of_signal(files, folds, signal, input.path(), &subject.training);
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
