//! What one batch size and length of plan needs: buffers, and the schedules over them.

use std::sync::Arc;

use anyhow::Result;

use super::arena::{Arena, Slot};
use super::device::{Device, Prepared};
use super::engine::CudaEngine;
use super::ops::adam::AdamTensor;
use super::ops::bias_cache::Place;
use super::ops::step::{StepState, Stopped};
use super::step::{self, Kind, Surroundings};
use super::trainer::Training;
use super::workspace::{self, Workspace};
use crate::batch::Example;
use crate::engine::Predictions;
use crate::error::Problem;

/// Buffers of batches and plans.
pub struct Session {
    pub workspace: Workspace,
    /// Plan rows, losses, Adam's table.
    pub arena: Arena,
    plan: Slot,
    plan_rows: usize,
    /// Where the bias cache has the outputs of plan rows; `None` without a bias branch.
    places: Option<Slot>,
    pub losses: Slot,
    steps: usize,
    pub adam_table: Slot,
    /// One for each kind, with bias outputs fetched and computed.
    schedules: Vec<((Kind, bool), Arc<Prepared>)>,
    /// True when bias outputs of the plan that was uploaded last are fetched.
    pub fetches_bias: bool,
}

impl Session {
    /// The schedule of `kind` that was prepared last.
    pub fn schedule(&self, kind: Kind) -> Option<&Prepared> {
        let found = self.schedules.iter().rev().find(|((of, _), _)| *of == kind);
        found.map(|(_, schedule)| schedule.as_ref())
    }
}

impl<D: Device> CudaEngine<D> {
    /// Makes sure that there are buffers for batches of `batch_size` and plans of `rows`, and the schedule of
    /// `kind` over them, in which bias outputs are fetched or computed. `training` for all but predictions.
    pub(super) fn prepare(
        &mut self,
        kind: Kind,
        batch_size: usize,
        rows: usize,
        fetches_bias: bool,
        training: Option<&Training>,
    ) -> Result<Arc<Prepared>> {
        if !kind.predicts() {
            self.precision.check_whole()?;
        }
        let steps = rows.div_ceil(batch_size);
        let fits = |session: &Session| {
            // The order of sums depends on the batch size, so training insists on its own.
            let batch = match kind {
                Kind::Train | Kind::Gradients => session.workspace.batch == batch_size,
                Kind::Evaluate | Kind::Predict | Kind::PredictCodes => {
                    session.workspace.batch >= batch_size
                }
            };
            batch
                && session.plan_rows >= rows
                && session.steps >= steps
                && (session.workspace.backward.is_some() || !kind.has_backward())
        };
        if !self.session.as_ref().is_some_and(fits) {
            self.replace_session(kind, batch_size, rows, steps)?;
        }
        let session = self.session.as_mut().expect("made above");
        let key = (kind, fetches_bias);
        if let Some((_, schedule)) = session.schedules.iter().find(|(k, _)| *k == key) {
            return Ok(Arc::clone(schedule));
        }
        let updates = match (training, kind) {
            (Some(training), Kind::Train) => {
                let updates = training.updates(&self.main_weights, &self.arena, session);
                let table = bytemuck::cast_slice(&updates.table.tensors);
                self.device.upload(updates.table_at, table)?;
                Some(updates)
            }
            _ => None,
        };
        let cache = training.and_then(|t| t.bias_cache.as_ref()).filter(|_| fetches_bias);
        let kept_bias =
            cache.zip(session.places).map(|(cache, places)| cache.fetch(session.arena[places]));
        let surroundings = Surroundings {
            state: self.arena[self.state_at],
            plan: session.arena[session.plan],
            losses: session.arena[session.losses],
            genome: self.resident.as_ref().map(|packs| &packs.genome.at),
            signal: self.resident.as_ref().and_then(|packs| packs.signal.as_deref()).map(|s| &s.at),
            weights: &self.arena,
            main: &self.main_weights,
            bias: self.bias_weights.as_ref(),
            kept_bias,
            counts_loss_weight: training.map_or(1.0, |t| t.counts_loss_weight),
            core: self.device.core(),
        };
        let schedule = step::schedule(kind, &session.workspace, &surroundings, updates.as_ref());
        let schedule = Arc::new(self.device.prepare(schedule)?);
        session.schedules.push((key, Arc::clone(&schedule)));
        Ok(schedule)
    }

