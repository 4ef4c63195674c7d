//! The assay on the demo genome: cuts at every base, called peaks, background regions, folds.

use std::ops::RangeInclusive;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::biology;
use super::genome::{self, DemoContig};
use crate::input::folds::Folds;

/// bp from a nonpeak's centre that must be free of open chromatin, N and contig ends: half an input
/// window.
const CLEARANCE: usize = 1_057;
/// A base is open above this multiple of the background.
const CALL: f64 = 3.0;
/// Open stretches nearer than this are one peak, bp.
const MERGE: usize = 150;

/// A region with its summit, in base pairs of one contig.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoRegion {
    pub contig: usize,
    pub start: usize,
    pub end: usize,
    /// Absolute position.
    pub summit: usize,
    /// True accessibility at the summit, cuts per base.
    pub height: f64,
}

/// Everything that is simulated.
pub struct Experiment {
    pub contigs: Vec<DemoContig>,
    /// Expected cuts per base, one track a contig.
    pub rates: Vec<Vec<f64>>,
    /// Observed cuts per base.
    pub cuts: Vec<Vec<f32>>,
    pub peaks: Vec<DemoRegion>,
    pub nonpeaks: Vec<DemoRegion>,
    pub folds: Folds,
}

impl Experiment {
    /// The same seed gives the same experiment. Contigs have `contig_bp` (the demo's: `CONTIG_BP`).
    pub fn simulate(seed: u64, contig_bp: RangeInclusive<usize>) -> Self {
        let contigs = genome::simulate(seed, contig_bp);
        let mut rates = Vec::new();
        let mut cuts = Vec::new();
        let mut peaks = Vec::new();
        let mut nonpeaks = Vec::new();
        for (index, contig) in contigs.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(2 * index as u64 + 1);
            let open = biology::accessibility(&contig.codes);
            let track = biology::cut_rates_given(&open, &contig.codes);
            cuts.push(track.iter().map(|&rate| poisson(&mut rng, rate) as f32).collect());
            rates.push(track);
            let found = call_peaks(index, &open);
            nonpeaks.extend(background(&mut rng, index, contig, &found));
            peaks.extend(found);
        }
        let names = |range: std::ops::Range<usize>| {
            contigs[range].iter().map(|c| c.name.clone()).collect::<Vec<_>>()
        };
        let folds = Folds { train: names(0..5), valid: names(5..6), test: names(6..8) };
        Self { contigs, rates, cuts, peaks, nonpeaks, folds }
    }
}

/// Knuth's method; rates here stay far below the 700 where exp(-rate) would vanish.
fn poisson(rng: &mut ChaCha8Rng, rate: f64) -> u32 {
    let floor = (-rate).exp();
    let mut product = rng.random::<f64>();
    let mut count = 0;
    while product > floor {
        product *= rng.random::<f64>();
        count += 1;
    }
    count
}

/// Stretches of open bases, as an ideal peak caller would report them.
fn call_peaks(contig: usize, open: &[f64]) -> Vec<DemoRegion> {
    let mut peaks: Vec<DemoRegion> = Vec::new();
    for (x, &height) in open.iter().enumerate() {
        if height < CALL * biology::BACKGROUND {
            continue;
        }
        match peaks.last_mut() {
            Some(peak) if x < peak.end + MERGE => {
                peak.end = x + 1;
                if height > peak.height {
                    (peak.height, peak.summit) = (height, x);
                }
            }
            _ => peaks.push(DemoRegion { contig, start: x, end: x + 1, summit: x, height }),
        }
    }
    peaks
}

