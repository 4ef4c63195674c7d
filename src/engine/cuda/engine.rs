//! The engine: packs and weights resident, a plan uploaded whole, one prepared list run once a step.
//!
//! The host does nothing for a step but to start it. The state that steps change (cursor, Adam's
//! step, loss scale) lies in device memory; losses are collected there and fetched for several steps at once.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::arena::{Arena, Slot};
use super::bias_cache::{self, BiasCache, BiasModel};
use super::device::{Address, Device, Prepared};
use super::explain::Explainer;
use super::ops::Floor;
use super::ops::adam::AdamTensor;
use super::ops::bias_cache::Place;
use super::ops::step::{StepState, Stopped};
use super::precision::Precision;
use super::resident::Resident;
use super::step::{self, Kind, Partials, Surroundings, Updates};
use super::weights::Weights;
use super::workspace::{self, Workspace};
use crate::batch::Example;
use crate::console::grouped;
use crate::engine::checks::{self, BrokenLoss};
use crate::engine::{
    AfterBatch, ComingPlans, Contributions, CountsHead, Engine, EngineSpec, Explain, LossScale,
    OptimizerState, Predictions, StepLoss,
};
use crate::error::Problem;
use crate::model::{Architecture, ParameterSet, Tensor};
use crate::store::Tracks;

/// Losses are fetched about this often: a pause that nobody sees, and a stop that nobody waits for.
const FETCH_EVERY: Duration = Duration::from_millis(200);
const MOST_STEPS_AHEAD: usize = 64;
/// Sequences that `predict_sequences` runs at once.
const MOST_SEQUENCES: usize = 64;
/// The code of no base.
const N: u8 = 4;

/// Losses and gradients of one batch, parameters unchanged.
#[derive(Clone, Debug)]
pub struct Gradients {
    pub loss: StepLoss,
    pub parameters: ParameterSet,
    /// [filters]: means over the batch of the features that the counts head reads
    pub features: Vec<f32>,
    /// A gradient did not fit its type.
    pub overflow: bool,
}

/// The engine on one device.
pub struct CudaEngine<D: Device> {
    pub(super) device: D,
    pub(super) precision: Precision,
    pub(super) main: Architecture,
    bias: Option<Architecture>,
    counts_loss_weight: f64,
    counts_head: CountsHead,
    tracks: Tracks,
    resident: Resident,
    /// Weights, moments and the step's state.
    pub(super) arena: Arena,
    state_at: Slot,
    pub(super) main_weights: Weights,
    bias_weights: Option<Weights>,
    bias_cache: Option<BiasCache>,
    /// Why there is none although `keep_bias` was called.
    bias_in_step: Option<String>,
    first_moment: Vec<Slot>,
    second_moment: Vec<Slot>,
    /// The state as the last fetch found it; between runs that of the device.
    state: StepState,
    run: Option<Run>,
    pub(super) explainer: Option<Explainer>,
}

/// What one batch size and length of plan needs.
struct Run {
    workspace: Workspace,
    /// Plan rows, losses, Adam's table.
    arena: Arena,
    plan: Slot,
    plan_rows: usize,
    /// Of plan rows in the bias cache, when there is a bias branch.
    places: Option<Slot>,
    losses: Slot,
    steps: usize,
    adam_table: Slot,
    adam_floor: Floor,
    /// By kind, and whether bias outputs are fetched.
    lists: Vec<((Kind, bool), Arc<Prepared>)>,
    /// Those of the plan that was uploaded last are.
    fetches_bias: bool,
}

