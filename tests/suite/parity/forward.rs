//! Logits and logcounts of every golden model.

use std::fs;

use cbp_fast::engine::cpu::{CpuEngine, CpuEngineOf, Isa, Options};
use cbp_fast::engine::{Predict, Predictions};

use super::batches::{examples, model, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

/// Stated by the goldens for float32.
const LOGITS: f64 = 1e-4;
const LOGCOUNTS: f64 = 1e-5;

#[test]
fn every_model_predicts_as_the_official_code() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("forward/forward.safetensors"));
    let n = file.shape("tokens")[0];
    let tokens = file.u8("tokens");
    let mut seen = 0;
    for name in file.names() {
        let Some(name) = name.strip_prefix("f64/").and_then(|n| n.strip_suffix("/logits")) else {
            continue;
        };
        seen += 1;
        let logits = file.f64(&format!("f64/{name}/logits"));
        let logcounts = file.f64(&format!("f64/{name}/logcounts"));
        let (tracks, plan) = examples(n, &tokens, &[]);
        let branches = model(&goldens.join(format!("models/{name}.h5")), 1.0).spec.branches;

        // The same code in f64, outputs rounded to f32: no more than that rounding is left.
        let mut exact = CpuEngineOf::<f64>::new(branches.clone(), tracks.clone()).unwrap();
        let mut found = Predictions::default();
        exact.predict(&plan, &mut found).unwrap();
        assert!(worst(&to_f64(&found.logits), &logits) < 1e-6, "{name} in f64");
        assert!(worst(&to_f64(&found.logcounts), &logcounts) < 1e-6, "{name} in f64");

        for isa in Isa::available() {
            for pairs in [None, Some(false), Some(true)] {
                let options = Options { isa, pairs };
                let mut engine =
                    CpuEngine::with_options(branches.clone(), tracks.clone(), options).unwrap();
                let mut found = Predictions::default();
                engine.predict(&plan, &mut found).unwrap();
                let off = worst(&to_f64(&found.logits), &logits);
                let off_counts = worst(&to_f64(&found.logcounts), &logcounts);
                println!("{name} {options:?}: logits {off:.1e}, logcounts {off_counts:.1e}");
                assert!(off <= LOGITS, "{name} {options:?}: logits off by {off:e}");
                assert!(off_counts <= LOGCOUNTS, "{name} {options:?}: logcounts {off_counts:e}");
            }
        }
    }
    assert!(seen > 0, "no model in forward.safetensors");
    assert!(fs::exists(goldens.join("forward/sequences.txt")).unwrap());
}

#[test]
fn ascii_is_encoded_as_the_official_code_does() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("forward/forward.safetensors"));
    let tokens = file.u8("tokens");
    let text = fs::read_to_string(goldens.join("forward/sequences.txt")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let inputlen = file.shape("tokens")[1];
    for (line, wanted) in lines.iter().zip(tokens.chunks_exact(inputlen)) {
        let genome = cbp_fast::store::GenomePack::from_sequences([("line", line.as_bytes())]);
        let mut codes = vec![0; inputlen];
        genome.codes(0, 0, false, &mut codes);
        assert!(codes == wanted, "{}...", &line[..20]);
    }
    assert_eq!(lines.len() * inputlen, tokens.len());
}
