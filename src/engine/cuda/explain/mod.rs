//! Contribution scores on the device: DeepSHAP's rescale rule, or plain gradients.
//!
//! ```text
//!   chunk of sequences -> forward, sums before every ReLU kept in f32
//!   their references, all at once or in parts -> forward, a ratio kept for every unit of every ReLU
//!        -> both heads' multipliers as one batch -> back through the layers -> multipliers of bases
//!        -> hypothetical scores, added up in the references' order
//! ```
//!
//! A sequence's forward pass serves all its references, a reference's both heads, and weights are read once for both.
//! No sum crosses sequences and each has one order, so the bits of a score do not depend on what shares its chunk, nor on
//! how large a chunk the device has room for. Memory is that of a chunk.

mod schedules;
mod workspace;

use anyhow::Result;

use self::schedules::Schedules;
use self::workspace::{Chunk, Passes, Task, Workspace};
use super::arena::Slot;
use super::device::{Device, Launch};
use super::engine::CudaEngine;
use super::precision::Precision;
use super::schedule::Schedule;
use crate::engine::{Contributions, Heads, Rule, ToExplain};
use crate::error::Problem;
use crate::model::arch::BASES;

/// Share of the free memory that a chunk may take: predictions between calls need some, too.
const SHARE: f64 = 0.8;

/// Buffers, kept from call to call.
pub struct Explainer {
    workspace: Workspace,
    /// what would have been taken if memory did not matter
    ideal: Chunk,
}

impl Explainer {
    pub fn plan(&self) -> &super::arena::Arena {
        &self.workspace.arena
    }
}

impl<D: Device> CudaEngine<D> {
    /// Appends contribution scores to `out`.
    pub(super) fn explain(&mut self, of: &ToExplain, out: &mut Contributions) -> Result<()> {
        self.precision.check_whole()?;
        let n = of.check(&self.main)?;
        if n == 0 {
            return Ok(());
        }
        let (references, task) = match of.rule {
            Rule::Rescale { references, per_sequence } => {
                (references, Task { heads: of.heads, references: Some(per_sequence) })
            }
            Rule::Gradient => (&[][..], Task { heads: of.heads, references: None }),
        };
        self.make_room(n, task)?;
        let largest = self.explainer.as_ref().expect("made above").workspace.largest;
        for first in (0..n).step_by(largest.sequences) {
            let sequences = largest.sequences.min(n - first);
            self.explain_chunk(of.codes, references, first, sequences, out)?;
        }
        Ok(())
    }

    /// Makes sure that there are buffers for `n` sequences at once, or as many as the device has room for.
    fn make_room(&mut self, n: usize, task: Task) -> Result<()> {
        let ideal = Chunk::ideal(n, task.references.unwrap_or(1));
        let fits = |e: &Explainer| e.workspace.task == task && e.ideal.sequences >= ideal.sequences;
        if self.explainer.as_ref().is_some_and(fits) {
            return Ok(());
        }
        if let Some(old) = self.explainer.take() {
            old.workspace.arena.free(&mut self.device)?;
        }
        let room = (self.device.free_bytes()? as f64 * SHARE) as u64;
        let mut workspace = Workspace::that_fits(&self.main, n, task, self.precision, room);
        workspace.arena.allocate(&mut self.device)?;
        self.explainer = Some(Explainer { workspace, ideal });
        Ok(())
    }

    /// Sequences `first .. first + sequences`, their references in parts.
    fn explain_chunk(
        &mut self,
        codes: &[u8],
        references: &[u8],
        first: usize,
        sequences: usize,
        out: &mut Contributions,
    ) -> Result<()> {
        let Self { device, arena, main_weights, main, precision, explainer, .. } = self;
        let ws = &explainer.as_ref().expect("make_room went before").workspace;
        let inputlen = main.inputlen;
        let (per_sequence, part) = (ws.task.references.unwrap_or(1), ws.largest.references);
        let run = |device: &mut D, launches: Vec<Launch>| -> Result<()> {
            launches.iter().try_for_each(|launch| device.launch(launch))
        };
        device.zero(ws.arena[ws.overflow], 4)?;
        device.upload(ws.arena[ws.codes], &codes[first * inputlen..][..sequences * inputlen])?;
        let mut deltas = vec![[0.0f64; 2]; sequences];
        for from in (0..per_sequence).step_by(part) {
            let chunk = Chunk { sequences, references: part.min(per_sequence - from) };
            let passes = Passes::new(main, chunk, ws.task, *precision);
            let schedules = Schedules {
                ws,
                weights: main_weights,
                weights_arena: arena,
                chunk,
                passes: &passes,
                core: device.core(),
            };
            if from == 0 {
                run(device, schedules.sequences())?;
            }
            if ws.task.references.is_some() {
                // Parts are of a single sequence, so either way they lie on end.
                let begin = (first * per_sequence + from) * inputlen;
                let codes = &references[begin..][..chunk.pairs() * inputlen];
                device.upload(ws.arena[ws.reference_codes], codes)?;
            }
            run(device, schedules.references(from == 0))?;
            if ws.task.references.is_some() {
                add_deltas(device, ws, chunk, &mut deltas)?;
            }
        }
        append(device, ws, *precision, first, sequences, out)?;
        if ws.task.references.is_some() {
            append_deltas(ws.task.heads, per_sequence, &deltas, out);
        }
        Ok(())
    }

