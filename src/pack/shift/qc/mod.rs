//! Are the cut sites where they should be? The base composition around them, beside the textbook.
//!
//! In: a signal pack of cut sites and the genome. Out: `ShiftQc`, written as `<prefix>.svg`, `.png`
//! and `.tsv`. Source: the official `bw_shift_qc`, a 24-bp matrix on the first validation
//! chromosome, weighted by counts; the comparison with the reference is ours.

mod report;

use std::path::Path;

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::motifs::{MOTIF_ROWS, ReferenceMotifs};
use super::pwm::{Counts, Pwm};
use super::{DataType, Signed};
use crate::console::Console;
use crate::error::Problem;
use crate::input::assembly::Contig;
use crate::input::folds::{Folds, Split};
use crate::store::{GenomePack, SignalPack, Tracks};

/// Stem of the figure in `evaluation/` of a run.
pub const STEM: &str = "bw_shift_qc";
/// bp of the matrix; row 12 is the cut site. Source: official pipelines.
pub const QC_WIDTH: usize = 24;
/// bp that the textbook pattern is moved to either side to see where it fits best.
const REACH: usize = 10;
/// bp that are counted so that the textbook, 10 bp to either side of the cut, can be moved.
const WIDE: usize = MOTIF_ROWS + 2 * REACH;
/// bp scanned at a time.
const CHUNK: i64 = 1 << 20;

/// The composition around cut sites.
#[derive(Clone, Debug)]
pub struct ShiftQc {
    pub data_type: DataType,
    pub chromosomes: Vec<String>,
    /// Positions with a count, and the sum of their counts.
    pub sites: u64,
    pub cuts: f64,
    /// [24 rows], weighted by counts; row 12 is the cut site
    pub pwm: Pwm,
    /// Composition of all 24 rows.
    pub background: [f64; 4],
    /// [20 rows], row 10 is the cut site
    pub textbook: Pwm,
    /// For each offset from -10 to 10 bp, how alike the composition found around
    /// (cut site + offset) is to the textbook: the cosine of their log odds over the background.
    /// 1: the same pattern, of any strength.
    pub matches: Vec<(i32, f64)>,
}

impl ShiftQc {
    /// Draws the figure of a run's counts, on the first validation chromosome as officially, under
    /// `prefix`; `None` where the fold has none. `reference`: motifs in place of the official ones.
    pub fn of_fold(
        tracks: &Tracks,
        folds: &Folds,
        data_type: DataType,
        reference: Option<&Path>,
        prefix: &Path,
    ) -> Result<Option<Self>> {
        let Some(first) = folds.names(Split::Valid).get(..1) else { return Ok(None) };
        let motifs = ReferenceMotifs::open(reference, data_type)?;
        let signal = tracks.signal.as_ref().context("no signal")?;
        let qc = Self::new(&tracks.genome, signal, first, data_type, &motifs)?;
        qc.write(prefix)?;
        Ok(Some(qc))
    }

    /// Says what was found; a warning where the cut sites seem to be elsewhere.
    pub fn say(&self, console: &Console) {
        match self.best_match().0 {
            0 => console.info(self.summary()),
            _ => console.warning(self.summary()),
        }
    }

    /// Counts bases around every cut site of `chromosomes`; those within 12 bp of a chromosome's
    /// ends are left out, as officially.
    ///
    /// Errors: a chromosome that the genome or the signal does not know, no cut sites on any.
    pub fn new(
        genome: &GenomePack,
        signal: &SignalPack,
        chromosomes: &[String],
        data_type: DataType,
        motifs: &ReferenceMotifs,
    ) -> Result<Self, Problem> {
        let mut total = Found::new();
        for name in chromosomes {
            let missing = |what: &str, known: String| {
                Problem::new(format!("chromosome {name} is not in the {what} ({known})"))
                    .fix("name chromosomes as the genome and the signal do")
            };
            let in_genome =
                genome.contig_id(name).ok_or_else(|| missing("genome", names(genome.contigs())))?;
            let in_signal =
                signal.contig_id(name).ok_or_else(|| missing("signal", names(signal.contigs())))?;
            total.add(around_cuts(genome, in_genome, signal, in_signal));
        }
        if total.sites == 0 {
            return Err(Problem::new(format!("no cut sites on {}", chromosomes.join(", ")))
                .fix("choose a chromosome that has signal"));
        }
        let wide = total.counts.frequencies();
        let margin = (WIDE - QC_WIDTH) / 2;
        let counts = Counts { rows: total.counts.rows[margin..margin + QC_WIDTH].to_vec() };
        let background = counts.composition();
        let textbook = motifs.textbook();
        Ok(Self {
            data_type,
            chromosomes: chromosomes.to_vec(),
            sites: total.sites,
            cuts: total.cuts,
            pwm: counts.frequencies(),
            background,
            matches: matches(&wide, background, &textbook),
            textbook,
        })
    }

