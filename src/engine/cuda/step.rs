//! A step as a schedule of launches: pure functions of buffers and shapes.
//!
//! ```text
//!                  bias: first -> dilated 1..n -> head                         loss mean ----------------+
//! begin -> batch <                                     > loss <                                           > end
//!                  main: first -> dilated 1..n -> head         head, dilated n..1, first -> Adam | counts
//! ```
//!
//! The bias branch is frozen: where its outputs are kept (`bias_cache`), one launch after the first fetches them.
//! The way back is one chain of input gradients, dz_n .. dz_0; each weight gradient needs only its dz and the adding up
//! of its parts only it, so they fill the multiprocessors that the chain leaves. The update waits for everything, as a
//! gradient that does not fit its type calls it off. An evaluation ends after the loss, a prediction combines the
//! branches instead of it.

use std::mem::offset_of;

use super::arena::Arena;
use super::device::{Address, Launch};
use super::ops::adam::{Table, Update};
use super::ops::batch::{Batch, ResidentGenome, ResidentSignal};
use super::ops::bias_cache::Fetch;
use super::ops::counts_head::CountsHead;
use super::ops::head::InputGradient;
use super::ops::hopper::Core;
use super::ops::loss::{Loss, OutputGradients, Outputs};
use super::ops::partial_sums::PartialSums;
use super::ops::step::StepState;
use super::ops::{dilated, int8, step};
use super::schedule::{Place, Schedule};
use super::weights::{Parameter, Weights};
use super::workspace::{Activations, Backward, Shapes, Workspace};
use crate::engine;

/// What a step reads and writes beside its workspace.
pub struct Surroundings<'a> {
    pub state: Address,
    pub plan: Address,
    /// f64 `[steps][3]`
    pub losses: Address,
    /// `None` where the host uploads codes.
    pub genome: Option<&'a ResidentGenome>,
    pub signal: Option<&'a ResidentSignal>,
    /// Weights of both branches.
    pub weights: &'a Arena,
    pub main: &'a Weights,
    pub bias: Option<&'a Weights>,
    /// Where the bias branch's outputs are kept; without it they are computed.
    pub kept_bias: Option<Fetch>,
    pub counts_loss_weight: f64,
    /// Which kernels the dilated layers take.
    pub core: Core,
}

/// Which schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Forward, backward, update.
    Train,
    /// Forward and backward; the gradients stay in their partials.
    Gradients,
    /// Forward and losses.
    Evaluate,
    /// Forward; outputs of the whole model in place of the main branch's.
    Predict,
    /// Forward as in `Predict`, on codes that the host uploads in place of a plan.
    PredictCodes,
}

impl Kind {
    pub fn has_backward(self) -> bool {
        matches!(self, Kind::Train | Kind::Gradients)
    }

    pub fn predicts(self) -> bool {
        matches!(self, Kind::Predict | Kind::PredictCodes)
    }
}

/// The updates at the end of a step.
pub struct Updates {
    pub table: Table,
    /// Where the table lies.
    pub table_at: Address,
    /// `None`: the table has it.
    pub counts_head: Option<CountsHead>,
}

