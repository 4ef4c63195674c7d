//! `kernels/loss.cu`: both branches' outputs together, losses and their gradients.

use bytemuck::{Pod, Zeroable};

use super::{Floor, size};
use crate::engine::cuda::device::{Address, Launch};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct LossArgs {
    state: Address,
    logits: Address,
    logcounts: Address,
    bias_logits: Address,
    bias_logcounts: Address,
    counts: Address,
    dlogits: Address,
    dlogits_sums: Address,
    dlogcounts: Address,
    example_losses: Address,
    counts_loss_weight: f64,
    outputlen: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct LossMean {
    state: Address,
    example_losses: Address,
    losses: Address,
    counts_loss_weight: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct LossCombine {
    state: Address,
    logits: Address,
    logcounts: Address,
    bias_logits: Address,
    bias_logcounts: Address,
    outputlen: u32,
    padding: u32,
}

const THREADS: u32 = 256;
const WARPS: u32 = THREADS / 32;

/// Outputs of a branch, f32.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// [batch, outputlen]
    pub logits: Address,
    /// `[batch]`
    pub logcounts: Address,
}

/// Gradients by the main branch's outputs, times the loss scale, f32.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradients {
    /// [batch, outputlen]
    pub logits: Address,
    /// `[batch]`: the profile bias's gradient, a partial an example
    pub logits_sums: Address,
    /// `[batch]`: also the dense bias's gradient, a partial an example
    pub logcounts: Address,
}

/// Shape and weight of the losses.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub batch: usize,
    pub outputlen: usize,
    pub counts_loss_weight: f64,
}

impl Loss {
    /// `main` and `counts` f32 [batch, outputlen] -> `main` becomes the model's outputs, `gradients`
    /// (in training), `example_losses` f64 [batch][2]; then `losses` f64 [row] = {total, profile,
    /// counts}.
    #[allow(clippy::too_many_arguments)]
    pub fn launches(
        &self,
        state: Address,
        main: Outputs,
        bias: Option<Outputs>,
        counts: Address,
        gradients: Option<OutputGradients>,
        example_losses: Address,
        losses: Address,
    ) -> [Launch; 2] {
        let null = Outputs { logits: Address::NULL, logcounts: Address::NULL };
        let bias = bias.unwrap_or(null);
        let mut args = LossArgs {
            state,
            logits: main.logits,
            logcounts: main.logcounts,
            bias_logits: bias.logits,
            bias_logcounts: bias.logcounts,
            counts,
            dlogits: Address::NULL,
            dlogits_sums: Address::NULL,
            dlogcounts: Address::NULL,
            example_losses,
            counts_loss_weight: self.counts_loss_weight,
            outputlen: size(self.outputlen),
            padding: 0,
        };
        if let Some(gradients) = gradients {
            args.dlogits = gradients.logits;
            args.dlogits_sums = gradients.logits_sums;
            args.dlogcounts = gradients.logcounts;
        }
        let mean =
            LossMean { state, example_losses, losses, counts_loss_weight: self.counts_loss_weight };
        let grid = [size(self.batch), 1, 1];
        [
            Launch::new("loss", grid, [THREADS, 1, 1], 5 * 8 * WARPS, &args, "loss")
                .with_floor(self.floor()),
            Launch::new("loss_mean", [1, 1, 1], [THREADS, 1, 1], 2 * 8 * WARPS, &mean, "loss mean"),
        ]
    }

    /// For predictions: `main` becomes the model's outputs.
    pub fn combine(&self, state: Address, main: Outputs, bias: Option<Outputs>) -> Launch {
        let null = Outputs { logits: Address::NULL, logcounts: Address::NULL };
        let bias = bias.unwrap_or(null);
        let args = LossCombine {
            state,
            logits: main.logits,
            logcounts: main.logcounts,
            bias_logits: bias.logits,
            bias_logcounts: bias.logcounts,
            outputlen: size(self.outputlen),
            padding: 0,
        };
        let grid = [size(self.batch), 1, 1];
        Launch::new("loss_combine", grid, [THREADS, 1, 1], 0, &args, "combine outputs")
    }

    /// Logits, counts and gradients once; two exponentials a position are not counted as arithmetic.
    pub fn floor(&self) -> Floor {
        Floor { flop: 0.0, bytes: (12 * self.batch * self.outputlen) as f64 }
    }
}
