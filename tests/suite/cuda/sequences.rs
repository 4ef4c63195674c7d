//! Sequences that are in no pack, on emulated GPUs.

use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::doctor::selftest::{plan, tracks};
use cbp_fast::engine::cuda::emulated::{EmulatedDevice, Options};
use cbp_fast::engine::cuda::ops::hopper::Core;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::cuda::step::Kind;
use cbp_fast::engine::cuda::trainer::CudaTrainer;
use cbp_fast::engine::{Engine, Predict, Predictions, Train};
use cbp_fast::store::{GenomePack, Tracks};

use super::{engine, network, spec};

const INPUTLEN: usize = 160;

fn codes(tracks: &Tracks, plan: &[Example]) -> Vec<u8> {
    let mut all = vec![0; plan.len() * INPUTLEN];
    for (example, codes) in plan.iter().zip(all.chunks_exact_mut(INPUTLEN)) {
        tracks.fill_codes(example, codes);
    }
    all
}

#[test]
fn codes_predict_as_their_windows_do() {
    let spec = spec(network((INPUTLEN, 24, 6, 2), 1), Some(network((INPUTLEN, 24, 3, 1), 2)));
    let tracks = tracks(INPUTLEN);
    // More than one round of what runs at once, the last of it partial.
    let plan = plan(70, INPUTLEN);
    let all = codes(&tracks, &plan);
    for precision in [Precision::F32, Precision::Fp16] {
        let mut engine = engine(Options::fast(), precision, &spec, &tracks);
        let mut found = Predictions::default();
        engine.predict_sequences(&[], &mut found).unwrap();
        assert_eq!(found, Predictions::default());
        engine.predict_sequences(&all, &mut found).unwrap();
        let mut wanted = Predictions::default();
        for batch in plan.chunks(9) {
            engine.predict(batch, &mut wanted).unwrap();
        }
        assert_eq!(found.logits, wanted.logits, "{precision}");
        assert_eq!(found.logcounts, wanted.logcounts, "{precision}");
        // Between steps of training too, which then goes on with its own batches.
        engine.train_step(&plan[..5]).unwrap();
        let (mut found, mut wanted) = (Predictions::default(), Predictions::default());
        engine.predict_sequences(&all[..3 * INPUTLEN], &mut found).unwrap();
        engine.predict(&plan[..3], &mut wanted).unwrap();
        assert_eq!(found, wanted, "{precision} after a step");
    }
}

/// Predictions take the Hopper core as training does, in both branches; of 30 filters (32 channels) they cannot.
#[test]
fn predictions_take_the_core_of_the_device() {
    let tracks = tracks(INPUTLEN);
    for (bias_filters, bias_kernel) in
        [(128, "hopper_forward_f16_n128"), (30, "dilated_forward_f16_n32")]
    {
        let main = network((INPUTLEN, 24, 250, 2), 1);
        let spec = spec(main, Some(network((INPUTLEN, 24, bias_filters, 1), 2)));
        let device = EmulatedDevice::new(Options::fast()).with_core(Core::H100);
        let mut engine =
            CudaTrainer::new(device, Precision::Fp16, spec.clone(), tracks.clone()).unwrap();
        for kind in [Kind::Predict, Kind::PredictCodes] {
            // few rows: tiles of 128
            let prepared = engine.schedule(kind, 3).unwrap();
            let kernels = |branch: &str| -> Vec<&str> {
                let label = format!("{branch} dilated_");
                let launches =
                    prepared.schedule.launches().iter().filter(|l| l.label.starts_with(&label));
                launches.map(|launch| launch.kernel).collect()
            };
            assert_eq!(kernels("main"), ["hopper_forward_f16_n128"; 2], "{kind:?}");
            assert_eq!(kernels("bias"), [bias_kernel], "{kind:?}");
        }
        let plan = plan(3, INPUTLEN);
        let (mut found, mut wanted) = (Predictions::default(), Predictions::default());
        engine.predict(&plan, &mut found).unwrap();
        let mut portable = super::engine(Options::fast(), Precision::Fp16, &spec, &tracks);
        portable.predict(&plan, &mut wanted).unwrap();
        // On the host both cores add products in the same order.
        assert_eq!(found, wanted);
    }
}

#[test]
fn what_is_no_sequence_is_refused() {
    let spec = spec(network((INPUTLEN, 24, 6, 2), 1), None);
    let genome = GenomePack::from_sequences([("none", &b"A"[..])]);
    let tracks = Tracks::new(Arc::new(genome), None);
    let mut engine = engine(Options::fast(), Precision::F32, &spec, &tracks);
    let mut out = Predictions::default();
    let mut message =
        |codes: &[u8]| engine.predict_sequences(codes, &mut out).unwrap_err().to_string();
    assert!(message(&[0; INPUTLEN + 1]).contains("not a whole number of the model's 160 bp"));
    let mut codes = [3; 2 * INPUTLEN];
    codes[INPUTLEN + 6] = 5;
    let text = message(&codes);
    assert!(text.contains("5 is no base code") && text.contains("number 2, base 7"), "{text}");
    assert_eq!(out, Predictions::default());
}
