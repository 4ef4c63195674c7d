//! What scores come to when a variant means nothing: those of the same alleles in shuffled windows.
//!
//! A p-value is the share of shuffled scores as extreme as the one at hand, one added to both
//! counts. Source: variant-scorer `get_pvals`. Where both tails are wanted it is twice the smaller one
//! and is not capped: shuffled scores that tie with it belong to both tails, so that where many
//! tie, as a `quantile_change` of 0 does, p-values reach up to 2.
//! Memory: 12 bytes a shuffled window, 32 with peaks; the absolute metrics share the numbers of
//! their signed ones.

use std::path::Path;

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::scores::{AVERAGED, Metric, Scores, Tail};
use crate::error::Problem;
use crate::input::lines;

/// Sorted scores of shuffled windows, for each metric that has a p-value.
#[derive(Clone, Debug, Default)]
pub struct Background {
    /// By metric; empty for those without a p-value and for absolute ones.
    scores: [Vec<f32>; Metric::COUNT],
    with_peaks: bool,
}

impl Background {
    pub fn new(with_peaks: bool) -> Self {
        Self { with_peaks, ..Self::default() }
    }

    fn kept(with_peaks: bool) -> impl Iterator<Item = Metric> {
        AVERAGED
            .into_iter()
            .filter(move |m| m.signed().is_none() && (with_peaks || !m.needs_peaks()))
    }

    pub fn push(&mut self, scores: &Scores) {
        for metric in Self::kept(self.with_peaks) {
            self.scores[metric as usize].push(scores.get(metric));
        }
    }

    /// Call once, after the last `push`.
    pub fn sort(&mut self) {
        for scores in &mut self.scores {
            scores.sort_unstable_by(f32::total_cmp);
        }
    }

    /// How many shuffled windows it knows.
    pub fn len(&self) -> usize {
        self.scores[Metric::Logfc as usize].len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// p-value of a score; `None` for a metric that has none.
    pub fn p_value(&self, metric: Metric, score: f32) -> Option<f64> {
        let tail = metric.tail()?;
        let sorted = &self.scores[metric.signed().unwrap_or(metric) as usize];
        let n = sorted.len();
        let at_least = |value: f32| n - sorted.partition_point(|&s| s < value);
        let at_most = |value: f32| sorted.partition_point(|&s| s <= value);
        let p = |rank: usize| (rank + 1) as f64 / (n + 1) as f64;
        Some(match (tail, metric.signed()) {
            (Tail::Both, _) => 2.0 * p(at_least(score)).min(p(at_most(score))),
            (Tail::Right, None) => p(at_least(score)),
            (Tail::Right, Some(_)) if score <= 0.0 => p(n),
            (Tail::Right, Some(_)) => p(at_least(score) + at_most(-score)),
        })
    }

    /// Scores of an earlier run: a `*.variant_scores.shuffled.tsv`.
    pub fn read(path: &Path, with_peaks: bool) -> Result<Self> {
        let mut background = Self::new(with_peaks);
        let mut columns: Option<Vec<(Metric, usize)>> = None;
        lines::for_each(path, |number, line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let Some(columns) = &columns else {
                columns = Some(find_columns(&cells, with_peaks).map_err(|p| p.at(path.display()))?);
                return Ok(());
            };
            for (metric, at) in columns {
                let cell = cells.get(*at).copied().unwrap_or_default();
                let score: f32 =
                    cell.parse().ok().filter(|s: &f32| !s.is_nan()).ok_or_else(|| {
                        Problem::new(format!("{} is {cell:?}, expected a number", metric.name()))
                            .at(lines::place(path, number))
                    })?;
                background.scores[*metric as usize].push(score);
            }
            Ok(())
        })?;
        if background.is_empty() {
            return Err(Problem::new("file has no shuffled scores").at(path.display()).into());
        }
        background.sort();
        Ok(background)
    }
}

fn find_columns(header: &[&str], with_peaks: bool) -> Result<Vec<(Metric, usize)>, Problem> {
    Background::kept(with_peaks)
        .map(|metric| {
            let at = header.iter().position(|name| *name == metric.name()).ok_or_else(|| {
                Problem::new(format!("there is no column {}", metric.name())).fix(
                    "pass a *.variant_scores.shuffled.tsv of a run with the same --peaks setting",
                )
            })?;
            Ok((metric, at))
        })
        .collect()
}

