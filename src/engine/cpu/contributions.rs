//! Contribution scores: DeepSHAP's rescale rule, or plain gradients.
//!
//! ```text
//!   block of sequences (as many as threads) -> forward, sums before every ReLU kept
//!   every (sequence, reference), one task each -> forward of the reference, its sums kept
//!        -> per head: a pass back to the input -> hypothetical scores against this reference
//!   -> added up in the references' order
//! ```
//!
//! A sequence's forward pass serves all its references, a reference's both heads. Tasks share only
//! what they read, and what is added to what depends on the references' order alone: the same bits
//! for any number of threads and any grouping of sequences into calls. Memory is that of a block.

use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;

use super::branch::{Buffers, Purpose, Sums};
use super::{CpuEngineOf, Scalar, give_back, take};
use crate::engine::{Contributions, Heads, Rule, ToExplain};
use crate::model::arch::BASES;

/// References of a sequence whose scores are held at once.
const REFERENCES: usize = 32;

/// Logits of sequence and reference closer than this get no weight. Source: the official explainer.
const NEAR_LOGIT: f64 = 1e-7;

/// Buffers, kept from call to call.
pub struct Explainers<T> {
    workers: Mutex<Vec<Worker<T>>>,
    subjects: Mutex<Vec<Subject<T>>>,
}

impl<T> Default for Explainers<T> {
    fn default() -> Self {
        Self { workers: Mutex::default(), subjects: Mutex::default() }
    }
}

/// What a running task needs.
struct Worker<T> {
    buffers: Buffers<T>,
    sums: Sums<T>,
    by_logits: Vec<T>,
    /// [inputlen][4]
    multipliers: Vec<T>,
}

/// A sequence that is explained, after its forward pass.
struct Subject<T> {
    sums: Sums<T>,
    logits: Vec<T>,
    logcounts: f64,
    profile: Profile,
}

/// Scores of a sequence, against one reference or summed over several; empty for a head that is not
/// asked for.
#[derive(Clone, Default)]
struct Scores {
    counts: Vec<f64>,
    profile: Vec<f64>,
    delta_counts: f64,
    delta_profile: f64,
}

impl Scores {
    fn zeros(heads: Heads, inputlen: usize) -> Self {
        let head = |wanted| vec![0.0; if wanted { inputlen * BASES } else { 0 }];
        Self { counts: head(heads.counts), profile: head(heads.profile), ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, part)| *sum += part);
        self.profile.iter_mut().zip(&other.profile).for_each(|(sum, part)| *sum += part);
        self.delta_counts += other.delta_counts;
        self.delta_profile += other.delta_profile;
    }
}

/// What the profile head's scalar is made of.
#[derive(Default)]
struct Profile {
    /// logits minus their mean
    centred: Vec<f64>,
    /// their softmax
    p: Vec<f64>,
}

impl Profile {
    fn of<T: Scalar>(logits: &[T]) -> Self {
        let n = logits.len() as f64;
        let mean = logits.iter().map(|l| l.to_f64()).sum::<f64>() / n;
        let centred: Vec<f64> = logits.iter().map(|l| l.to_f64() - mean).collect();
        let max = centred.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut p: Vec<f64> = centred.iter().map(|l| (l - max).exp()).collect();
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
        Self { centred, p }
    }

    /// Weights of the centred logits, led back through the centring.
    fn seed<T: Scalar>(weights: impl Iterator<Item = f64> + Clone, by_logits: &mut [T]) {
        let mean = weights.clone().sum::<f64>() / by_logits.len() as f64;
        by_logits.iter_mut().zip(weights).for_each(|(to, weight)| *to = T::from_f64(weight - mean));
    }

    /// The gradient with p held constant.
    fn gradient<T: Scalar>(&self, by_logits: &mut [T]) {
        Self::seed(self.p.iter().copied(), by_logits);
    }