impl<D: Device> CudaEngine<D> {
    /// Errors when a network's tensors do not fit its shape or hold NaN, when the two branches have
    /// different lengths, and when the device has no room for packs and weights.
    pub fn new(
        mut device: D,
        precision: Precision,
        spec: EngineSpec,
        tracks: Tracks,
    ) -> Result<Self> {
        checks::check_spec(&spec)?;
        let resident = Resident::upload(&tracks, &mut device)?;
        let mut arena = Arena::default();
        let state_at = arena.plan::<StepState>("step state", 1);
        let main_weights = Weights::plan(&spec.main.arch, precision, "main", &mut arena);
        let first_moment = main_weights.plan_like("first moment", &mut arena);
        let second_moment = main_weights.plan_like("second moment", &mut arena);
        let bias_weights =
            spec.bias.as_ref().map(|b| Weights::plan(&b.arch, precision, "bias", &mut arena));
        arena.allocate(&mut device)?;

        main_weights.upload(&arena, &spec.main.parameters, &mut device)?;
        if let (Some(weights), Some(bias)) = (&bias_weights, &spec.bias) {
            weights.upload(&arena, &bias.parameters, &mut device)?;
        }
        for &moment in first_moment.iter().chain(&second_moment) {
            device.zero(arena[moment], arena.bytes_of(moment))?;
        }
        Ok(Self {
            precision,
            main: spec.main.arch,
            bias: spec.bias.map(|b| b.arch),
            counts_loss_weight: spec.counts_loss_weight,
            counts_head: spec.counts_head,
            tracks,
            resident,
            state_at,
            main_weights,
            bias_weights,
            bias_cache: None,
            bias_in_step: None,
            first_moment,
            second_moment,
            state: StepState::new(spec.learning_rate, 1, precision.scales_loss()),
            run: None,
            explainer: None,
            arena,
            device,
        })
    }

    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// The prepared launches of a step of `kind` over `batch_size` examples, as the last call left
    /// plan and state; for tests and timings.
    pub fn list(&mut self, kind: Kind, batch_size: usize) -> Result<Arc<Prepared>> {
        let fetches_bias = self.run.as_ref().is_some_and(|run| run.fetches_bias);
        self.prepare(kind, batch_size, batch_size, fetches_bias)
    }

    /// Buffers of the current batch size.
    pub fn workspace(&self) -> Option<&Workspace> {
        self.run.as_ref().map(|run| &run.workspace)
    }

    /// What Adam has to do in a step, once a list for training was prepared.
    pub fn adam_floor(&self) -> Floor {
        self.run.as_ref().map_or(Floor { flop: 0.0, bytes: 0.0 }, |run| run.adam_floor)
    }

    /// Losses and gradients of one batch, as `train_step` would use them; changes nothing.
    pub fn gradients(&mut self, plan: &[Example]) -> Result<Gradients> {
        checks::check_plan(&self.tracks, plan, true)?;
        let list = self.begin(Kind::Gradients, plan, plan.len())?;
        self.device.run(&list)?;
        let state = self.fetch_state()?;
        let loss = self.fetch_losses(0, 1)?[0];
        let Self { device, run: Some(Run { workspace, .. }), main_weights, main, .. } = self else {
            unreachable!("prepared above")
        };
        let backward = workspace.backward.as_ref().expect("prepared with a backward pass");
        let mut sum_of = |from: Partials, len: usize| -> Result<Vec<f32>> {
            let mut sum = vec![0.0f32; len];
            let mut part = vec![0.0f32; len];
            for split in 0..from.splits {
                let at = from.address.offset(4 * split * from.stride);
                device.download(at, bytemuck::cast_slice_mut(&mut part))?;
                sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            }
            Ok(sum)
        };
        let mut tensors = Vec::new();
        let wanted = main_weights.tensors.iter().zip(main.parameter_shapes());
        for ((parameter, (name, shape)), from) in wanted.zip(step::partials(workspace, backward)) {
            let mut sum = sum_of(from, parameter.layout.elements())?;
            sum.iter_mut().for_each(|g| *g /= state.loss_scale);
            tensors.push(Tensor { name, shape, data: parameter.layout.unpad(&sum) });
        }
        let mut features = sum_of(step::features(workspace, backward), main.filters)?;
        features.iter_mut().for_each(|sum| *sum /= plan.len() as f32);
        if state.bad_example == u32::MAX {
            Ok(Gradients {
                loss,
                parameters: ParameterSet { tensors },
                features,
                overflow: state.overflow != 0,
            })
        } else {
            Err(self.broken_loss(plan, state.bad_example as usize, plan.len())?.into())
        }
    }

    /// `None` in a precision that needs none.
    pub fn loss_scale(&self) -> Option<LossScale> {
        let StepState { dynamic_scale, loss_scale, clean_steps, .. } = self.state;
        (dynamic_scale != 0).then_some(LossScale { scale: loss_scale, clean_steps })
    }

