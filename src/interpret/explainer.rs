//! Scores of sequences by one method, averaged over models.

use anyhow::Result;
use rayon::prelude::*;

use super::ism;
use super::reference_file::ReferenceFile;
use crate::engine::{Contributions, Engine, Explain, Heads, Rule};
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
    /// [n]: what the scores of the bases that are there must sum to, where there is such a sum.
    pub delta_counts: Vec<f64>,
    pub delta_profile: Vec<f64>,
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
    /// Looks at one sequence and head: `codes` [length], `scores` [length, 4].
    fn add(&mut self, codes: &[u8], scores: &[f32], delta: f64) {
        let columns = scores.chunks_exact(4).zip(codes);
        let sum: f64 = columns.map(|(column, &code)| f64::from(column[usize::from(code)])).sum();
        let largest = scores.iter().fold(0f32, |max, s| max.max(s.abs()));
        let error = (sum - delta).abs() / f64::from(largest).max(f64::MIN_POSITIVE);
        // A NaN must show.
        self.worst = if error > self.worst || error.is_nan() { error } else { self.worst };
    }
}

/// Explains sequences with every model and takes the mean.
pub struct Explainer {
    pub engines: Vec<Box<dyn Engine>>,
    pub method: Method,
    pub heads: Heads,
    /// bp of a sequence.
    pub inputlen: usize,
    /// bp of a profile.
    pub outputlen: usize,
    /// Of the sequences explained so far.
    pub sums: SumCheck,
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
        let explain = Explain { codes, rule, heads: self.heads };
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
                    }
                }
            });
        }
        let scores = mean(all);
        if let Some((references, per_sequence)) = &references {
            self.check_sums(codes, references, *per_sequence, &scores);
        }
        Ok(Some(scores))
    }

    fn check_sums(&mut self, codes: &[u8], references: &[u8], per_sequence: usize, all: &Scores) {
        let length = self.inputlen;
        let rows = codes.chunks_exact(length).zip(references.chunks_exact(length * per_sequence));
        for (row, (codes, references)) in rows.enumerate() {
            if codes.contains(&4) || references.contains(&4) {
                continue;
            }
            self.sums.rows += 1;
            let heads = [(&all.counts, &all.delta_counts), (&all.profile, &all.delta_profile)];
            for (scores, deltas) in heads {
                if let Some(&delta) = deltas.get(row) {
                    self.sums.add(codes, &scores[row * length * 4..][..length * 4], delta);
                }
            }
        }
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
    }
}
