//! One pass of a group of models over the work, and the files that come of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Job;
use super::figures::Figures;
use super::work::Work;
use crate::batch::Example;
use crate::console::Console;
use crate::engine::Predictions;
use crate::error::Problem;
use crate::files::atomic;
use crate::files::region_track::RegionTrack;
use crate::model::Architecture;
use crate::predict::count_transform::CountTransform;
use crate::predict::models::{EnsemblePredictions, Models};
use crate::predict::outputs::{Observed, Outputs, Subject, Wanted, WantedTrack};
use crate::predict::rows::Rows;
use crate::predict::spread::standard_deviation;
use crate::run::prefix::suffixed;

/// Predicts the work with every model of the group. One model writes under `prefix`; several write
/// under `prefix_fold_0`, ... and `prefix_mean`, and their spread to `prefix_sd.bw`.
pub fn run(job: &Job, work: &Work, models: Models, prefix: &Path, console: &Console) -> Result<()> {
    let several = models.files().len() > 1;
    if several {
        for (i, file) in models.files().iter().enumerate() {
            console.info(format!("fold_{i}: {}", file.path.display()));
        }
    }
    let arch = *models.arch();
    let mut ensemble = models.open(&job.device.device, &work.tracks)?;
    let subject =
        Subject { arch: &arch, tracks: &work.tracks, plan: &work.plan, groups: work.groups };
    let stats = job.stats.as_deref();
    let create = |prefix: PathBuf, is_main: bool| {
        let track = work.layout.as_ref().map(|layout| WantedTrack {
            layout,
            transform: job.count_transform.unwrap_or(CountTransform::Exp),
            stats: stats.filter(|_| is_main),
        });
        let transform = job.count_transform.unwrap_or(CountTransform::Expm1);
        let table = Some((&work.rows, transform));
        let h5 = wants_h5(job).then_some(job.logits);
        Outputs::create(
            subject,
            Wanted { prefix, h5, table, track, figures: true },
            is_main && several,
        )
    };
    let main_prefix = if several { suffixed(prefix, "_mean") } else { prefix.to_path_buf() };
    let mut main = create(main_prefix.clone(), true)?;
    let mut folds = Vec::new();
    let mut spread_track = None;
    if several {
        for i in 0..ensemble.members.len() {
            folds.push(create(suffixed(prefix, &format!("_fold_{i}")), false)?);
        }
        if let Some(layout) = &work.layout {
            spread_track = Some(RegionTrack::create(&suffixed(prefix, "_sd.bw"), layout, false)?);
        }
    }

    let mut progress = job
        .shows_progress
        .then(|| console.progress(&format!("predict {}", ensemble.role()), work.plan.len() as u64));
    for batch in work.plan.chunks(job.batch_size) {
        let EnsemblePredictions { models, mean } = ensemble.predict(batch)?;
        if work.layout.is_some() {
            let transform = job.count_transform.unwrap_or(CountTransform::Exp);
            for (member, predicted) in ensemble.members.iter().zip(&models) {
                check_finite(&member.path, predicted, transform, &subject, batch)?;
            }
        }
        let observed = Observed::of(&subject, batch);
        for (fold, predicted) in folds.iter_mut().zip(&models) {
            fold.append(batch, predicted, &[], observed.as_ref())?;
        }
        let mut spread = Vec::new();
        if several {
            let logcounts: Vec<&[f32]> = models.iter().map(|p| &p.logcounts[..]).collect();
            spread.extend(standard_deviation(&logcounts));
        }
        main.append(batch, &mean, &spread, observed.as_ref())?;
        if let Some(track) = &mut spread_track {
            let values: Vec<&[f32]> = folds.iter().map(Outputs::values).collect();
            let spread: Vec<f32> = standard_deviation(&values).map(|v| v as f32).collect();
            spread.chunks_exact(arch.outputlen).try_for_each(|values| track.push(values))?;
        }
        if let Some(progress) = &mut progress {
            progress.advance(batch.len() as u64, "");
        }
    }
    if let Some(progress) = progress {
        progress.finish();
    }

    let spread = spread_track.map(RegionTrack::complete).transpose()?;
    let folds: Vec<_> = folds.into_iter().map(Outputs::complete).collect::<Result<_>>()?;
    let main = main.complete()?;
    let drawn: Vec<Figures> =
        folds.iter().chain([&main]).map(|o| Figures::of(o, work.groups)).collect();
    for fold in folds {
        fold.publish()?;
    }
    if let Some((file, _)) = spread {
        file.publish()?;
    }
    let metrics = main.publish()?;
    if job.regions.is_some() {
        write_bed(&suffixed(prefix, "_preds.bed"), &work.rows)?;
    }
    drawn.into_iter().for_each(|figures| figures.write(console));
    if let Some(metrics) = metrics {
        console.info(metrics.to_string());
    }
    console.info(format!("wrote {}", written(job, work, &main_prefix).display()));
    Ok(())
}

/// Errors for a prediction that no track can show: a training that went astray leaves models with
/// weights that are no numbers, or with log counts that no f32 holds the counts of.
fn check_finite(
    model: &Path,
    predicted: &Predictions,
    transform: CountTransform,
    subject: &Subject,
    batch: &[Example],
) -> Result<(), Problem> {
    let Architecture { inputlen, outputlen, .. } = *subject.arch;
    let rows = predicted.logits.chunks_exact(outputlen).zip(&predicted.logcounts);
    for (example, (logits, logcount)) in batch.iter().zip(rows) {
        let counts = transform.counts(*logcount) as f32;
        let what = match logits.iter().find(|l| !l.is_finite()) {
            Some(logit) => format!("a logit of {logit}"),
            None if !counts.is_finite() => format!("{counts} counts (log counts {logcount})"),
            None => continue,
        };
        let contig = &subject.tracks.genome.contigs()[example.contig as usize].name;
        let start = example.start as usize + (inputlen - outputlen) / 2;
        return Err(Problem::new(format!("the model predicts {what}, which no bigWig can show"))
            .at(format!("{}, {contig}:{}-{}", model.display(), start, start + outputlen))
            .fix("its training went astray: train it again, for example with a smaller --learning-rate, or leave this model out"));
    }
    Ok(())
}

/// The official tool writes it with a bigWig only; whoever names models our way has always got it,
/// but for whole contigs, whose profiles are in the bigWig.
fn wants_h5(job: &Job) -> bool {
    let ours = !job.models.any.is_empty() || job.bigwig.is_some();
    job.h5 || job.logits || (ours && job.tile.is_none())
}

/// The file to name when all is done.
fn written(job: &Job, work: &Work, prefix: &Path) -> PathBuf {
    match (&work.layout, wants_h5(job)) {
        (Some(_), _) => suffixed(prefix, ".bw"),
        (None, true) => suffixed(prefix, "_predictions.h5"),
        (None, false) => suffixed(prefix, "_predicted_counts.tsv"),
    }
}

/// The rows that were predicted, as they stood in the file.
fn write_bed(path: &Path, rows: &Rows) -> Result<()> {
    let Rows::Regions(rows) = rows else { return Ok(()) };
    atomic::write(path, |out| {
        for r in rows {
            writeln!(out, "{}\t{}\t{}\t{}\t{}", r.chrom, r.start, r.end, r.extra, r.summit)?;
        }
        Ok(())
    })
}
