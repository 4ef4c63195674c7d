//! Training on the CPU: losses, gradients and updates of the main branch.

use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;

use super::branch::Purpose;
use super::counts_head::Centered;
use super::loss::{self, ExampleLoss};
use super::optimizer::Updater;
use super::scalar::Scalar;
use super::weights::PackedGradient;
use super::{CpuEngineOf, Options, Worker, give_back, plain, take};
use crate::batch::Example;
use crate::engine::{
    CountsHead, Engine, OptimizerState, Predict, Predictions, StepLoss, Train, TrainSpec, checks,
};
use crate::model::ParameterSet;
use crate::store::Tracks;

/// Examples whose gradients one task sums. Two halve the memory traffic of clearing and adding
/// gradients (25 MB each at 512 x 8) against one, and a batch of 64 still feeds 32 cores.
const GROUP: usize = 2;

/// The trainer in use.
pub type CpuTrainer = CpuTrainerOf<f32>;

/// An engine and what trains its main branch.
pub struct CpuTrainerOf<T> {
    engine: CpuEngineOf<T>,
    tracks: Tracks,
    /// trained parameters in Keras order and layout
    parameters: Vec<Vec<T>>,
    /// like `parameters`
    gradients: Vec<Vec<T>>,
    updater: Updater<T>,
    counts_loss_weight: f64,
    counts_head: CountsHead,
    /// [filters], means over the last batch that was differentiated
    features: Vec<f64>,
    spare_gradients: Mutex<Vec<PackedGradient<T>>>,
}

/// Losses and gradients of one batch, parameters unchanged.
#[derive(Clone, Debug)]
pub struct Gradients<T> {
    pub loss: StepLoss,
    /// d total / d parameter, in the order of `Architecture::parameter_shapes`
    pub parameters: Vec<Vec<T>>,
    /// `[filters]`: means over the batch of the features that the counts head reads
    pub features: Vec<f64>,
    /// [n, outputlen]
    pub logits: Vec<T>,
    /// `[n]`
    pub logcounts: Vec<f64>,
    /// d total / d logits, [n, outputlen]
    pub by_logits: Vec<T>,
    /// d total / d logcounts, `[n]`
    pub by_logcounts: Vec<f64>,
}

/// What is known of an example after its pass.
#[derive(Clone, Default)]
struct Record<T> {
    loss: ExampleLoss,
    logcounts: f64,
    by_logcounts: f64,
    /// logits and their gradient, where they are to be kept
    kept: Option<(Vec<T>, Vec<T>)>,
}

impl<T: Scalar> CpuTrainerOf<T> {
    /// Errors: those of `CpuEngineOf::new`.
    pub fn new(spec: TrainSpec, tracks: Tracks) -> Result<Self> {
        Self::with_options(spec, tracks, Options::default())
    }

    /// A trainer with the instruction set and the algorithm chosen.
    pub fn with_options(spec: TrainSpec, tracks: Tracks, options: Options) -> Result<Self> {
        let parameters = plain(&spec.branches.main.parameters);
        Ok(Self {
            updater: Updater::new(spec.optimizer, &spec.branches.main.arch),
            gradients: parameters.iter().map(|p| vec![T::ZERO; p.len()]).collect(),
            engine: CpuEngineOf::with_options(spec.branches, tracks.clone(), options)?,
            tracks,
            parameters,
            counts_loss_weight: spec.counts_loss_weight,
            counts_head: spec.counts_head,
            features: Vec::new(),
            spare_gradients: Mutex::default(),
        })
    }

    /// Losses and gradients of one batch, with the outputs they belong to; changes nothing.
    pub fn gradients(&mut self, plan: &[Example]) -> Result<Gradients<T>> {
        let outputlen = self.engine.main.arch.outputlen;
        let kept = Some((vec![T::ZERO; outputlen], vec![T::ZERO; outputlen]));
        let mut records = vec![Record { kept, ..Record::default() }; plan.len()];
        let loss = self.differentiate(plan, &mut records)?;
        let mut found = Gradients {
            loss,
            parameters: self.gradients.clone(),
            features: self.features.clone(),
            logits: Vec::new(),
            logcounts: records.iter().map(|r| r.logcounts).collect(),
            by_logits: Vec::new(),
            by_logcounts: records.iter().map(|r| r.by_logcounts).collect(),
        };
        for (logits, by_logits) in records.iter().filter_map(|r| r.kept.as_ref()) {
            found.logits.extend_from_slice(logits);
            found.by_logits.extend_from_slice(by_logits);
        }
        Ok(found)
    }