/// The launches of a step; `updates` for `Kind::Train`.
pub fn schedule(
    kind: Kind,
    ws: &Workspace,
    at: &Surroundings,
    updates: Option<&Updates>,
) -> Schedule {
    let mut schedule = Schedule::default();
    let outputlen = ws.main.head.outputlen;
    let begin = schedule.add(step::begin(at.state), &[]);
    let batch = Batch { batch: ws.batch, inputlen: ws.main.first.inputlen, outputlen };
    let (codes, counts) = (ws.arena[ws.codes], ws.arena[ws.counts]);
    let signal = (!kind.predicts())
        .then(|| (at.signal.expect("losses need a signal, which the engine checks"), counts));
    let ready = match kind {
        Kind::PredictCodes => begin,
        _ => {
            let genome = at.genome.expect("windows need a genome, which the engine checks");
            schedule.add(batch.launch(at.state, at.plan, genome, signal, codes), &[begin])
        }
    };

    let mut done = Vec::new();
    let mut bias = None;
    if let Some((outputs, ready)) = bias_outputs(&mut schedule, begin, ready, ws, at) {
        bias = Some(outputs);
        done.push(ready);
    }
    let backward = ws.backward.as_ref().filter(|_| kind.has_backward());
    let (shapes, out, trained) = (&ws.main, &ws.main_out, backward.is_some());
    let inputs = (&ws.arena, codes);
    done.push(forward(&mut schedule, ready, "main", shapes, out, at.main, at, inputs, trained));

    let main = outputs(&ws.main_out, &ws.arena);
    let loss = Loss { batch: ws.batch, outputlen, counts_loss_weight: at.counts_loss_weight };
    if kind.predicts() {
        let combined = schedule.add(loss.combine(at.state, main, bias), &done);
        schedule.add(step::end(at.state, false), &[combined]);
        return schedule;
    }
    let gradients = backward.map(|b| OutputGradients {
        logits: ws.arena[b.by_logits],
        logits_sums: ws.arena[b.by_logits_sums],
        logcounts: ws.arena[b.by_logcounts],
    });
    let example_losses = ws.arena[ws.example_losses];
    let [loss, mean] =
        loss.launches(at.state, main, bias, counts, gradients, example_losses, at.losses);
    let loss = schedule.add(loss, &done);
    let mut before_end = vec![schedule.add(mean, &[loss])];
    let gradients = backward.map(|b| backward_pass(&mut schedule, ws, b, at, loss));
    if let (Kind::Train, Some(updates), Some(gradients)) = (kind, updates, gradients) {
        let adam = updates.table.launch(ws.main.element(), at.state, updates.table_at);
        before_end.push(schedule.add(adam, &gradients));
        let counts_head = updates.counts_head.map(|head| head.launch(at.state));
        before_end.extend(counts_head.map(|launch| schedule.add(launch, &gradients)));
    }
    if kind != Kind::Gradients {
        schedule.add(step::end(at.state, kind == Kind::Train), &before_end);
    }
    schedule
}

fn outputs(out: &Activations, arena: &Arena) -> Outputs {
    Outputs { logits: arena[out.logits], logcounts: arena[out.logcounts] }
}

/// The frozen branch's outputs of a batch, fetched or computed, and the place after which they are there.
fn bias_outputs(
    schedule: &mut Schedule,
    begin: Place,
    codes_ready: Place,
    ws: &Workspace,
    at: &Surroundings,
) -> Option<(Outputs, Place)> {
    let (shapes, out) = (ws.bias.as_ref()?, ws.bias_out.as_ref()?);
    let found = outputs(out, &ws.arena);
    let outputlen = shapes.head.outputlen;
    let ready = match at.kept_bias {
        Some(kept) => schedule.add(kept.launch(at.state, ws.batch, outputlen, found), &[begin]),
        None => {
            let inputs = (&ws.arena, ws.arena[ws.codes]);
            forward(schedule, codes_ready, "bias", shapes, out, at.bias?, at, inputs, false)
        }
    };
    Some((found, ready))
}

