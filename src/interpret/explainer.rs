//! Scores of sequences by one method, averaged over models.

use anyhow::Result;
use rayon::prelude::*;

use super::ism;
use super::reference_file::ReferenceFile;
use crate::engine::{Contributions, Explain, Heads, Rule, ToExplain};
use crate::sequence::dinuc_shuffle;

/// How scores are computed. All of them are hypothetical: what each base would contribute at each
/// position, so that the score of the base that is there is theirs times the one-hot sequence.
pub enum Method {
    /// DeepSHAP with the rescale rule, as the official tool.
    DeepShap(References),
    /// Saturation mutagenesis: the output with each base at each position, minus the mean over the
    /// four bases. The difference of two bases is what the mutation between them changes.
    Ism,
    /// The gradient; times the one-hot sequence it is input x gradient.
    Gradient,
}

/// What a sequence is compared with.
pub enum References {
    /// `n` dinucleotide-preserving shuffles of the sequence itself.
    Shuffled { seed: u64, n: usize },
    /// Given, row by row.
    File(ReferenceFile),
}

impl References {
    /// References of consecutive rows from `first_row` on: codes [n, per sequence, length], and how
    /// many per sequence.
    fn of(&self, first_row: usize, codes: &[u8], length: usize) -> Result<(Vec<u8>, usize)> {
        match self {
            Self::Shuffled { seed, n } => {
                let shuffles = codes
                    .par_chunks_exact(length)
                    .flat_map_iter(|codes| dinuc_shuffle::shuffles(codes, *seed, *n));
                Ok((shuffles.collect(), *n))
            }
            Self::File(file) => {
                let n = codes.len() / length;
                Ok((file.rows(first_row..first_row + n)?, file.per_sequence))
            }
        }
    }
}

/// Scores of some sequences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// [n, length, 4]; empty when not asked for.
    pub counts: Vec<f32>,
    pub profile: Vec<f32>,
    /// `[n]`: what the scores of the bases that are there must sum to, where there is such a sum.
    pub delta_counts: Vec<f64>,
    pub delta_profile: Vec<f64>,
    /// `[n]`: how far the sums are off, see [`SumCheck`]; `None` for a sequence that has no sum. Empty
    /// for methods without one.
    pub sum_errors: Vec<Option<f64>>,
}

impl Scores {
    /// The heads that are there, in the order of files: name and scores.
    pub fn heads(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        [("counts", &self.counts[..]), ("profile", &self.profile[..])]
            .into_iter()
            .filter(|(_, scores)| !scores.is_empty())
    }
}

/// DeepSHAP's own proof: the scores of the bases that are there sum to what the output differs by
/// between sequence and references, where neither holds N.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SumCheck {
    /// Sequences looked at.
    pub rows: usize,
    /// The largest |sum - difference| of a sequence and head, over its largest |score|.
    pub worst: f64,
}

impl SumCheck {
    /// The check over all sequences, from what [`note`](Self::note) said of each.
    pub fn of_notes<'a>(notes: impl Iterator<Item = &'a [u8]>) -> Self {
        let errors = notes.filter_map(|note| note.try_into().ok().map(f64::from_le_bytes));
        errors.fold(Self::default(), |Self { rows, worst }, error| Self {
            rows: rows + 1,
            worst: worse(worst, error),
        })
    }

    /// What is kept with the scores of a sequence, so that a run that goes on knows of those before.
    pub fn note(error: Option<f64>) -> Vec<u8> {
        error.map_or(Vec::new(), |error| error.to_le_bytes().to_vec())
    }
}

/// A NaN must show.
fn worse(worst: f64, error: f64) -> f64 {
    if error > worst || error.is_nan() { error } else { worst }
}

/// How far the scores of one sequence and head are off: `codes` [length], `scores` [length, 4].
fn sum_error(codes: &[u8], scores: &[f32], delta: f64) -> f64 {
    let columns = scores.chunks_exact(4).zip(codes);
    let sum: f64 = columns.map(|(column, &code)| f64::from(column[usize::from(code)])).sum();
    let largest = scores.iter().fold(0f32, |max, s| max.max(s.abs()));
    (sum - delta).abs() / f64::from(largest).max(f64::MIN_POSITIVE)
}

