//! The frozen bias model's outputs, computed once and looked up in every step.
//!
//! Convolutions are 'valid', so what the bias model says of a base and a strand is the same in every window that holds
//! them: the logits of a window are a piece of those of a longer one, and its log count is the Dense bias plus the mean
//! of a value per position. One pass over `inputlen + starts - 1` bases holds the outputs of `starts` windows.
//!
//! ```text
//! windows told ahead -> stretches: per contig and strand, merged, at most MOST_STARTS windows each, disjoint
//!    -> a pass each -> kept: f32 [starts - 1 + outputlen] logits, [starts] log counts, stretch after stretch
//! rows of a plan     -> places in `kept`; the few in no stretch get a pass before the plan's steps, into room behind
//!    -> `bias_fetch` in each step, in place of the bias branch
//! ```
//!
//! A training peak of +-500 bp takes 2 strands x (2000 logits + 1001 log counts) x 4 B = 24 KB, and three windows' work
//! once: 200,000 peaks 4.8 GB. A validation window takes 4 KB. Nonpeaks that every epoch draws afresh are not worth
//! keeping: they are the rows in no stretch.
//!
//! What is kept is not bit for bit what the forward pass of a step gives: the profile head adds up diagonals by tiles
//! of rows, whose borders lie elsewhere in a long window, and log counts are differences of sums in f64. Both are
//! within the head's own rounding. So a plan takes all of its rows from here or none. One with no more rows in no
//! stretch than were told ahead takes all, whole or what is left of it: a run that stopped goes on with the same bits.

use anyhow::Result;

use super::arena::{Arena, Slot};
use super::device::{Address, Device, Prepared};
use super::ops::batch::{Batch, ResidentGenome};
use super::ops::bias_cache::{Fetch, Keep, Operands, Pass, Place};
use super::ops::step::{self as ends, StepState};
use super::precision::Precision;
use super::schedule::Schedule;
use super::step::{self, Surroundings};
use super::weights::Weights;
use super::workspace::{Activations, Shapes};
use crate::batch::{Example, Windows};
use crate::error::Problem;
use crate::model::Architecture;

/// Windows of a stretch: those of a peak with the official jitter.
const MOST_STARTS: u64 = 1001;
/// Windows of a pass.
const BATCH: usize = 64;
/// Rows uploaded at once for passes.
const PORTION: usize = 64 * BATCH;

/// True when outputs may be kept; false when the variable CBP_BIAS has them computed in each step (`step`).
pub fn wanted(variable: Option<&str>) -> Result<bool, Problem> {
    match variable {
        None => Ok(true),
        Some("step") => Ok(false),
        Some(other) => Err(Problem::new(format!("CBP_BIAS={other} is not a choice"))
            .fix("leave it unset, or set it to step")),
    }
}

/// Bytes that may be kept on a device of `memory` bytes: an eighth of it. Then it depends on the device alone whether a
/// run keeps its outputs, also when it goes on another day or others share the device; four at once leave half. Where
/// so much is not free, half of what is.
pub fn room(memory: u64, free: u64) -> u64 {
    (memory / 8).min(free / 2)
}

/// Windows of one strand whose starts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    contig: u32,
    revcomp: bool,
    first_start: u32,
    starts: u32,
    /// Where its logits begin, in f32 elements; its log counts follow them.
    at: u64,
}

impl Stretch {
    fn logits(&self, outputlen: usize) -> u64 {
        u64::from(self.starts) - 1 + outputlen as u64
    }

    fn len(&self, outputlen: usize) -> u64 {
        self.logits(outputlen) + u64::from(self.starts)
    }
}

/// What is kept, and where.
#[derive(Clone, Debug)]
struct Index {
    outputlen: usize,
    /// Disjoint, in order of contig, strand and start.
    stretches: Vec<Stretch>,
    /// f32 elements of all
    len: u64,
}

impl Index {
    fn new(windows: &[Windows], outputlen: usize) -> Self {
        // (contig, strand, first start, end of starts)
        let mut spans: Vec<(u32, bool, u64, u64)> = Vec::with_capacity(2 * windows.len());
        for w in windows.iter().filter(|w| w.starts > 0) {
            let first = u64::from(w.first_start);
            let strands = if w.both_strands { &[false, true][..] } else { &[false] };
            let end = first + u64::from(w.starts);
            spans.extend(strands.iter().map(|&revcomp| (w.contig, revcomp, first, end)));
        }
        let longest = spans.iter().map(|s| s.3 - s.2).max().unwrap_or(1).min(MOST_STARTS);
        spans.sort_unstable();
        // Neighbours share outputlen - 1 logits, so one stretch is smaller than two.
        spans.dedup_by(|next, last| {
            let touches = (next.0, next.1) == (last.0, last.1) && next.2 <= last.3;
            if touches {
                last.3 = last.3.max(next.3);
            }
            touches
        });
        let mut index = Self { outputlen, stretches: Vec::with_capacity(spans.len()), len: 0 };
        for (contig, revcomp, mut first, end) in spans {
            while first < end {
                let starts = (end - first).min(longest) as u32;
                let first_start = first as u32;
                let stretch = Stretch { contig, revcomp, first_start, starts, at: index.len };
                index.len += stretch.len(outputlen);
                index.stretches.push(stretch);
                first += u64::from(starts);
            }
        }
        index
    }