/// X_0 .. X_n and the heads of one branch, once there are codes in an arena. The place of the last launch.
#[allow(clippy::too_many_arguments)]
pub(super) fn forward(
    schedule: &mut Schedule,
    codes_ready: Place,
    branch: &str,
    shapes: &Shapes,
    out: &Activations,
    weights: &Weights,
    at: &Surroundings,
    (arena, codes): (&Arena, Address),
    with_masks: bool,
) -> Place {
    let weights_arena = at.weights;
    let mask = |i: usize| with_masks.then(|| arena[out.masks[i]]);
    let (kernel, bias) = weights.first(weights_arena);
    let mut last = codes_ready;
    let mut push = |mut launch: Launch| {
        launch.label = format!("{branch} {}", launch.label);
        last = schedule.add(launch, &[last]);
    };
    let x_0 = arena[out.maps[0]];
    push(shapes.first.forward(shapes.element(), codes, kernel, bias, x_0, mask(0)));
    for (i, layer) in shapes.dilated.iter().enumerate() {
        let (kernel, bias) = weights.dilated(weights_arena, i + 1);
        let (x, y) = (arena[out.maps[i]], arena[out.maps[i + 1]]);
        let label = format!("dilated_{} forward", i + 1);
        if let (Some(rows), Some(weights)) =
            (out.quantized, weights.quantized(weights_arena, i + 1))
        {
            let rows = rows.at(arena);
            push(int8::quantize(layer, x, rows, &format!("X_{i} quantize")));
            let operands = int8::Forward { x, rows, weights, bias, y };
            push(at.core.int8_forward(layer, &operands, &label));
            continue;
        }
        let mask = mask(i + 1).unwrap_or(Address::NULL);
        let operands = dilated::Forward { x, weights: kernel, bias, y, mask };
        push(at.core.forward(layer, &operands, &label));
    }
    let scratch = out.head.at(arena);
    let x_n = arena[out.maps[shapes.dilated.len()]];
    let (logits, logcounts) = (arena[out.logits], arena[out.logcounts]);
    let head = weights.head(weights_arena);
    for launch in shapes.head.forward(shapes.element(), x_n, &head, scratch, logits, logcounts) {
        push(launch);
    }
    last
}

/// From the gradients by the outputs, which are there after `loss`, to every partial of a weight gradient. The places of
/// all that the update waits for.
fn backward_pass(
    schedule: &mut Schedule,
    ws: &Workspace,
    b: &Backward,
    at: &Surroundings,
    loss: Place,
) -> Vec<Place> {
    let arena = &ws.arena;
    let (shapes, out) = (&ws.main, &ws.main_out);
    let element = shapes.element();
    let n = shapes.dilated.len();
    let overflow = at.state.offset(offset_of!(StepState, overflow));
    let (by_logits, by_logcounts) = (arena[b.by_logits], arena[b.by_logcounts]);
    // g_0 has no reader: no residual leads below the first dilated layer.
    let g = |i: usize| (i > 0).then(|| arena[b.g[i % 2]]);
    let dz = |i: usize| arena[b.dz[i % 3]];

    let gradient =
        InputGradient { g: g(n), dz: dz(n), column_sums: arena[b.column_sums[n]], overflow };
    let head = at.main.head(at.weights);
    let mask = arena[out.masks[n]];
    // There when dz of the current layer is.
    let mut chain = schedule.add(
        shapes.head.input_gradient(element, by_logits, by_logcounts, &head, mask, &gradient),
        &[loss],
    );
    let head = shapes.head.weight_gradient(
        element,
        at.state,
        arena[out.maps[n]],
        by_logits,
        by_logcounts,
        arena[b.head_partials],
    );
    let mut gradients = vec![schedule.add(head, &[loss])];
    // Of the two layers above the current one.
    let mut wgrads = [None, None];
    for i in (1..=n).rev() {
        let layer = &shapes.dilated[i - 1];
        let partials = arena[b.dilated_partials[i - 1]];
        let wgrad = dilated::Wgrad { x: arena[out.maps[i - 1]], dz_out: dz(i), partials, overflow };
        let dgrad = dilated::Dgrad {
            dz_out: dz(i),
            g_out: g(i).expect("every dilated layer has a residual"),
            weights: at.main.dilated(at.weights, i).0,
            mask: arena[out.masks[i - 1]],
            g: g(i - 1).unwrap_or(Address::NULL),
            dz: dz(i - 1),
            column_sums: arena[b.column_sums[i - 1]],
            overflow,
        };
        let wgrad =
            schedule.add(at.core.wgrad(layer, &wgrad, &format!("dilated_{i} wgrad")), &[chain]);
        // dz_{i-1} goes where dz_{i+2} was.
        let mut before = vec![chain];
        before.extend(wgrads[1]);
        chain = schedule.add(at.core.dgrad(layer, &dgrad, &format!("dilated_{i} dgrad")), &before);
        let sums = PartialSums::of(layer).launch(partials, &format!("dilated_{i} sums"));
        gradients.push(match sums {
            Some(launch) => schedule.add(launch, &[wgrad]),
            None => wgrad,
        });
        wgrads = [Some(wgrad), wgrads[0]];
    }
    let (codes, partials) = (arena[ws.codes], arena[b.first_partials]);
    let first = shapes.first.gradient(element, dz(0), codes, partials);
    gradients.push(schedule.add(first, &[chain]));
    gradients
}