/// Explains sequences with every model and takes the mean.
pub struct Explainer {
    pub engines: Vec<Box<dyn Explain>>,
    pub method: Method,
    pub heads: Heads,
    /// bp of a sequence.
    pub inputlen: usize,
    /// bp of a profile.
    pub outputlen: usize,
}

impl Explainer {
    /// Scores of consecutive sequences, the first of which is row `first_row` of the run; `codes` is
    /// [n, inputlen]. `None` when `stop` asked for it before the end.
    pub fn explain(
        &mut self,
        first_row: usize,
        codes: &[u8],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Scores>> {
        let references = match &self.method {
            Method::DeepShap(references) => Some(references.of(first_row, codes, self.inputlen)?),
            Method::Ism | Method::Gradient => None,
        };
        let rule = match &references {
            Some((references, per_sequence)) => {
                Rule::Rescale { references, per_sequence: *per_sequence }
            }
            None => Rule::Gradient,
        };
        let explain = ToExplain { codes, rule, heads: self.heads };
        let shape = ism::Shape { inputlen: self.inputlen, outputlen: self.outputlen };
        let mut all = Vec::with_capacity(self.engines.len());
        for engine in &mut self.engines {
            if stop() {
                return Ok(None);
            }
            all.push(match self.method {
                Method::Ism => {
                    match ism::scores(engine.as_mut(), codes, shape, self.heads, stop)? {
                        Some(scores) => scores,
                        None => return Ok(None),
                    }
                }
                Method::DeepShap(_) | Method::Gradient => {
                    let mut out = Contributions::default();
                    engine.contributions(&explain, &mut out)?;
                    Scores {
                        counts: out.counts,
                        profile: out.profile,
                        delta_counts: out.delta_counts,
                        delta_profile: out.delta_profile,
                        sum_errors: Vec::new(),
                    }
                }
            });
        }
        let mut scores = mean(all);
        if let Some((references, per_sequence)) = &references {
            scores.sum_errors = self.sum_errors(codes, references, *per_sequence, &scores);
        }
        Ok(Some(scores))
    }

    fn sum_errors(
        &self,
        codes: &[u8],
        references: &[u8],
        per_sequence: usize,
        all: &Scores,
    ) -> Vec<Option<f64>> {
        let length = self.inputlen;
        let rows = codes.chunks_exact(length).zip(references.chunks_exact(length * per_sequence));
        let of_row = |(row, (codes, references)): (usize, (&[u8], &[u8]))| {
            if codes.contains(&4) || references.contains(&4) {
                return None;
            }
            let heads = [(&all.counts, &all.delta_counts), (&all.profile, &all.delta_profile)];
            let errors = heads.into_iter().filter_map(|(scores, deltas)| {
                let delta = *deltas.get(row)?;
                Some(sum_error(codes, &scores[row * length * 4..][..length * 4], delta))
            });
            Some(errors.fold(0.0, worse))
        };
        rows.enumerate().map(of_row).collect()
    }
}

/// Element by element; of one model, what it says.
fn mean(mut all: Vec<Scores>) -> Scores {
    if all.len() == 1 {
        return all.remove(0);
    }
    let n = all.len() as f64;
    let f32s = |of: fn(&Scores) -> &Vec<f32>| -> Vec<f32> {
        let sum = |i: usize| all.iter().map(|s| f64::from(of(s)[i])).sum::<f64>();
        (0..of(&all[0]).len()).map(|i| (sum(i) / n) as f32).collect()
    };
    let f64s = |of: fn(&Scores) -> &Vec<f64>| -> Vec<f64> {
        let sum = |i: usize| all.iter().map(|s| of(s)[i]).sum::<f64>();
        (0..of(&all[0]).len()).map(|i| sum(i) / n).collect()
    };
    Scores {
        counts: f32s(|s| &s.counts),
        profile: f32s(|s| &s.profile),
        delta_counts: f64s(|s| &s.delta_counts),
        delta_profile: f64s(|s| &s.delta_profile),
        sum_errors: Vec::new(),
    }
}
