//! A chunk as schedules of launches, one after the other.

use super::workspace::{Chunk, OutputSlots, Passes, Workspace};
use crate::engine::cuda::arena::Arena;
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::ops::hopper::Core;
use crate::engine::cuda::ops::rescale::first_conv::{self, Scores};
use crate::engine::cuda::ops::rescale::head::{self, Multipliers, Seed};
use crate::engine::cuda::ops::rescale::{Keep, dilated};
use crate::engine::cuda::weights::Weights;
use crate::engine::cuda::workspace::Shapes;

/// What the schedules of one chunk are made of.
pub struct Schedules<'a> {
    pub ws: &'a Workspace,
    pub weights: &'a Weights,
    pub weights_arena: &'a Arena,
    pub chunk: Chunk,
    pub passes: &'a Passes,
    /// Which kernels the dilated layers take.
    pub core: Core,
}

impl Schedules<'_> {
    /// Forward pass of the sequences themselves.
    pub fn sequences(&self) -> Vec<Launch> {
        let ws = self.ws;
        let keep = |i: usize| match ws.kept.get(i) {
            Some(&z) => Keep::PreActivations { z: ws.arena[z] },
            None => Keep::Derivatives { ratio: ws.arena[ws.ratios[i]] },
        };
        self.forward("sequences", &self.passes.sequences, ws.arena[ws.codes], ws.of_sequences, keep)
    }

    /// Forward pass of their references, and all heads' way back to the sums of scores, which begin at zero
    /// where `begin` says so. For gradients the way back alone.
    pub fn references(&self, begin: bool) -> Vec<Launch> {
        let ws = self.ws;
        let keep = |i: usize| Keep::Ratios {
            of: ws.arena[ws.kept[i]],
            per_sequence: self.chunk.references,
            ratio: ws.arena[ws.ratios[i]],
        };
        let mut launches = Vec::new();
        if ws.task.heads() == 0 {
            return launches;
        }
        if ws.task.references.is_some() {
            let codes = ws.arena[ws.reference_codes];
            let shapes = &self.passes.references;
            launches = self.forward("references", shapes, codes, ws.of_references, keep);
        }
        self.backward(&mut launches, begin);
        launches
    }

    fn forward(
        &self,
        what: &str,
        shapes: &Shapes,
        codes: Address,
        out: OutputSlots,
        keep: impl Fn(usize) -> Keep,
    ) -> Vec<Launch> {
        let Self { ws, weights, weights_arena, .. } = self;
        let (arena, element) = (&ws.arena, shapes.element());
        let map = |i: usize| arena[ws.maps[i % 2]];
        let mut launches = Vec::new();
        let mut push = |mut launch: Launch| {
            launch.label = format!("{what} {}", launch.label);
            launches.push(launch);
        };
        let (w, bias) = weights.first(weights_arena);
        let first = first_conv::Forward { codes, w, bias, x: map(0), keep: keep(0) };
        push(first_conv::forward(&shapes.first, element, &first));
        for (i, layer) in shapes.dilated.iter().enumerate() {
            let (weights, bias) = weights.dilated(weights_arena, i + 1);
            let keep = keep(i + 1);
            let at = dilated::Forward { x: map(i), weights, bias, y: map(i + 1), keep };
            push(self.core.rescale_forward(layer, &at, &format!("dilated_{} forward", i + 1)));
        }
        let head = shapes.head.forward(
            element,
            map(shapes.dilated.len()),
            &weights.head(weights_arena),
            ws.head.at(arena),
            arena[out.logits],
            arena[out.logcounts],
        );
        head.into_iter().for_each(push);
        launches
    }

    /// From the outputs to the sums of scores.
    fn backward(&self, launches: &mut Vec<Launch>, begin: bool) {
        let Self { ws, weights, weights_arena, chunk, .. } = self;
        let (arena, shapes) = (&ws.arena, &self.passes.backward);
        let (element, n) = (shapes.element(), shapes.dilated.len());
        let pairs = chunk.pairs();
        let counts = if ws.task.heads.counts { pairs } else { 0 };
        // g_0 has no reader: no residual leads below the first dilated layer.
        let g = |i: usize| (i > 0).then(|| arena[ws.g[i % 2]]);
        let dz = |i: usize| arena[ws.dz[i % 2]];
        let ratio = |i: usize| arena[ws.ratios[i]];
        let overflow = arena[ws.overflow];

        let compares = ws.task.references.is_some();
        let mut seeds = Address::NULL;
        if ws.task.heads.profile {
            seeds = arena[ws.seeds];
            let seed = Seed {
                pairs,
                per_sequence: chunk.references,
                outputlen: shapes.head.outputlen,
                scale: ws.scales.profile,
            };
            let references = (arena[ws.of_references.logits], arena[ws.deltas]);
            let logits = arena[ws.of_sequences.logits];
            launches.push(seed.launch(logits, compares.then_some(references), seeds));
        }
        let at = Multipliers {
            seeds,
            counts,
            counts_scale: ws.scales.counts,
            ratio: ratio(n),
            ratio_batch: pairs,
            g: g(n),
            dz: dz(n),
            overflow,
        };
        let head = weights.head(weights_arena);
        launches.push(head::multipliers(&shapes.head, element, &head, &at));
        for i in (1..=n).rev() {
            let layer = &shapes.dilated[i - 1];
            let at = dilated::Dgrad {
                dz_out: dz(i),
                g_out: g(i).expect("every dilated layer has a residual"),
                weights: weights.dilated(weights_arena, i).0,
                ratio: ratio(i - 1),
                ratio_batch: pairs,
                g: g(i - 1).unwrap_or(Address::NULL),
                dz: dz(i - 1),
                overflow,
            };
            let label = format!("multipliers dilated_{i} dgrad");
            launches.push(self.core.rescale_dgrad(layer, &at, &label));
        }
        let multipliers = arena[ws.multipliers];
        let (w, _) = weights.first(weights_arena);
        let scaled = (counts, ws.scales);
        launches.push(first_conv::backward(&shapes.first, element, dz(0), w, scaled, multipliers));
        let scores = Scores {
            heads: ws.task.heads(),
            sequences: chunk.sequences,
            references: chunk.references,
            inputlen: shapes.first.inputlen,
        };
        let codes = compares.then(|| arena[ws.reference_codes]);
        launches.push(scores.launch(multipliers, codes, arena[ws.sums], begin));
    }
}
