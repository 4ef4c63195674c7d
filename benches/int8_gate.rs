//! What predictions lose in 8-bit products: the same test peaks of the same models in f32 on the CPU and in int8 on a
//! GPU.
//!
//! ```text
//! cargo bench --features emulate --bench int8_gate -- DEVICE REGIONS GENOME BIGWIG PEAKS FOLDS MODEL MODEL MODEL ...
//! ```
//!
//! In: a data set, and models that were trained on it from several seeds. DEVICE is `cuda` or `emulated`. At most
//! REGIONS peaks of the fold's test chromosomes are taken, evenly over the file.
//! Out, on stdout: a JSON line a model, and a last one with the verdict: no model's median JSD may change by more than
//! half a percent, no counts Pearson by more than the standard deviation of f32's over the seeds.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use cbp_fast::batch::Example;
use cbp_fast::cli::args::DeviceArgs;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{self, Device, Predict, Predictions};
use cbp_fast::files::keras_h5;
use cbp_fast::input::folds::{self, Split};
use cbp_fast::input::regions;
use cbp_fast::numpy::correlation::pearson;
use cbp_fast::pack::cache;
use cbp_fast::predict::metrics::{GroupMetrics, RegionScores};
use cbp_fast::store::Tracks;
use serde_json::{Value, json};

/// Examples at once.
const BATCH: usize = 16;
const MOST_JSD_CHANGE: f64 = 0.005;

fn main() -> Result<()> {
    // cargo bench adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [device, regions, genome, bigwig, peaks, folds, models @ ..] = &arguments[..] else {
        bail!("usage: int8_gate DEVICE REGIONS GENOME BIGWIG PEAKS FOLDS MODEL MODEL MODEL ...");
    };
    ensure!(models.len() >= 3, "{} models: a spread needs three seeds", models.len());
    let precision = Some(Precision::Int8);
    let device = DeviceArgs { device: device.clone(), precision, threads: 0 }.choose()?.device;
    let most: usize = regions.parse().context("REGIONS")?;

    let folder = tempfile::tempdir()?;
    let genome = cache::open_genome(Path::new(genome), folder.path(), &mut |_| {})?;
    let signal = cache::open_signal(Path::new(bigwig), folder.path(), &mut |_| {})?;
    let tracks = Tracks::new(Arc::new(genome), Some(Arc::new(signal)));
    let inputlen = keras_h5::read(Path::new(&models[0]))?.arch().inputlen;
    let plan = plan(&tracks, Path::new(peaks), Path::new(folds), inputlen, most)?;

    let mut compared = Vec::new();
    for model in models {
        let comparison = Comparison::of(Path::new(model), &device, &tracks, &plan)?;
        println!("{}", comparison.to_json(model));
        compared.push(comparison);
    }
    println!("{}", verdict(&compared, &device, plan.len()));
    Ok(())
}

/// Windows around the summits of test peaks.
fn plan(
    tracks: &Tracks,
    peaks: &Path,
    folds: &Path,
    inputlen: usize,
    most: usize,
) -> Result<Vec<Example>> {
    let folds = folds::read(folds)?;
    let mut plan = Vec::new();
    for (row, region) in regions::read(peaks)?.iter().enumerate() {
        let Some(contig) = tracks.genome.contig_id(&region.chrom) else { continue };
        let Some(start) = region.center().checked_sub(inputlen as u64 / 2) else { continue };
        let length = tracks.genome.contigs()[contig as usize].length;
        if folds.split_of(&region.chrom) == Some(Split::Test) && start + inputlen as u64 <= length {
            plan.push(Example {
                contig,
                start: start as u32,
                flags: Example::PEAK,
                row: row as u32,
            });
        }
    }
    ensure!(!plan.is_empty(), "no test peak in {}", peaks.display());
    let wanted = most.min(plan.len());
    Ok((0..wanted).map(|i| plan[i * plan.len() / wanted]).collect())
}

/// One model, twice.
struct Comparison {
    f32: GroupMetrics,
    int8: GroupMetrics,
    /// of each region: correlation of the two predicted profiles
    profiles: Vec<f64>,
    /// of each region: difference of the two log counts
    logcounts: Vec<f64>,
    /// of each region: log counts with another base in the middle, less those without, in f32 and in int8
    effects: [Vec<f64>; 2],
    seconds: f64,
}

impl Comparison {
    fn of(model: &Path, device: &Device, tracks: &Tracks, plan: &[Example]) -> Result<Self> {
        let branches = keras_h5::read(model)?.into_branches();
        let (inputlen, outputlen) = (branches.main.arch.inputlen, branches.main.arch.outputlen);
        let mut exact = engine::open_predict(&Device::Cpu, branches.clone(), tracks)?;
        let wanted = Outputs::of(exact.as_mut(), tracks, plan, inputlen)?;
        let started = std::time::Instant::now();
        let mut reduced = engine::open_predict(device, branches, tracks)?;
        let found = Outputs::of(reduced.as_mut(), tracks, plan, inputlen)?;
        let seconds = started.elapsed().as_secs_f64();

        let rows = |out: &Outputs| -> Vec<Vec<f64>> {
            out.regions.logits.chunks_exact(outputlen).map(softmax).collect()
        };
        let profiles =
            rows(&found).iter().zip(&rows(&wanted)).map(|(f, w)| pearson(f, w)).collect();
        Ok(Self {
            f32: wanted.metrics(tracks, plan, inputlen),
            int8: found.metrics(tracks, plan, inputlen),
            profiles,
            logcounts: differences(&found.regions.logcounts, &wanted.regions.logcounts),
            effects: [wanted.effects(), found.effects()],
            seconds,
        })
    }

