//! The CPU engine: the definition of right, and fast.
//!
//! ```text
//!   plan -> groups of examples, one task each -> per example: codes -> bias branch (forward)
//!        -> main branch forward -> losses -> backward into the group's gradient
//!        -> gradients added pairwise in index order -> Adam -> packed weights
//! ```
//!
//! An example runs through its whole forward and backward pass on one thread, so only the
//! threads' own examples have feature maps in memory (at 512 filters and 8 layers 65 MB each),
//! whatever the batch size. Which examples share a group and which sums are added to which depend
//! on the batch size alone: the same bits for any number of threads.
//!
//! Products run on kernels of our own and not on the `gemm` crate, whose rate per multiply-add they
//! match: they read both operands where they lie (no packing), and add a product to two places at
//! once, which is what the four-product algorithm needs. Measured on 2 cores of an EPYC (AVX2), CPU
//! time, arithmetic of direct convolution over the `gemm` crate's ceiling, 8 layers: 512 filters
//! 139 %, 128 filters 133 %; with plain taps 97 % (128 filters). `bench train` prints the same.
//!
//! `branch` is the forward pass, `backward` the passes back to the weights and to the input,
//! `contributions` what is made of the latter; `blocked` has the memory layout, `kernel` and `product`
//! the matrix products, `weights` the algorithm that needs four of them where the definition needs six,
//! `filtering` the one of predictions, that needs six for twelve.

mod adam;
mod backward;
mod blocked;
mod branch;
mod chains;
mod contributions;
mod counts_head;
mod dilated;
mod filtering;
mod first_conv;
mod kernel;
pub mod loss;
mod pairs;
mod product;
mod scalar;
mod simd;
mod weights;

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use rayon::prelude::*;

use self::adam::Adam;
use self::branch::{Branch, Buffers, Purpose};
use self::contributions::Explainers;
use self::counts_head::Centered;
use self::loss::ExampleLoss;
use self::weights::PackedGradient;
use super::{
    Contributions, CountsHead, Engine, EngineSpec, Explain, OptimizerState, Predictions, StepLoss,
    checks,
};
use crate::batch::Example;
use crate::model::{Network, ParameterSet};
use crate::store::Tracks;

pub use scalar::Scalar;
pub use simd::Isa;

/// Examples whose gradients one task sums. Two halve the memory traffic of clearing and adding
/// gradients (25 MB each at 512 x 8) against one, and a batch of 64 still feeds 32 cores.
const GROUP: usize = 2;

/// Positions are paired from this many filters up. Below, the gain is small (at 32 filters 7 %), and
/// sums of mixed inputs round a little more, which turns more ReLU units near zero: measured on
/// golden batches of 32 filters, a unit turned in 4 of 24 batches against 2.
const MIN_PAIR_FILTERS: usize = 64;

/// The engine in use.
pub type CpuEngine = CpuEngineOf<f32>;

/// What may be chosen for tests and measurements; the default is what is fastest here.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub isa: Isa,
    /// Take positions of dilated layers two by two (four products instead of six), in predictions
    /// four by four (six instead of twelve); by default where it pays.
    pub pairs: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self { isa: Isa::detect(), pairs: None }
    }
}

/// The engine for one number type.
pub struct CpuEngineOf<T> {
    isa: Isa,
    tracks: Tracks,
    main: Branch<T>,
    bias: Option<Branch<T>>,
    /// trained parameters in Keras order and layout
    parameters: Vec<Vec<T>>,
    /// like `parameters`
    gradients: Vec<Vec<T>>,
    adam: Adam<T>,
    learning_rate: f64,
    counts_loss_weight: f64,
    counts_head: CountsHead,
    /// [filters], means over the last batch that was differentiated
    features: Vec<f64>,
    trainers: Mutex<Vec<Worker<T>>>,
    predictors: Mutex<Vec<Worker<T>>>,
    spare_gradients: Mutex<Vec<PackedGradient<T>>>,
    explainers: Explainers<T>,
}