    /// p is held at the mean of both; returns what the scores sum to.
    fn against<T: Scalar>(&self, reference: &Self, by_logits: &mut [T]) -> f64 {
        let logits = self.centred.iter().zip(&reference.centred);
        let terms = logits.zip(self.p.iter().zip(&reference.p)).map(|((l, r), (p, q))| {
            let change = l - r;
            (if change.abs() < NEAR_LOGIT { 0.0 } else { (p + q) / 2.0 }, change)
        });
        Self::seed(terms.clone().map(|(weight, _)| weight), by_logits);
        terms.map(|(weight, change)| weight * change).sum()
    }
}

impl<T: Scalar> CpuEngineOf<T> {
    /// Appends contribution scores to `out`.
    pub(super) fn explain(&self, of: &ToExplain, out: &mut Contributions) -> Result<()> {
        let n = of.check(&self.main.arch)?;
        let inputlen = self.main.arch.inputlen;
        let block = rayon::current_num_threads().max(1);
        for first in (0..n).step_by(block) {
            let size = block.min(n - first);
            let codes = &of.codes[first * inputlen..][..size * inputlen];
            match of.rule {
                Rule::Gradient => {
                    let scores = self.gradients_by_input(codes, of.heads, out);
                    append(out, of.heads, &scores, None);
                }
                Rule::Rescale { references, per_sequence } => {
                    let width = per_sequence * inputlen;
                    let references = &references[first * width..][..size * width];
                    let scores = self.against_references(codes, references, of.heads, out);
                    append(out, of.heads, &scores, Some(per_sequence));
                }
            }
        }
        Ok(())
    }

    /// Sums over each sequence's references; predictions go to `out`.
    fn against_references(
        &self,
        codes: &[u8],
        references: &[u8],
        heads: Heads,
        out: &mut Contributions,
    ) -> Vec<Scores> {
        let inputlen = self.main.arch.inputlen;
        let subjects: Vec<Subject<T>> = codes
            .par_chunks_exact(inputlen)
            .with_max_len(1)
            .map(|codes| self.with_explainer(|worker| self.subject(codes, worker)))
            .collect();
        for subject in &subjects {
            out.predictions.logits.extend(subject.logits.iter().map(|l| l.to_f64() as f32));
            out.predictions.logcounts.push(subject.logcounts as f32);
        }
        let width = references.len() / subjects.len();
        let mut sums = vec![Scores::zeros(heads, inputlen); subjects.len()];
        for from in (0..width).step_by(REFERENCES * inputlen) {
            let to = width.min(from + REFERENCES * inputlen);
            let tasks: Vec<(&Subject<T>, &[u8])> = subjects
                .iter()
                .zip(references.chunks_exact(width))
                .flat_map(|(subject, all)| {
                    all[from..to].chunks_exact(inputlen).map(move |one| (subject, one))
                })
                .collect();
            let scores: Vec<Scores> = tasks
                .par_iter()
                .with_max_len(1)
                .map(|&(subject, reference)| {
                    self.with_explainer(|worker| self.against(subject, reference, heads, worker))
                })
                .collect();
            let each = (to - from) / inputlen;
            for (sum, scores) in sums.iter_mut().zip(scores.chunks_exact(each)) {
                scores.iter().for_each(|score| sum.add(score));
            }
        }
        subjects.into_iter().for_each(|subject| give_back(&self.explainers.subjects, subject));
        sums
    }

    /// Forward pass of a sequence, with all that its references need of it.
    fn subject(&self, codes: &[u8], worker: &mut Worker<T>) -> Subject<T> {
        let mut subject = take(&self.explainers.subjects).unwrap_or_else(|| Subject {
            sums: Sums::new(&self.main),
            logits: Vec::new(),
            logcounts: 0.0,
            profile: Profile::default(),
        });
        let Worker { buffers, .. } = worker;
        subject.logcounts =
            self.main.forward_keeping(self.isa, codes, buffers, Some(&mut subject.sums));
        subject.logits.clone_from(&buffers.logits);
        subject.profile = Profile::of(&buffers.logits);
        subject
    }