/// Windows in closed chromatin, away from peaks, N and contig ends.
fn background(
    rng: &mut ChaCha8Rng,
    index: usize,
    contig: &DemoContig,
    peaks: &[DemoRegion],
) -> Vec<DemoRegion> {
    let mut blocked: Vec<bool> = contig.codes.iter().map(|&c| c >= 4).collect();
    for peak in peaks {
        blocked[peak.start..peak.end].fill(true);
    }
    let mut regions = Vec::new();
    // Bases since the last blocked one; a centre fits when both sides are clear.
    let mut clear = 0;
    let mut wanted = 2 * CLEARANCE;
    for (x, &is_blocked) in blocked.iter().enumerate() {
        clear = if is_blocked { 0 } else { clear + 1 };
        if is_blocked {
            wanted = 2 * CLEARANCE + rng.random_range(0..300);
        } else if clear >= wanted {
            let (start, end) = (x + 1 - 2 * CLEARANCE, x + 1);
            let summit = start + CLEARANCE;
            let height = biology::BACKGROUND;
            regions.push(DemoRegion { contig: index, start, end, summit, height });
            // neighbours overlap by up to 1,500 bp of input, hardly of output
            wanted = clear + rng.random_range(600..900);
        }
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::biology::{Effect, MOTIFS};

    const SMALL: RangeInclusive<usize> = 60_000..=70_000;

    #[test]
    fn the_same_seed_gives_the_same_experiment() {
        let (a, b, c) = (
            Experiment::simulate(1, SMALL),
            Experiment::simulate(1, SMALL),
            Experiment::simulate(2, SMALL),
        );
        assert!(a.contigs == b.contigs && a.cuts == b.cuts && a.peaks == b.peaks);
        assert!(a.nonpeaks == b.nonpeaks && a.contigs != c.contigs);
    }

    #[test]
    fn peaks_hold_opening_motifs_and_cuts_nonpeaks_neither() {
        let demo = Experiment::simulate(3, SMALL);
        assert!(demo.peaks.len() > 90, "{}", demo.peaks.len());
        assert!(demo.nonpeaks.len() > 90, "{}", demo.nonpeaks.len());
        let openers: Vec<_> = MOTIFS.iter().filter(|m| m.effect != Effect::Protects).collect();
        let opened = |contig: usize, range: std::ops::Range<usize>| {
            openers
                .iter()
                .any(|m| !m.matches(&demo.contigs[contig].codes[range.clone()]).is_empty())
        };
        let cuts = |region: &DemoRegion| {
            demo.cuts[region.contig][region.summit - 500..region.summit + 500].iter().sum::<f32>()
        };
        for peak in &demo.peaks {
            assert!(opened(peak.contig, peak.start..peak.end), "{peak:?}");
            assert!((peak.start..peak.end).contains(&peak.summit));
            assert!((250.0..7_000.0).contains(&cuts(peak)), "{peak:?}: {}", cuts(peak));
        }
        for nonpeak in &demo.nonpeaks {
            assert!(!opened(nonpeak.contig, nonpeak.start..nonpeak.end), "{nonpeak:?}");
            assert!((60.0..220.0).contains(&cuts(nonpeak)), "{nonpeak:?}: {}", cuts(nonpeak));
            let window = &demo.contigs[nonpeak.contig].codes[nonpeak.start..nonpeak.end];
            assert!(window.len() == 2 * CLEARANCE && window.iter().all(|&c| c < 4));
        }
    }

    #[test]
    fn cuts_follow_their_rates() {
        let demo = Experiment::simulate(4, SMALL);
        for (cuts, rates) in demo.cuts.iter().zip(&demo.rates) {
            let observed: f64 = cuts.iter().copied().map(f64::from).sum();
            let expected: f64 = rates.iter().sum();
            // 5 standard deviations
            assert!((observed - expected).abs() < 5.0 * expected.sqrt(), "{observed} {expected}");
        }
        let n: Vec<f32> = demo.contigs[0]
            .codes
            .iter()
            .zip(&demo.cuts[0])
            .filter(|(code, _)| **code == 4)
            .map(|(_, cuts)| *cuts)
            .collect();
        assert!(n.len() >= 3_000 && n.iter().all(|&c| c == 0.0));
    }

    #[test]
    fn poisson_has_its_mean_and_variance() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for rate in [0.0, 0.1, 3.0, 20.0] {
            let n = 20_000;
            let draws: Vec<f64> = (0..n).map(|_| f64::from(poisson(&mut rng, rate))).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((mean - rate).abs() <= 5.0 * (rate / f64::from(n)).sqrt(), "{rate}: {mean}");
            assert!((variance - rate).abs() <= 0.1 * rate, "{rate}: {variance}");
        }
    }
}
