//! Packs in the memory of an emulated GPU: uploaded once, whoever asks, and given back with the last who holds them.

use std::sync::Arc;

use cbp_fast::doctor::selftest::{plan, tracks};
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::engine::CudaEngine;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::engine::{Engine, Predict, Predictions, Train};
use cbp_fast::store::{GenomePack, Tracks};

use super::{network, spec};

const INPUTLEN: usize = 160;

/// An engine with a genome or without, and the bytes that it uploaded.
fn open(device: &EmulatedDevice, tracks: Option<&Tracks>) -> (CudaEngine<EmulatedDevice>, u64) {
    let before = device.uploaded_bytes();
    let network = network((INPUTLEN, 24, 6, 1), 1);
    let engine = CudaEngine::new(device.clone(), Precision::F32, network, tracks.cloned()).unwrap();
    (engine, device.uploaded_bytes() - before)
}

fn predict(engine: &mut impl Predict) -> Predictions {
    let mut out = Predictions::default();
    engine.predict(&plan(3, INPUTLEN), &mut out).unwrap();
    out
}

#[test]
fn a_pack_is_uploaded_once_and_stays_as_long_as_somebody_holds_it() {
    let device = EmulatedDevice::new(Options::fast());
    let both = tracks(INPUTLEN);
    let genome_alone = Tracks::new(Arc::clone(&both.genome), None);
    let (_sequences, weights) = open(&device, None);

    let (mut first, with_genome) = open(&device, Some(&genome_alone));
    assert!(with_genome > weights + 1000, "{with_genome} bytes with a genome, {weights} without");
    let (mut second, with_signal) = open(&device, Some(&both));
    assert!(with_signal > weights + 1000, "the signal is new");
    // The same packs from another file: what they hold counts.
    let (third, again) = open(&device, Some(&tracks(INPUTLEN)));
    assert_eq!(again, weights);

    let before = device.uploaded_bytes();
    let spec = spec(network((INPUTLEN, 24, 6, 1), 1), None);
    let mut trainer = CudaTrainer::new(device.clone(), Precision::F32, spec, both.clone()).unwrap();
    assert_eq!(device.uploaded_bytes() - before, weights);

    // Whoever uploaded it may go.
    let wanted = predict(&mut first);
    drop(first);
    drop(third);
    assert_eq!(predict(&mut second), wanted);
    drop(second);
    trainer.train_step(&plan(3, INPUTLEN)).unwrap();
    drop(trainer);
    // No engine is left, as between two of a training; the tracks are.
    let (mut next, bytes) = open(&device, Some(&both));
    assert_eq!(bytes, weights);
    assert_eq!(predict(&mut next), wanted);
    drop((next, both, genome_alone));
    let (mut last, bytes) = open(&device, Some(&tracks(INPUTLEN)));
    assert_eq!(bytes, with_genome + with_signal - weights, "nobody held them");
    assert_eq!(predict(&mut last), wanted);
}

#[test]
fn other_packs_and_other_memory_are_not_shared() {
    let device = EmulatedDevice::new(Options::fast());
    let (_first, bytes) = open(&device, Some(&tracks(INPUTLEN)));
    let (_elsewhere, again) = open(&EmulatedDevice::new(Options::fast()), Some(&tracks(INPUTLEN)));
    assert_eq!(again, bytes);
    let bases = [b'A'; 4000];
    let other = Tracks::new(Arc::new(GenomePack::from_sequences([("chrA", &bases[..])])), None);
    let (mut other, bytes) = open(&device, Some(&other));
    assert!(bytes > 2000);
    // It says what it holds, of which nothing is the first one's.
    let plan = other.memory_plan().unwrap();
    assert!(plan.contains("genome, 4 bits a base") && !plan.contains("signal"), "{plan}");
    let mut out = Predictions::default();
    other.predict_sequences(&[0; INPUTLEN], &mut out).unwrap();
    assert_eq!(out.logcounts.len(), 1);
}