    /// Does nothing in a precision that needs none.
    pub fn set_loss_scale(&mut self, scale: LossScale) {
        if self.state.dynamic_scale != 0 {
            (self.state.loss_scale, self.state.clean_steps) = (scale.scale, scale.clean_steps);
        }
    }

    /// Where the ReLUs of the last batch let through: per example and feature map X_0 .. X_n, [length]
    /// [filters]. After `gradients` only.
    pub fn masks(&mut self) -> Result<Vec<Vec<Vec<bool>>>> {
        let Self { device, run: Some(Run { workspace, .. }), main, .. } = self else {
            anyhow::bail!("no batch has been run");
        };
        let words = workspace.main.first.channels / 32;
        let mut examples = vec![Vec::new(); workspace.batch];
        for (i, &slot) in workspace.main_out.masks.iter().enumerate() {
            let mut bits = vec![0u32; workspace.arena.bytes_of(slot) / 4];
            device.download(workspace.arena[slot], bytemuck::cast_slice_mut(&mut bits))?;
            for (maps, bits) in
                examples.iter_mut().zip(bits.chunks_exact(main.trunk_len(i) * words))
            {
                let bit = |row: &[u32], c: usize| row[c / 32] >> (c % 32) & 1 != 0;
                let rows = bits.chunks_exact(words);
                maps.push(rows.flat_map(|row| (0..main.filters).map(|c| bit(row, c))).collect());
            }
        }
        Ok(examples)
    }

    /// Outputs of the bias branch for the last batch, of `rows` examples; for tests.
    pub fn bias_outputs(&mut self, rows: usize) -> Result<Predictions> {
        let Self { device, run: Some(Run { workspace, .. }), main, .. } = self else {
            anyhow::bail!("no batch has been run");
        };
        let out = workspace.bias_out.as_ref().context("there is no bias branch")?;
        let (mut logits, mut logcounts) = (vec![0.0; rows * main.outputlen], vec![0.0; rows]);
        device.download(workspace.arena[out.logits], bytemuck::cast_slice_mut(&mut logits))?;
        device
            .download(workspace.arena[out.logcounts], bytemuck::cast_slice_mut(&mut logcounts))?;
        Ok(Predictions { logits, logcounts })
    }

    /// Makes sure that there are buffers for batches of `batch_size` and plans of `rows`, and the list of
    /// `kind` over them, in which bias outputs are fetched or computed.
    fn prepare(
        &mut self,
        kind: Kind,
        batch_size: usize,
        rows: usize,
        fetches_bias: bool,
    ) -> Result<Arc<Prepared>> {
        if !kind.predicts() {
            self.precision.check_whole()?;
        }
        let steps = rows.div_ceil(batch_size);
        let fits = |run: &Run| {
            // The order of sums depends on the batch size, so training insists on its own.
            let batch = match kind {
                Kind::Train | Kind::Gradients => run.workspace.batch == batch_size,
                Kind::Evaluate | Kind::Predict | Kind::PredictCodes => {
                    run.workspace.batch >= batch_size
                }
            };
            batch
                && run.plan_rows >= rows
                && run.steps >= steps
                && (run.workspace.backward.is_some() || !kind.has_backward())
        };
        if !self.run.as_ref().is_some_and(fits) {
            self.replace_run(kind, batch_size, rows, steps)?;
        }
        let run = self.run.as_mut().expect("made above");
        let key = (kind, fetches_bias);
        if let Some((_, list)) = run.lists.iter().find(|(k, _)| *k == key) {
            return Ok(Arc::clone(list));
        }
        let updates = match (&run.workspace.backward, kind) {
            (Some(backward), Kind::Train) => {
                let address = |slots: &[Slot]| -> Vec<Address> {
                    slots.iter().map(|&slot| self.arena[slot]).collect()
                };
                let moments = [address(&self.first_moment), address(&self.second_moment)];
                let (weights, workspace) = (&self.main_weights, &run.workspace);
                let [first, second] = &moments;
                let centered = self.counts_head == CountsHead::Centered;
                let counts_head = centered.then(|| {
                    let weight = self.counts_loss_weight;
                    step::counts_head(
                        weights,
                        first,
                        second,
                        &self.arena,
                        workspace,
                        backward,
                        weight,
                    )
                });
                // The counts head comes last.
                let in_table = weights.tensors.len() - if centered { 2 } else { 0 };
                let table = step::table(
                    &weights.tensors[..in_table],
                    first,
                    second,
                    &self.arena,
                    &step::partials(workspace, backward),
                );
                let table_at = run.arena[run.adam_table];
                self.device.upload(table_at, bytemuck::cast_slice(&table.tensors))?;
                run.adam_floor = table.floor(self.precision.element());
                Some(Updates { table, table_at, counts_head })
            }
            _ => None,
        };
        let cache = self.bias_cache.as_ref().filter(|_| fetches_bias);
        let kept_bias = cache.zip(run.places).map(|(cache, places)| cache.fetch(run.arena[places]));
        let surroundings = Surroundings {
            state: self.arena[self.state_at],
            plan: run.arena[run.plan],
            losses: run.arena[run.losses],
            genome: &self.resident.genome,
            signal: self.resident.signal.as_ref(),
            weights: &self.arena,
            main: &self.main_weights,
            bias: self.bias_weights.as_ref(),
            kept_bias,
            counts_loss_weight: self.counts_loss_weight,
            core: self.device.core(),
        };
        let schedule = step::schedule(kind, &run.workspace, &surroundings, updates.as_ref());
        let list = Arc::new(self.device.prepare(schedule)?);
        run.lists.push((key, Arc::clone(&list)));
        Ok(list)
    }

