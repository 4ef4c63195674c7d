//! The official training generator against our windows and our sampler. Its draws come from NumPy's
//! global generator, so what is compared is what every draw shares: the tensors that belong to a
//! coordinate, strand and jitter, and the numbers of peaks, nonpeaks and flips in an epoch.

use std::collections::BTreeSet;

use cbp_fast::batch::Example;
use cbp_fast::batch::sampler::{Sampler, Site};

use super::golden;
use crate::shared;

#[test]
fn official_training_batches_are_our_windows() {
    let Some(goldens) = shared::goldens() else { return };
    let tracks = golden::tracks(&goldens);
    let batches =
        golden::Tensors::read(&goldens.join("data/expected/generator_batches.safetensors"));
    let coords = golden::json(&goldens.join("data/expected/generator_coords.json"));
    for mode in ["train", "valid", "test"] {
        let bases = batches.u8(&format!("{mode}/bases"));
        let counts = batches.f32(&format!("{mode}/counts"));
        let logcounts = batches.f64(&format!("{mode}/logcounts"));
        let rows = coords[mode]["coords_chrom_center_strand_ispeak"].as_array().unwrap();
        let (inputlen, outputlen) = (bases.len() / rows.len(), counts.len() / rows.len());
        // Reported centres of training peaks are start + jitter offset, 0..=2 max_jitter.
        let max_jitter = if mode == "train" { golden::max_jitter(&goldens) } else { 0 };
        for (i, row) in rows.iter().enumerate() {
            let text = |column: usize| row[column].as_str().unwrap();
            let is_peak = text(3) == "1";
            let center: i64 = text(1).parse().unwrap();
            let center = if is_peak { center - max_jitter } else { center };
            let revcomp = if text(2) == "r" { Example::REVCOMP } else { 0 };
            let example = Example {
                contig: tracks.genome.contig_id(text(0)).unwrap(),
                start: (center - inputlen as i64 / 2) as u32,
                flags: revcomp | if is_peak { Example::PEAK } else { 0 },
                row: i as u32,
            };
            let mut codes = vec![0u8; inputlen];
            tracks.fill_codes(&example, &mut codes);
            assert_eq!(codes, bases[i * inputlen..][..inputlen], "{mode} {i}: bases");
            let mut ours = vec![0.0f32; outputlen];
            tracks.fill_counts(&example, inputlen, &mut ours);
            assert_eq!(ours, counts[i * outputlen..][..outputlen], "{mode} {i}: counts");
            let total: f64 = ours.iter().copied().map(f64::from).sum();
            assert!((total.ln_1p() - logcounts[i]).abs() < 1e-6, "{mode} {i}: logcounts");
        }
    }
}

#[test]
fn our_epoch_has_the_official_make_up() {
    let Some(goldens) = shared::goldens() else { return };
    let coords = golden::json(&goldens.join("data/expected/generator_coords.json"));
    let rows = coords["train"]["coords_chrom_center_strand_ispeak"].as_array().unwrap();
    let count = |column: usize, value: &str| {
        rows.iter().filter(|r| r[column].as_str() == Some(value)).count()
    };
    let (n_peaks, n_nonpeaks) = (count(3, "1"), count(3, "0"));
    let site = |row: usize| Site { contig: 0, center: 10_000 + 10 * row as u32, row: row as u32 };
    let peaks: Vec<Site> = (0..n_peaks).map(site).collect();
    let nonpeaks: Vec<Site> = (0..10 * n_nonpeaks + 1).map(site).collect();
    // any ratio that gives the golden's number of nonpeaks
    let ratio = (n_nonpeaks as f64 + 0.5) / n_peaks as f64;
    let sampler = Sampler::new(1, 2114, 500, ratio, peaks, nonpeaks).unwrap();
    let plan = sampler.epoch(3);
    assert_eq!(plan.len(), rows.len());
    assert_eq!(plan.iter().filter(|e| e.is_revcomp()).count(), count(2, "r"));
    let seen: BTreeSet<u32> = plan.iter().filter(|e| e.is_peak()).map(|e| e.row).collect();
    assert_eq!(seen.len(), n_peaks);
}