    /// Where the textbook fits best, and how well: 0 bp when the cut sites are right.
    pub fn best_match(&self) -> (i32, f64) {
        let start = self.matches[0];
        self.matches.iter().fold(start, |best, &m| if m.1 > best.1 { m } else { best })
    }

    /// Likeness to the textbook where the cut sites are.
    pub fn match_at_cut(&self) -> f64 {
        self.matches[REACH].1
    }

    /// One line for the log and the figure.
    pub fn summary(&self) -> String {
        let (offset, r) = self.best_match();
        let at = self.match_at_cut();
        match offset {
            0 => format!(
                "{} pattern around the cut sites fits best at 0 bp, similarity {at:.2}",
                self.data_type
            ),
            _ => format!(
                "{} pattern around the cut sites fits best at {} bp, similarity {r:.2}; {at:.2} at 0 bp: check the shift",
                self.data_type,
                Signed(offset)
            ),
        }
    }
}

/// Bases counted around cut sites, 20 bp to the left and 19 to the right of each.
struct Found {
    counts: Counts,
    sites: u64,
    cuts: f64,
}

impl Found {
    fn new() -> Self {
        Self { counts: Counts::new(WIDE), sites: 0, cuts: 0.0 }
    }

    fn add(&mut self, other: Found) {
        for (row, more) in self.counts.rows.iter_mut().zip(&other.counts.rows) {
            (0..4).for_each(|base| row[base] += more[base]);
        }
        self.sites += other.sites;
        self.cuts += other.cuts;
    }
}

fn around_cuts(genome: &GenomePack, contig: u32, signal: &SignalPack, in_signal: u32) -> Found {
    let length = genome.contigs()[contig as usize].length as i64;
    let half = QC_WIDTH as i64 / 2;
    let starts: Vec<i64> = (half..length - half).step_by(CHUNK as usize).collect();
    let chunk = |&start: &i64| {
        let n = CHUNK.min(length - half - start) as usize;
        let mut counts = vec![0.0f32; n];
        let mut codes = vec![4u8; n + WIDE];
        signal.counts(in_signal, start, false, &mut counts);
        genome.codes(contig, start - WIDE as i64 / 2, false, &mut codes);
        let mut found = Found::new();
        for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            found.counts.add(&codes[i..i + WIDE], f64::from(count));
            found.sites += 1;
            found.cuts += f64::from(count);
        }
        found
    };
    // Chunks are added in their order, so the sums do not depend on the threads.
    let found: Vec<Found> = starts.par_iter().map(chunk).collect();
    let mut total = Found::new();
    found.into_iter().for_each(|f| total.add(f));
    total
}

/// The textbook was measured in other genomes, so it is held against its own composition.
fn textbook_background(textbook: &Pwm) -> [f64; 4] {
    Counts { rows: textbook.rows.clone() }.composition()
}

fn matches(wide: &Pwm, background: [f64; 4], textbook: &Pwm) -> Vec<(i32, f64)> {
    let seen = wide.log_odds(background);
    let wanted = textbook.log_odds(textbook_background(textbook));
    (0..=2 * REACH)
        .map(|start| {
            let offset = start as i32 - REACH as i32;
            (offset, cosine(seen[start..start + MOTIF_ROWS].as_flattened(), wanted.as_flattened()))
        })
        .collect()
}

/// Cosine of the angle between two patterns; 0 where one is flat.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

fn names(contigs: &[Contig]) -> String {
    let shown: Vec<&str> = contigs.iter().take(3).map(|c| c.name.as_str()).collect();
    format!("which has {}{}", shown.join(", "), if contigs.len() > 3 { ", ..." } else { "" })
}