    fn jsd_change(&self) -> f64 {
        self.int8.profile.median_jsd / self.f32.profile.median_jsd - 1.0
    }

    fn pearsonr_change(&self) -> f64 {
        self.int8.counts.pearsonr - self.f32.counts.pearsonr
    }

    fn to_json(&self, model: &str) -> Value {
        let metrics = |m: &GroupMetrics| {
            let (jsd, pearsonr) = (m.profile.median_jsd, m.counts.pearsonr);
            json!({"median_jsd": jsd, "counts_pearsonr": pearsonr})
        };
        let sorted = |values: &mut dyn Iterator<Item = f64>| {
            let mut values: Vec<f64> = values.collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let profiles = sorted(&mut self.profiles.iter().copied());
        let logcounts = sorted(&mut self.logcounts.iter().map(|d| d.abs()));
        let middle = profiles.len() / 2;
        let [wanted, found] = &self.effects;
        let off: Vec<f64> = found.iter().zip(wanted).map(|(f, w)| f - w).collect();
        json!({
            "model": model,
            "f32": metrics(&self.f32),
            "int8": metrics(&self.int8),
            "median_jsd_change_percent": 100.0 * self.jsd_change(),
            "counts_pearsonr_change": self.pearsonr_change(),
            "profiles_pearsonr": {"median": profiles[middle], "least": profiles[0]},
            "logcounts_off": {"median": logcounts[middle], "largest": logcounts.last()},
            "substitutions": {"pearsonr": pearson(found, wanted), "rms_effect": rms(wanted), "rms_off": rms(&off)},
            "int8_seconds": self.seconds,
        })
    }
}

fn verdict(all: &[Comparison], device: &Device, regions: usize) -> Value {
    let pearsonr: Vec<f64> = all.iter().map(|c| c.f32.counts.pearsonr).collect();
    let mean = pearsonr.iter().sum::<f64>() / all.len() as f64;
    let squares: f64 = pearsonr.iter().map(|r| (r - mean) * (r - mean)).sum();
    let spread = (squares / (all.len() - 1) as f64).sqrt();
    let largest = |change: &dyn Fn(&Comparison) -> f64| {
        all.iter().map(|c| change(c).abs()).fold(0.0, f64::max)
    };
    let (jsd, counts) = (largest(&Comparison::jsd_change), largest(&Comparison::pearsonr_change));
    json!({
        "device": device.to_string(),
        "regions": regions,
        "models": all.len(),
        "largest_median_jsd_change_percent": 100.0 * jsd,
        "largest_counts_pearsonr_change": counts,
        "counts_pearsonr_sd_of_seeds": spread,
        "passes": jsd <= MOST_JSD_CHANGE && counts <= spread,
    })
}

/// What an engine says of the regions, and of their windows with another base in the middle.
struct Outputs {
    regions: Predictions,
    substituted: Predictions,
}

impl Outputs {
    fn of(
        engine: &mut dyn Predict,
        tracks: &Tracks,
        plan: &[Example],
        inputlen: usize,
    ) -> Result<Self> {
        let (mut regions, mut substituted) = (Predictions::default(), Predictions::default());
        for batch in plan.chunks(BATCH) {
            engine.predict(batch, &mut regions)?;
            let mut codes = vec![0; batch.len() * inputlen];
            for (example, codes) in batch.iter().zip(codes.chunks_exact_mut(inputlen)) {
                tracks.fill_codes(example, codes);
                codes[inputlen / 2] = (codes[inputlen / 2] + 1) % 4;
            }
            engine.predict_sequences(&codes, &mut substituted)?;
        }
        Ok(Self { regions, substituted })
    }

    fn effects(&self) -> Vec<f64> {
        differences(&self.substituted.logcounts, &self.regions.logcounts)
    }

    /// Against what was observed.
    fn metrics(&self, tracks: &Tracks, plan: &[Example], inputlen: usize) -> GroupMetrics {
        let outputlen = self.regions.logits.len() / plan.len();
        let mut scores = RegionScores::default();
        let mut counts = vec![0.0; outputlen];
        let outputs = self.regions.logits.chunks_exact(outputlen).zip(&self.regions.logcounts);
        for (example, (logits, &logcount)) in plan.iter().zip(outputs) {
            tracks.fill_counts(example, inputlen, &mut counts);
            scores.push(true, &counts, logits, logcount);
        }
        scores.regions().groups.remove(0)
    }
}

fn differences(found: &[f32], wanted: &[f32]) -> Vec<f64> {
    found.iter().zip(wanted).map(|(&f, &w)| f64::from(f) - f64::from(w)).collect()
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&l| f64::from(l - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}
