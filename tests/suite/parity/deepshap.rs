//! Contribution scores with the goldens' references, as the official explainer has them.

use std::path::Path;

use cbp_fast::engine::cpu::{CpuEngine, CpuEngineOf, Isa, Options, Scalar};
use cbp_fast::engine::{Contributions, Engine, Explain, Heads, Rule, ToExplain};
use cbp_fast::model::Branches;

use super::batches::{model, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

/// Stated by the goldens: times the largest |hypothetical| of the sequence.
pub const TOLERANCE: f64 = 1e-4;
const MODELS: [&str; 2] = ["chrombpnet_nobias", "bias_trained"];

/// The goldens' input as base codes.
pub struct Input {
    file: Tensors,
    pub inputlen: usize,
    /// [sequences, inputlen]
    pub codes: Vec<u8>,
    /// [sequences, references, inputlen]
    pub references: Vec<u8>,
    pub per_sequence: usize,
}

impl Input {
    pub fn read(goldens: &Path) -> Self {
        let file = Tensors::read(&goldens.join("deepshap/deepshap.safetensors"));
        let shape = file.shape("references");
        let codes = |name: &str| {
            let base = |column: &[u8]| column.iter().position(|&bit| bit == 1).unwrap_or(4) as u8;
            file.u8(name).chunks_exact(4).map(base).collect::<Vec<u8>>()
        };
        let (codes, references) = (codes("onehot"), codes("references"));
        Self { inputlen: shape[2], per_sequence: shape[1], codes, references, file }
    }

    pub fn branches(&self, goldens: &Path, name: &str) -> Branches {
        model(&goldens.join(format!("models/{name}.h5")), 1.0).spec.branches
    }

    /// [sequences, inputlen, 4]; for the CUDA engine's tests.
    #[cfg(feature = "emulate")]
    pub fn hypothetical(&self, name: &str, head: &str) -> Vec<f32> {
        self.file.f32(&format!("{name}/{head}/hypothetical"))
    }

    /// Scores of the first sequence against its first reference alone, its second, and so on: what each base contributes in
    /// place of the reference's. At most four.
    pub fn of_single_references(&self, name: &str, head: &str) -> Vec<Vec<f64>> {
        let multipliers =
            to_f64(&self.file.f32(&format!("{name}/{head}/multipliers_first_sequence")));
        let width = self.inputlen;
        let references = self.references.chunks_exact(width);
        let of_one = |(multipliers, codes): (&[f64], &[u8])| {
            let columns = multipliers.chunks_exact(4).zip(codes);
            let scores = columns.flat_map(|(m, &code)| {
                let replaced = m.get(usize::from(code)).copied().unwrap_or(0.0);
                m.iter().map(move |m| m - replaced)
            });
            scores.collect()
        };
        multipliers.chunks_exact(width * 4).zip(references).map(of_one).collect()
    }

    fn explain<T: Scalar>(
        &self,
        goldens: &Path,
        name: &str,
        options: Options,
        of: &ToExplain,
    ) -> Contributions {
        let branches = self.branches(goldens, name);
        let mut engine = CpuEngineOf::<T>::with_options(branches, None, options).unwrap();
        let mut found = Contributions::default();
        engine.contributions(of, &mut found).unwrap();
        found
    }

    fn all(&self) -> ToExplain<'_> {
        let rule = Rule::Rescale { references: &self.references, per_sequence: self.per_sequence };
        ToExplain { codes: &self.codes, rule, heads: Heads::BOTH }
    }

    fn has_n(&self, sequence: usize) -> bool {
        self.codes[sequence * self.inputlen..][..self.inputlen].contains(&4)
    }
}

/// Times the one-hot sequence: [n, 4].
fn projected(codes: &[u8], hypothetical: &[f64]) -> Vec<f64> {
    let column = |(&code, scores): (&u8, &[f64])| {
        let mut column = [0.0; 4];
        if let Some(score) = scores.get(usize::from(code)) {
            column[usize::from(code)] = *score;
        }
        column
    };
    codes.iter().zip(hypothetical.chunks_exact(4)).flat_map(column).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, v| v.abs().max(max))
}

#[test]
fn scores_of_both_heads_are_the_official_ones() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let size = input.inputlen * 4;
    for name in MODELS {
        for pairs in [None, Some(true)] {
            let options = Options { pairs, ..Options::default() };
            let found = input.explain::<f32>(&goldens, name, options, &input.all());
            for (head, found) in [("counts", &found.counts), ("profile", &found.profile)] {
                let found = to_f64(found);
                let golden = |what| to_f64(&input.file.f32(&format!("{name}/{head}/{what}")));
                let (hypothetical, wanted) = (golden("hypothetical"), golden("projected"));
                assert_eq!(found.len(), hypothetical.len());
                for (sequence, codes) in input.codes.chunks_exact(input.inputlen).enumerate() {
                    let at = sequence * size..(sequence + 1) * size;
                    let scale = largest(&hypothetical[at.clone()]);
                    let off = worst(&found[at.clone()], &hypothetical[at.clone()]) / scale;
                    let projected = projected(codes, &found[at.clone()]);
                    let off_projected = worst(&projected, &wanted[at]) / scale;
                    println!(
                        "{name} {head} {pairs:?} sequence {sequence}: {off:.1e} {off_projected:.1e}"
                    );
                    assert!(
                        off <= TOLERANCE && off_projected <= TOLERANCE,
                        "{name} {head} {pairs:?}, sequence {sequence}: off by {off:e} of the largest"
                    );
                }
            }
        }
    }
}

