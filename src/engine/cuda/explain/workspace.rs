//! The buffers of a chunk of pairs, and how large a chunk the device has room for.

use crate::engine::Heads;
use crate::engine::cuda::arena::{Arena, Slot};
use crate::engine::cuda::ops::rescale::head::Scales;
use crate::engine::cuda::precision::Precision;
use crate::engine::cuda::workspace::{HeadSlots, Shapes};
use crate::model::Architecture;
use crate::model::arch::BASES;

/// Pairs that fill the GPUs we know many times over (at 128 filters 1000 row tiles); more only take memory.
const MOST_PAIRS: usize = 64;

/// Sequences, and how many of the references of each, that go through the layers together. Several sequences only
/// with all of theirs, so that the references of each are contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub sequences: usize,
    /// of each sequence; 1 for gradients, where a sequence is its own
    pub references: usize,
}

impl Chunk {
    pub fn pairs(&self) -> usize {
        self.sequences * self.references
    }

    /// What is taken when memory does not matter.
    pub fn ideal(n: usize, references: usize) -> Self {
        Self::choices(n, references).next().expect("there is a smallest choice")
    }

    /// All chunks worth taking for `n` sequences with `references` each, largest first.
    fn choices(n: usize, references: usize) -> impl Iterator<Item = Self> {
        let whole = (1..=(MOST_PAIRS / references).min(n)).rev();
        let parts = (1..=references).map(move |parts| references.div_ceil(parts));
        whole.map(move |sequences| Self { sequences, references }).chain(
            parts
                .filter(|&references| references <= MOST_PAIRS)
                .map(|references| Self { sequences: 1, references }),
        )
    }
}

/// What is to be explained, beside the sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    pub heads: Heads,
    /// of each sequence; `None`: gradients
    pub references: Option<usize>,
}

impl Task {
    pub fn heads(&self) -> usize {
        usize::from(self.heads.counts) + usize::from(self.heads.profile)
    }
}

/// Shapes of a chunk's three passes.
pub struct Passes {
    pub sequences: Shapes,
    pub references: Shapes,
    /// rows of the counts head, then of the profile head
    pub backward: Shapes,
}

impl Passes {
    pub fn new(arch: &Architecture, chunk: Chunk, task: Task, precision: Precision) -> Self {
        let shapes = |batch| Shapes::new(arch, batch, precision);
        Self {
            sequences: shapes(chunk.sequences),
            references: shapes(chunk.pairs()),
            backward: shapes(chunk.pairs() * task.heads().max(1)),
        }
    }
}

/// Outputs of a forward pass, f32.
#[derive(Clone, Copy, Debug)]
pub struct OutputSlots {
    /// [examples, outputlen]
    pub logits: Slot,
    /// [examples]
    pub logcounts: Slot,
}

/// Buffers of chunks up to one size.
pub struct Workspace {
    pub arena: Arena,
    pub task: Task,
    /// sequences are never more, references in their parts neither
    pub largest: Chunk,
    /// u8 [sequences, inputlen]
    pub codes: Slot,
    /// u8 [pairs, inputlen]; `codes` for gradients
    pub reference_codes: Slot,
    /// X_0 .. X_n of sequences or pairs, in turns
    pub maps: [Slot; 2],
    /// f32 pre-activations of the sequences, of X_0 .. X_n; none for gradients
    pub kept: Vec<Slot>,
    /// of every ReLU of the pairs, of X_0 .. X_n, element type
    pub ratios: Vec<Slot>,
    pub head: HeadSlots,
    pub of_sequences: OutputSlots,
    /// `of_sequences` for gradients
    pub of_references: OutputSlots,
    /// f32 [pairs, outputlen]
    pub seeds: Slot,
    /// f64 [pairs]
    pub deltas: Slot,
    /// multipliers of X_i and X_{i-1} in turns, of all heads' pairs
    pub g: [Slot; 2],
    /// the same behind the ReLU
    pub dz: [Slot; 2],
    /// f32 [heads, pairs, inputlen, 4]
    pub multipliers: Slot,
    /// f32 [heads, sequences, inputlen, 4]
    pub sums: Slot,
    /// u32
    pub overflow: Slot,
    pub scales: Scales,
}