    fn longest(&self) -> u32 {
        self.stretches.iter().map(|s| s.starts).max().unwrap_or(1)
    }

    fn place(&self, example: &Example) -> Option<Place> {
        let key = (example.contig, example.is_revcomp(), example.start);
        let behind =
            self.stretches.partition_point(|s| (s.contig, s.revcomp, s.first_start) <= key);
        let stretch = self.stretches[..behind].last()?;
        let offset = example.start.checked_sub(stretch.first_start)?;
        let found = (stretch.contig, stretch.revcomp) == (key.0, key.1) && offset < stretch.starts;
        // On the other strand the last start comes first.
        let i = if stretch.revcomp { stretch.starts.wrapping_sub(1 + offset) } else { offset };
        found.then(|| Place {
            logits: stretch.at + u64::from(i),
            logcount: stretch.at + stretch.logits(self.outputlen) + u64::from(i),
        })
    }

    /// The rows of a pass over windows of `starts` usual ones that fill the stretches which `take`s.
    fn rows(&self, starts: u32, take: impl Fn(&Stretch) -> bool) -> Vec<(Example, Keep)> {
        let row = |s: &Stretch| {
            let flags = if s.revcomp { Example::REVCOMP } else { 0 };
            // The long window begins where the stretch does, so on the other strand it ends there.
            let first = if s.revcomp { starts - s.starts } else { 0 };
            let example = Example { contig: s.contig, start: s.first_start, flags, row: 0 };
            let logcounts = s.at + s.logits(self.outputlen);
            (example, Keep { logits: s.at, logcounts, first, starts: s.starts })
        };
        self.stretches.iter().filter(|s| take(s)).map(row).collect()
    }
}

/// The frozen branch and what its forward pass needs.
#[derive(Clone, Copy)]
pub struct BiasModel<'a> {
    pub arch: &'a Architecture,
    pub weights: &'a Weights,
    pub weights_arena: &'a Arena,
    pub genome: &'a ResidentGenome,
    pub precision: Precision,
}

/// The bias branch over windows of one length, with buffers of its own.
struct Filler {
    shapes: Shapes,
    out: Activations,
    pass: Pass,
    arena: Arena,
    state: Slot,
    examples: Slot,
    keeps: Slot,
    codes: Slot,
    products: Slot,
    sums: Slot,
    /// Once the arena is allocated.
    schedule: Option<Prepared>,
}

impl Filler {
    /// Over windows of `starts` usual ones; `rows` is the most there will be.
    fn plan(model: &BiasModel, starts: u32, rows: usize) -> Self {
        let more = starts as usize - 1;
        let usual = model.arch;
        // Longer on the right only: where the profile begins stays as it is.
        let arch = Architecture {
            inputlen: usual.inputlen + more,
            outputlen: usual.outputlen + more,
            ..*usual
        };
        let batch = rows.clamp(1, BATCH);
        assert_eq!(arch.profile_crop(), usual.profile_crop(), "lengths of a network are even");
        let shapes = Shapes::new(&arch, batch, model.precision);
        let pass = Pass { head: shapes.head, starts: starts as usize };
        let mut arena = Arena::default();
        let rows = rows.min(PORTION);
        let what = format!("kept bias, {starts} starts");
        Self {
            out: Activations::plan(&shapes, false, &what, &mut arena),
            state: arena.plan::<StepState>(format!("{what} step state"), 1),
            examples: arena.plan::<Example>(format!("{what} plan"), rows),
            keeps: arena.plan::<Keep>(format!("{what} places"), rows),
            codes: arena.plan::<u8>(format!("{what} codes"), batch * arch.inputlen),
            products: arena.plan::<f32>(format!("{what} dense products"), pass.products_len()),
            sums: arena.plan::<f64>(format!("{what} sums of products"), pass.sums_len()),
            shapes,
            pass,
            arena,
            schedule: None,
        }
    }

