//! How long a run will take, told after its first batches, before anybody waits in vain.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::fit::FitConfig;
use crate::batch::sampler::Sampler;
use crate::console::{Console, duration};
use crate::error::Problem;

/// The rate is known after this many batches (the first, which warms up, does not count), or after
/// fewer when those take this long.
const BATCHES: usize = 8;
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
    pub fn batch(&mut self, examples: usize) -> Option<f64> {
        let Some(start) = self.start else {
            self.start = Some(Instant::now());
            return None;
        };
        self.batches += 1;
        self.examples += examples;
        let elapsed = start.elapsed();
        if self.told || (self.batches < BATCHES && elapsed < LONG) {
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

    #[test]
    fn the_first_batch_is_not_timed_and_the_rate_is_told_once() {
        let mut pace = Pace::default();
        let told: Vec<bool> = (0..20).map(|_| pace.batch(64).is_some()).collect();
        assert_eq!(told.iter().filter(|&&t| t).count(), 1);
        assert!(told[BATCHES] && !told[0]);
    }
}
