//! Contribution scores on the chosen device against the CPU engine in f64, so every kernel behind them.

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::selftest::{Case, Difference, network};
use crate::engine::cpu::CpuEngineOf;
use crate::engine::cuda::device::Device;
use crate::engine::cuda::engine::CudaEngine;
use crate::engine::cuda::precision::Precision;
use crate::engine::{Contributions, Explain, Heads, Rule, ToExplain};

/// Two, so that references find their own.
const SEQUENCES: usize = 2;

/// Relative L2 distance that scores may have.
///
/// Where the sums of a unit for sequence and reference lie close to each other and to zero, their ratio is
/// little more than rounding noise, so scores are further off than gradients: as far as gradients whose ReLUs turned.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Plain => 1e-4,
        Precision::F32 => 5e-4,
        Precision::Fp16 | Precision::Tf32 => 5e-2,
        Precision::Bf16 => 1.5e-1,
        Precision::Int8 => unreachable!("it predicts only"),
    }
}

/// Scores, deltas and gradients of the main branch of `case`, with as many references as it has examples.
pub fn differences<D: Device>(
    case: Case,
    precision: Precision,
    open: &mut dyn FnMut() -> Result<D>,
) -> Result<Vec<Difference>> {
    let main = network(case.main, 1)?;
    let inputlen = main.arch.inputlen;
    let per_sequence = case.examples as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    let mut random = |n: usize| -> Vec<u8> {
        (0..n * inputlen).map(|_| [0, 1, 2, 3, 0, 1, 2, 3, 4][rng.random_range(0..9)]).collect()
    };
    let (codes, mut references) = (random(SEQUENCES), random(SEQUENCES * per_sequence));
    // A stretch of each is its sequence's, where units do not change.
    for (at, reference) in references.chunks_exact_mut(inputlen).enumerate() {
        let same = inputlen / 4..inputlen / 2;
        let sequence = &codes[at / per_sequence * inputlen..];
        reference[same.clone()].copy_from_slice(&sequence[same]);
    }
    let mut device = CudaEngine::new(open()?, precision, main.clone(), None)?;
    let mut exact = CpuEngineOf::<f64>::new(main, None)?;
    let rescale = Rule::Rescale { references: &references, per_sequence };
    let mut all = Vec::new();
    for (what, rule) in [("scores", rescale), ("gradients by input", Rule::Gradient)] {
        let of = ToExplain { codes: &codes, rule, heads: Heads::BOTH };
        let (mut found, mut wanted) = (Contributions::default(), Contributions::default());
        device.contributions(&of, &mut found)?;
        exact.contributions(&of, &mut wanted)?;
        let mut compare = |what: String, found: &[f32], wanted: &[f32], bound: f64| {
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let (found, wanted) = (wide(found), wide(wanted));
            let difference = Difference::of(&what, found.into_iter(), wanted.into_iter(), bound);
            all.push(Difference { least_cosine: 1.0 - bound * bound, ..difference });
        };
        let bound = tolerance(precision);
        compare(format!("counts {what}"), &found.counts, &wanted.counts, bound);
        compare(format!("profile {what}"), &found.profile, &wanted.profile, bound);
        let narrow = |deltas: &[f64]| deltas.iter().map(|&d| d as f32).collect::<Vec<_>>();
        for (head, found, wanted) in [
            ("counts", &found.delta_counts, &wanted.delta_counts),
            ("profile", &found.delta_profile, &wanted.delta_profile),
        ] {
            compare(format!("{head} {what}' sums"), &narrow(found), &narrow(wanted), bound);
        }
    }
    Ok(all)
}
