//! Sequences that are in no pack, on emulated GPUs.

use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::doctor::selftest::{plan, tracks};
use cbp_fast::engine::cuda::emulated::Options;
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{Engine, Predictions};
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
