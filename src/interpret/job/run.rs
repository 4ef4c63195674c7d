//! A run that can be stopped and go on: what it is made from, what is done already, and the way from
//! sequences to files.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::outputs::{Finished, Outputs};
use super::work::Work;
use super::{Job, MethodName, REFERENCES, SEED};
use crate::console::Console;
use crate::engine::{Device, Explain};
use crate::error::Problem;
use crate::files::atomic::folder_of;
use crate::files::row_spool::RowSpool;
use crate::interpret::stream::{self, Explained, Plan};
use crate::interpret::{Explainer, Method, SumCheck, head_names};
use crate::run::record::{RunRecord, Settings};
use crate::run::settle::{Place, Standing};
use crate::run::stop::StopFlag;

/// A run whose prefix is free for it.
pub struct ScoreRun {
    record: RunRecord,
    outputs: Outputs,
}

impl ScoreRun {
    /// Compares this command with what an earlier one left under its prefix. `None` when that is
    /// complete already.
    ///
    /// Errors, unless `--force`: rows or files of a run with other settings or inputs.
    pub fn settle(job: &Job, outputs: Outputs, console: &Console) -> Result<Option<Self>> {
        let record = record(job)?;
        let mut run = Self { record, outputs };
        if job.force {
            return Ok(Some(run));
        }
        let outputs = &run.outputs;
        for other in outputs.other_records() {
            let earlier = RunRecord::read(&other)?.and_then(|mut r| r.inputs.remove("regions"));
            let now = run.record.inputs.get("regions");
            if earlier.zip(now).is_some_and(|(earlier, now)| !earlier.same_content(now)) {
                return Err(Problem::new("the output prefix holds scores of other regions")
                    .at(other.display())
                    .fix("choose another -op, or pass --force to write over the list of regions that both share")
                    .into());
            }
        }
        let (record, partial) = (outputs.record(), outputs.partial());
        let standing = run.record.settle(&Place {
            name: "output prefix",
            flag: "-op",
            path: &record,
            record: &record,
            partial: &partial,
            results: outputs.scores().chain(outputs.extras(job)).collect(),
            folder: folder_of(&job.output_prefix),
            foreign: "there are scores of another run already",
        })?;
        if standing == Standing::Done {
            let scores: Vec<_> = run.outputs.scores().map(|p| p.display().to_string()).collect();
            console.info(format!(
                "{} is complete already; pass --force to compute it again",
                scores.join(", ")
            ));
            // Killed between the last two steps of a run.
            RowSpool::sweep(&partial)?;
            return Ok(None);
        }
        Ok(Some(run))
    }

