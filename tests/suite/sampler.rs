//! The sampler over sizes, ratios and seeds that nobody thought of.

use std::collections::BTreeSet;

use cbp_fast::batch::Example;
use cbp_fast::batch::sampler::{Sampler, Site};
use proptest::prelude::*;

const INPUTLEN: usize = 200;

fn sites(n: usize) -> Vec<Site> {
    (0..n as u32).map(|row| Site { contig: row % 5, center: 5_000 + 3 * row, row }).collect()
}

proptest! {
    #[test]
    fn every_epoch_has_the_official_make_up(
        seed in any::<u64>(),
        epoch in 0u64..1000,
        peaks in 0usize..200,
        nonpeaks in 0usize..200,
        ratio in 0.0f64..1.5,
        jitter in 0u32..600,
    ) {
        let Ok(sampler) = Sampler::new(seed, INPUTLEN, jitter, ratio, sites(peaks), sites(nonpeaks))
        else {
            let drawn = (ratio * peaks as f64) as usize;
            let too_few = ratio < 1.0 && drawn > nonpeaks;
            prop_assert!(too_few || peaks + nonpeaks == 0 || peaks + drawn == 0);
            return Ok(());
        };
        let plan = sampler.epoch(epoch);
        prop_assert_eq!(plan.len(), sampler.examples_per_epoch());
        prop_assert_eq!(plan.iter().filter(|e| e.is_revcomp()).count(), plan.len() / 2);
        let rows = |peak: bool| -> BTreeSet<u32> {
            plan.iter().filter(|e| e.is_peak() == peak).map(|e| e.row).collect()
        };
        prop_assert_eq!(rows(true).len(), peaks);
        prop_assert_eq!(rows(false).len() + peaks, plan.len(), "no row twice");
        for example in &plan {
            let start = |e: &Example| i64::from(5_000 + 3 * e.row) - INPUTLEN as i64 / 2;
            let moved = (i64::from(example.start) - start(example)).unsigned_abs();
            let allowed = if example.is_peak() { u64::from(jitter) } else { 0 };
            prop_assert!(moved <= allowed);
            prop_assert_eq!(example.contig, example.row % 5);
        }
        prop_assert_eq!(sampler.epoch(epoch), plan);
    }
}
