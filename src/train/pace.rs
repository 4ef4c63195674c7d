//! How long a run will take, told after its first batches, before anybody waits in vain.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::fit::FitConfig;
use crate::batch::sampler::Sampler;
use crate::console::{Console, duration};
use crate::error::Problem;

/// The rate is known after this many batches and this long (a GPU tells of several batches at once; the
/// first, which warms up, does not count), or after fewer when those take very long.
const BATCHES: usize = 8;
const ENOUGH: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(20);

/// A run that fell back to the CPU may take this long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Times the first batches.
#[derive(Default)]
pub struct Pace {
    /// When the first batch was done.
    start: Option<Instant>,
    batches: usize,
    examples: usize,
    told: bool,
}

impl Pace {
    /// One more batch is done. Once: examples per second.
    pub fn batch(&mut self, examples: usize, now: Instant) -> Option<f64> {
        let Some(start) = self.start else {
            self.start = Some(now);
            return None;
        };
        self.batches += 1;
        self.examples += examples;
        let elapsed = now - start;
        let known = (self.batches >= BATCHES && elapsed >= ENOUGH) || elapsed >= LONG;
        if self.told || !known {
            return None;
        }
        self.told = true;
        Some(self.examples as f64 / elapsed.as_secs_f64().max(1e-9))
    }
}

/// Says what an epoch and all of them will take (validation, about a tenth, not counted).
///
/// Errors when that is long and the run is on the CPU only because no GPU could be used.
pub fn announce(
    examples_per_s: f64,
    sampler: &Sampler,
    epoch: usize,
    cfg: &FitConfig,
    console: &Console,
) -> Result<()> {
    let seconds = sampler.examples_per_epoch() as f64 / examples_per_s;
    let all = seconds * (cfg.epochs - epoch) as f64;
    if let Some(reason) = cfg.fallback.as_ref().filter(|_| all > PATIENCE.as_secs_f64()) {
        return Err(Problem::new(format!(
            "no usable CUDA device ({reason}); on this CPU the run would take about {} per epoch, {} for the {} that are left",
            duration(seconds),
            duration(all),
            cfg.epochs - epoch
        ))
        .fix("pass --device cpu to do it anyway")
        .into());
    }
    let text = format!(
        "{examples_per_s:.1} ex/s: about {} per epoch, at most {} in all",
        duration(seconds),
        duration(all)
    );
    let fields = json!({"examples_per_s": examples_per_s, "epoch_s": seconds, "run_s": all});
    console.event("expected", text, fields);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches until told, and the rate.
    fn told(seconds_a_batch: f64) -> (usize, f64) {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |i: usize| start + Duration::from_secs_f64(i as f64 * seconds_a_batch);
        let found: Vec<(usize, f64)> =
            (0..2000).filter_map(|i| Some((i, pace.batch(64, at(i))?))).collect();
        assert_eq!(found.len(), 1, "told once");
        found[0]
    }

    #[test]
    fn slow_batches_are_told_early_and_fast_ones_when_there_are_enough() {
        for (seconds, batches) in [(30.0, 1), (1.0, 8), (0.01, 300)] {
            let (at, rate) = told(seconds);
            assert!(at.abs_diff(batches) <= 1, "{seconds} s a batch: told at {at}");
            assert!((rate * seconds / 64.0 - 1.0).abs() < 1e-6, "{rate}");
        }
    }
}