    fn replace_run(&mut self, kind: Kind, batch: usize, rows: usize, steps: usize) -> Result<()> {
        workspace::check_batch(&self.main, batch)?;
        let mut trained = kind.has_backward();
        let (mut rows, mut steps) = (rows, steps);
        if let Some(old) = self.run.as_ref().filter(|old| old.workspace.batch == batch) {
            // What training or a longer plan needed, it will need again.
            trained |= old.workspace.backward.is_some();
            (rows, steps) = (rows.max(old.plan_rows), steps.max(old.steps));
        }
        self.free_run()?;
        let (main, bias) = (&self.main, self.bias.as_ref());
        let mut workspace = Workspace::plan(main, bias, batch, self.precision, trained);
        let mut arena = Arena::default();
        let plan = arena.plan::<Example>("plan", rows);
        let places = self.bias.as_ref().map(|_| arena.plan::<Place>("places of plan rows", rows));
        let losses = arena.plan::<[f64; 3]>("losses", steps);
        let adam_table = arena.plan::<AdamTensor>("Adam's table", self.main_weights.tensors.len());
        workspace.arena.allocate(&mut self.device)?;
        arena.allocate(&mut self.device)?;
        self.run = Some(Run {
            workspace,
            arena,
            plan,
            plan_rows: rows,
            places,
            losses,
            steps,
            adam_table,
            adam_floor: Floor { flop: 0.0, bytes: 0.0 },
            lists: Vec::new(),
            fetches_bias: false,
        });
        Ok(())
    }

    fn free_run(&mut self) -> Result<()> {
        if let Some(run) = self.run.take() {
            run.workspace.arena.free(&mut self.device)?;
            run.arena.free(&mut self.device)?;
        }
        Ok(())
    }

    /// Uploads a plan and the state at its beginning; returns the list of `kind` for it.
    fn begin(&mut self, kind: Kind, plan: &[Example], batch_size: usize) -> Result<Arc<Prepared>> {
        let places = match &self.bias_cache {
            Some(cache) if !kind.predicts() => cache.places(plan, &mut self.device)?,
            _ => None,
        };
        let list = self.prepare(kind, batch_size, plan.len(), places.is_some())?;
        let run = self.run.as_mut().expect("prepared");
        self.device.upload(run.arena[run.plan], bytemuck::cast_slice(plan))?;
        if let (Some(places), Some(at)) = (&places, run.places) {
            self.device.upload(run.arena[at], bytemuck::cast_slice(places))?;
        }
        run.fetches_bias = places.is_some();
        self.begin_rows(plan.len(), batch_size)?;
        Ok(list)
    }

