//! The stages of a run: counts of peaks, scores of shuffled windows, scores of variants.

use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;
use serde_json::json;

use super::Job;
use super::listed::Listed;
use super::outputs::Names;
use crate::console::{Console, grouped};
use crate::error::Problem;
use crate::files::table::Table;
use crate::files::variant_h5::VariantPredictionsWriter;
use crate::input::{chrom_sizes, peak_list};
use crate::pack::cache;
use crate::pack::inputs;
use crate::store::GenomePack;
use crate::variants::background::{Background, Draws};
use crate::variants::batch::{Predicted, ToScore};
use crate::variants::origin::{self, Origin};
use crate::variants::predict::Predictor;
use crate::variants::scores::Scores;
use crate::variants::{peaks, tables};

/// The scoring of one list of variants.
pub struct ScoreRun<'a> {
    pub job: &'a Job,
    pub console: Console,
    pub names: Names,
    pub predictor: Predictor,
    /// Hash of the peaks that quantiles are taken from, once they are chosen.
    pub peaks_hash: Option<String>,
}

impl ScoreRun<'_> {
    fn models(&self) -> std::ops::Range<usize> {
        0..self.predictor.engines.len()
    }

    /// Variants a step: each is two windows, on both strands four sequences.
    fn jobs_per_batch(&self) -> usize {
        let sequences = if self.predictor.both_strands { 4 } else { 2 };
        (self.predictor.batch_size / sequences).max(1)
    }

    /// Predicts peaks, writes a table for each model, and returns the counts, sorted.
    pub fn peaks(&mut self, listed: &Listed) -> Result<Option<Vec<Vec<f32>>>> {
        let Some(path) = &self.job.peaks else { return Ok(None) };
        let genome = match &self.job.peak_genome {
            Some(genome) => inputs::open_genome(genome, &self.job.cache_dir, &self.console)?,
            None => listed.genome.clone(),
        };
        let mut found = peak_list::read(path)?;
        let all = found.len();
        // Without sizes of their own, peaks are checked against those of the variants.
        let sizes = match (&self.job.peak_chrom_sizes, &self.job.peak_genome) {
            (None, None) => self.job.chrom_sizes.as_ref(),
            (own, _) => own.as_ref(),
        };
        if let Some(sizes_path) = sizes {
            let sizes = chrom_sizes::read(sizes_path)?;
            let disputed = inputs::check_sizes(&sizes, sizes_path, &genome, &self.console)?;
            inputs::refuse_disputed(&disputed, found.iter().map(|peak| peak.chrom.as_str()))?;
            found.retain(|peak| sizes.id(&peak.chrom).is_some());
        }
        let elsewhere = all - found.len();
        let chosen = peaks::choose(
            found,
            &genome,
            self.predictor.arch.inputlen,
            self.job.max_peaks,
            self.job.seed,
        );
        let unknown = elsewhere + chosen.unknown_contig;
        let text = format!(
            "{}: {} of {} peaks are scored; {} are duplicates, {} lie on other contigs, {} too near to an end",
            path.display(),
            grouped(chosen.peaks.len() as u64),
            grouped(all as u64),
            grouped(chosen.duplicates as u64),
            grouped(unknown as u64),
            grouped(chosen.edge as u64)
        );
        if chosen.peaks.is_empty() {
            return Err(Problem::new(text)
                .fix("pass the peaks of the model's experiment, on the assembly of the genome")
                .into());
        }
        if unknown + chosen.edge > 0 {
            self.console.warning(text);
        } else {
            self.console.info(text);
        }
        self.peaks_hash = Some(origin::peaks(&chosen.peaks, &genome));
        let mut counts = peaks::counts(&chosen.peaks, &genome, &mut self.predictor, &self.console)?;
        for (model, counts) in counts.iter_mut().enumerate() {
            let name = self.names.of_model(model, "peak_scores.tsv");
            let mut table = Table::create(&name, tables::PEAKS_HEADER)?;
            for (peak, &counts) in chosen.peaks.iter().zip(counts.iter()) {
                table.row(&tables::peak_row(peak, counts))?;
            }
            table.finish()?;
            counts.sort_unstable_by(f32::total_cmp);
        }
        Ok(Some(counts))
    }

    /// Scores shuffled windows, writes a table for each model, and returns the scores, sorted.
    pub fn backgrounds(
        &mut self,
        listed: &mut Listed,
        peak_counts: Option<&[Vec<f32>]>,
    ) -> Result<Option<Vec<Background>>> {
        let with_peaks = peak_counts.is_some();
        if !self.job.shuffled_scores.is_empty() {
            let origins = self.origins(&listed.genome)?;
            let mut backgrounds = Vec::with_capacity(origins.len());
            for (path, origin) in self.job.shuffled_scores.iter().zip(&origins) {
                if !origin::check(path, origin)? {
                    self.console.warning(format!(
                        "{}: nothing beside it says which model and genome these scores were made with; they are taken as they are",
                        path.display()
                    ));
                }
                backgrounds.push(Background::read(path, with_peaks)?);
            }
            return Ok(Some(backgrounds));
        }
        let each = u64::from(self.job.shuffles) * listed.len;
        let total = self.job.shuffles_in_all.unwrap_or(each);
        if total == 0 {
            return Ok(None);
        }
        let layout = listed.layout(with_peaks, true);
        let mut backgrounds = vec![Background::new(with_peaks); self.models().len()];
        let mut tables: Vec<Table> = self
            .models()
            .map(|model| {
                let name = self.names.of_model(model, "variant_scores.shuffled.tsv");
                Table::create(&name, &layout.shuffled_header())
            })
            .collect::<Result<_>>()?;
        let mut draws = Draws::new(total, listed.len, u64::from(self.job.seed));
        let mut progress = self.console.progress("shuffled", total).unit("variants");
        let size = self.jobs_per_batch();
        listed.in_batches(
            size,
            |variant, placed, jobs| {
                for index in 0..draws.next().unwrap_or(0) {
                    jobs.push(ToScore {
                        variant: variant.clone(),
                        placed: placed.clone(),
                        shuffle: Some(index),
                    });
                }
            },
            |jobs, windows| {
                let predicted = Predicted::new(jobs, windows, &mut self.predictor)?;
                for (model, background) in backgrounds.iter_mut().enumerate() {
                    let counts = peak_counts.map(|counts| &counts[model][..]);
                    let scores = predicted.scores(model, jobs, counts);
                    let rows: Vec<String> = jobs
                        .par_iter()
                        .zip(&scores)
                        .map(|(job, scores)| {
                            layout.shuffled_row(&job.variant, job.shuffle.unwrap_or(0), scores)
                        })
                        .collect();
                    scores.iter().for_each(|scores| background.push(scores));
                    rows.iter().try_for_each(|row| tables[model].row(row))?;
                }
                progress.advance(jobs.len() as u64, "");
                Ok(())
            },
        )?;
        progress.finish();
        backgrounds.iter_mut().for_each(Background::sort);
        for ((model, table), origin) in
            tables.into_iter().enumerate().zip(self.origins(&listed.genome)?)
        {
            let name = self.names.of_model(model, "variant_scores.shuffled.tsv");
            table.finish()?;
            origin::write(&name, origin)?;
        }
        Ok(Some(backgrounds))
    }

    /// What the shuffled scores of each model depend on.
    fn origins(&self, genome: &GenomePack) -> Result<Vec<Origin>> {
        let origin = |path: &std::path::PathBuf| {
            Ok(Origin {
                model: cache::fingerprint_in(path, &self.job.cache_dir)?.xxh3,
                genome: origin::genome(genome),
                both_strands: self.predictor.both_strands,
                peaks: self.peaks_hash.clone(),
            })
        };
        self.job.models.iter().map(origin).collect()
    }

    /// Scores the variants.
    pub fn score(
        &mut self,
        listed: &mut Listed,
        peak_counts: Option<&[Vec<f32>]>,
        backgrounds: Option<&[Background]>,
    ) -> Result<()> {
        let layout = listed.layout(peak_counts.is_some(), backgrounds.is_some());
        let models = self.models();
        let name = |model| self.names.of_model(model, "variant_scores.tsv");
        let mut tables: Vec<Table> = models
            .clone()
            .map(|model| Table::create(&name(model), &layout.scores_header()))
            .collect::<Result<_>>()?;
        let mean_name = self.names.of_mean("variant_scores.tsv");
        let mut mean = match models.len() {
            1 => None,
            _ => Some(Table::create(&mean_name, &layout.mean_header())?),
        };
        let mut h5s: Vec<VariantPredictionsWriter> = models
            .clone()
            .filter(|_| self.job.h5)
            .map(|model| {
                let name = self.names.of_model(model, "variant_predictions.h5");
                let outputlen = self.predictor.arch.outputlen;
                VariantPredictionsWriter::create(&name, listed.len as usize, outputlen)
            })
            .collect::<Result<_>>()?;
        let mut progress = self.console.progress("variants", listed.len).unit("variants");
        let size = self.jobs_per_batch();
        listed.in_batches(
            size,
            |variant, placed, jobs| jobs.push(ToScore { variant, placed, shuffle: None }),
            |jobs, windows| {
                let predicted = Predicted::new(jobs, windows, &mut self.predictor)?;
                let scores: Vec<Vec<Scores>> = models
                    .clone()
                    .map(|model| {
                        let counts = peak_counts.map(|counts| &counts[model][..]);
                        predicted.scores(model, jobs, counts)
                    })
                    .collect();
                for (model, table) in tables.iter_mut().enumerate() {
                    let background = backgrounds.map(|b| &b[model]);
                    write_rows(table, jobs, |i, job| {
                        layout.scores_row(&job.variant, &scores[model][i], background)
                    })?;
                }
                if let Some(table) = &mut mean {
                    write_rows(table, jobs, |i, job| {
                        let of_models: Vec<Scores> = scores.iter().map(|s| s[i]).collect();
                        layout.mean_row(&job.variant, &of_models, backgrounds)
                    })?;
                }
                for (model, h5) in h5s.iter_mut().enumerate() {
                    append(h5, &predicted, model, jobs.len())?;
                }
                progress.advance(jobs.len() as u64, "");
                Ok(())
            },
        )?;
        let rate = progress.rate();
        progress.finish();
        tables.into_iter().chain(mean).try_for_each(Table::finish)?;
        h5s.into_iter().try_for_each(VariantPredictionsWriter::finish)?;
        self.say(listed.len, rate, &mean_name);
        Ok(())
    }

    fn say(&self, variants: u64, rate: f64, name: &Path) {
        let text = format!(
            "scored {} variants, {rate:.1} variants/s: wrote {}",
            grouped(variants),
            name.display()
        );
        let fields =
            json!({"variants": variants, "per_s": rate, "scores": name.display().to_string()});
        self.console.event("variants", text, fields);
    }
}

/// Rows are made in parallel: numbers to text is a good part of the work on a fast device.
fn write_rows(
    table: &mut Table,
    jobs: &[ToScore],
    row: impl Fn(usize, &ToScore) -> String + Sync,
) -> Result<()> {
    let rows: Vec<String> = jobs.par_iter().enumerate().map(|(i, job)| row(i, job)).collect();
    rows.iter().try_for_each(|row| table.row(row))
}

fn append(
    h5: &mut VariantPredictionsWriter,
    predicted: &Predicted,
    model: usize,
    jobs: usize,
) -> Result<()> {
    let mut counts: [Vec<f32>; 2] = Default::default();
    let mut logits: [Vec<f32>; 2] = Default::default();
    for job in 0..jobs {
        for allele in 0..2 {
            let (count, profile) = predicted.allele(model, job, allele);
            counts[allele].push(count as f32);
            logits[allele].extend_from_slice(profile);
        }
    }
    h5.append([&counts[0], &counts[1]], [&logits[0], &logits[1]])
}