#[test]
fn multipliers_of_single_references_are_the_official_ones() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let name = MODELS[0];
    let width = input.inputlen;
    for reference in 0..4 {
        let codes = &input.references[reference * width..][..width];
        let of = ToExplain {
            codes: &input.codes[..width],
            rule: Rule::Rescale { references: codes, per_sequence: 1 },
            heads: Heads::BOTH,
        };
        let found = input.explain::<f32>(&goldens, name, Options::default(), &of);
        for (head, found) in [("counts", &found.counts), ("profile", &found.profile)] {
            let wanted = &input.of_single_references(name, head)[reference];
            let off = worst(&to_f64(found), wanted) / largest(wanted);
            println!("{head} against reference {reference}: {off:.1e}");
            assert!(off <= TOLERANCE, "{head} against reference {reference}: off by {off:e}");
        }
    }
}

#[test]
fn scores_sum_to_what_is_explained() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let size = input.inputlen * 4;
    for name in MODELS {
        let found = input.explain::<f32>(&goldens, name, Options::default(), &input.all());
        let logcounts = to_f64(&input.file.f32(&format!("{name}/logcounts")));
        let of_references = to_f64(&input.file.f32(&format!("{name}/ref_logcounts")));
        for (sequence, of_references) in of_references.chunks_exact(input.per_sequence).enumerate()
        {
            let mean = of_references.iter().sum::<f64>() / input.per_sequence as f64;
            let off = found.delta_counts[sequence] - (logcounts[sequence] - mean);
            assert!(off.abs() < 2e-6, "{name} sequence {sequence}: delta off by {off:e}");
            if input.has_n(sequence) {
                continue;
            }
            let codes = &input.codes[sequence * input.inputlen..][..input.inputlen];
            for (head, scores, delta) in [
                ("counts", &found.counts, found.delta_counts[sequence]),
                ("profile", &found.profile, found.delta_profile[sequence]),
            ] {
                let scores = to_f64(&scores[sequence * size..][..size]);
                let sum: f64 = projected(codes, &scores).iter().sum();
                let official = input.file.f64(&format!("{name}/{head}/sum_of_projected"))[sequence];
                println!("{name} {head} {sequence}: {sum} {delta} {official}");
                assert!((sum - delta).abs() < 5e-6, "{name} {head}: {sum} instead of {delta}");
                assert!((sum - official).abs() < 5e-6, "{name} {head}: {sum}, official {official}");
            }
        }
        assert!(!input.has_n(0) && !input.has_n(1), "nothing was checked");
    }
}

#[test]
fn every_instruction_set_is_near_double_precision() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let width = input.inputlen;
    // The first sequence and one with an inner run of N, three references each.
    let mut codes = Vec::new();
    let mut references = Vec::new();
    for sequence in [0, 3] {
        codes.extend_from_slice(&input.codes[sequence * width..][..width]);
        let first = sequence * input.per_sequence * width;
        references.extend_from_slice(&input.references[first..][..3 * width]);
    }
    let rule = Rule::Rescale { references: &references, per_sequence: 3 };
    let of = ToExplain { codes: &codes, rule, heads: Heads::BOTH };
    let exact = Options { isa: Isa::PORTABLE, pairs: Some(false) };
    let wanted = input.explain::<f64>(&goldens, MODELS[0], exact, &of);
    let paired = Options { isa: Isa::PORTABLE, pairs: Some(true) };
    let again = input.explain::<f64>(&goldens, MODELS[0], paired, &of);
    // Rounded to f32 on the way out.
    assert!(worst(&to_f64(&again.counts), &to_f64(&wanted.counts)) < 1e-9);
    for isa in Isa::available() {
        let options = Options { isa, pairs: None };
        let found = input.explain::<f32>(&goldens, MODELS[0], options, &of);
        for (head, found, wanted) in [
            ("counts", &found.counts, &wanted.counts),
            ("profile", &found.profile, &wanted.profile),
        ] {
            let wanted = to_f64(wanted);
            let off = worst(&to_f64(found), &wanted) / largest(&wanted);
            println!("{} {head}: {off:.1e}", isa.name());
            assert!(off < TOLERANCE / 2.0, "{} {head}: off by {off:e}", isa.name());
        }
    }
}

#[test]
fn predictions_come_with_the_scores() {
    let Some(goldens) = shared::goldens() else { return };
    let input = Input::read(&goldens);
    let mut engine = CpuEngine::new(input.branches(&goldens, MODELS[1]), None).unwrap();
    let mut found = Contributions::default();
    let of = ToExplain { rule: Rule::Gradient, ..input.all() };
    engine.contributions(&of, &mut found).unwrap();
    let mut wanted = Default::default();
    engine.predict_sequences(&input.codes, &mut wanted).unwrap();
    assert_eq!(found.predictions, wanted);
    assert!(found.delta_counts.is_empty() && found.delta_profile.is_empty());
    let logits = to_f64(&input.file.f32(&format!("{}/logits", MODELS[1])));
    assert!(worst(&to_f64(&found.predictions.logits), &logits) < 1e-4);
}
