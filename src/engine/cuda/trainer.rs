//! Training on a device: an engine, and what updates the weights of its main branch.
//!
//! The host does nothing for a step but to start it. The state that steps change (cursor, the optimizer's
//! step, loss scale) lies in device memory; losses are collected there and fetched for several steps at once.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::arena::{Arena, Slot};
use super::bias_cache::{self, BiasCache, BiasModel};
use super::device::{Address, Device, Prepared};
use super::engine::CudaEngine;
use super::ops::step::StepState;
use super::precision::Precision;
use super::session::Session;
use super::step::{self, Kind, Updates};
use super::steps::one_step;
use super::weights::Weights;
use super::workspace::Workspace;
use crate::batch::Example;
use crate::console::grouped;
use crate::engine::{
    AfterBatch, ComingPlans, CountsHead, Engine, LossScale, Optimizer, OptimizerState, Predict,
    Predictions, StepLoss, Train, TrainSpec, checks,
};
use crate::model::ParameterSet;
use crate::store::Tracks;

/// An engine that trains its main branch.
pub struct CudaTrainer<D: Device> {
    pub(super) engine: CudaEngine<D>,
    pub(super) tracks: Tracks,
    training: Training,
}

/// What losses and updates need beside an engine.
pub struct Training {
    pub counts_loss_weight: f64,
    counts_head: CountsHead,
    optimizer: Optimizer,
    /// The tensors of `Optimizer::state`, parameter by parameter.
    state: Vec<Vec<Slot>>,
    /// Where they lie.
    arena: Arena,
    pub bias_cache: Option<BiasCache>,
    /// Why there is none although `keep_bias` was called.
    bias_in_step: Option<String>,
}

impl Training {
    /// The updates at the end of a step over the buffers of `session`, which has a backward pass.
    pub fn updates(&self, weights: &Weights, weights_arena: &Arena, session: &Session) -> Updates {
        let workspace = &session.workspace;
        let backward = workspace.backward.as_ref().expect("a session that trains has a way back");
        let state: Vec<[Address; 2]> = self
            .state
            .iter()
            .map(|of_one| match (self.optimizer, &of_one[..]) {
                (Optimizer::Adam(_), &[m, v]) => [self.arena[m], self.arena[v]],
                (Optimizer::Adam(_), _) => unreachable!("Adam keeps two moments"),
            })
            .collect();
        let centered = self.counts_head == CountsHead::Centered;
        let counts_head = centered.then(|| {
            let weight = self.counts_loss_weight;
            step::counts_head(weights, &state, weights_arena, workspace, backward, weight)
        });
        // The counts head comes last.
        let in_table = weights.tensors.len() - if centered { 2 } else { 0 };
        let table = step::table(
            &weights.tensors[..in_table],
            &state,
            weights_arena,
            &step::partials(workspace, backward),
        );
        Updates { table, table_at: session.arena[session.adam_table], counts_head }
    }
}

impl<D: Device> CudaTrainer<D> {
    /// Errors: those of `CudaEngine::new`.
    pub fn new(device: D, precision: Precision, spec: TrainSpec, tracks: Tracks) -> Result<Self> {
        let mut engine = CudaEngine::new(device, precision, spec.branches, tracks.clone())?;
        engine.state = engine.state.with(&spec.optimizer);
        let mut arena = Arena::default();
        let weights = &engine.main_weights;
        let state: Vec<Vec<Slot>> =
            weights.plan_like(|shape| spec.optimizer.state(shape), &mut arena);
        arena.allocate(&mut engine.device)?;
        for &slot in state.iter().flatten() {
            engine.device.zero(arena[slot], arena.bytes_of(slot))?;
        }
        let training = Training {
            counts_loss_weight: spec.counts_loss_weight,
            counts_head: spec.counts_head,
            optimizer: spec.optimizer,
            state,
            arena,
            bias_cache: None,
            bias_in_step: None,
        };
        Ok(Self { engine, tracks, training })
    }