    /// Uploads the state at the beginning of `rows` examples.
    fn begin_rows(&mut self, rows: usize, batch_size: usize) -> Result<()> {
        let rows = u32::try_from(rows)?;
        self.state = StepState { batch: batch_size as u32, ..self.state.at_plan(rows) };
        self.device.upload(self.arena[self.state_at], bytemuck::bytes_of(&self.state))
    }

    fn fetch_state(&mut self) -> Result<StepState> {
        self.device.download(self.arena[self.state_at], bytemuck::bytes_of_mut(&mut self.state))?;
        Ok(self.state)
    }

    /// Appends the outputs of the `rows` examples that have just run to `out`. Errors when one is
    /// not finite; `place` names it.
    fn fetch_outputs(
        &mut self,
        rows: usize,
        out: &mut Predictions,
        place: impl Fn(&Self, usize) -> String,
    ) -> Result<()> {
        let state = self.fetch_state()?;
        let outputlen = self.main.outputlen;
        let Self { device, run: Some(run), .. } = &mut *self else { unreachable!("a list ran") };
        let arena = &run.workspace.arena;
        let (logits, logcounts) = (out.logits.len(), out.logcounts.len());
        out.logits.resize(logits + rows * outputlen, 0.0);
        out.logcounts.resize(logcounts + rows, 0.0);
        let main = &run.workspace.main_out;
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
            .at(place(self, row as usize))
            .fix("check the model, or predict with --precision f32")
            .into());
        }
        Ok(())
    }

    fn fetch_losses(&mut self, from: usize, steps: usize) -> Result<Vec<StepLoss>> {
        let run = self.run.as_ref().expect("prepared");
        let at = run.arena[run.losses].offset(from * size_of::<[f64; 3]>());
        let mut rows = vec![[0.0f64; 3]; steps];
        self.device.download(at, bytemuck::cast_slice_mut(&mut rows))?;
        let loss = |[total, profile, counts]: [f64; 3]| StepLoss { total, profile, counts };
        Ok(rows.into_iter().map(loss).collect())
    }

    /// Steps over the whole plan, or until told to stop.
    fn steps(
        &mut self,
        kind: Kind,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        checks::check_plan(&self.tracks, plan, true)?;
        let list = self.begin(kind, plan, batch_size)?;
        let steps = plan.len().div_ceil(batch_size);
        let mut done = 0;
        let mut ahead = 1;
        while done < steps {
            let start = Instant::now();
            let wanted = ahead.min(steps - done);
            for _ in 0..wanted {
                self.device.run(&list)?;
            }
            let state = self.fetch_state()?;
            let good = state.row as usize - done;
            let mut flow = ControlFlow::Continue(());
            for (i, loss) in self.fetch_losses(done, good)?.into_iter().enumerate() {
                let examples = batch_size.min(plan.len() - (done + i) * batch_size);
                if after(loss, examples).is_break() {
                    flow = ControlFlow::Break(());
                }
            }
            if let Some(stopped) = state.stopped() {
                return Err(self.stopped(stopped, plan, batch_size)?.into());
            }
            if flow.is_break() {
                break;
            }
            done += good;
            // The first steps load kernels, so begin small and go by what was seen.
            ahead = match start.elapsed() {
                fast if fast < FETCH_EVERY / 2 => (2 * ahead).min(MOST_STEPS_AHEAD),
                slow if slow > 2 * FETCH_EVERY => (ahead / 2).max(1),
                _ => ahead,
            };
        }
        Ok(())
    }

    /// What to say of a step that stopped the run; the state on the device is that before it.
    fn stopped(&mut self, why: Stopped, plan: &[Example], batch_size: usize) -> Result<Problem> {
        match why {
            Stopped::ByLoss { row } => self.broken_loss(plan, row as usize, batch_size),
            Stopped::ByGradient => {
                let first = self.state.cursor as usize;
                let batch = &plan[first..plan.len().min(first + batch_size)];
                let place = |e: &Example| checks::place(&self.tracks, e, self.main.inputlen);
                let mut places: Vec<String> = batch.iter().take(3).map(place).collect();
                if batch.len() > 3 {
                    places.push(format!("and {} more", batch.len() - 3));
                }
                Ok(Problem::new(format!(
                    "a gradient is not a finite number in {}, although the losses are (loss scale {})",
                    self.precision, self.state.loss_scale
                ))
                .at(places.join(", "))
                .fix("lower --learning-rate, or train with --precision f32"))
            }
        }
    }

    fn broken_loss(&mut self, plan: &[Example], row: usize, batch: usize) -> Result<Problem> {
        let example = row - self.state.cursor as usize;
        let Self { device, run: Some(run), .. } = &mut *self else { unreachable!("a step ran") };
        let arena = &run.workspace.arena;
        let mut losses = [0.0f64; 2];
        let losses_at = arena[run.workspace.example_losses].offset(16 * example);
        device.download(losses_at, bytemuck::cast_slice_mut(&mut losses))?;
        let mut logcounts = [0.0f32];
        let logcounts_at = arena[run.workspace.main_out.logcounts].offset(4 * example);
        device.download(logcounts_at, bytemuck::cast_slice_mut(&mut logcounts))?;
        let broken = BrokenLoss {
            profile: losses[0],
            counts: losses[1],
            logcounts: logcounts[0].into(),
            example,
            batch: batch.min(plan.len() - self.state.cursor as usize),
        };
        Ok(broken.problem(checks::place(&self.tracks, &plan[row], self.main.inputlen)))
    }
}

