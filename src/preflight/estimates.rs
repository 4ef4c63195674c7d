//! What the run will take on this machine: time an epoch, memory, disk.

use serde_json::json;

use super::check::{self, Checked, PATIENCE_STEPS, Report};
use super::machine::{self, Speed};
use super::{Finding, Goal, sources};
use crate::error::Problem;
use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::model::Architecture;
use crate::threads;

/// Times a few steps of the engine.
pub(super) fn measure(
    subject: &Checked,
    arch: Architecture,
    bias: Option<Architecture>,
    report: &mut Report,
) -> Option<Speed> {
    let chosen = match &subject.device {
        Ok(chosen) => chosen,
        Err(error) if subject.names_gpu => {
            let problem = check::problem(error);
            let what = format!("time and GPU memory are not estimated: {}", problem.what());
            let fix = problem.way_out().unwrap_or_default().to_string();
            report.findings.push(Finding::warn("device", Problem::new(what).fix(fix)));
            return None;
        }
        Err(error) => {
            report.findings.push(check::failed("device", error));
            return None;
        }
    };
    // As in Chosen::begin.
    report.read("threads", threads::pool(chosen.threads).map_err(Into::into))?;
    let batch = subject.batch_size;
    report.read("time", machine::measure(&chosen.device, arch, bias, batch, PATIENCE_STEPS))
}

pub(super) fn about_machine(
    subject: &Checked,
    speed: Option<Speed>,
    regions: [&Option<Vec<Region>>; 2],
    folds: Option<&Folds>,
    report: &mut Report,
) {
    let Some(speed) = speed else { return };
    if let (Some(folds), [Some(peaks), Some(nonpeaks)]) = (folds, regions) {
        let (train, valid) = examples(subject, peaks, nonpeaks, folds);
        report.findings.push(machine::time(&speed, train, valid, subject.epochs));
        let seconds = machine::epoch_seconds(&speed, train, valid);
        report.estimates.insert("epoch_seconds".into(), json!(seconds));
    }
    if let Some(gpu) = speed.gpu_memory {
        let text = format!(
            "{:.1} GB on the GPU, and the packs of genome and signal beside it",
            gpu as f64 / 1e9
        );
        report.findings.push(Finding::pass("GPU memory", text));
        report.estimates.insert("gpu_memory_bytes".into(), json!(gpu));
    }
    let memory = speed.memory + machine::table_size(rows(regions));
    report.estimates.insert("memory_bytes".into(), json!(memory));
    report.findings.push(machine::enough(
        "memory",
        memory,
        machine::memory_left(),
        "in memory",
        "ask for more memory, or pass fewer --threads",
    ));
}

fn rows(regions: [&Option<Vec<Region>>; 2]) -> usize {
    regions.iter().map(|r| r.as_ref().map_or(0, Vec::len)).sum()
}

pub(super) fn disk(
    subject: &Checked,
    arch: Architecture,
    regions: [&Option<Vec<Region>>; 2],
    report: &mut Report,
) {
    let output = machine::output_size(arch.parameter_count(), rows(regions));
    let left = machine::disk_left(subject.output_dir);
    let what = format!("on disk in {}", subject.output_dir.display());
    let fix = "free some space, or choose another -o";
    report.findings.push(machine::enough("disk", output, left, &what, fix));
    report.estimates.insert("output_bytes".into(), json!(output));
    let (inputs, signal) = (subject.inputs, subject.signal.as_ref().ok());
    let cache = &inputs.cache_dir;
    // What cannot be read has failed above.
    if let Ok(packs) = sources::packs_to_make(&inputs.genome, signal, cache)
        && packs > 0
    {
        let what = format!("on disk for packs in {}", cache.display());
        let fix = "free some space, or choose another --cache-dir";
        let left = machine::disk_left(cache);
        report.findings.push(machine::enough("disk", packs, left, &what, fix));
        report.estimates.insert("pack_bytes".into(), json!(packs));
    }
}

/// Training and validation examples of an epoch, before the filters on counts.
fn examples(
    subject: &Checked,
    peaks: &[Region],
    nonpeaks: &[Region],
    folds: &Folds,
) -> (usize, usize) {
    let splits = folds.splits();
    let count = |regions: &[Region], split| {
        regions.iter().filter(|r| splits.of(&r.chrom) == Some(split)).count()
    };
    let of = |split| match subject.training.goal {
        Goal::Bias { .. } => count(nonpeaks, split),
        Goal::Chrombpnet { negative_sampling_ratio: ratio } => {
            let peaks = count(peaks, split);
            peaks + ((ratio * peaks as f64) as usize).min(count(nonpeaks, split))
        }
    };
    (of(Split::Train), of(Split::Valid))
}
