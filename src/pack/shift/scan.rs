//! The composition around sampled read ends, slid along the reference: a score for every shift.

use super::motifs::{MOTIF_ROWS, ReferenceMotifs};
use super::pwm::{Counts, Pwm, slide};
use super::{DataType, Sample};
use crate::error::Problem;
use crate::input::reads::{ReadEnd, Strand};
use crate::store::GenomePack;

/// bp around a read end; row 20 is the start of a plus read, or the end (exclusive) of a minus one.
pub const WINDOW: usize = 40;
/// Places of a motif in the window, so shifts that are tried.
pub const SHIFTS: usize = WINDOW - MOTIF_ROWS + 1;

/// The place of the motif in the window when the reads are unshifted. Source: official shift
/// detection; it is where row 10 of the motif falls on the cut at the target shift.
fn unshifted_place(data_type: DataType, strand: Strand) -> i32 {
    match (data_type, strand) {
        (DataType::Atac, Strand::Plus) => 14,
        (DataType::Atac, Strand::Minus) => 5,
        (DataType::Dnase, _) => 10,
    }
}

/// What was seen around the read ends of one strand.
#[derive(Clone, Debug)]
pub struct StrandScan {
    pub strand: Strand,
    /// [40 rows], as read on the plus strand
    pub pwm: Pwm,
    /// Reads that count in `pwm`, and those that do not because their window leaves the contig.
    pub reads: u64,
    pub at_edges: u64,
    /// Name of each reference motif with its score at every place in the window.
    pub motifs: Vec<(String, Vec<f64>)>,
    /// Mean over the motifs of score / score of the motif against itself, by place: 1 is a pattern
    /// as strong as the reference's own.
    pub scores: Vec<f64>,
    unshifted: i32,
}

impl StrandScan {
    /// The shift that the reads have if the motif lies at `place`.
    pub fn shift_at(&self, place: usize) -> i32 {
        self.unshifted - place as i32
    }

    /// Shift, mean score, and how many motifs have their best score there; lowest shift first.
    pub fn by_shift(&self) -> Vec<(i32, f64, usize)> {
        let votes: Vec<usize> = self.motifs.iter().map(|(_, scores)| best(scores)).collect();
        (0..self.scores.len())
            .rev()
            .map(|place| {
                let votes = votes.iter().filter(|v| **v == place).count();
                (self.shift_at(place), self.scores[place], votes)
            })
            .collect()
    }
}

/// The first of the highest values. Source: the official detection takes the first, too.
pub(super) fn best(scores: &[f64]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// What was seen around the sampled reads.
#[derive(Clone, Debug)]
pub struct Scan {
    pub data_type: DataType,
    pub plus: StrandScan,
    pub minus: StrandScan,
    /// Reads in the input.
    pub seen: u64,
}

impl Scan {
    /// Looks up every sampled read.
    ///
    /// Errors: no reads at all, or none of one strand that are 20 bp from the ends of their contig.
    pub fn new(
        sample: &Sample,
        genome: &GenomePack,
        data_type: DataType,
        motifs: &ReferenceMotifs,
    ) -> Result<Self, Problem> {
        let reads = sample.reads();
        let scan = |strand| strand_scan(&reads, genome, data_type, strand, motifs);
        let scan = Self {
            data_type,
            plus: scan(Strand::Plus),
            minus: scan(Strand::Minus),
            seen: sample.seen(),
        };
        for (strand, name) in [(&scan.plus, "plus"), (&scan.minus, "minus")] {
            if strand.reads == 0 {
                return Err(Problem::new(format!(
                    "no read of the {name} strand to detect the shift with ({} sampled of {}, {} of this strand too close to the end of their contig)",
                    reads.len(), scan.seen, strand.at_edges
                ))
                .fix("check that the reads were aligned to this genome; pass --shift P/M, e.g. --shift 0/0, to go on without detection"));
            }
        }
        Ok(scan)
    }

    pub fn strands(&self) -> [&StrandScan; 2] {
        [&self.plus, &self.minus]
    }

    pub(super) fn strand_name(strand: Strand) -> &'static str {
        match strand {
            Strand::Plus => "plus",
            Strand::Minus => "minus",
        }
    }
}

fn strand_scan(
    reads: &[ReadEnd],
    genome: &GenomePack,
    data_type: DataType,
    strand: Strand,
    motifs: &ReferenceMotifs,
) -> StrandScan {
    let mut counts = Counts::new(WINDOW);
    let (mut used, mut at_edges) = (0, 0);
    let mut codes = [4; WINDOW];
    for read in reads.iter().filter(|r| r.strand == strand) {
        // The end of a minus read is exclusive in the official windows. Positions come from files,
        // so they may be anything.
        let end = read.position.saturating_add(i64::from(strand == Strand::Minus));
        let start = end.saturating_sub(WINDOW as i64 / 2);
        let length = genome.contigs()[read.contig as usize].length as i64;
        if start < 0 || start > length - WINDOW as i64 {
            at_edges += 1;
            continue;
        }
        genome.codes(read.contig, start, false, &mut codes);
        counts.add(&codes, 1.0);
        used += 1;
    }
    let pwm = counts.frequencies();
    let seen = pwm.information_scaled();
    let motifs = motifs.of(strand);
    let slid: Vec<Vec<f64>> = motifs.iter().map(|m| slide(&m.scaled, &seen)).collect();
    let mean = |place: usize| {
        let of_itself = slid.iter().zip(motifs).map(|(scores, m)| scores[place] / m.itself);
        of_itself.sum::<f64>() / motifs.len() as f64
    };
    StrandScan {
        strand,
        pwm,
        reads: used,
        at_edges,
        scores: (0..SHIFTS).map(mean).collect(),
        motifs: motifs.iter().map(|m| m.name.clone()).zip(slid).collect(),
        unshifted: unshifted_place(data_type, strand),
    }
}
