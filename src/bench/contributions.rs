//! Contribution scores and predictions on random sequences, beside the matrix-product ceiling of the
//! same process; with what was computed, for a peer that times and compares the same.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use bytemuck::cast_slice;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::train::{ceiling_of, cpu_seconds};
use crate::engine::{self, Contributions, Device, Heads, Predictions, Rule, ToExplain};
use crate::files::atomic;
use crate::files::keras_h5::{self, Naming};
use crate::model::{Architecture, Network, ParameterSet};
use crate::preflight::machine::peak_rss;

/// What to time.
#[derive(Clone, Debug)]
pub struct Config {
    pub arch: Architecture,
    /// Explained sequences; 0 for predictions alone.
    pub regions: usize,
    pub references: usize,
    pub heads: Heads,
    /// Sequences of the timed prediction.
    pub predictions: usize,
    pub device: Device,
}

/// A warm-up on one reference and two predictions, then one timed call over all regions, if there are any, then the
/// predictions. With `folder`, model and data are left there for a peer: `nobias.h5`, and raw little-endian
/// `codes.u8` [regions, inputlen], `references.u8` [regions, references, inputlen], `counts.f32` and
/// `profile.f32` [regions, inputlen, 4], `sequences.u8` [predictions, inputlen], `logits.f32`,
/// `logcounts.f32`.
pub fn run(config: &Config, folder: Option<&Path>) -> Result<Value> {
    let arch = config.arch;
    let network = Network { arch, parameters: ParameterSet::glorot_uniform(&arch, 1) };
    let mut engine = engine::open_explain(&config.device, network.clone())?;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut random =
        |n: usize| -> Vec<u8> { (0..n * arch.inputlen).map(|_| rng.random_range(0..4)).collect() };
    let codes = random(config.regions);
    let references = random(config.regions * config.references);
    let sequences = random(config.predictions);
    let before = ceiling_of(&config.device)?;

    if config.regions > 0 {
        let warm_up = ToExplain {
            codes: &codes[..arch.inputlen],
            rule: Rule::Rescale { references: &references[..arch.inputlen], per_sequence: 1 },
            heads: config.heads,
        };
        engine.contributions(&warm_up, &mut Contributions::default())?;
    }
    let two = sequences.len().min(2 * arch.inputlen);
    engine.predict_sequences(&sequences[..two], &mut Predictions::default())?;
    let rule = Rule::Rescale { references: &references, per_sequence: config.references };
    let of = ToExplain { codes: &codes, rule, heads: config.heads };
    let mut scores = Contributions::default();
    let explained = (config.regions > 0)
        .then(|| Timed::run(|| engine.contributions(&of, &mut scores)))
        .transpose()?;
    let mut outputs = Predictions::default();
    let predicted = Timed::run(|| engine.predict_sequences(&sequences, &mut outputs))?;
    let ceiling = before.max(ceiling_of(&config.device)?);

    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
        keras_h5::write_single(&folder.join("nobias.h5"), &network, Naming::WithoutBias)?;
        for (name, bytes) in [
            ("codes.u8", &codes[..]),
            ("references.u8", &references),
            ("sequences.u8", &sequences),
            ("counts.f32", cast_slice(&scores.counts)),
            ("profile.f32", cast_slice(&scores.profile)),
            ("logits.f32", cast_slice(&outputs.logits)),
            ("logcounts.f32", cast_slice(&outputs.logcounts)),
        ] {
            atomic::write(&folder.join(name), |file| Ok(file.write_all(bytes)?))?;
        }
    }

    let heads = usize::from(config.heads.counts) + usize::from(config.heads.profile);
    // Forward of the sequence and of every reference, and for each of these a pass back per head.
    let passes = 1 + config.references * (1 + heads);
    let forward = arch.forward_flops() / 1e9;
    let share = |timed: &Timed, gflop: f64| {
        let by_cpu = timed.cpu.zip(ceiling.gflop_per_cpu_second);
        (
            100.0 * gflop / timed.seconds / ceiling.gflops,
            by_cpu.map(|(cpu, ceiling)| 100.0 * gflop / cpu / ceiling),
        )
    };
    let explain_gflop = (config.regions * passes) as f64 * forward;
    let explain_share = explained.as_ref().map(|timed| share(timed, explain_gflop));
    let predict_gflop = config.predictions as f64 * forward;
    let (predict_share, predict_share_cpu) = share(&predicted, predict_gflop);
    let per = |timed: &Timed, n: usize| timed.cpu.map(|cpu| cpu / n as f64);
    Ok(json!({
        "device": config.device.to_string(),
        "engine": engine.describe(),
        "threads": rayon::current_num_threads(),
        "filters": arch.filters,
        "n_dilation_layers": arch.n_dilation_layers,
        "references": config.references,
        "heads": heads,
        "regions": config.regions,
        "seconds_per_region": explained.as_ref().map(|timed| timed.seconds / config.regions as f64),
        "cpu_seconds_per_region": explained.as_ref().and_then(|timed| per(timed, config.regions)),
        "gflop_per_region": passes as f64 * forward,
        "predictions": config.predictions,
        "seconds_per_prediction": predicted.seconds / config.predictions as f64,
        "cpu_seconds_per_prediction": per(&predicted, config.predictions),
        "gflop_per_prediction": forward,
        "ceiling_gflops": ceiling.gflops,
        "ceiling_gflop_per_cpu_second": ceiling.gflop_per_cpu_second,
        "contributions_percent_of_ceiling": explain_share.map(|(share, _)| share),
        "contributions_percent_of_ceiling_by_cpu_time": explain_share.and_then(|(_, by_cpu)| by_cpu),
        "predictions_percent_of_ceiling": predict_share,
        "predictions_percent_of_ceiling_by_cpu_time": predict_share_cpu,
        "peak_rss_bytes": peak_rss(),
    }))
}

/// Wall clock and CPU time (where /proc tells it) of a call.
struct Timed {
    seconds: f64,
    cpu: Option<f64>,
}

impl Timed {
    fn run(call: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        call()?;
        let cpu = cpu.zip(cpu_seconds()).map(|(start, end)| end - start);
        Ok(Self { seconds: start.elapsed().as_secs_f64(), cpu })
    }
}