/// Losses and gradients of one batch, parameters unchanged.
#[derive(Clone, Debug)]
pub struct Gradients<T> {
    pub loss: StepLoss,
    /// d total / d parameter, in the order of `Architecture::parameter_shapes`
    pub parameters: Vec<Vec<T>>,
    /// [filters]: means over the batch of the features that the counts head reads
    pub features: Vec<f64>,
    /// [n, outputlen]
    pub logits: Vec<T>,
    /// [n]
    pub logcounts: Vec<f64>,
    /// d total / d logits, [n, outputlen]
    pub by_logits: Vec<T>,
    /// d total / d logcounts, [n]
    pub by_logcounts: Vec<f64>,
}

/// Buffers of one running example.
struct Worker<T> {
    main: Buffers<T>,
    bias: Option<Buffers<T>>,
    codes: Vec<u8>,
    counts: Vec<f32>,
    by_logits: Vec<T>,
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

impl<T: Scalar> CpuEngineOf<T> {
    /// Errors when a network's tensors do not fit its shape, hold NaN, or when the two branches
    /// have different lengths.
    pub fn new(spec: EngineSpec, tracks: Tracks) -> Result<Self> {
        Self::with_options(spec, tracks, Options::default())
    }

    /// Like `new`, with the instruction set and the algorithm chosen.
    pub fn with_options(spec: EngineSpec, tracks: Tracks, options: Options) -> Result<Self> {
        checks::check_spec(&spec)?;
        let parameters = plain(&spec.main.parameters);
        let main = branch(&spec.main, &parameters, true, options);
        let bias = spec.bias.map(|bias| branch(&bias, &plain(&bias.parameters), false, options));
        Ok(Self {
            isa: options.isa,
            tracks,
            main,
            bias,
            gradients: parameters.iter().map(|p| vec![T::ZERO; p.len()]).collect(),
            adam: Adam::new(&parameters),
            parameters,
            learning_rate: spec.learning_rate,
            counts_loss_weight: spec.counts_loss_weight,
            counts_head: spec.counts_head,
            features: Vec::new(),
            trainers: Mutex::default(),
            predictors: Mutex::default(),
            spare_gradients: Mutex::default(),
            explainers: Explainers::default(),
        })
    }

    /// Losses and gradients of one batch, with the outputs they belong to; changes nothing.
    pub fn gradients(&mut self, plan: &[Example]) -> Result<Gradients<T>> {
        let outputlen = self.main.arch.outputlen;
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
        self.repack();
    }

    fn repack(&mut self) {
        self.main.repack(&self.parameters);
    }

    /// Forward and backward of the batch: fills `self.gradients`.
    fn differentiate(&mut self, plan: &[Example], records: &mut [Record<T>]) -> Result<StepLoss> {
        checks::check_plan(&self.tracks, plan, true)?;
        let gradient = self.sum_gradients(plan, records, plan.len());
        let loss = self.step_loss(plan, records);
        gradient.unpack(&self.main.arch, &mut self.gradients);
        let sums = gradient.features[..self.main.arch.filters].iter();
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
        sum.add(self.isa, &mut part);
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
            None => PackedGradient::new(&self.main.arch),
        };
        let mut worker = take(&self.trainers).unwrap_or_else(|| self.worker(Purpose::Train));
        for (example, record) in plan.iter().zip(records) {
            self.differentiate_example(example, record, batch, &mut worker, &mut gradient);
        }
        self.main.fold_mixed(self.isa, &mut worker.main, &mut gradient);
        give_back(&self.trainers, worker);
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
        let (logcounts, share) = self.forward(worker);
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
        self.main.backward(self.isa, codes, by_logits, by_logcounts * share, main, gradient);
    }

    /// Both branches on `worker.codes`. Logits are left in `worker.main.logits`; returns logcounts
    /// and their derivative by the main branch's.
    fn forward(&self, worker: &mut Worker<T>) -> (f64, f64) {
        let main = self.main.forward(self.isa, &worker.codes, &mut worker.main);
        let (Some(branch), Some(buffers)) = (&self.bias, &mut worker.bias) else {
            return (main, 1.0);
        };
        let bias = branch.forward(self.isa, &worker.codes, buffers);
        add_logits(&mut worker.main.logits, &buffers.logits);
        loss::log_add_exp(main, bias)
    }