    pub fn device(&mut self) -> &mut D {
        &mut self.engine.device
    }

    /// The prepared launches of a step of `kind` over `batch_size` examples, as the last call left
    /// plan and state; for tests and timings.
    pub fn schedule(&mut self, kind: Kind, batch_size: usize) -> Result<Arc<Prepared>> {
        let fetches_bias = self.engine.session.as_ref().is_some_and(|s| s.fetches_bias);
        let training = (!kind.predicts()).then_some(&self.training);
        self.engine.prepare(kind, batch_size, batch_size, fetches_bias, training)
    }

    /// Buffers of the current batch size.
    pub fn workspace(&self) -> Option<&Workspace> {
        self.engine.session.as_ref().map(|session| &session.workspace)
    }

    /// Uploads a plan and the state at its beginning; returns the schedule of `kind` for it.
    pub(super) fn begin(
        &mut self,
        kind: Kind,
        plan: &[Example],
        batch_size: usize,
    ) -> Result<Arc<Prepared>> {
        checks::check_plan(&self.tracks, plan, true)?;
        self.engine.begin(kind, plan, batch_size, Some(&self.training))
    }

    /// `None` in a precision that needs none.
    pub fn loss_scale(&self) -> Option<LossScale> {
        let StepState { dynamic_scale, loss_scale, clean_steps, .. } = self.engine.state;
        (dynamic_scale != 0).then_some(LossScale { scale: loss_scale, clean_steps })
    }

    /// Does nothing in a precision that needs none.
    pub fn set_loss_scale(&mut self, scale: LossScale) {
        let state = &mut self.engine.state;
        if state.dynamic_scale != 0 {
            (state.loss_scale, state.clean_steps) = (scale.scale, scale.clean_steps);
        }
    }

    /// The losses of `steps` steps, the first being number `from`.
    pub(super) fn fetch_losses(&mut self, from: usize, steps: usize) -> Result<Vec<StepLoss>> {
        let session = self.engine.session.as_ref().expect("prepared");
        let at = session.arena[session.losses].offset(from * size_of::<[f64; 3]>());
        let mut rows = vec![[0.0f64; 3]; steps];
        self.engine.device.download(at, bytemuck::cast_slice_mut(&mut rows))?;
        let loss = |[total, profile, counts]: [f64; 3]| StepLoss { total, profile, counts };
        Ok(rows.into_iter().map(loss).collect())
    }
}

impl<D: Device> Engine for CudaTrainer<D> {
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        self.engine.predict_sequences(codes, out)
    }

    fn memory_bytes(&self) -> Option<u64> {
        let kept = self.training.bias_cache.as_ref().map_or(0, BiasCache::bytes);
        let more = self.training.arena.bytes() + kept;
        self.engine.memory_bytes().map(|bytes| bytes + more as u64)
    }

    fn memory_plan(&self) -> Option<String> {
        let kept = self.training.bias_cache.iter().flat_map(BiasCache::memory_plan);
        let plans = self.engine.memory_plan().into_iter();
        Some(
            plans
                .chain([self.training.arena.to_string()])
                .chain(kept)
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }

    fn describe(&self) -> String {
        let engine = self.engine.line(self.memory_bytes());
        match (&self.training.bias_cache, &self.training.bias_in_step) {
            (Some(cache), _) => {
                let kept = grouped(cache.bytes().div_ceil(1 << 20) as u64);
                format!("{engine}, bias outputs kept ({kept} of them)")
            }
            (None, Some(why)) => format!("{engine}, bias outputs in each step ({why})"),
            (None, None) => engine,
        }
    }
}

impl<D: Device> Predict for CudaTrainer<D> {
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        self.engine.predict(plan, out)
    }
}

impl<D: Device> Train for CudaTrainer<D> {
    fn train_step(&mut self, plan: &[Example]) -> Result<StepLoss> {
        one_step(plan, |after| self.train_steps(plan, plan.len(), after))
    }

