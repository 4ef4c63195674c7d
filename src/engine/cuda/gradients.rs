//! What a batch leaves on the device, for the doctor and tests: gradients, decisions of ReLUs, outputs of the bias branch.

use anyhow::{Context, Result};

use super::device::Device;
use super::engine::CudaEngine;
use super::session::Session;
use super::step::{self, Kind, Partials};
use super::trainer::CudaTrainer;
use crate::batch::Example;
use crate::engine::{Predictions, StepLoss};
use crate::model::{ParameterSet, Tensor};

/// Losses and gradients of one batch, parameters unchanged.
#[derive(Clone, Debug)]
pub struct Gradients {
    pub loss: StepLoss,
    pub parameters: ParameterSet,
    /// `[filters]`: means over the batch of the features that the counts head reads
    pub features: Vec<f32>,
    /// A gradient did not fit its type.
    pub overflow: bool,
}

impl<D: Device> CudaTrainer<D> {
    /// Losses and gradients of one batch, as `train_step` would use them; changes nothing.
    pub fn gradients(&mut self, plan: &[Example]) -> Result<Gradients> {
        let schedule = self.begin(Kind::Gradients, plan, plan.len())?;
        self.engine.device.run(&schedule)?;
        let state = self.engine.fetch_state()?;
        let loss = self.fetch_losses(0, 1)?[0];
        let CudaEngine {
            device, session: Some(Session { workspace, .. }), main_weights, main, ..
        } = &mut self.engine
        else {
            unreachable!("prepared above")
        };
        let backward = workspace.backward.as_ref().expect("prepared with a backward pass");
        let mut sum_of = |from: Partials, len: usize| -> Result<Vec<f32>> {
            let mut sum = vec![0.0f32; len];
            let mut part = vec![0.0f32; len];
            for split in 0..from.splits {
                let at = from.address.offset(4 * split * from.stride);
                device.download(at, bytemuck::cast_slice_mut(&mut part))?;
                sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
            }
            Ok(sum)
        };
        let mut tensors = Vec::new();
        let wanted = main_weights.tensors.iter().zip(main.parameter_shapes());
        for ((parameter, (name, shape)), from) in wanted.zip(step::partials(workspace, backward)) {
            let mut sum = sum_of(from, parameter.layout.elements())?;
            sum.iter_mut().for_each(|g| *g /= state.loss_scale);
            tensors.push(Tensor { name, shape, data: parameter.layout.unpad(&sum) });
        }
        let mut features = sum_of(step::features(workspace, backward), main.filters)?;
        features.iter_mut().for_each(|sum| *sum /= plan.len() as f32);
        if state.bad_example == u32::MAX {
            Ok(Gradients {
                loss,
                parameters: ParameterSet { tensors },
                features,
                overflow: state.overflow != 0,
            })
        } else {
            Err(self.broken_loss(plan, state.bad_example as usize, plan.len())?.into())
        }
    }

    /// Where the ReLUs of the last batch let through: per example and feature map X_0 .. X_n, [length]
    /// [filters]. After `gradients` only.
    pub fn masks(&mut self) -> Result<Vec<Vec<Vec<bool>>>> {
        let CudaEngine { device, session: Some(Session { workspace, .. }), main, .. } =
            &mut self.engine
        else {
            anyhow::bail!("no batch has been run");
        };
        let words = workspace.main.first.channels / 32;
        let mut examples = vec![Vec::new(); workspace.batch];
        for (i, &slot) in workspace.main_out.masks.iter().enumerate() {
            let mut bits = vec![0u32; workspace.arena.bytes_of(slot) / 4];
            device.download(workspace.arena[slot], bytemuck::cast_slice_mut(&mut bits))?;
            for (maps, bits) in
                examples.iter_mut().zip(bits.chunks_exact(main.trunk_len(i) * words))
            {
                let bit = |row: &[u32], c: usize| row[c / 32] >> (c % 32) & 1 != 0;
                let rows = bits.chunks_exact(words);
                maps.push(rows.flat_map(|row| (0..main.filters).map(|c| bit(row, c))).collect());
            }
        }
        Ok(examples)
    }

    /// Outputs of the bias branch for the last batch, of `rows` examples; for tests.
    pub fn bias_outputs(&mut self, rows: usize) -> Result<Predictions> {
        let CudaEngine { device, session: Some(Session { workspace, .. }), main, .. } =
            &mut self.engine
        else {
            anyhow::bail!("no batch has been run");
        };
        let out = workspace.bias_out.as_ref().context("there is no bias branch")?;
        let (mut logits, mut logcounts) = (vec![0.0; rows * main.outputlen], vec![0.0; rows]);
        device.download(workspace.arena[out.logits], bytemuck::cast_slice_mut(&mut logits))?;
        device
            .download(workspace.arena[out.logcounts], bytemuck::cast_slice_mut(&mut logcounts))?;
        Ok(Predictions { logits, logcounts })
    }
}