    /// Explains what is not explained yet, then writes the files.
    ///
    /// Errors when asked to stop; everything finished is on disk then.
    pub fn go(
        mut self,
        job: &Job,
        work: &Work,
        engines: Vec<Box<dyn Explain>>,
        method: Method,
        group: usize,
        console: &Console,
    ) -> Result<()> {
        let plan = Plan { n: work.len(), length: work.inputlen, heads: job.asked(), group };
        let stop = StopFlag::on_signals()?;
        let partial = self.outputs.partial();
        let open = if job.force { RowSpool::replace } else { RowSpool::open };
        let mut spool = open(&partial, &self.record.key(), plan.parts())?;
        if job.force {
            // Scores of an earlier run must not stay beside the record of this one.
            for path in self.outputs.all(job).iter().filter(|path| **path != partial) {
                let _ = std::fs::remove_file(path);
            }
        }
        self.record.write(&self.outputs.record())?;
        if !spool.is_empty() {
            console.info(format!(
                "going on: {} of {} regions are done ({})",
                spool.len(),
                plan.n,
                self.outputs.partial().display()
            ));
        }
        let describe = engines.first().map(|e| e.describe()).unwrap_or_default();
        let mut explainer = Explainer {
            engines,
            method,
            heads: plan.heads,
            inputlen: work.inputlen,
            outputlen: work.outputlen,
        };
        let shown = if job.tqdm == 0 { Console::new(true, false) } else { *console };
        let to_do = (plan.n - spool.len() / group * group) as u64;
        let mut progress = shown.progress("contribs", to_do).unit("regions");
        let requested = || stop.is_requested();
        let outcome = stream::run(
            &plan,
            &|row, codes| work.codes(row, codes),
            &mut |first, codes| explainer.explain(first, codes, &requested),
            &mut spool,
            &requested,
            &mut progress,
        );
        if outcome.is_err() && spool.is_empty() {
            // Nothing that another run would lose, so nothing that should stand in its way.
            spool.remove()?;
            let _ = std::fs::remove_file(self.outputs.record());
            return outcome.map(|_| ());
        }
        let outcome = outcome?;
        let rate = progress.rate();
        progress.finish();
        if let Explained::Stopped { rows } = outcome {
            return Err(Problem::new(format!(
                "interrupted after {rows} of {} regions, which are saved",
                plan.n
            ))
            .at(self.outputs.partial().display())
            .fix("run the same command again to go on")
            .into());
        }
        let sums = SumCheck::of_notes(spool.notes());
        report(to_do, rate, sums, console);
        let finished = Finished { work, spool: &spool, console: shown, stop: &requested };
        self.outputs.write(job, &finished)?;
        let outcome = json!({"regions": plan.n, "left_out": work.left_out,
            "regions_per_s": rate, "engine": describe,
            "sum_check": {"regions": sums.rows, "worst": sums.worst}});
        let left = self.outputs.scores().chain(self.outputs.tracks(job));
        let left = left.chain(self.outputs.extras(job));
        let left = left.chain(self.outputs.regions(job)).chain(self.outputs.all_stats(job));
        self.record.complete(left, outcome, &self.outputs.record())?;
        spool.remove()?;
        let written = self.outputs.scores().chain(self.outputs.extras(job));
        let written: Vec<String> = written.map(|path| path.display().to_string()).collect();
        console.info(format!("wrote {}", written.join(", ")));
        Ok(())
    }
}

fn report(done: u64, rate: f64, sums: SumCheck, console: &Console) {
    let SumCheck { rows, worst } = sums;
    let sums = match rows {
        0 => String::new(),
        _ => format!(
            "; scores of {rows} regions without N sum to the change of the output within {worst:.1e} of their largest score"
        ),
    };
    console.event(
        "explained",
        format!("{done} regions, {rate:.2} regions/s{sums}"),
        json!({"regions": done, "regions_per_s": rate, "sum_check_regions": rows,
               "sum_check_worst": worst}),
    );
}

/// Every setting and input that the scores depend on.
fn record(job: &Job) -> Result<RunRecord> {
    // Numbers differ between devices and their precisions, so rows of two do not mix.
    let mut settings = Settings::default()
        .with("heads", head_names(job.asked()))
        .with("method", job.method.name())
        .with("device", kind_of(&job.device.device))
        .or("debug_chr", job.chroms.clone(), json!([]));
    if job.method == MethodName::Deepshap && job.references.is_none() {
        settings =
            settings.or("n_references", job.n_references, REFERENCES).or("seed", job.seed, SEED);
    }
    let mut inputs: Vec<(String, &Path)> = job
        .models
        .iter()
        .zip(0..)
        .map(|(path, i)| (format!("model_{i}"), path.as_path()))
        .collect();
    let others = [
        ("regions", &job.regions),
        ("genome", &job.genome),
        ("chrom_sizes", &job.chrom_sizes),
        ("fasta", &job.fasta),
        ("references", &job.references),
    ];
    inputs.extend(
        others.into_iter().filter_map(|(role, path)| Some((role.to_string(), path.as_deref()?))),
    );
    RunRecord::new(job.command_line.clone(), settings, inputs, &job.cache_dir)
}

/// The kind of device, whichever of its kind it is.
fn kind_of(device: &Device) -> String {
    match device {
        Device::Cpu => "cpu".to_string(),
        Device::Cuda { precision, .. } => format!("cuda, {precision}"),
        #[cfg(feature = "emulate")]
        Device::Emulated { precision } => format!("emulated, {precision}"),
    }
}
