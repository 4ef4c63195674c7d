//! Contribution scores of both alleles, as variant-scorer's `variant_shap` writes them; of several
//! models the mean.

use anyhow::Result;

use super::listed::Listed;
use super::stages::ScoreRun;
use crate::engine::{Contributions, Heads, Rule, ToExplain};
use crate::files::variant_h5::VariantShapWriter;
use crate::interpret::Head;
use crate::sequence::dinuc_shuffle;
use crate::variants::batch::{Batch, ToScore};

/// Shuffled references a window. Source: variant-scorer `shuffle_several_times`.
const REFERENCES: usize = 20;
/// Variants a step: 32 windows with 20 references each are 640 sequences.
const VARIANTS: usize = 16;

impl ScoreRun<'_> {
    /// Writes a file for each output that is to be explained.
    pub fn explain(&mut self, listed: &mut Listed) -> Result<()> {
        let mut heads: Vec<Head> = Vec::new();
        for &head in &self.job.explained {
            if !heads.contains(&head) {
                heads.push(head);
            }
        }
        if heads.is_empty() {
            return Ok(());
        }
        let inputlen = self.predictor.arch.inputlen;
        let mut files: Vec<(Head, VariantShapWriter)> = heads
            .iter()
            .map(|&head| {
                let name = self.names.of_mean(&format!("variant_shap.{}.h5", head.name()));
                let writer = VariantShapWriter::create(&name, listed.len as usize, inputlen)?;
                Ok((head, writer))
            })
            .collect::<Result<_>>()?;
        let asked = Heads {
            counts: heads.contains(&Head::Counts),
            profile: heads.contains(&Head::Profile),
        };
        let mut progress = self.console.progress("contributions", listed.len).unit("variants");
        listed.in_batches(
            VARIANTS,
            |variant, placed, jobs| jobs.push(ToScore { variant, placed, shuffle: None }),
            |jobs, windows| {
                let batch = Batch::of(jobs, windows);
                let mut references = Vec::with_capacity(REFERENCES * batch.codes.len());
                for window in batch.codes.chunks_exact(inputlen) {
                    references.extend(dinuc_shuffle::shuffles(window, windows.seed, REFERENCES));
                }
                let explained = self.mean_contributions(&batch.codes, &references, asked)?;
                let ids: Vec<&str> = jobs.iter().map(|job| job.variant.id.as_str()).collect();
                for (head, file) in &mut files {
                    let scores = match head {
                        Head::Counts => &explained.counts,
                        Head::Profile => &explained.profile,
                    };
                    for allele in 0..2 {
                        let mut codes = Vec::with_capacity(jobs.len() * inputlen);
                        let mut hypothetical = Vec::with_capacity(jobs.len() * inputlen * 4);
                        for alleles in &batch.alleles {
                            let at = alleles[allele] * inputlen..(alleles[allele] + 1) * inputlen;
                            hypothetical.extend_from_slice(&scores[4 * at.start..4 * at.end]);
                            codes.extend_from_slice(&batch.codes[at]);
                        }
                        file.append(allele, &ids, &codes, &hypothetical)?;
                    }
                }
                progress.advance(jobs.len() as u64, "");
                Ok(())
            },
        )?;
        progress.finish();
        files.into_iter().try_for_each(|(_, file)| file.finish())
    }

    fn mean_contributions(
        &mut self,
        codes: &[u8],
        references: &[u8],
        heads: Heads,
    ) -> Result<Contributions> {
        let rule = Rule::Rescale { references, per_sequence: REFERENCES };
        let of = ToExplain { codes, rule, heads };
        let models = self.predictor.engines.len();
        let mut sum = Contributions::default();
        for (model, engine) in self.predictor.engines.iter_mut().enumerate() {
            let mut out = Contributions::default();
            engine.contributions(&of, &mut out)?;
            if model == 0 {
                sum = out;
                continue;
            }
            let both = [(&mut sum.counts, &out.counts), (&mut sum.profile, &out.profile)];
            for (sum, scores) in both {
                sum.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
            }
        }
        for scores in [&mut sum.counts, &mut sum.profile] {
            scores.iter_mut().for_each(|score| *score /= models as f32);
        }
        Ok(sum)
    }
}