    fn allocate(
        &mut self,
        model: &BiasModel,
        kept: Address,
        device: &mut impl Device,
    ) -> Result<()> {
        self.arena.allocate(device)?;
        let arena = &self.arena;
        let (state, examples, codes) = (arena[self.state], arena[self.examples], arena[self.codes]);
        let at = Surroundings {
            state,
            plan: examples,
            losses: Address::NULL,
            genome: Some(model.genome),
            signal: None,
            weights: model.weights_arena,
            main: model.weights,
            bias: None,
            kept_bias: None,
            counts_loss_weight: 0.0,
            core: device.core(),
        };
        let first = &self.shapes.first;
        let outputlen = self.shapes.head.outputlen;
        let batch = Batch { batch: first.batch, inputlen: first.inputlen, outputlen };
        let mut schedule = Schedule::default();
        let begin = schedule.add(ends::begin(state), &[]);
        let codes_ready =
            schedule.add(batch.launch(state, examples, model.genome, None, codes), &[begin]);
        let out = &self.out;
        let mut last = step::forward(
            &mut schedule,
            codes_ready,
            "bias",
            &self.shapes,
            out,
            model.weights,
            &at,
            (arena, codes),
            false,
        );
        let head = model.weights.head(model.weights_arena);
        let operands = Operands {
            x: arena[out.maps[self.shapes.dilated.len()]],
            logits: arena[out.logits],
            dense: head.dense,
            dense_bias: head.dense_bias,
            products: arena[self.products],
            sums: arena[self.sums],
        };
        let element = self.shapes.element();
        for launch in self.pass.keep(element, state, arena[self.keeps], &operands, kept) {
            last = schedule.add(launch, &[last]);
        }
        schedule.add(ends::end(state, false), &[last]);
        self.schedule = Some(device.prepare(schedule)?);
        Ok(())
    }

    /// A pass over each of `rows`.
    fn fill(&self, rows: &[(Example, Keep)], device: &mut impl Device) -> Result<()> {
        let schedule = self.schedule.as_ref().expect("allocated");
        let batch = self.shapes.first.batch;
        for portion in rows.chunks(PORTION) {
            let (examples, keeps): (Vec<Example>, Vec<Keep>) = portion.iter().copied().unzip();
            let state = StepState::new(0.0, batch as u32, false).at_plan(portion.len() as u32);
            device.upload(self.arena[self.state], bytemuck::bytes_of(&state))?;
            device.upload(self.arena[self.examples], bytemuck::cast_slice(&examples))?;
            device.upload(self.arena[self.keeps], bytemuck::cast_slice(&keeps))?;
            for _ in 0..portion.len().div_ceil(batch) {
                device.run(schedule)?;
            }
        }
        Ok(())
    }
}

/// Outputs of the windows told ahead, and room for those of a plan's other rows.
pub struct BiasCache {
    index: Index,
    arena: Arena,
    kept: Slot,
    /// Rows of a plan that may lie in no stretch; their outputs follow those of the stretches.
    room: usize,
    /// For stretches of one window and for the other rows.
    singles: Option<Filler>,
    /// For all other stretches, until they are filled.
    long: Option<Filler>,
}

impl BiasCache {
    /// For plans with at most `others` rows in none of `windows`.
    pub fn plan(model: &BiasModel, windows: &[Windows], others: usize) -> Self {
        let index = Index::new(windows, model.arch.outputlen);
        let single = index.stretches.iter().filter(|s| s.starts == 1).count();
        let long = index.stretches.len() - single;
        let singles = single.max(others);
        let mut arena = Arena::default();
        let len = index.len as usize + others * (model.arch.outputlen + 1);
        let kept = arena.plan::<f32>("kept bias outputs", len);
        Self {
            arena,
            kept,
            room: others,
            singles: (singles > 0).then(|| Filler::plan(model, 1, singles)),
            long: (long > 0).then(|| Filler::plan(model, index.longest(), long)),
            index,
        }
    }

    fn arenas(&self) -> impl Iterator<Item = &Arena> {
        let fillers = self.singles.iter().chain(&self.long);
        std::iter::once(&self.arena).chain(fillers.map(|f| &f.arena))
    }

    /// Bytes of device memory; more before `fill` than after.
    pub fn bytes(&self) -> usize {
        self.arenas().map(Arena::bytes).sum()
    }

    /// The plan of the memory.
    pub fn memory_plan(&self) -> impl Iterator<Item = String> {
        self.arenas().map(ToString::to_string)
    }

    /// Computes what is kept.
    pub fn fill(&mut self, model: &BiasModel, device: &mut impl Device) -> Result<()> {
        self.arena.allocate(device)?;
        let kept = self.arena[self.kept];
        if let Some(singles) = &mut self.singles {
            singles.allocate(model, kept, device)?;
            singles.fill(&self.index.rows(1, |s| s.starts == 1), device)?;
        }
        if let Some(mut long) = self.long.take() {
            long.allocate(model, kept, device)?;
            long.fill(&self.index.rows(self.index.longest(), |s| s.starts > 1), device)?;
            long.arena.free(device)?;
        }
        Ok(())
    }

