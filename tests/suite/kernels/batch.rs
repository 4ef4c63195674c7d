//! Batches made by the kernel are those that `Tracks` reads, code for code and count for count.

use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::engine::cuda::device::Address;
use cbp_fast::engine::cuda::ops::batch::{
    Batch, GenomeContig, ResidentGenome, ResidentSignal, SignalContig, ValueType,
};
use cbp_fast::engine::cuda::ops::step::{self, StepState};
use cbp_fast::store::signal::Values;
use cbp_fast::store::{GenomePack, SignalPack, Tracks};

use super::memory::{Memory, Random, schedules};

const INPUTLEN: usize = 70;
const OUTPUTLEN: usize = 30;

/// Contigs of odd length, an empty one, one without signal, one of three bins; `fraction` is added
/// to every count.
fn tracks(fraction: f32) -> Tracks {
    let mut random = Random::new(5);
    let lengths = [("long", 150_001), ("empty", 0), ("mute", 333), ("short", 41)];
    let mut bases = |n: usize| (0..n).map(|_| b"ACGTN"[random.below(5)]).collect::<Vec<u8>>();
    let sequences: Vec<_> = lengths.iter().map(|&(name, n)| (name, bases(n))).collect();
    let genome = GenomePack::from_sequences(sequences.iter().map(|(n, s)| (*n, &s[..])));

    let mut signal = Vec::new();
    // Another order than the genome's, and a contig that it lacks.
    for (name, n) in [("short", 41), ("other", 100), ("long", 150_001), ("empty", 0)] {
        let mut track = vec![0.0; n];
        for (at, count) in track.iter_mut().enumerate() {
            // A dense stretch across the border of two bins, else one in five.
            if (65_500..65_600).contains(&at) || random.below(5) == 0 {
                *count = random.below(900) as f32 + fraction;
            }
        }
        signal.push((name, track));
    }
    let signal = SignalPack::from_dense(signal.iter().map(|(n, t)| (*n, &t[..])));
    Tracks::new(Arc::new(genome), Some(Arc::new(signal)))
}

fn example(contig: u32, start: u32, flags: u32) -> Example {
    Example { contig, start, flags, row: 0 }
}

fn plan() -> Vec<Example> {
    let mut plan = Vec::new();
    let mut random = Random::new(6);
    // Odd and even starts, both ends, both bin borders, beyond the end, both strands.
    let starts = [
        0,
        1,
        65_436,
        65_470,
        65_471,
        65_536,
        131_040,
        149_931,
        149_960,
        150_000,
        150_001,
        400_000,
        u32::MAX,
    ];
    for start in starts {
        plan.extend([example(0, start, Example::PEAK), example(0, start, Example::REVCOMP)]);
    }
    plan.extend([1, 2, 3].map(|contig| example(contig, 3, Example::REVCOMP | Example::PEAK)));
    plan.extend([1, 2, 3].map(|contig| example(contig, 0, 0)));
    for _ in 0..11 {
        plan.push(example(0, random.below(150_000) as u32, random.below(4) as u32));
    }
    plan
}

fn upload_genome(memory: &mut Memory, tracks: &Tracks) -> ResidentGenome {
    let (bases, first_bytes) = tracks.genome.all_nibbles();
    let contigs: Vec<GenomeContig> = tracks
        .genome
        .contigs()
        .iter()
        .zip(first_bytes)
        .map(|(c, first_byte)| GenomeContig { first_byte, length: c.length })
        .collect();
    ResidentGenome { contigs: memory.put("contigs", &contigs), bases: memory.put("bases", bases) }
}