/// How many shuffles each of `rows` variants gets, in order: `total` in all, spread evenly, the
/// remainder over variants drawn without replacement.
pub struct Draws {
    each: u32,
    remainder: u64,
    rows: u64,
    rng: ChaCha8Rng,
}

impl Draws {
    pub fn new(total: u64, rows: u64, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (each, remainder) = match rows {
            0 => (0, 0),
            _ => ((total / rows) as u32, total % rows),
        };
        Self { each, remainder, rows, rng }
    }
}

impl Iterator for Draws {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // Knuth's selection sampling (TAOCP 2, 3.4.2, algorithm S).
        let left = self.rows;
        self.rows = left.checked_sub(1)?;
        let drawn = self.remainder > 0 && self.rng.random_range(0..left) < self.remainder;
        self.remainder -= u64::from(drawn);
        Some(self.each + u32::from(drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::scores::Allele;

    /// A background of counts alone: logfc is what varies.
    fn background(logfcs: &[f64]) -> Background {
        let mut background = Background::new(false);
        for logfc in logfcs {
            let alleles = [1.0, logfc.exp2()];
            let [one, two] = alleles.map(|counts| Allele { counts, logits: &[0.0; 4], length: 1 });
            background.push(&Scores::of([one, two], None));
        }
        background.sort();
        background
    }

    /// Numbers of variant-scorer's get_pvals on [-2, -1, 0, 1, 1, 3].
    #[test]
    fn p_values_with_ties_and_both_tails() {
        let background = background(&[1.0, -2.0, 0.0, 3.0, 1.0, -1.0]);
        let both = [-3.0, -2.0, 0.0, 1.0, 3.0, 4.0]
            .map(|s| 7.0 * background.p_value(Metric::Logfc, s).unwrap());
        assert_eq!(both, [2.0, 4.0, 8.0, 8.0, 4.0, 2.0]);
        // A score that ties with all of them belongs to both tails whole.
        let tied = self::background(&[0.0, 0.0]);
        assert_eq!(tied.p_value(Metric::Logfc, 0.0), Some(2.0));
        // absolute values: 0, 1, 1, 1, 2, 3
        let right = [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 4.0]
            .map(|s| 7.0 * background.p_value(Metric::AbsLogfc, s).unwrap());
        assert_eq!(right, [7.0, 6.0, 6.0, 3.0, 2.0, 2.0, 1.0]);
        assert_eq!(background.p_value(Metric::Jsd, 0.0), Some(1.0));
        assert_eq!(background.p_value(Metric::OriginalJsd, 0.0), None);
    }

    #[test]
    fn draws_add_up_and_are_spread() {
        for (total, rows) in [(0, 5), (3, 7), (70, 7), (23, 7), (5, 0), (1_000, 333)] {
            let draws: Vec<u32> = Draws::new(total, rows, 1).collect();
            assert_eq!(draws.len() as u64, rows);
            let sum: u64 = draws.iter().map(|&d| u64::from(d)).sum();
            assert_eq!(sum, if rows == 0 { 0 } else { total });
            let (least, most) = (draws.iter().min(), draws.iter().max());
            assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1);
        }
        // every variant is as likely as any other
        let mut hits = [0; 4];
        for seed in 0..2_000 {
            for (hit, draw) in hits.iter_mut().zip(Draws::new(1, 4, seed)) {
                *hit += draw;
            }
        }
        assert!(hits.iter().all(|&h| (420..580).contains(&h)), "{hits:?}");
    }

    #[test]
    fn scores_of_an_earlier_run() {
        let read = |text: &str, with_peaks: bool| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            Background::read(file.path(), with_peaks).map_err(|e| e.to_string())
        };
        let table =
            "chr\tlogfc\tabs_logfc\tjsd\tlogfc_x_jsd\n1\t-1\t1\t0.5\t-0.5\n1\t2\t2\t0.25\t0.5\n";
        let background = read(table, false).unwrap();
        assert_eq!(background.len(), 2);
        assert_eq!(background.p_value(Metric::Jsd, 0.5), Some(2.0 / 3.0));
        assert!(read(table, true).unwrap_err().contains("no column active_allele_quantile"));
        assert!(read("chr\tlogfc\tjsd\tlogfc_x_jsd\n", false).unwrap_err().contains("no shuffled"));
        let message = read(&table.replace("0.25", "nan"), false).unwrap_err();
        assert!(message.contains("jsd is \"nan\"") && message.contains("line 3"), "{message}");
    }
}