    pub(super) fn replace_session(
        &mut self,
        kind: Kind,
        batch: usize,
        rows: usize,
        steps: usize,
    ) -> Result<()> {
        workspace::check_batch(&self.main, batch)?;
        let mut trained = kind.has_backward();
        let (mut rows, mut steps) = (rows, steps);
        if let Some(old) = self.session.as_ref().filter(|old| old.workspace.batch == batch) {
            // What training or a longer plan needed, it will need again.
            trained |= old.workspace.backward.is_some();
            (rows, steps) = (rows.max(old.plan_rows), steps.max(old.steps));
        }
        self.free_session()?;
        let (main, bias) = (&self.main, self.bias.as_ref());
        let mut workspace = Workspace::plan(main, bias, batch, self.precision, trained);
        let mut arena = Arena::default();
        let plan = arena.plan::<Example>("plan", rows);
        let places = self.bias.as_ref().map(|_| arena.plan::<Place>("places of plan rows", rows));
        let losses = arena.plan::<[f64; 3]>("losses", steps);
        let adam_table = arena.plan::<AdamTensor>("Adam's table", self.main_weights.tensors.len());
        workspace.arena.allocate(&mut self.device)?;
        arena.allocate(&mut self.device)?;
        self.session = Some(Session {
            workspace,
            arena,
            plan,
            plan_rows: rows,
            places,
            losses,
            steps,
            adam_table,
            schedules: Vec::new(),
            fetches_bias: false,
        });
        Ok(())
    }

    pub(super) fn free_session(&mut self) -> Result<()> {
        if let Some(session) = self.session.take() {
            session.workspace.arena.free(&mut self.device)?;
            session.arena.free(&mut self.device)?;
        }
        Ok(())
    }

    /// Uploads a plan and the state at its beginning; returns the schedule of `kind` for it.
    pub(super) fn begin(
        &mut self,
        kind: Kind,
        plan: &[Example],
        batch_size: usize,
        training: Option<&Training>,
    ) -> Result<Arc<Prepared>> {
        let places = match training.and_then(|t| t.bias_cache.as_ref()) {
            Some(cache) => cache.places(plan, &mut self.device)?,
            None => None,
        };
        let schedule = self.prepare(kind, batch_size, plan.len(), places.is_some(), training)?;
        let session = self.session.as_mut().expect("prepared");
        self.device.upload(session.arena[session.plan], bytemuck::cast_slice(plan))?;
        if let (Some(places), Some(at)) = (&places, session.places) {
            self.device.upload(session.arena[at], bytemuck::cast_slice(places))?;
        }
        session.fetches_bias = places.is_some();
        self.begin_rows(plan.len(), batch_size)?;
        Ok(schedule)
    }

    /// Uploads the state at the beginning of `rows` examples.
    pub(super) fn begin_rows(&mut self, rows: usize, batch_size: usize) -> Result<()> {
        let rows = u32::try_from(rows)?;
        self.state = StepState { batch: batch_size as u32, ..self.state.at_plan(rows) };
        self.device.upload(self.arena[self.state_at], bytemuck::bytes_of(&self.state))
    }

    pub(super) fn fetch_state(&mut self) -> Result<StepState> {
        self.device.download(self.arena[self.state_at], bytemuck::bytes_of_mut(&mut self.state))?;
        Ok(self.state)
    }

    /// Appends the outputs of the `rows` examples that have just run to `out`. Errors when one is
    /// not finite; `place` names it.
    pub(super) fn fetch_outputs(
        &mut self,
        rows: usize,
        out: &mut Predictions,
        place: impl Fn(usize) -> String,
    ) -> Result<()> {
        let state = self.fetch_state()?;
        let outputlen = self.main.outputlen;
        let Self { device, session: Some(session), .. } = &mut *self else {
            unreachable!("a schedule ran")
        };
        let arena = &session.workspace.arena;
        let (logits, logcounts) = (out.logits.len(), out.logcounts.len());
        out.logits.resize(logits + rows * outputlen, 0.0);
        out.logcounts.resize(logcounts + rows, 0.0);
        let main = &session.workspace.main_out;
        device.download(arena[main.logits], bytemuck::cast_slice_mut(&mut out.logits[logits..]))?;
        device.download(
            arena[main.logcounts],
            bytemuck::cast_slice_mut(&mut out.logcounts[logcounts..]),
        )?;
        if let Some(Stopped::ByLoss { row }) = state.stopped() {
            return Err(Problem::new(format!(
                "an output of the model is not a finite number in {}",
                self.precision
            ))
            .at(place(row as usize))
            .fix("check the model, or predict with --precision f32")
            .into());
        }
        Ok(())
    }
}