fn upload_signal(memory: &mut Memory, tracks: &Tracks) -> ResidentSignal {
    let signal = tracks.signal.as_ref().unwrap();
    let contigs: Vec<SignalContig> = (0..tracks.genome.contigs().len() as u32)
        .map(|contig| match tracks.signal_contig(contig) {
            Some(at) => SignalContig {
                first_bin: signal.first_bin(at),
                length: signal.contigs()[at as usize].length,
            },
            None => SignalContig { first_bin: 0, length: 0 },
        })
        .collect();
    let (offsets, values, bins) = signal.all_entries();
    let (value_type, values) = match values {
        Values::U16(v) => (ValueType::U16, memory.put("values", v)),
        Values::F32(v) => (ValueType::F32, memory.put("values", v)),
    };
    ResidentSignal {
        contigs: memory.put("signal contigs", &contigs),
        bins: memory.put("bins", bins),
        offsets: memory.put("offsets", offsets),
        values,
        value_type,
        entries: offsets.len() as u64,
    }
}

/// Codes and counts of a batch that begins at row `cursor` of the plan.
struct Found {
    codes: Vec<u8>,
    counts: Vec<f32>,
}

fn run(
    options: cbp_fast::engine::cuda::emulated::Options,
    tracks: &Tracks,
    plan: &[Example],
    batch: usize,
    cursor: u32,
    with_signal: bool,
) -> Found {
    let mut memory = Memory::new(options);
    let state = StepState::new(1e-3, batch as u32, false).at_plan(plan.len() as u32);
    let state = memory.put("state", &[StepState { cursor, ..state }]);
    let plan_at = memory.put("plan", plan);
    let genome = upload_genome(&mut memory, tracks);
    let signal = upload_signal(&mut memory, tracks);
    let shape = Batch { batch, inputlen: INPUTLEN, outputlen: OUTPUTLEN };
    let codes = memory.room::<u8>("codes", batch * INPUTLEN);
    let counts: Address = memory.room::<f32>("counts", batch * OUTPUTLEN);
    memory.launch(&step::begin(state));
    let signal = with_signal.then_some((&signal, counts));
    memory.launch(&shape.launch(state, plan_at, &genome, signal, codes));
    Found {
        codes: memory.get(codes, batch * INPUTLEN),
        counts: memory.get(counts, batch * OUTPUTLEN),
    }
}

fn check(found: &Found, tracks: &Tracks, plan: &[Example]) {
    let (mut codes, mut counts) = (vec![9; INPUTLEN], vec![9.0; OUTPUTLEN]);
    let rows = found.codes.chunks_exact(INPUTLEN).zip(found.counts.chunks_exact(OUTPUTLEN));
    for (at, (found_codes, found_counts)) in rows.enumerate() {
        match plan.get(at) {
            Some(example) => {
                tracks.fill_codes(example, &mut codes);
                tracks.fill_counts(example, INPUTLEN, &mut counts);
            }
            // Rows after the last example.
            None => {
                codes.fill(4);
                counts.fill(0.0);
            }
        }
        assert_eq!(found_codes, codes, "codes of row {at}, {:?}", plan.get(at));
        assert_eq!(found_counts, counts, "counts of row {at}, {:?}", plan.get(at));
    }
}

#[test]
fn windows_are_those_of_the_packs() {
    for fraction in [0.0, 0.25] {
        let (tracks, plan) = (tracks(fraction), plan());
        let total: f64 = plan
            .iter()
            .map(|e| tracks.total_counts(e.contig, i64::from(e.start), i64::from(e.start) + 70))
            .sum();
        assert!(total > 1000.0, "a plan without counts shows nothing");
        for options in schedules() {
            check(&run(options, &tracks, &plan, plan.len(), 0, true), &tracks, &plan);
        }
    }
}

#[test]
fn the_last_batch_is_filled_up_with_n() {
    let (tracks, plan) = (tracks(0.0), plan());
    let cursor = plan.len() - 3;
    for options in schedules() {
        check(&run(options, &tracks, &plan, 5, cursor as u32, true), &tracks, &plan[cursor..]);
    }
}

#[test]
fn predictions_need_no_signal() {
    let (tracks, plan) = (tracks(0.0), plan());
    for options in schedules().take(2) {
        let mut found = run(options, &tracks, &plan, 4, 0, false);
        assert!(found.counts.iter().all(|c| c.is_nan()), "counts were touched");
        found.counts = run(options, &tracks, &plan, 4, 0, true).counts;
        check(&found, &tracks, &plan);
    }
}
