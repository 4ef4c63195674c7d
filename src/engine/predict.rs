//! What every engine does: predict sequences. And what one with a genome does: predict windows of it.

use anyhow::Result;

use crate::batch::Example;

/// Model outputs, appended batch by batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// [n, outputlen], before the softmax
    pub logits: Vec<f32>,
    /// `[n]`
    pub logcounts: Vec<f32>,
}

/// A model on a device.
///
/// Engines are deterministic: the same calls give the same bits, for any number of threads.
pub trait Engine {
    /// Appends the outputs of sequences to `out`: `codes` is `[n, inputlen]` of 0..=3 = ACGT, 4 = N.
    /// Any `n`; memory does not grow with it.
    fn predict_sequences(&mut self, codes: &[u8], out: &mut Predictions) -> Result<()>;
    /// Device memory that it has asked for; `None` on the CPU.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
    /// A line for each buffer on the device, with its bytes; `None` on the CPU.
    fn memory_plan(&self) -> Option<String> {
        None
    }
    /// One line for the log: device, threads, instruction set.
    fn describe(&self) -> String;
}

/// An engine with a genome.
pub trait Predict: Engine {
    /// Appends the outputs of one batch of windows to `out`. Counts are not read, so no signal is needed.
    fn predict(&mut self, plan: &[Example], out: &mut Predictions) -> Result<()>;
}
