//! The multinomial loss on given logits, and how two log counts are combined.

use cbp_fast::engine::cpu::loss::{log_add_exp, multinomial_nll};
use cbp_fast::model::reference::{combined_logcounts, profile_loss};

use super::batches::{distance, to_f64, worst};
use super::golden::Tensors;
use crate::shared;

#[test]
fn multinomial_loss_and_its_gradient() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("loss/loss_only.safetensors"));
    let shape = file.shape("logits");
    let (n, length) = (shape[0], shape[1]);
    let logits = file.f32("logits");
    let counts: Vec<f32> = file.u16("counts").into_iter().map(f32::from).collect();
    let rows = || logits.chunks_exact(length).zip(counts.chunks_exact(length));

    let mut gradient = vec![0.0f32; n * length];
    let nll: Vec<f64> = rows()
        .zip(gradient.chunks_exact_mut(length))
        .map(|((l, c), g)| multinomial_nll(l, c, g, 1.0 / n as f64))
        .collect();
    for (at, (found, wanted)) in nll.iter().zip(file.f64("f64/nll_per_example")).enumerate() {
        let off = (found - wanted).abs();
        assert!(off <= 1e-9 * wanted.abs().max(1.0), "example {at}: {found} for {wanted}");
    }
    for ((logits, counts), nll) in rows().zip(&nll) {
        let (defined, _) = profile_loss(&to_f64(logits), counts);
        assert!((defined - nll).abs() <= 1e-12 * nll.abs().max(1.0), "{defined} for {nll}");
    }
    let mean = nll.iter().sum::<f64>() / n as f64;
    let wanted = file.f64("f64/nll")[0];
    assert!((mean - wanted).abs() <= 1e-10 * wanted, "{mean} for {wanted}");
    let official = f64::from(file.f32("f32/nll")[0]);
    assert!((mean - official).abs() <= 1e-5 * official, "{mean} for {official}");
    let wanted = file.f64("f64/grad_logits");
    let off = distance(&to_f64(&gradient), &wanted);
    assert!(off < 1e-6, "gradient off by {off:e}");

    // Logits that are all equal leave the combinatorial term: nll = n ln(length) - coefficient.
    let coefficient = file.f64("f64/log_multinomial_coefficient");
    for (counts, wanted) in counts.chunks_exact(length).zip(coefficient) {
        let total: f64 = counts.iter().map(|&c| f64::from(c)).sum();
        let nll = multinomial_nll(&vec![0.0f64; length], counts, &mut [], 1.0);
        let found = total * (length as f64).ln() - nll;
        assert!((found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{found} for {wanted}");
    }
}

#[test]
fn log_counts_combine_as_logsumexp() {
    let Some(goldens) = shared::goldens() else { return };
    let file = Tensors::read(&goldens.join("loss/loss_only.safetensors"));
    let input = to_f64(&file.f32("logsumexp_in"));
    let wanted = to_f64(&file.f32("f32/logsumexp_out"));
    let by_input = to_f64(&file.f32("f32/logsumexp_grad_of_sum"));
    let mut found = Vec::new();
    let mut shares = Vec::new();
    for pair in input.chunks_exact(2) {
        let (sum, by_first) = log_add_exp(pair[0], pair[1]);
        let (_, by_second) = log_add_exp(pair[1], pair[0]);
        let (defined, share) = combined_logcounts(pair[0], pair[1]);
        assert!((defined - sum).abs() <= 1e-12 * sum.abs().max(1.0), "{defined} for {sum}");
        assert!((share - by_first).abs() <= 1e-12, "{share} for {by_first}");
        found.push(sum);
        shares.extend([by_first, by_second]);
    }
    let scale = wanted.iter().fold(1.0f64, |max, w| max.max(w.abs()));
    assert!(worst(&found, &wanted) < 1e-6 * scale);
    assert!(worst(&shares, &by_input) < 1e-6);
}