impl Workspace {
    pub fn plan(arch: &Architecture, largest: Chunk, task: Task, precision: Precision) -> Self {
        let Passes { sequences, references, backward } =
            Passes::new(arch, largest, task, precision);
        let mut arena = Arena::default();
        let n = arch.n_dilation_layers;
        let element = precision.bytes();
        let gradient = task.references.is_none();
        let codes = arena.plan::<u8>("codes", largest.sequences * arch.inputlen);
        let reference_codes = match gradient {
            true => codes,
            false => arena.plan::<u8>("codes of references", largest.pairs() * arch.inputlen),
        };
        let mut turns = |what: &str, shapes: &Shapes| {
            ["even", "odd"].map(|turn| {
                arena.plan_bytes(format!("{what} of {turn} layers"), shapes.map_len(0) * element)
            })
        };
        let maps = turns("X", &references);
        let (g, dz) = (turns("multipliers", &backward), turns("those behind the ReLU", &backward));
        let mut each = |what: &str, shapes: &Shapes, bytes: usize| -> Vec<Slot> {
            (0..=n)
                .map(|i| arena.plan_bytes(format!("{what} of X_{i}"), shapes.map_len(i) * bytes))
                .collect()
        };
        let ratios = each("ratios", &references, element);
        let kept = if gradient { Vec::new() } else { each("pre-activations", &sequences, 4) };
        let head = &references.head;
        let mut outputs = |what: &str, examples: usize| OutputSlots {
            logits: arena.plan::<f32>(format!("logits of {what}"), examples * arch.outputlen),
            logcounts: arena.plan::<f32>(format!("logcounts of {what}"), examples),
        };
        let of_sequences = outputs("sequences", largest.sequences);
        let of_references = match gradient {
            true => of_sequences,
            false => outputs("references", largest.pairs()),
        };
        let scores = |examples: usize| task.heads() * examples * arch.inputlen * BASES;
        Self {
            task,
            largest,
            codes,
            reference_codes,
            maps,
            kept,
            ratios,
            head: HeadSlots::plan(head, precision.element(), "", &mut arena),
            of_sequences,
            of_references,
            seeds: arena.plan::<f32>("seeds", largest.pairs() * arch.outputlen),
            deltas: arena.plan::<f64>("deltas", largest.pairs()),
            g,
            dz,
            multipliers: arena.plan::<f32>("multipliers of bases", scores(largest.pairs())),
            sums: arena.plan::<f32>("sums of scores", scores(largest.sequences)),
            overflow: arena.plan::<u32>("overflow", 1),
            scales: Scales::of(head),
            arena,
        }
    }

    /// The largest of the chunks worth taking for `n` sequences that fits in `room` bytes, or else the smallest.
    pub fn that_fits(
        arch: &Architecture,
        n: usize,
        task: Task,
        precision: Precision,
        room: u64,
    ) -> Self {
        let plan = |chunk| Self::plan(arch, chunk, task, precision);
        let mut choices = Chunk::choices(n, task.references.unwrap_or(1)).map(plan).peekable();
        loop {
            let choice = choices.next().expect("there is a smallest choice");
            if choice.arena.bytes() as u64 <= room || choices.peek().is_none() {
                return choice;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Task = Task { heads: Heads::BOTH, references: Some(20) };

    #[test]
    fn memory_of_the_standard_model() {
        let arch = Architecture::new(2114, 1000, 512, 8).unwrap();
        let plan = |n, precision, room| {
            let ws = Workspace::that_fits(&arch, n, BOTH, precision, room);
            (ws.largest, ws.arena.bytes() as f64 / 1e9)
        };
        let whole = Chunk { sequences: 3, references: 20 };
        // ratios 1.03 GB, g and dz 1.03, X 0.26, pre-activations 0.10
        let (chunk, gigabytes) = plan(100_000, Precision::Fp16, 80 << 30);
        assert_eq!(chunk, whole);
        assert!(gigabytes > 2.3 && gigabytes < 2.7, "{gigabytes} GB");
        assert_eq!(plan(2, Precision::Tf32, 80 << 30).0.sequences, 2);
        // On a small card fewer references at once, in parts of nearly the same size.
        let (chunk, gigabytes) = plan(100, Precision::Tf32, 1 << 30);
        assert_eq!(chunk, Chunk { sequences: 1, references: 10 });
        assert!(gigabytes < 1.08, "{gigabytes} GB");
        assert_eq!(plan(1, Precision::Tf32, 0).0, Chunk { sequences: 1, references: 1 });
    }

    #[test]
    fn chunks_of_many_references_and_of_gradients() {
        assert_eq!(Chunk::ideal(9, 100), Chunk { sequences: 1, references: 50 });
        assert_eq!(Chunk::ideal(9, 1), Chunk { sequences: 9, references: 1 });
        assert_eq!(Chunk::ideal(900, 1).pairs(), MOST_PAIRS);
        assert_eq!(Chunk::ideal(900, 65), Chunk { sequences: 1, references: 33 });
    }
}
