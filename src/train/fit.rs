//! The training loop: epochs of plans through an engine, validation, early stopping, logs, state.
//!
//! A run that is interrupted and started again ends with the same bits as one that never stopped:
//! plans depend on (seed, epoch) only, engines are deterministic, and the state file holds
//! everything else, also in the middle of an epoch.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::counts_head;
use super::early_stop::Best;
use super::pace::{Pace, announce};
use crate::batch::Example;
use crate::batch::sampler::Sampler;
use crate::console::{Console, duration};
use crate::engine::Train;
use crate::engine::cuda::precision::Precision;
use crate::error::Problem;
use crate::files::train_log::{self as log, EpochRow, Losses, RunningLoss};
use crate::files::train_state::{self, TrainState};
use crate::model::{Architecture, ParameterSet};
use crate::store::Tracks;

/// What the loop needs to know apart from engine and data.
#[derive(Clone)]
pub struct FitConfig {
    pub epochs: usize,
    /// Early-stopping patience in epochs.
    pub early_stop: usize,
    pub batch_size: usize,
    /// Columns of the batch log.
    pub trackables: Vec<String>,
    /// `*.log`
    pub log: PathBuf,
    /// `*.log.batch`
    pub batch_log: PathBuf,
    /// `*.safetensors`: where an interrupted run goes on.
    pub state: PathBuf,
    /// Identifies config and inputs; a state of another run is not continued.
    pub run_key: String,
    pub arch: Architecture,
    /// Why this run is on a CPU although nobody asked for one; it must not take long then.
    pub fallback: Option<String>,
    /// A run that goes on in another one does not have the same bits.
    pub precision: Precision,
    /// Where a centered counts head finds the targets of its bias, which is settled after each epoch; `None` for other heads.
    pub settle_counts: Option<Tracks>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Early stop or last epoch: the parameters of the best epoch.
    Finished {
        best: ParameterSet,
        best_epoch: usize,
        val: Losses,
        epochs_run: usize,
        /// In all sessions, validation included.
        seconds: f64,
    },
    /// Asked to stop; the state is saved.
    Interrupted { epoch: usize, batches_done: usize },
}

/// Where the loop stands: the part of the state that is not tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    run_key: String,
    precision: String,
    /// The engine keeps the bias model's outputs.
    #[serde(default)]
    keeps_bias: bool,
    epoch: usize,
    batches_done: usize,
    /// The counts head's bias was settled after this epoch's batches.
    #[serde(default)]
    settled: bool,
    running: RunningLoss,
    batch_rows: Vec<Losses>,
    epoch_rows: Vec<EpochRow>,
    best: Best,
    /// Spent so far, in all sessions of this run.
    #[serde(default)]
    seconds: f64,
}

/// An epoch can take hours on a CPU; a power cut should not cost more than this.
const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Trains until early stop, the last epoch, or `should_stop`; continues from the state file when
/// there is one of this run.
pub fn fit(
    engine: &mut dyn Train,
    sampler: &Sampler,
    valid: &[Example],
    cfg: &FitConfig,
    console: &Console,
    should_stop: &mut dyn FnMut() -> bool,
) -> Result<Ended> {
    if valid.is_empty() {
        return Err(Problem::new("no region is left for validation")
            .fix("check the fold's `valid` chromosomes against peaks and nonpeaks")
            .into());
    }
    let (mut at, mut best_parameters) = start_or_resume(engine, cfg, console)?;
    while at.epoch < cfg.epochs && !at.best.should_stop(cfg.early_stop) {
        let start = Instant::now();
        let trained = train_epoch(engine, sampler, cfg, console, should_stop, &mut at, || {
            best_parameters.clone()
        })?;
        let validated = match trained {
            true => match validate(engine, sampler, valid, cfg, &mut at, should_stop) {
                Ok(losses) => losses,
                Err(error) => {
                    let kept = keep_last_good(engine, cfg, &at, best_parameters);
                    let place = format!("validation after epoch {}", at.epoch + 1);
                    return Err(error.context(format!("{place}: training stopped; {kept}")));
                }
            },
            false => None,
        };
        at.seconds += start.elapsed().as_secs_f64();
        let Some(val) = validated else {
            save(engine, cfg, &at, best_parameters.clone())?;
            return Ok(Ended::Interrupted { epoch: at.epoch, batches_done: at.batches_done });
        };

        let row = EpochRow { train: at.running.mean(), valid: val };
        at.epoch_rows.push(row);
        log::append_batches(&cfg.batch_log, &cfg.trackables, at.epoch, &at.batch_rows)?;
        log::write_epochs(&cfg.log, &at.epoch_rows)?;
        let improved = at.best.update(at.epoch, val.total);
        if improved {
            best_parameters = Some(engine.parameters()?);
        }
        report_epoch(console, cfg, &at, &row, improved, start.elapsed().as_secs_f64(), sampler);
        at = Position {
            epoch: at.epoch + 1,
            batches_done: 0,
            settled: false,
            running: RunningLoss::default(),
            batch_rows: Vec::new(),
            ..at
        };
        save(engine, cfg, &at, best_parameters.clone())?;
    }
    let best = best_parameters.context("training ended before the first epoch did")?;
    let val = at.epoch_rows[at.best.epoch].valid;
    let (best_epoch, epochs_run, seconds) = (at.best.epoch, at.epoch, at.seconds);
    Ok(Ended::Finished { best, best_epoch, val, epochs_run, seconds })
}

