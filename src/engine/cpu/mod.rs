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
//! `training` what is made of the former and `contributions` of the latter; `blocked` has the memory layout, `kernel` and `product`
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
mod optimizer;
mod pairs;
mod product;
mod scalar;
mod simd;
mod training;
mod weights;

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use rayon::prelude::*;

use self::branch::{Branch, Buffers, Purpose};
use self::contributions::Explainers;
use super::{Contributions, Engine, Explain, Predict, Predictions, ToExplain, checks};
use crate::batch::Example;
use crate::model::{Branches, Network, ParameterSet};
use crate::store::Tracks;

pub use scalar::Scalar;
pub use simd::Isa;
pub use training::{CpuTrainer, CpuTrainerOf, Gradients};

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

/// The engine for one number type: passes of a model.
pub struct CpuEngineOf<T> {
    isa: Isa,
    tracks: Option<Tracks>,
    main: Branch<T>,
    bias: Option<Branch<T>>,
    trainers: Mutex<Vec<Worker<T>>>,
    predictors: Mutex<Vec<Worker<T>>>,
    explainers: Explainers<T>,
}

/// Buffers of one running example.
struct Worker<T> {
    main: Buffers<T>,
    bias: Option<Buffers<T>>,
    codes: Vec<u8>,
    counts: Vec<f32>,
    by_logits: Vec<T>,
}

impl<T: Scalar> CpuEngineOf<T> {
    /// For windows where there are `tracks`, or sequences alone.
    ///
    /// Errors when a network's tensors do not fit its shape, hold NaN, or when the two branches
    /// have different lengths.
    pub fn new(branches: impl Into<Branches>, tracks: impl Into<Option<Tracks>>) -> Result<Self> {
        Self::with_options(branches, tracks, Options::default())
    }

    /// An engine with the instruction set and the algorithm chosen.
    pub fn with_options(
        branches: impl Into<Branches>,
        tracks: impl Into<Option<Tracks>>,
        options: Options,
    ) -> Result<Self> {
        let Branches { main, bias } = checks::checked(branches.into())?;
        Ok(Self {
            isa: options.isa,
            tracks: tracks.into(),
            main: branch(&main, true, options),
            bias: bias.map(|bias| branch(&bias, false, options)),
            trainers: Mutex::default(),
            predictors: Mutex::default(),
            explainers: Explainers::default(),
        })
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

    /// Forward by the algorithm of predictions; returns logcounts.
    fn predict_codes(&self, worker: &mut Worker<T>) -> f64 {
        let main = self.main.predict(self.isa, &worker.codes, &mut worker.main);
        let (Some(branch), Some(buffers)) = (&self.bias, &mut worker.bias) else {
            return main;
        };
        let bias = branch.predict(self.isa, &worker.codes, buffers);
        add_logits(&mut worker.main.logits, &buffers.logits);
        loss::log_add_exp(main, bias).0
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
}

impl<T: Scalar> Engine for CpuEngineOf<T> {
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()> {
        let inputlen = self.main.arch.inputlen;
        let n = checks::check_codes("sequences", codes, inputlen)?;
        self.outputs(n, out, |i, to| to.copy_from_slice(&codes[i * inputlen..][..inputlen]));
        Ok(())
    }

    fn describe(&self) -> String {
        format!("cpu, {} threads, {}, {}", rayon::current_num_threads(), self.isa.name(), T::NAME)
    }
}

impl<T: Scalar> Predict for CpuEngineOf<T> {
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()> {
        let tracks = checks::genome(&self.tracks)?;
        checks::check_plan(tracks, plan, false)?;
        self.outputs(plan.len(), out, |i, codes| tracks.fill_codes(&plan[i], codes));
        Ok(())
    }
}

impl<T: Scalar> Explain for CpuEngineOf<T> {
    fn contributions(&mut self, of: &ToExplain, out: &mut Contributions) -> Result<()> {
        checks::check_explained(self.bias.is_some())?;
        self.explain(of, out)
    }
}

fn add_logits<T: Scalar>(sums: &mut [T], logits: &[T]) {
    sums.iter_mut().zip(logits).for_each(|(sum, &logit)| *sum += logit);
}

fn plain<T: Scalar>(set: &ParameterSet) -> Vec<Vec<T>> {
    let convert = |data: &[f32]| data.iter().map(|&v| T::from_f64(f64::from(v))).collect();
    set.tensors.iter().map(|tensor| convert(&tensor.data)).collect()
}

fn branch<T: Scalar>(network: &Network, trained: bool, options: Options) -> Branch<T> {
    let arch = network.arch;
    let pairs = options.pairs.unwrap_or(arch.filters >= MIN_PAIR_FILTERS);
    let mut branch = Branch::new(arch, trained, pairs);
    branch.repack(&plain(&network.parameters));
    branch
}

fn take<V>(pool: &Mutex<Vec<V>>) -> Option<V> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back<V>(pool: &Mutex<Vec<V>>, value: V) {
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(value);
}