    /// Like `forward`, by the algorithm of predictions; returns logcounts.
    fn predict_codes(&self, worker: &mut Worker<T>) -> f64 {
        let main = self.main.predict(self.isa, &worker.codes, &mut worker.main);
        let (Some(branch), Some(buffers)) = (&self.bias, &mut worker.bias) else {
            return main;
        };
        let bias = branch.predict(self.isa, &worker.codes, buffers);
        add_logits(&mut worker.main.logits, &buffers.logits);
        loss::log_add_exp(main, bias).0
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
        self.tracks.fill_counts(example, self.main.arch.inputlen, counts);
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
            let place = checks::place(&self.tracks, &plan[at], self.main.arch.inputlen);
            return Err(broken.problem(place).into());
        }
        let n = records.len() as f64;
        let profile = records.iter().map(|r| r.loss.profile).sum::<f64>() / n;
        let counts = records.iter().map(|r| r.loss.counts).sum::<f64>() / n;
        Ok(StepLoss { total: profile + weight * counts, profile, counts })
    }

    /// Appends the outputs of `n` sequences, of which `fill` gives the codes.
    fn outputs(&self, n: usize, out: &mut Predictions, fill: impl Fn(usize, &mut [u8]) + Sync) {
        let outputlen = self.main.arch.outputlen;
        let (logits, logcounts) = (out.logits.len(), out.logcounts.len());
        out.logits.resize(logits + n * outputlen, 0.0);
        out.logcounts.resize(logcounts + n, 0.0);
        out.logits[logits..]
            .par_chunks_exact_mut(outputlen)
            .zip(&mut out.logcounts[logcounts..])
            .enumerate()
            .for_each(|(i, (logits, logcounts))| {
                self.with_worker(|worker| {
                    fill(i, &mut worker.codes);
                    *logcounts = self.predict_codes(worker) as f32;
                    for (to, from) in logits.iter_mut().zip(&worker.main.logits) {
                        *to = from.to_f64() as f32;
                    }
                });
            });
    }

    fn worker(&self, purpose: Purpose) -> Worker<T> {
        let arch = &self.main.arch;
        Worker {
            main: Buffers::new(&self.main, purpose),
            bias: self.bias.as_ref().map(|bias| Buffers::new(bias, Purpose::Predict)),
            codes: vec![0; arch.inputlen],
            counts: vec![0.0; arch.outputlen],
            by_logits: vec![T::ZERO; arch.outputlen],
        }
    }

    /// Lends buffers for a forward pass: those of training where there are any.
    fn with_worker<R>(&self, run: impl FnOnce(&mut Worker<T>) -> R) -> R {
        let (mut worker, pool) = match take(&self.trainers) {
            Some(worker) => (worker, &self.trainers),
            None => (
                take(&self.predictors).unwrap_or_else(|| self.worker(Purpose::Predict)),
                &self.predictors,
            ),
        };
        let result = run(&mut worker);
        give_back(pool, worker);
        result
    }

    fn named(&self, values: &[Vec<T>]) -> ParameterSet {
        let mut set = ParameterSet::zeros(&self.main.arch);
        for (tensor, values) in set.tensors.iter_mut().zip(values) {
            for (to, from) in tensor.data.iter_mut().zip(values) {
                *to = from.to_f64() as f32;
            }
        }
        set
    }
}

impl<T: Scalar> Engine for CpuEngineOf<T> {
    fn train_step(&mut self, plan: &[Example]) -> Result<StepLoss> {
        let mut records = vec![Record::default(); plan.len()];
        let loss = self.differentiate(plan, &mut records)?;
        let centered = (self.counts_head == CountsHead::Centered).then(|| {
            let means = std::mem::take(&mut self.features);
            Centered::before(means, last_two(&mut self.parameters), last_two(&mut self.gradients))
        });
        self.adam.update(self.isa, self.learning_rate, &mut self.parameters, &self.gradients);
        if let Some(centered) = centered {
            let rate = CountsHead::bias_rate(self.counts_loss_weight);
            centered.after(last_two(&mut self.parameters), rate);
        }
        self.repack();
        Ok(loss)
    }