impl<D: Device> Engine for CudaEngine<D> {
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
        // The lists of a run fetch from what was kept before.
        self.free_run()?;
        if let Some(old) = self.bias_cache.take() {
            old.free(&mut self.device)?;
        }
        self.bias_in_step = None;
        if self.bias.is_none() {
            return Ok(());
        }
        if !bias_cache::wanted(std::env::var("CBP_BIAS").ok().as_deref())? {
            self.bias_in_step = Some("CBP_BIAS=step".into());
            return Ok(());
        }
        // A step has its buffers first, whatever is kept.
        let steps = coming.rows.div_ceil(coming.batch_size);
        self.replace_run(Kind::Train, coming.batch_size, coming.rows, steps)?;
        let (Some(arch), Some(weights)) = (&self.bias, &self.bias_weights) else { return Ok(()) };
        let model = BiasModel {
            arch,
            weights,
            weights_arena: &self.arena,
            genome: &self.resident.genome,
            precision: self.precision,
        };
        let mut cache = BiasCache::plan(&model, coming.windows, coming.others);
        let room = bias_cache::room(self.device.memory_bytes(), self.device.free_bytes()?);
        let bytes = cache.bytes() as u64;
        if bytes > room {
            let [bytes, room] = [bytes, room].map(|b| grouped(b.div_ceil(1 << 20)));
            self.bias_in_step =
                Some(format!("to keep them takes {bytes} MiB, there is room for {room}"));
            return Ok(());
        }
        cache.fill(&model, &mut self.device)?;
        self.device.sync()?;
        self.bias_cache = Some(cache);
        Ok(())
    }

    fn keeps_bias(&self) -> bool {
        self.bias_cache.is_some()
    }

    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        checks::check_plan(&self.tracks, plan, false)?;
        let list = self.begin(Kind::Predict, plan, plan.len())?;
        self.device.run(&list)?;
        let place = |engine: &Self, row: usize| {
            checks::place(&engine.tracks, &plan[row], engine.main.inputlen)
        };
        self.fetch_outputs(plan.len(), out, place)
    }

    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        let inputlen = self.main.inputlen;
        let n = checks::check_codes("sequences", codes, inputlen)?;
        let mut done = 0;
        while done < n {
            let rows = MOST_SEQUENCES.min(n - done);
            let list = self.prepare(Kind::PredictCodes, rows, rows, false)?;
            let run = self.run.as_ref().expect("prepared above");
            // Rows beyond the last sequence are N, as `batch.cu` leaves them.
            let mut batch = codes[done * inputlen..][..rows * inputlen].to_vec();
            batch.resize(run.workspace.batch * inputlen, N);
            self.device.upload(run.workspace.arena[run.workspace.codes], &batch)?;
            self.begin_rows(rows, rows)?;
            self.device.run(&list)?;
            self.fetch_outputs(rows, out, |_, row| format!("sequence {}", done + row + 1))?;
            done += rows;
        }
        Ok(())
    }

    fn contributions(&mut self, of: &Explain, out: &mut Contributions) -> Result<()> {
        checks::check_explained(self.bias.is_some())?;
        self.explain(of, out)
    }

    fn parameters(&mut self) -> Result<ParameterSet> {
        let Self { device, arena, main_weights, .. } = self;
        main_weights.download(main_weights.masters(), arena, device)
    }

    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()> {
        checks::check_set("the parameters", parameters, &self.main)?;
        self.main_weights.upload(&self.arena, parameters, &mut self.device)
    }

    fn optimizer_state(&mut self) -> Result<OptimizerState> {
        let loss_scale = self.loss_scale();
        let Self { device, arena, main_weights, first_moment, second_moment, state, .. } = self;
        let mut get = |slots: &[Slot]| main_weights.download(slots.iter().copied(), arena, device);
        Ok(OptimizerState {
            step: state.adam_step,
            first_moment: get(first_moment)?,
            second_moment: get(second_moment)?,
            loss_scale,
        })
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        checks::check_set("the optimizer's first moments", &state.first_moment, &self.main)?;
        checks::check_set("the optimizer's second moments", &state.second_moment, &self.main)?;
        let Self { device, arena, main_weights, first_moment, second_moment, .. } = self;
        main_weights.upload_like(first_moment, arena, &state.first_moment, device)?;
        main_weights.upload_like(second_moment, arena, &state.second_moment, device)?;
        self.state.adam_step = state.step;
        if let Some(scale) = state.loss_scale {
            self.set_loss_scale(scale);
        }
        Ok(())
    }

    fn memory_bytes(&self) -> Option<u64> {
        let run = self.run.as_ref().map_or(0, |r| r.workspace.arena.bytes() + r.arena.bytes());
        let explainer = self.explainer.as_ref().map_or(0, Explainer::bytes);
        let kept = self.bias_cache.as_ref().map_or(0, BiasCache::bytes);
        Some((self.resident.arena.bytes() + self.arena.bytes() + kept + run + explainer) as u64)
    }

    fn memory_plan(&self) -> Option<String> {
        let run = self.run.as_ref().map(|r| [&r.workspace.arena, &r.arena]);
        let explainer = self.explainer.as_ref().map(Explainer::plan);
        let all = [&self.resident.arena, &self.arena]
            .into_iter()
            .chain(run.into_iter().flatten())
            .chain(explainer);
        let kept = self.bias_cache.iter().flat_map(BiasCache::memory_plan);
        Some(all.map(ToString::to_string).chain(kept).collect::<Vec<_>>().join("\n"))
    }

    fn step_bytes(&self) -> Option<f64> {
        let run = self.run.as_ref()?;
        let (_, list) = run.lists.iter().rev().find(|((kind, _), _)| *kind == Kind::Train)?;
        let bytes = |launch| step::floor(&run.workspace, launch, run.adam_floor).bytes;
        Some(list.schedule.launches().iter().map(bytes).sum())
    }

    fn describe(&self) -> String {
        let mib = self.memory_bytes().unwrap_or(0).div_ceil(1 << 20);
        let (device, core) = (self.device.describe(), self.device.core().name());
        let bias = match (&self.bias_cache, &self.bias_in_step) {
            (Some(cache), _) => {
                let kept = grouped(cache.bytes().div_ceil(1 << 20) as u64);
                format!(", bias outputs kept ({kept} of them)")
            }
            (None, Some(why)) => format!(", bias outputs in each step ({why})"),
            (None, None) => String::new(),
        };
        format!("{device}, {core} core, {}, {mib} MiB{bias}", self.precision)
    }
}

/// The loss of a plan that is a single batch.
fn one_step(
    plan: &[Example],
    steps: impl FnOnce(&mut AfterBatch) -> Result<()>,
) -> Result<StepLoss> {
    let mut found = StepLoss::default();
    if plan.is_empty() {
        return Err(Problem::new("a batch without examples").into());
    }
    steps(&mut |loss, _| {
        found = loss;
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