    /// Trained parameters, in the order of `Architecture::parameter_shapes`.
    pub fn weights(&self) -> &[Vec<T>] {
        &self.parameters
    }

    /// Replaces the trained parameters, at full precision. Panics when the sizes differ.
    pub fn set_weights(&mut self, weights: &[Vec<T>]) {
        assert_eq!(weights.len(), self.parameters.len());
        for (to, from) in self.parameters.iter_mut().zip(weights) {
            to.copy_from_slice(from);
        }
        self.engine.main.repack(&self.parameters);
    }

    /// Forward and backward of the batch: fills `self.gradients`.
    fn differentiate(&mut self, plan: &[Example], records: &mut [Record<T>]) -> Result<StepLoss> {
        checks::check_plan(&self.tracks, plan, true)?;
        let gradient = self.sum_gradients(plan, records, plan.len());
        let loss = self.step_loss(plan, records);
        gradient.unpack(&self.engine.main.arch, &mut self.gradients);
        let sums = gradient.features[..self.engine.main.arch.filters].iter();
        self.features = sums.map(|sum| sum.to_f64() / plan.len() as f64).collect();
        give_back(&self.spare_gradients, gradient);
        loss
    }

    /// Gradient of a range of the batch: groups in parallel, added two by two in index order.
    fn sum_gradients(
        &self,
        plan: &[Example],
        records: &mut [Record<T>],
        batch: usize,
    ) -> PackedGradient<T> {
        let groups = plan.len().div_ceil(GROUP);
        if groups <= 1 {
            return self.group_gradient(plan, records, batch);
        }
        let middle = groups / 2 * GROUP;
        let (early, late) = plan.split_at(middle);
        let (early_records, late_records) = records.split_at_mut(middle);
        let (mut sum, mut part) = rayon::join(
            || self.sum_gradients(early, early_records, batch),
            || self.sum_gradients(late, late_records, batch),
        );
        sum.add(self.engine.isa, &mut part);
        give_back(&self.spare_gradients, part);
        sum
    }

    fn group_gradient(
        &self,
        plan: &[Example],
        records: &mut [Record<T>],
        batch: usize,
    ) -> PackedGradient<T> {
        let mut gradient = match take(&self.spare_gradients) {
            Some(mut used) => {
                used.clear();
                used
            }
            None => PackedGradient::new(&self.engine.main.arch),
        };
        let mut worker =
            take(&self.engine.trainers).unwrap_or_else(|| self.engine.worker(Purpose::Train));
        for (example, record) in plan.iter().zip(records) {
            self.differentiate_example(example, record, batch, &mut worker, &mut gradient);
        }
        self.engine.main.fold_mixed(self.engine.isa, &mut worker.main, &mut gradient);
        give_back(&self.engine.trainers, worker);
        gradient
    }

    fn differentiate_example(
        &self,
        example: &Example,
        record: &mut Record<T>,
        batch: usize,
        worker: &mut Worker<T>,
        gradient: &mut PackedGradient<T>,
    ) {
        self.tracks.fill_codes(example, &mut worker.codes);
        let (logcounts, share) = self.engine.forward(worker);
        let scale = 1.0 / batch as f64;
        let (loss, by_logcounts) = self.losses(example, logcounts, true, scale, worker);
        let by_logcounts = by_logcounts * scale * self.counts_loss_weight;
        record.loss = loss;
        record.logcounts = logcounts;
        record.by_logcounts = by_logcounts;
        if let Some((logits, by_logits)) = &mut record.kept {
            logits.copy_from_slice(&worker.main.logits);
            by_logits.copy_from_slice(&worker.by_logits);
        }
        let Worker { main, codes, by_logits, .. } = worker;
        self.engine.main.backward(
            self.engine.isa,
            codes,
            by_logits,
            by_logcounts * share,
            main,
            gradient,
        );
    }

    /// Losses of the example whose outputs are in `worker`, and the derivative of the counts loss;
    /// with `differentiate`, `scale` times the gradient of the profile loss in `worker.by_logits`.
    fn losses(
        &self,
        example: &Example,
        logcounts: f64,
        differentiate: bool,
        scale: f64,
        worker: &mut Worker<T>,
    ) -> (ExampleLoss, f64) {
        let Worker { main, counts, by_logits, .. } = worker;
        self.tracks.fill_counts(example, self.engine.main.arch.inputlen, counts);
        let total: f64 = counts.iter().map(|&c| f64::from(c)).sum();
        let by_logits = if differentiate { &mut by_logits[..] } else { &mut [] };
        let profile = loss::multinomial_nll(&main.logits, counts, by_logits, scale);
        let (counts, by_logcounts) = loss::squared_error(logcounts, total);
        (ExampleLoss { profile, counts }, by_logcounts)
    }