    /// Where each row of a plan finds its outputs, those in no stretch computed now; `None` when there is no room for
    /// them.
    pub fn places(&self, plan: &[Example], device: &mut impl Device) -> Result<Option<Vec<Place>>> {
        let mut places = Vec::with_capacity(plan.len());
        let mut others = Vec::new();
        for example in plan {
            if let Some(place) = self.index.place(example) {
                places.push(place);
            } else if others.len() < self.room {
                let outputlen = self.index.outputlen as u64;
                let logits = self.index.len + others.len() as u64 * (outputlen + 1);
                let logcount = logits + outputlen;
                others.push((*example, Keep { logits, logcounts: logcount, first: 0, starts: 1 }));
                places.push(Place { logits, logcount });
            } else {
                return Ok(None);
            }
        }
        if let Some(singles) = self.singles.as_ref().filter(|_| !others.is_empty()) {
            singles.fill(&others, device)?;
        }
        Ok(Some(places))
    }

    /// For a plan whose places lie at `places`.
    pub fn fetch(&self, places: Address) -> Fetch {
        Fetch { plan: places, kept: self.arena[self.kept] }
    }

    pub fn free(self, device: &mut impl Device) -> Result<()> {
        self.arena.free(device)?;
        self.singles.into_iter().chain(self.long).try_for_each(|filler| filler.arena.free(device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(contig: u32, first_start: u32, starts: u32, both_strands: bool) -> Windows {
        Windows { contig, first_start, starts, both_strands }
    }

    fn spans(index: &Index) -> Vec<(u32, bool, u32, u32)> {
        let span = |s: &Stretch| (s.contig, s.revcomp, s.first_start, s.starts);
        index.stretches.iter().map(span).collect()
    }

    #[test]
    fn a_peak_takes_24_kb_and_a_validation_window_4() {
        let len = |w| 4 * Index::new(&[w], 1000).len;
        assert_eq!(len(windows(0, 4000, 1001, true)), 2 * (2000 + 1001) * 4);
        assert_eq!(len(windows(0, 4000, 1, false)), 1001 * 4);
    }

    #[test]
    fn windows_that_touch_are_merged_on_their_strand_and_cut_to_the_longest() {
        let index = Index::new(
            &[
                windows(1, 100, 11, true),
                windows(0, 110, 11, true),
                windows(0, 100, 11, true),
                windows(0, 121, 1, false),
                windows(0, 130, 1, false),
                windows(0, 0, 0, true),
            ],
            20,
        );
        assert_eq!(
            spans(&index),
            [
                (0, false, 100, 11),
                (0, false, 111, 11),
                (0, false, 130, 1),
                (0, true, 100, 11),
                (0, true, 111, 10),
                (1, false, 100, 11),
                (1, true, 100, 11),
            ]
        );
        // 5 of 11 starts, one of 10, one of 1
        assert_eq!(index.len, 5 * (30 + 11) + (29 + 10) + (20 + 1));
        assert_eq!(index.stretches[1].at, 41);
        assert_eq!(spans(&Index::new(&[windows(0, 5, 2500, false)], 20)).len(), 3);
    }

    #[test]
    fn a_row_finds_its_place_on_its_strand() {
        let index = Index::new(&[windows(2, 50, 3, true), windows(2, 70, 1, false)], 10);
        let place = |contig, start, flags| {
            let example = Example { contig, start, flags: flags | Example::PEAK, row: 9 };
            index.place(&example).map(|p| (p.logits, p.logcount))
        };
        // [50, 53) forward: 12 logits, 3 log counts; 70: 10 and 1; then the other strand
        assert_eq!(place(2, 50, 0), Some((0, 12)));
        assert_eq!(place(2, 52, 0), Some((2, 14)));
        assert_eq!(place(2, 70, 0), Some((15, 25)));
        assert_eq!(place(2, 50, Example::REVCOMP), Some((28, 40)));
        assert_eq!(place(2, 52, Example::REVCOMP), Some((26, 38)));
        for (contig, start, flags) in
            [(2, 49, 0), (2, 53, 0), (2, 71, 0), (2, 70, 1), (1, 50, 0), (3, 50, 1)]
        {
            assert_eq!(place(contig, start, flags), None, "{contig}:{start} {flags}");
        }
    }

    #[test]
    fn an_eighth_of_a_large_gpu_is_enough_for_200_000_peaks() {
        let peaks = 200_000 * 24_008;
        assert!(room(80 << 30, 70 << 30) > peaks && room(24 << 30, 20 << 30) < peaks);
        assert_eq!(room(80 << 30, 2 << 30), 1 << 30);
    }

    #[test]
    fn the_variable_has_one_word() {
        assert!(wanted(None).unwrap() && !wanted(Some("step")).unwrap());
        assert!(wanted(Some("never")).unwrap_err().to_string().contains("CBP_BIAS=never"));
    }
}