/// The rest of the current epoch; false when asked to stop before its end.
///
/// The engine gets the plan whole and works through it by itself; it is interrupted only to stop or
/// to save.
fn train_epoch(
    engine: &mut dyn Train,
    sampler: &Sampler,
    cfg: &FitConfig,
    console: &Console,
    should_stop: &mut dyn FnMut() -> bool,
    at: &mut Position,
    best: impl Fn() -> Option<ParameterSet>,
) -> Result<bool> {
    let plan = sampler.epoch(at.epoch as u64);
    let batches = plan.len().div_ceil(cfg.batch_size);
    let left = plan.len().saturating_sub(at.batches_done * cfg.batch_size);
    let mut progress =
        console.progress(&format!("epoch {}/{}", at.epoch + 1, cfg.epochs), left as u64);
    let mut pace = Pace::default();
    let mut saved = Instant::now();
    while at.batches_done < batches {
        if should_stop() {
            return Ok(false);
        }
        let mut too_slow = Ok(());
        let rest = &plan[at.batches_done * cfg.batch_size..];
        let trained = engine.train_steps(rest, cfg.batch_size, &mut |loss, examples| {
            at.running.add(&loss, examples);
            at.batch_rows.push(at.running.mean());
            at.batches_done += 1;
            let note = format!("loss {:.3}", at.running.mean().total);
            progress.advance(examples as u64, &note);
            if let Some(rate) = pace.batch(examples, Instant::now()) {
                too_slow = announce(rate, sampler, at.epoch, cfg, console);
            }
            match too_slow.is_err() || should_stop() || saved.elapsed() > SAVE_EVERY {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if let Err(error) = trained {
            let place = format!("epoch {}, batch {}", at.epoch + 1, at.batches_done + 1);
            let kept = keep_last_good(engine, cfg, at, best());
            return Err(error.context(format!("{place}: training stopped; {kept}")));
        }
        too_slow?;
        if saved.elapsed() > SAVE_EVERY {
            save(engine, cfg, at, best())?;
            saved = Instant::now();
        }
    }
    progress.finish();
    Ok(true)
}

/// Mean losses over the validation plan, once the counts head is settled; `None` when asked to stop.
fn validate(
    engine: &mut dyn Train,
    sampler: &Sampler,
    valid: &[Example],
    cfg: &FitConfig,
    at: &mut Position,
    should_stop: &mut dyn FnMut() -> bool,
) -> Result<Option<Losses>> {
    if let Some(tracks) = cfg.settle_counts.as_ref().filter(|_| !at.settled) {
        let plan = sampler.epoch(at.epoch as u64);
        counts_head::settle(engine, &plan, tracks, &cfg.arch, cfg.batch_size)?;
        at.settled = true;
    }
    let mut running = RunningLoss::default();
    let mut stopped = should_stop();
    if !stopped {
        engine.evaluate_steps(valid, cfg.batch_size, &mut |loss, examples| {
            running.add(&loss, examples);
            stopped = should_stop();
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok((!stopped).then(|| running.mean()))
}

fn start_or_resume(
    engine: &mut dyn Train,
    cfg: &FitConfig,
    console: &Console,
) -> Result<(Position, Option<ParameterSet>)> {
    let fresh = Position {
        run_key: cfg.run_key.clone(),
        precision: cfg.precision.to_string(),
        keeps_bias: engine.keeps_bias(),
        ..Position::default()
    };
    if !cfg.state.exists() {
        return Ok((fresh, None));
    }
    let state = train_state::load(&cfg.state, &cfg.arch)?;
    let at: Position = serde_json::from_value(state.meta).map_err(|error| {
        Problem::new(format!("not a training state of this program: {error}"))
            .at(cfg.state.display())
            .fix("pass --force to start over")
    })?;
    if at.run_key != cfg.run_key {
        return Err(Problem::new(
            "the training state belongs to a run with other inputs or settings",
        )
        .at(cfg.state.display())
        .fix("pass --force to start over, or choose another output folder")
        .into());
    }
    if at.precision != fresh.precision {
        console.warning(format!(
            "the run was begun in {} and goes on in {}: it will not end with the same bits",
            at.precision, fresh.precision
        ));
    }
    if at.keeps_bias != fresh.keeps_bias {
        let how = |keeps| if keeps { "kept" } else { "computed in each step" };
        console.warning(format!(
            "the run was begun with the bias model's outputs {} and goes on with them {}: it will not end with the same bits",
            how(at.keeps_bias),
            how(fresh.keeps_bias)
        ));
    }
    engine.set_parameters(&state.parameters)?;
    engine.restore_optimizer(&state.optimizer)?;
    console.info(format!("resuming at epoch {}, batch {}", at.epoch + 1, at.batches_done + 1));
    let Position { precision, keeps_bias, .. } = fresh;
    Ok((Position { precision, keeps_bias, ..at }, state.best))
}

fn save(
    engine: &mut dyn Train,
    cfg: &FitConfig,
    at: &Position,
    best: Option<ParameterSet>,
) -> Result<()> {
    let state = TrainState {
        parameters: engine.parameters()?,
        optimizer: engine.optimizer_state()?,
        best,
        meta: serde_json::to_value(at)?,
    };
    train_state::save(&cfg.state, &state)
}

/// Saves what the engine holds after a step that failed, which is the state before that step, and
/// says what is kept. What goes wrong here must not hide why training stopped.
fn keep_last_good(
    engine: &mut dyn Train,
    cfg: &FitConfig,
    at: &Position,
    best: Option<ParameterSet>,
) -> String {
    let saved = engine.parameters().and_then(|parameters| {
        // A gradient that is not finite reaches the weights one batch before the loss shows it.
        if let Some(name) = parameters.first_non_finite() {
            anyhow::bail!("{name} is not finite already");
        }
        save(engine, cfg, at, best)
    });
    match saved {
        Ok(()) => format!(
            "{} keeps the last good state: epoch {}, {} batches done",
            cfg.state.display(),
            at.epoch + 1,
            at.batches_done
        ),
        Err(error) if cfg.state.exists() => {
            format!("{} keeps an earlier state; this one: {error:#}", cfg.state.display())
        }
        Err(error) => format!("no state is kept: {error:#}"),
    }
}

fn report_epoch(
    console: &Console,
    cfg: &FitConfig,
    at: &Position,
    row: &EpochRow,
    improved: bool,
    seconds: f64,
    sampler: &Sampler,
) {
    let rate = sampler.examples_per_epoch() as f64 / seconds.max(1e-9);
    let left = seconds * (cfg.epochs - at.epoch - 1) as f64;
    let text = format!(
        "epoch {}/{}: loss {:.4} (profile {:.4}, counts {:.4}), val_loss {:.4} (profile {:.4}, counts {:.4}){}; {}, {rate:.1} ex/s, at most {} left",
        at.epoch + 1,
        cfg.epochs,
        row.train.total,
        row.train.profile,
        row.train.counts,
        row.valid.total,
        row.valid.profile,
        row.valid.counts,
        if improved { " best" } else { "" },
        duration(seconds),
        duration(left)
    );
    let fields = json!({"epoch": at.epoch, "loss": row.train, "val_loss": row.valid,
                        "best": improved, "seconds": seconds, "examples_per_s": rate,
                        "eta_s": left});
    console.event("epoch", text, fields);
}