    fn evaluate(&mut self, plan: &[Example]) -> Result<StepLoss> {
        one_step(plan, |after| self.evaluate_steps(plan, plan.len(), after))
    }

    fn train_steps(
        &mut self,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        self.steps(Kind::Train, plan, batch_size, after)
    }

    fn evaluate_steps(
        &mut self,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        self.steps(Kind::Evaluate, plan, batch_size, after)
    }

    fn keep_bias(&mut self, coming: &ComingPlans) -> Result<()> {
        let Self { engine, training, .. } = self;
        // The schedules of a session fetch from what was kept before.
        engine.free_session()?;
        if let Some(old) = training.bias_cache.take() {
            old.free(&mut engine.device)?;
        }
        training.bias_in_step = None;
        if engine.bias.is_none() {
            return Ok(());
        }
        if !bias_cache::wanted(std::env::var("CBP_BIAS").ok().as_deref())? {
            training.bias_in_step = Some("CBP_BIAS=step".into());
            return Ok(());
        }
        // A step has its buffers first, whatever is kept.
        let steps = coming.rows.div_ceil(coming.batch_size);
        engine.replace_session(Kind::Train, coming.batch_size, coming.rows, steps)?;
        let (Some(arch), Some(weights)) = (&engine.bias, &engine.bias_weights) else {
            return Ok(());
        };
        let resident = engine.resident.as_ref().context("a trainer has a genome")?;
        let model = BiasModel {
            arch,
            weights,
            weights_arena: &engine.arena,
            genome: &resident.genome.at,
            precision: engine.precision,
        };
        let device = &mut engine.device;
        let mut cache = BiasCache::plan(&model, coming.windows, coming.others);
        let room = bias_cache::room(device.memory_bytes(), device.free_bytes()?);
        let bytes = cache.bytes() as u64;
        if bytes > room {
            let [bytes, room] = [bytes, room].map(|b| grouped(b.div_ceil(1 << 20)));
            training.bias_in_step =
                Some(format!("to keep them takes {bytes} MiB, there is room for {room}"));
            return Ok(());
        }
        cache.fill(&model, device)?;
        device.sync()?;
        training.bias_cache = Some(cache);
        Ok(())
    }

    fn keeps_bias(&self) -> bool {
        self.training.bias_cache.is_some()
    }

    fn parameters(&mut self) -> Result<ParameterSet> {
        let CudaEngine { device, arena, main_weights, .. } = &mut self.engine;
        main_weights.download(arena, device)
    }

    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()> {
        let CudaEngine { device, arena, main_weights, main, .. } = &mut self.engine;
        checks::check_set("the parameters", parameters, main)?;
        main_weights.upload(arena, parameters, device)
    }

    fn optimizer_state(&mut self) -> Result<OptimizerState> {
        let loss_scale = self.loss_scale();
        let CudaEngine { device, main_weights, main, state, .. } = &mut self.engine;
        let Training { arena, state: slots, optimizer, .. } = &self.training;
        let get = |parameter: usize, at: usize| {
            main_weights.download_one(parameter, arena[slots[parameter][at]], device)
        };
        OptimizerState::gather(optimizer, main, state.adam_step, loss_scale, get)
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        let CudaEngine { device, main_weights, main, .. } = &mut self.engine;
        let Training { arena, state: slots, optimizer, .. } = &self.training;
        state.scatter(optimizer, main, |parameter, at, values| {
            main_weights.upload_one(parameter, arena[slots[parameter][at]], values, device)
        })?;
        self.engine.state.adam_step = state.step;
        if let Some(scale) = state.loss_scale {
            self.set_loss_scale(scale);
        }
        Ok(())
    }

    fn step_bytes(&self) -> Option<f64> {
        let prepared = self.engine.session.as_ref()?.schedule(Kind::Train)?;
        Some(prepared.schedule.launches().iter().map(|launch| launch.floor.bytes).sum())
    }
}