    /// Hypothetical scores against one reference.
    fn against(
        &self,
        subject: &Subject<T>,
        reference: &[u8],
        heads: Heads,
        worker: &mut Worker<T>,
    ) -> Scores {
        let Worker { buffers, sums, by_logits, multipliers } = worker;
        let (main, isa) = (&self.main, self.isa);
        let logcounts = main.forward_keeping(isa, reference, buffers, Some(sums));
        let mut scores = Scores::default();
        if heads.counts {
            main.multipliers(isa, &[], 1.0, &subject.sums, sums, buffers, multipliers);
            scores.counts = hypothetical(multipliers, reference);
            scores.delta_counts = subject.logcounts - logcounts;
        }
        if heads.profile {
            let of_reference = Profile::of(&buffers.logits);
            scores.delta_profile = subject.profile.against(&of_reference, by_logits);
            main.multipliers(isa, by_logits, 0.0, &subject.sums, sums, buffers, multipliers);
            scores.profile = hypothetical(multipliers, reference);
        }
        scores
    }

    /// Gradients by the one-hot input; predictions go to `out`.
    fn gradients_by_input(
        &self,
        codes: &[u8],
        heads: Heads,
        out: &mut Contributions,
    ) -> Vec<Scores> {
        let exact = |values: &[T]| values.iter().map(|v| v.to_f64()).collect();
        let found: Vec<(Scores, Vec<T>, f64)> = codes
            .par_chunks_exact(self.main.arch.inputlen)
            .with_max_len(1)
            .map(|codes| {
                self.with_explainer(|worker| {
                    let Worker { buffers, sums, by_logits, multipliers } = worker;
                    let (main, isa) = (&self.main, self.isa);
                    let logcounts = main.forward_keeping(isa, codes, buffers, Some(sums));
                    let mut scores = Scores::default();
                    if heads.counts {
                        main.multipliers(isa, &[], 1.0, sums, sums, buffers, multipliers);
                        scores.counts = exact(multipliers);
                    }
                    if heads.profile {
                        Profile::of(&buffers.logits).gradient(by_logits);
                        main.multipliers(isa, by_logits, 0.0, sums, sums, buffers, multipliers);
                        scores.profile = exact(multipliers);
                    }
                    (scores, buffers.logits.clone(), logcounts)
                })
            })
            .collect();
        let mut all = Vec::with_capacity(found.len());
        for (scores, logits, logcounts) in found {
            out.predictions.logits.extend(logits.iter().map(|l| l.to_f64() as f32));
            out.predictions.logcounts.push(logcounts as f32);
            all.push(scores);
        }
        all
    }

    fn with_explainer<R>(&self, run: impl FnOnce(&mut Worker<T>) -> R) -> R {
        let arch = &self.main.arch;
        let mut worker = take(&self.explainers.workers).unwrap_or_else(|| Worker {
            buffers: Buffers::new(&self.main, Purpose::Explain),
            sums: Sums::new(&self.main),
            by_logits: vec![T::ZERO; arch.outputlen],
            multipliers: vec![T::ZERO; arch.inputlen * BASES],
        });
        let result = run(&mut worker);
        give_back(&self.explainers.workers, worker);
        result
    }
}

/// `m[t][b] - sum_c reference[t][c] m[t][c]`: what base b would contribute at t in place of the
/// reference's; N has no base to be replaced.
fn hypothetical<T: Scalar>(multipliers: &[T], reference: &[u8]) -> Vec<f64> {
    let (columns, _) = multipliers.as_chunks::<BASES>();
    let of_position = |(m, &code): (&[T; BASES], &u8)| {
        let replaced = m.get(usize::from(code)).copied().unwrap_or(T::ZERO);
        m.map(|m| (m - replaced).to_f64())
    };
    columns.iter().zip(reference).flat_map(of_position).collect()
}

/// Appends scores, means when they are sums over `references`.
fn append(out: &mut Contributions, heads: Heads, scores: &[Scores], references: Option<usize>) {
    let n = references.unwrap_or(1) as f64;
    for score in scores {
        out.counts.extend(score.counts.iter().map(|sum| (sum / n) as f32));
        out.profile.extend(score.profile.iter().map(|sum| (sum / n) as f32));
        if heads.counts && references.is_some() {
            out.delta_counts.push(score.delta_counts / n);
        }
        if heads.profile && references.is_some() {
            out.delta_profile.push(score.delta_profile / n);
        }
    }
}