    /// Means over the batch, added up in index order.
    fn step_loss(&self, plan: &[Example], records: &[Record<T>]) -> Result<StepLoss> {
        let weight = self.counts_loss_weight;
        let broken = |r: &Record<T>| !(r.loss.profile + weight * r.loss.counts).is_finite();
        if let Some(at) = records.iter().position(broken) {
            let Record { loss, logcounts, .. } = records[at];
            let broken = checks::BrokenLoss {
                profile: loss.profile,
                counts: loss.counts,
                logcounts,
                example: at,
                batch: plan.len(),
            };
            let place = checks::place(&self.tracks, &plan[at], self.engine.main.arch.inputlen);
            return Err(broken.problem(place).into());
        }
        let n = records.len() as f64;
        let profile = records.iter().map(|r| r.loss.profile).sum::<f64>() / n;
        let counts = records.iter().map(|r| r.loss.counts).sum::<f64>() / n;
        Ok(StepLoss { total: profile + weight * counts, profile, counts })
    }
}

impl<T: Scalar> Engine for CpuTrainerOf<T> {
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        self.engine.predict_sequences(codes, out)
    }

    fn describe(&self) -> String {
        self.engine.describe()
    }
}

impl<T: Scalar> Predict for CpuTrainerOf<T> {
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        self.engine.predict(plan, out)
    }
}

impl<T: Scalar> Train for CpuTrainerOf<T> {
    fn train_step(&mut self, plan: &[Example]) -> Result<StepLoss> {
        let mut records = vec![Record::default(); plan.len()];
        let loss = self.differentiate(plan, &mut records)?;
        let centered = (self.counts_head == CountsHead::Centered).then(|| {
            let means = std::mem::take(&mut self.features);
            Centered::before(means, last_two(&mut self.parameters), last_two(&mut self.gradients))
        });
        self.updater.update(self.engine.isa, &mut self.parameters, &self.gradients);
        if let Some(centered) = centered {
            let rate = CountsHead::bias_rate(self.counts_loss_weight);
            centered.after(last_two(&mut self.parameters), rate);
        }
        self.engine.main.repack(&self.parameters);
        Ok(loss)
    }

    fn evaluate(&mut self, plan: &[Example]) -> Result<StepLoss> {
        checks::check_plan(&self.tracks, plan, true)?;
        let this = &*self;
        let records: Vec<Record<T>> = plan
            .par_iter()
            .map(|example| {
                this.engine.with_worker(|worker| {
                    this.tracks.fill_codes(example, &mut worker.codes);
                    let (logcounts, _) = this.engine.forward(worker);
                    let (loss, _) = this.losses(example, logcounts, false, 1.0, worker);
                    Record { loss, logcounts, ..Record::default() }
                })
            })
            .collect();
        self.step_loss(plan, &records)
    }

    fn parameters(&mut self) -> Result<ParameterSet> {
        let mut set = ParameterSet::zeros(&self.engine.main.arch);
        for (tensor, values) in set.tensors.iter_mut().zip(&self.parameters) {
            tensor.data = rounded(values).collect();
        }
        Ok(set)
    }

    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()> {
        checks::check_set("the parameters", parameters, &self.engine.main.arch)?;
        self.set_weights(&plain(parameters));
        Ok(())
    }

    fn optimizer_state(&mut self) -> Result<OptimizerState> {
        let Updater { rule, step, state, .. } = &self.updater;
        let get = |parameter: usize, at: usize| Ok(rounded(&state[parameter][at]).collect());
        OptimizerState::gather(rule, &self.engine.main.arch, *step, None, get)
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        let Updater { rule, step, state: kept, .. } = &mut self.updater;
        state.scatter(rule, &self.engine.main.arch, |parameter, at, values| {
            kept[parameter][at] = values.iter().map(|&v| T::from_f64(f64::from(v))).collect();
            Ok(())
        })?;
        *step = state.step;
        Ok(())
    }
}

fn rounded<T: Scalar>(values: &[T]) -> impl Iterator<Item = f32> {
    values.iter().map(|value| value.to_f64() as f32)
}

/// Kernel and bias of the counts head.
fn last_two<T>(parameters: &mut [Vec<T>]) -> &mut [Vec<T>; 2] {
    parameters.last_chunk_mut().expect("every network has a counts head")
}
