//! A run that can be stopped and go on: what it is made from, what is done already, and the way from
//! sequences to files.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::outputs::{Finished, Outputs};
use super::work::Work;
use super::{ContribsArgs, MethodName};
use crate::cli;
use crate::console::Console;
use crate::engine::{Device, Explain};
use crate::error::Problem;
use crate::files::atomic::folder_of;
use crate::files::row_spool::RowSpool;
use crate::interpret::stream::{self, Job, Outcome};
use crate::interpret::{Explainer, Method, SumCheck, head_names};
use crate::pack::cache;
use crate::train::record::RunRecord;
use crate::train::stop::StopFlag;

/// A run whose prefix is free for it.
pub struct Run {
    record: RunRecord,
    outputs: Outputs,
}

impl Run {
    /// Compares this command with what an earlier one left under its prefix. `None` when that is
    /// complete already.
    ///
    /// Errors, unless `--force`: rows or files of a run with other settings or inputs.
    pub fn settle(
        args: &ContribsArgs,
        device: &Device,
        outputs: Outputs,
        console: &Console,
    ) -> Result<Option<Self>> {
        let record = record(args, device)?;
        let run = Self { record, outputs };
        if args.force {
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
        let partial = outputs.partial().exists();
        let existing = outputs.scores().find(|path| path.exists());
        match RunRecord::read(&outputs.record())? {
            Some(earlier) if partial || existing.is_some() => {
                let changes = earlier.changes(&run.record);
                if !changes.is_empty() {
                    return Err(Problem::new(format!(
                        "the output prefix holds a run with other settings or inputs:\n    {}",
                        changes.join("\n    ")
                    ))
                    .at(outputs.record().display())
                    .fix("choose another -op, or pass --force to start over")
                    .into());
                }
                let is_there = outputs.scores().all(|path| path.exists());
                if earlier.complete
                    && earlier.is_whole(folder_of(&args.output_prefix), "-op")?
                    && is_there
                {
                    console.info(format!(
                        "{} is complete already; pass --force to compute it again",
                        outputs
                            .scores()
                            .map(|p| p.display().to_string())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ));
                    // Killed between the last two steps of a run.
                    RowSpool::sweep(&outputs.partial())?;
                    return Ok(None);
                }
            }
            _ => {
                if let Some(path) = existing {
                    return Err(Problem::new("there are scores of another run already")
                        .at(path.display())
                        .fix("choose another -op, or pass --force to replace them")
                        .into());
                }
            }
        }
        Ok(Some(run))
    }

    /// Explains what is not explained yet, then writes the files.
    ///
    /// Errors when asked to stop; everything finished is on disk then.
    pub fn go(
        mut self,
        args: &ContribsArgs,
        work: &Work,
        engines: Vec<Box<dyn Explain>>,
        method: Method,
        group: usize,
        console: &Console,
    ) -> Result<()> {
        let job = Job { n: work.len(), length: work.inputlen, heads: args.heads(), group };
        let stop = StopFlag::on_signals()?;
        let partial = self.outputs.partial();
        let open = if args.force { RowSpool::replace } else { RowSpool::open };
        let mut spool = open(&partial, &self.record.key(), job.parts())?;
        if args.force {
            // Scores of an earlier run must not stay beside the record of this one.
            for path in self.outputs.all(args).iter().filter(|path| **path != partial) {
                let _ = std::fs::remove_file(path);
            }
        }
        self.record.write(&self.outputs.record())?;
        if !spool.is_empty() {
            console.info(format!(
                "going on: {} of {} regions are done ({})",
                spool.len(),
                job.n,
                self.outputs.partial().display()
            ));
        }
        let describe = engines.first().map(|e| e.describe()).unwrap_or_default();
        let mut explainer = Explainer {
            engines,
            method,
            heads: job.heads,
            inputlen: work.inputlen,
            outputlen: work.outputlen,
        };
        let shown = if args.tqdm == 0 { Console::new(true, false) } else { *console };
        let to_do = (job.n - spool.len() / group * group) as u64;
        let mut progress = shown.progress("contribs", to_do).unit("regions");
        let requested = || stop.is_requested();
        let outcome = stream::run(
            &job,
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
        if let Outcome::Stopped { rows } = outcome {
            return Err(Problem::new(format!(
                "interrupted after {rows} of {} regions, which are saved",
                job.n
            ))
            .at(self.outputs.partial().display())
            .fix("run the same command again to go on")
            .into());
        }
        let sums = SumCheck::of_notes(spool.notes());
        report(to_do, rate, sums, console);
        let finished = Finished { work, spool: &spool, console: shown, stop: &requested };
        self.outputs.write(args, &finished)?;
        self.record.complete = true;
        self.record.outcome = json!({"regions": job.n, "left_out": work.left_out,
            "regions_per_s": rate, "engine": describe,
            "sum_check": {"regions": sums.rows, "worst": sums.worst}});
        let left = self.outputs.scores().chain(self.outputs.tracks(args));
        let left = left.chain(self.outputs.regions(args)).chain(self.outputs.all_stats(args));
        self.record.remember(left)?;
        self.record.write(&self.outputs.record())?;
        spool.remove()?;
        let written: Vec<String> =
            self.outputs.scores().map(|path| path.display().to_string()).collect();
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
fn record(args: &ContribsArgs, device: &Device) -> Result<RunRecord> {
    let mut settings = BTreeMap::from([
        ("heads".to_string(), json!(head_names(args.heads()))),
        ("method".to_string(), json!(args.method.name())),
        // Numbers differ between devices and their precisions, so rows of two do not mix.
        ("device".to_string(), json!(kind_of(device))),
        ("debug_chr".to_string(), json!(args.debug_chr)),
    ]);
    if args.method == MethodName::Deepshap && args.references.is_none() {
        settings.insert("n_references".to_string(), json!(args.n_references));
        settings.insert("seed".to_string(), json!(args.seed));
    }
    let mut inputs = BTreeMap::new();
    for (i, path) in args.model_h5.iter().enumerate() {
        inputs.insert(format!("model_{i}"), cache::fingerprint_in(path, &args.cache.cache_dir)?);
    }
    let others = [
        ("regions", &args.regions),
        ("genome", &args.genome),
        ("chrom_sizes", &args.chrom_sizes),
        ("fasta", &args.fasta),
        ("references", &args.references),
    ];
    for (role, path) in others {
        if let Some(path) = path {
            inputs.insert(role.to_string(), cache::fingerprint_in(path, &args.cache.cache_dir)?);
        }
    }
    Ok(RunRecord {
        version: env!("CARGO_PKG_VERSION").to_string(),
        command_line: cli::command_line(),
        settings,
        inputs,
        complete: false,
        outcome: Value::Null,
        left: BTreeMap::new(),
    })
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