    fn evaluate(&mut self, plan: &[Example]) -> Result<StepLoss> {
        checks::check_plan(&self.tracks, plan, true)?;
        let this = &*self;
        let records: Vec<Record<T>> = plan
            .par_iter()
            .map(|example| {
                this.with_worker(|worker| {
                    this.tracks.fill_codes(example, &mut worker.codes);
                    let (logcounts, _) = this.forward(worker);
                    let (loss, _) = this.losses(example, logcounts, false, 1.0, worker);
                    Record { loss, logcounts, ..Record::default() }
                })
            })
            .collect();
        self.step_loss(plan, &records)
    }

    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        checks::check_plan(&self.tracks, plan, false)?;
        self.outputs(plan.len(), out, |i, codes| self.tracks.fill_codes(&plan[i], codes));
        Ok(())
    }

    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        let inputlen = self.main.arch.inputlen;
        let n = checks::check_codes("sequences", codes, inputlen)?;
        self.outputs(n, out, |i, to| to.copy_from_slice(&codes[i * inputlen..][..inputlen]));
        Ok(())
    }

    fn contributions(&mut self, of: &Explain, out: &mut Contributions) -> Result<()> {
        checks::check_explained(self.bias.is_some())?;
        self.explain(of, out)
    }

    fn parameters(&mut self) -> Result<ParameterSet> {
        Ok(self.named(&self.parameters))
    }

    fn set_parameters(&mut self, parameters: &ParameterSet) -> Result<()> {
        checks::check_set("the parameters", parameters, &self.main.arch)?;
        self.set_weights(&plain(parameters));
        Ok(())
    }

    fn optimizer_state(&mut self) -> Result<OptimizerState> {
        Ok(OptimizerState {
            step: self.adam.step,
            first_moment: self.named(&self.adam.first),
            second_moment: self.named(&self.adam.second),
            loss_scale: None,
        })
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        checks::check_set("the optimizer's first moments", &state.first_moment, &self.main.arch)?;
        checks::check_set("the optimizer's second moments", &state.second_moment, &self.main.arch)?;
        self.adam.step = state.step;
        self.adam.first = plain(&state.first_moment);
        self.adam.second = plain(&state.second_moment);
        Ok(())
    }

    fn describe(&self) -> String {
        format!("cpu, {} threads, {}, {}", rayon::current_num_threads(), self.isa.name(), T::NAME)
    }
}

/// Kernel and bias of the counts head.
fn last_two<T>(parameters: &mut [Vec<T>]) -> &mut [Vec<T>; 2] {
    parameters.last_chunk_mut().expect("every network has a counts head")
}

fn add_logits<T: Scalar>(sums: &mut [T], logits: &[T]) {
    sums.iter_mut().zip(logits).for_each(|(sum, &logit)| *sum += logit);
}

fn plain<T: Scalar>(set: &ParameterSet) -> Vec<Vec<T>> {
    let convert = |data: &[f32]| data.iter().map(|&v| T::from_f64(f64::from(v))).collect();
    set.tensors.iter().map(|tensor| convert(&tensor.data)).collect()
}

fn branch<T: Scalar>(
    network: &Network,
    parameters: &[Vec<T>],
    trained: bool,
    options: Options,
) -> Branch<T> {
    let arch = network.arch;
    let pairs = options.pairs.unwrap_or(arch.filters >= MIN_PAIR_FILTERS);
    let mut branch = Branch::new(arch, trained, pairs);
    branch.repack(parameters);
    branch
}

fn take<V>(pool: &Mutex<Vec<V>>) -> Option<V> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back<V>(pool: &Mutex<Vec<V>>, value: V) {
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(value);
}
