//! The official metric functions on given arrays, within 1e-6; NaN where they are NaN.

use cbp_fast::numpy::correlation::counts_metrics;
use cbp_fast::numpy::quantile::nanmedian;
use cbp_fast::predict::metrics::{Metrics, RegionScores};
use cbp_fast::predict::profile_distance::{
    median_shuffled_jsd, official_softmax, profile_distance,
};

use super::golden;
use crate::shared;

const TOLERANCE: f64 = 1e-6;

fn close(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= TOLERANCE || (found.is_nan() && wanted.is_nan())
}

#[test]
fn metric_functions() {
    let Some(goldens) = shared::goldens() else { return };
    let expected = goldens.join("data/expected");
    let arrays = golden::Tensors::read(&expected.join("metrics_arrays.safetensors"));
    let official = golden::json(&expected.join("metrics.json"));
    let outputlen = arrays.shape("counts")[1];
    let counts: Vec<f32> = arrays.u16("counts").into_iter().map(f32::from).collect();
    let logits = arrays.f32("logits");
    let softmax = arrays.f32("softmax");
    let (jsd, norm_jsd) = (arrays.f64("jsd"), arrays.f64("norm_jsd"));
    let labels = arrays.f64("label_logcounts");
    let predictions = arrays.f32("pred_logcounts");

    let mut ours = (Vec::new(), Vec::new());
    let mut scores = RegionScores::default();
    for (i, (counts, logits)) in
        counts.chunks_exact(outputlen).zip(logits.chunks_exact(outputlen)).enumerate()
    {
        let wanted = &softmax[i * outputlen..][..outputlen];
        for (j, (found, wanted)) in official_softmax(logits).iter().zip(wanted).enumerate() {
            let (found, wanted) = (f64::from(*found), f64::from(*wanted));
            assert!(close(found, wanted), "softmax of region {i} at {j}: {found}, {wanted}");
        }
        let distance = profile_distance(counts, logits);
        assert!(close(distance.jsd, jsd[i]), "jsd of region {i}: {distance:?}, {}", jsd[i]);
        assert!(
            close(distance.norm_jsd, norm_jsd[i]),
            "norm_jsd of region {i}: {distance:?}, {}",
            norm_jsd[i]
        );
        ours.0.push(distance.jsd);
        ours.1.push(distance.norm_jsd);
        scores.push(i % 3 == 0, counts, logits, predictions[i]);
    }
    let nan_rows = |values: &[f64]| -> Vec<u64> {
        values.iter().zip(0..).filter(|(v, _)| v.is_nan()).map(|(_, i)| i).collect()
    };
    let rows = |key: &str| -> Vec<u64> {
        official[key].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
    };
    assert_eq!(nan_rows(&ours.0), rows("nan_jsd_rows"));
    assert_eq!(nan_rows(&ours.1), rows("nan_norm_jsd_rows"));

    let direct = counts_metrics(&labels, &predictions);
    let gathered = scores.regions().groups[0].clone();
    for (key, found, pushed) in [
        ("spearmanr", direct.spearmanr, gathered.counts.spearmanr),
        ("pearsonr", direct.pearsonr, gathered.counts.pearsonr),
        ("mse", direct.mse, gathered.counts.mse),
        ("median_jsd", nanmedian(&ours.0), gathered.profile.median_jsd),
        ("median_norm_jsd", nanmedian(&ours.1), gathered.profile.median_norm_jsd),
    ] {
        let wanted = official[key].as_f64().unwrap();
        assert!(close(found, wanted), "{key}: {found}, official {wanted}");
        assert!(close(pushed, wanted), "{key} of regions pushed one by one: {pushed}, {wanted}");
    }

    // The official baseline shuffles with NumPy's global generator; its seed is in the key.
    let prefix = "random_shuffle_median_jsd_numpy_seed_";
    let (key, wanted) =
        official.as_object().unwrap().iter().find(|(k, _)| k.starts_with(prefix)).unwrap();
    let seed: u32 = key[prefix.len()..].parse().unwrap();
    let found = median_shuffled_jsd(counts.chunks_exact(outputlen), seed);
    assert!(close(found, wanted.as_f64().unwrap()), "{key}: {found}, official {wanted}");
}

/// The text of `*_metrics.json` is the official one, given the same numbers.
#[test]
fn metrics_json_text() {
    let Some(goldens) = shared::goldens() else { return };
    for model in ["chrombpnet", "bias"] {
        let path = goldens.join(format!("data/expected/predict/{model}_metrics.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        let official = golden::json(&path);
        let mut scores = RegionScores::default();
        for is_peak in [true, false] {
            scores.push(is_peak, &[1.0, 2.0], &[0.0, 1.0], 0.5);
        }
        let mut metrics: Metrics = scores.peaks_and_nonpeaks();
        for group in &mut metrics.groups {
            let counts = &official["counts_metrics"][group.name];
            group.counts.spearmanr = counts["spearmanr"].as_f64().unwrap();
            group.counts.pearsonr = counts["pearsonr"].as_f64().unwrap();
            group.counts.mse = counts["mse"].as_f64().unwrap();
            let profile = &official["profile_metrics"][group.name];
            group.profile.median_jsd = profile["median_jsd"].as_f64().unwrap();
            group.profile.median_norm_jsd = profile["median_norm_jsd"].as_f64().unwrap();
        }
        assert_eq!(metrics.to_json(), text);
    }
}
