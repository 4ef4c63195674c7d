//! Steps over a plan, and what is said of one that failed.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::device::Device;
use super::engine::CudaEngine;
use super::ops::step::Stopped;
use super::step::Kind;
use super::trainer::CudaTrainer;
use crate::batch::Example;
use crate::engine::checks::{self, BrokenLoss};
use crate::engine::{AfterBatch, StepLoss};
use crate::error::Problem;

/// Losses are fetched about this often: a pause that nobody sees, and a stop that nobody waits for.
const FETCH_EVERY: Duration = Duration::from_millis(200);
const MOST_STEPS_AHEAD: usize = 64;

impl<D: Device> CudaTrainer<D> {
    /// Steps over the whole plan, or until told to stop.
    pub(super) fn steps(
        &mut self,
        kind: Kind,
        plan: &[Example],
        batch_size: usize,
        after: &mut AfterBatch,
    ) -> Result<()> {
        let schedule = self.begin(kind, plan, batch_size)?;
        let steps = plan.len().div_ceil(batch_size);
        let mut done = 0;
        let mut ahead = 1;
        while done < steps {
            let start = Instant::now();
            let wanted = ahead.min(steps - done);
            for _ in 0..wanted {
                self.engine.device.run(&schedule)?;
            }
            let state = self.engine.fetch_state()?;
            let good = state.row as usize - done;
            let mut flow = ControlFlow::Continue(());
            for (i, loss) in self.fetch_losses(done, good)?.into_iter().enumerate() {
                let examples = batch_size.min(plan.len() - (done + i) * batch_size);
                if after(loss, examples).is_break() {
                    flow = ControlFlow::Break(());
                }
            }
            if let Some(stopped) = state.stopped() {
                return Err(self.stopped(stopped, plan, batch_size)?.into());
            }
            if flow.is_break() {
                break;
            }
            done += good;
            // The first steps load kernels, so begin small and go by what was seen.
            ahead = match start.elapsed() {
                fast if fast < FETCH_EVERY / 2 => (2 * ahead).min(MOST_STEPS_AHEAD),
                slow if slow > 2 * FETCH_EVERY => (ahead / 2).max(1),
                _ => ahead,
            };
        }
        Ok(())
    }

    /// What to say of a step that stopped the run; the state on the device is that before it.
    fn stopped(&mut self, why: Stopped, plan: &[Example], batch_size: usize) -> Result<Problem> {
        match why {
            Stopped::ByLoss { row } => self.broken_loss(plan, row as usize, batch_size),
            Stopped::ByGradient => {
                let first = self.engine.state.cursor as usize;
                let batch = &plan[first..plan.len().min(first + batch_size)];
                let place = |e: &Example| checks::place(&self.tracks, e, self.engine.main.inputlen);
                let mut places: Vec<String> = batch.iter().take(3).map(place).collect();
                if batch.len() > 3 {
                    places.push(format!("and {} more", batch.len() - 3));
                }
                Ok(Problem::new(format!(
                    "a gradient is not a finite number in {}, although the losses are (loss scale {})",
                    self.engine.precision, self.engine.state.loss_scale
                ))
                .at(places.join(", "))
                .fix("lower --learning-rate, or train with --precision f32"))
            }
        }
    }

    pub(super) fn broken_loss(
        &mut self,
        plan: &[Example],
        row: usize,
        batch: usize,
    ) -> Result<Problem> {
        let example = row - self.engine.state.cursor as usize;
        let CudaEngine { device, session: Some(session), .. } = &mut self.engine else {
            unreachable!("a step ran")
        };
        let arena = &session.workspace.arena;
        let mut losses = [0.0f64; 2];
        let losses_at = arena[session.workspace.example_losses].offset(16 * example);
        device.download(losses_at, bytemuck::cast_slice_mut(&mut losses))?;
        let mut logcounts = [0.0f32];
        let logcounts_at = arena[session.workspace.main_out.logcounts].offset(4 * example);
        device.download(logcounts_at, bytemuck::cast_slice_mut(&mut logcounts))?;
        let broken = BrokenLoss {
            profile: losses[0],
            counts: losses[1],
            logcounts: logcounts[0].into(),
            example,
            batch: batch.min(plan.len() - self.engine.state.cursor as usize),
        };
        Ok(broken.problem(checks::place(&self.tracks, &plan[row], self.engine.main.inputlen)))
    }
}

/// The loss of a plan that is a single batch.
pub(super) fn one_step(
    plan: &[Example],
    steps: impl FnOnce(&mut AfterBatch) -> Result<()>,
) -> Result<StepLoss> {
    let mut found = StepLoss::default();
    if plan.is_empty() {
        return Err(Problem::new("a batch without examples").into());
    }
    steps(&mut |loss, _| {
        found = loss;
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
