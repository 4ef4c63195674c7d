//! Golden batches as an engine reads them: one contig per example.

use std::path::Path;
use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::engine::{CountsHead, Optimizer, TrainSpec};
use cbp_fast::files::keras_h5::{self, KerasModel, Naming};
use cbp_fast::store::{GenomePack, SignalPack, Tracks};

use super::golden::Tensors;

/// A golden model as an engine's spec, and how its file spells the trained branch's layers.
pub struct GoldenModel {
    pub spec: TrainSpec,
    pub naming: Naming,
}

/// Reads a model; learning rate and loss weight are filled in by the caller.
pub fn model(path: &Path, counts_loss_weight: f64) -> GoldenModel {
    let model = keras_h5::read(path).unwrap_or_else(|e| panic!("{e:#}"));
    let naming = match &model {
        KerasModel::Single { naming, .. } => *naming,
        KerasModel::Full { .. } => Naming::WithoutBias,
    };
    let spec = TrainSpec {
        branches: model.into_branches(),
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight,
        counts_head: CountsHead::Plain,
    };
    GoldenModel { spec, naming }
}

/// The name of a parameter in the goldens: `bpnet_1conv/kernel` as the model's file spells it.
pub fn golden_name(naming: Naming, parameter: &str) -> String {
    let (layer, leaf) = parameter.split_once('/').unwrap();
    format!("{}/{leaf}", naming.layer(layer))
}

/// Packs and plan of `n` examples: `bases` [n, inputlen] of 0..=4, `counts` [n, outputlen].
pub fn examples(n: usize, bases: &[u8], counts: &[f32]) -> (Tracks, Vec<Example>) {
    let (inputlen, outputlen) = (bases.len() / n, counts.len() / n);
    let names: Vec<String> = (0..n).map(|i| format!("example{i}")).collect();
    let letters: Vec<u8> = bases.iter().map(|&code| b"ACGTN"[usize::from(code)]).collect();
    let mut signal = vec![0.0; n * inputlen];
    if outputlen > 0 {
        let margin = (inputlen - outputlen) / 2;
        for (window, counts) in
            signal.chunks_exact_mut(inputlen).zip(counts.chunks_exact(outputlen))
        {
            window[margin..margin + outputlen].copy_from_slice(counts);
        }
    }
    let genome = GenomePack::from_sequences(
        names.iter().map(String::as_str).zip(letters.chunks_exact(inputlen)),
    );
    let signal =
        SignalPack::from_dense(names.iter().map(String::as_str).zip(signal.chunks_exact(inputlen)));
    let plan =
        (0..n as u32).map(|contig| Example { contig, start: 0, flags: 0, row: contig }).collect();
    (Tracks::new(Arc::new(genome), Some(Arc::new(signal))), plan)
}

/// All batches of a golden run (`bias` or `chrombpnet`): packs, and one plan per batch.
pub fn batches(file: &Tensors, run: &str) -> (Tracks, Vec<Vec<Example>>) {
    let (bases, counts) = (format!("{run}/bases"), format!("{run}/counts"));
    let shape = file.shape(&bases);
    let counts: Vec<f32> = file.u16(&counts).into_iter().map(f32::from).collect();
    let (tracks, plan) = examples(shape[0] * shape[1], &file.u8(&bases), &counts);
    (tracks, plan.chunks_exact(shape[1]).map(<[Example]>::to_vec).collect())
}

/// Largest absolute difference.
pub fn worst(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let worst = found.iter().zip(wanted).map(|(f, w)| (f - w).abs());
    worst.fold(0.0, |worst, d| if d.is_nan() { f64::NAN } else { worst.max(d) })
}

/// Relative L2 distance.
pub fn distance(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let difference: f64 = found.iter().zip(wanted).map(|(f, w)| (f - w) * (f - w)).sum();
    let size: f64 = wanted.iter().map(|w| w * w).sum();
    (difference / size.max(f64::MIN_POSITIVE)).sqrt()
}

pub fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