/// Where the partials of one parameter's gradient lie.
#[derive(Clone, Copy, Debug)]
pub struct Partials {
    pub address: Address,
    pub splits: usize,
    /// f32 elements from one partial to the next
    pub stride: usize,
}

/// Where the gradient of every parameter of the main branch lies, in the order of `Architecture::parameter_shapes`.
pub fn partials(ws: &Workspace, b: &Backward) -> Vec<Partials> {
    let arena = &ws.arena;
    let channels = ws.main.first.channels;
    let floats = |address: Address, elements: usize| address.offset(4 * elements);

    let first = &ws.main.first;
    let stride = first.partial_len();
    let of_first = |from: usize| Partials {
        address: floats(arena[b.first_partials], from),
        splits: first.splits(),
        stride,
    };
    let mut all = vec![of_first(0), of_first(stride - channels)];
    for (i, layer) in ws.main.dilated.iter().enumerate() {
        // Added up in place.
        let partials = arena[b.dilated_partials[i]];
        all.push(Partials { address: partials, splits: 1, stride: layer.weights_len() });
        let sums = b.column_sums[i + 1];
        all.push(Partials {
            address: arena[sums],
            splits: arena.bytes_of(sums) / (4 * channels),
            stride: channels,
        });
    }
    let of_head = |from: usize| of_head(ws, b, from);
    let [dense, _] = ws.main.head.dense_and_features();
    let an_example = |address| Partials { address, splits: ws.batch, stride: 1 };
    all.push(of_head(0));
    all.push(an_example(arena[b.by_logits_sums]));
    all.push(of_head(dense));
    all.push(an_example(arena[b.by_logcounts]));
    all
}

fn of_head(ws: &Workspace, b: &Backward, from: usize) -> Partials {
    let head = &ws.main.head;
    Partials {
        address: ws.arena[b.head_partials].offset(4 * from),
        splits: head.splits(),
        stride: head.partial_len(),
    }
}

/// Where the features that the counts head reads lie, `[channels]`: sums over the step's examples.
pub fn features(ws: &Workspace, b: &Backward) -> Partials {
    let [_, features] = ws.main.head.dense_and_features();
    of_head(ws, b, features)
}

/// The update of a centered counts head.
pub fn counts_head(
    weights: &Weights,
    moments: &[[Address; 2]],
    arena: &Arena,
    ws: &Workspace,
    b: &Backward,
    counts_loss_weight: f64,
) -> CountsHead {
    let (kernel, bias) = (weights.tensors.len() - 2, weights.tensors.len() - 1);
    let master = |i: usize| arena[weights.tensors[i].master];
    let all = partials(ws, b);
    CountsHead {
        kernel: [master(kernel), moments[kernel][0], moments[kernel][1]],
        bias: master(bias),
        dense: all[kernel].address,
        features: features(ws, b).address,
        splits: all[kernel].splits,
        stride: all[kernel].stride,
        by_logcounts: all[bias].address,
        bias_rate: engine::CountsHead::bias_rate(counts_loss_weight),
        channels: ws.main.head.channels,
        batch: ws.batch,
    }
}

/// Adam's table: every parameter of `weights` with its moments and the partials of its gradient.
pub fn table(
    weights: &[Parameter],
    moments: &[[Address; 2]],
    arena: &Arena,
    partials: &[Partials],
) -> Table {
    let updates: Vec<Update> = weights
        .iter()
        .zip(moments)
        .zip(partials)
        .map(|((tensor, &[m, v]), partials)| Update {
            w: arena[tensor.master],
            m,
            v,
            len: tensor.layout.elements(),
            partials: partials.address,
            splits: partials.splits,
            stride: partials.stride,
            copy: tensor.copy.map(|slot| arena[slot]),
        })
        .collect();
    Table::new(&updates)
}