    /// A chunk of at most `n` sequences with `references` each, both heads; for timings.
    pub fn explain_schedule(&mut self, n: usize, references: usize) -> Result<Schedule> {
        self.precision.check_whole()?;
        let task = Task { heads: Heads::BOTH, references: Some(references) };
        self.make_room(n, task)?;
        let ws = &self.explainer.as_ref().expect("made above").workspace;
        let chunk = ws.largest;
        let passes = Passes::new(&self.main, chunk, task, self.precision);
        let schedules = Schedules {
            ws,
            weights: &self.main_weights,
            weights_arena: &self.arena,
            chunk,
            passes: &passes,
            core: self.device.core(),
        };
        Ok(Schedule::chain([schedules.sequences(), schedules.references(true)].concat()))
    }
}

fn values<T: bytemuck::Pod>(
    device: &mut impl Device,
    ws: &Workspace,
    slot: Slot,
    n: usize,
) -> Result<Vec<T>> {
    let mut values = vec![T::zeroed(); n];
    device.download(ws.arena[slot], bytemuck::cast_slice_mut(&mut values))?;
    Ok(values)
}

/// Adds what the scores of each sequence against this chunk's references come to: counts, profile.
fn add_deltas(
    device: &mut impl Device,
    ws: &Workspace,
    chunk: Chunk,
    sums: &mut [[f64; 2]],
) -> Result<()> {
    let (pairs, each) = (chunk.pairs(), chunk.references);
    if ws.task.heads.counts {
        let of_sequences: Vec<f32> =
            values(device, ws, ws.of_sequences.logcounts, chunk.sequences)?;
        let of_references: Vec<f32> = values(device, ws, ws.of_references.logcounts, pairs)?;
        let of_references = of_references.chunks_exact(each);
        for ((sum, x), references) in sums.iter_mut().zip(of_sequences).zip(of_references) {
            references.iter().for_each(|&r| sum[0] += f64::from(x) - f64::from(r));
        }
    }
    if ws.task.heads.profile {
        let deltas: Vec<f64> = values(device, ws, ws.deltas, pairs)?;
        for (sum, deltas) in sums.iter_mut().zip(deltas.chunks_exact(each)) {
            deltas.iter().for_each(|delta| sum[1] += delta);
        }
    }
    Ok(())
}

fn append_deltas(heads: Heads, references: usize, sums: &[[f64; 2]], out: &mut Contributions) {
    for &[counts, profile] in sums {
        if heads.counts {
            out.delta_counts.push(counts / references as f64);
        }
        if heads.profile {
            out.delta_profile.push(profile / references as f64);
        }
    }
}

/// Appends predictions and means of scores. Errors when a score is not finite or a multiplier did not fit its type.
fn append(
    device: &mut impl Device,
    ws: &Workspace,
    precision: Precision,
    first: usize,
    sequences: usize,
    out: &mut Contributions,
) -> Result<()> {
    let outputs = ws.of_sequences;
    let outputlen = ws.arena.bytes_of(outputs.logits) / ws.arena.bytes_of(outputs.logcounts);
    let inputlen = ws.arena.bytes_of(ws.codes) / ws.largest.sequences;
    let size = inputlen * BASES;
    let mut sums: Vec<f32> = values(device, ws, ws.sums, ws.task.heads() * sequences * size)?;
    let overflow: Vec<u32> = values(device, ws, ws.overflow, 1)?;
    let references = ws.task.references.unwrap_or(1) as f32;
    sums.iter_mut().for_each(|sum| *sum /= references);
    let broken = sums.iter().position(|sum| !sum.is_finite());
    let problem = match broken {
        Some(at) => Some((
            "a contribution score is not a finite number",
            format!("sequence {}", first + at / size % sequences + 1),
        )),
        None if overflow[0] != 0 => Some((
            "a multiplier on the way to contribution scores is not a finite number",
            format!("one of sequences {} to {}", first + 1, first + sequences),
        )),
        None => None,
    };
    if let Some((what, place)) = problem {
        return Err(Problem::new(format!("{what} in {precision}"))
            .at(place)
            .fix("check the model, or explain it with --precision tf32 or f32")
            .into());
    }
    out.predictions.logits.extend(values::<f32>(
        device,
        ws,
        outputs.logits,
        sequences * outputlen,
    )?);
    out.predictions.logcounts.extend(values::<f32>(device, ws, outputs.logcounts, sequences)?);
    let mut heads = sums.chunks_exact(sequences * size);
    if ws.task.heads.counts {
        out.counts.extend(heads.next().into_iter().flatten());
    }
    if ws.task.heads.profile {
        out.profile.extend(heads.next().into_iter().flatten());
    }
    Ok(())
}
