//! From scores to a shift, or to the reason why there is none.

use std::path::Path;

use anyhow::Result;

use super::scan::{Scan, StrandScan, best};
use super::{DataType, ReferenceMotifs, Sample, Shift, Signed};
use crate::error::Problem;
use crate::store::GenomePack;

/// The best shift of one strand and how clear it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StrandCall {
    pub shift: i32,
    /// 1: a pattern as strong as the reference's own
    pub score: f64,
    /// The next best shift.
    pub runner_up: i32,
    pub runner_up_score: f64,
}

impl StrandCall {
    fn of(scan: &StrandScan) -> Self {
        let mut ranked = scan.by_shift();
        // stable, so of equal scores the place that comes first in the window wins, as in `best`
        ranked.reverse();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (first, second) = (ranked[0], ranked[1]);
        Self { shift: first.0, score: first.1, runner_up: second.0, runner_up_score: second.1 }
    }

    /// How far the runner-up is behind, as a part of the best score: 0 is a tie.
    pub fn margin(&self) -> f64 {
        if self.score > 0.0 { 1.0 - self.runner_up_score / self.score } else { 0.0 }
    }
}

/// A margin below this deserves a warning. Measured with 200 samples each: 1,000 or more yeast
/// ATAC reads a strand always gave at least 0.12 (500 reads: 0.07), and random positions that were
/// accepted by chance (1 sample in 400) at most 0.05.
const CLEAR_MARGIN: f64 = 0.1;

/// A shift that was found.
#[derive(Clone, Debug)]
pub struct Detection {
    /// What the reads have.
    pub shift: Shift,
    /// What is to be applied to them: the target less `shift`.
    pub additional: Shift,
    pub plus: StrandCall,
    pub minus: StrandCall,
    pub scan: Scan,
}

impl Detection {
    /// Why the result should be looked at, if it should be: a runner-up that is close.
    pub fn doubt(&self) -> Option<String> {
        let close = |(name, call): (&str, &StrandCall)| {
            (call.margin() < CLEAR_MARGIN).then(|| {
                format!(
                    "{name} strand {} (score {:.2}), next best {} ({:.2})",
                    Signed(call.shift),
                    call.score,
                    Signed(call.runner_up),
                    call.runner_up_score
                )
            })
        };
        let close: Vec<String> =
            [("plus", &self.plus), ("minus", &self.minus)].into_iter().filter_map(close).collect();
        (!close.is_empty()).then(|| {
            format!(
                "shift of the {} reads is a close call: {}; pass --shift P/M if you know what the reads have",
                self.scan.data_type,
                close.join("; ")
            )
        })
    }

    /// One line for the log.
    pub fn summary(&self) -> String {
        let strand = |call: &StrandCall| {
            format!(
                "{:.2}, next best {} at {:.2}",
                call.score,
                Signed(call.runner_up),
                call.runner_up_score
            )
        };
        format!(
            "shift of the {} reads: {} (plus: score {}; minus: score {}; {} of {} reads), so {} is applied",
            self.scan.data_type,
            self.shift,
            strand(&self.plus),
            strand(&self.minus),
            self.scan.plus.reads + self.scan.minus.reads,
            self.scan.seen,
            self.additional,
        )
    }
}

/// Detects the shift that the sampled reads have.
///
/// `files` is a prefix in a folder that exists: `<files>.svg`, `.png`, `.tsv` (scores) and
/// `_pwm.tsv` (compositions) are written there before a decision can fail.
/// Errors: no reads of a strand; reference motifs that disagree; a shift that is not accepted; both
/// with the best scores, and what to do.
/// Source: official shift detection. All reference motifs must have their best score at one shift.
pub fn detect(
    sample: &Sample,
    genome: &GenomePack,
    data_type: DataType,
    motifs: &ReferenceMotifs,
    files: Option<&Path>,
) -> Result<Detection> {
    let scan = Scan::new(sample, genome, data_type, motifs)?;
    if let Some(files) = files {
        scan.write(motifs, files)?;
    }
    let [plus, minus] = decide(&scan).map_err(|why| explain(&scan, &why, files))?;
    let shift = Shift { plus: plus.shift, minus: minus.shift };
    Ok(Detection { shift, additional: shift.additional(data_type), plus, minus, scan })
}

/// The calls of both strands, or why they do not count.
fn decide(scan: &Scan) -> Result<[StrandCall; 2], String> {
    for strand in scan.strands() {
        let first = best(&strand.motifs[0].1);
        if strand.motifs.iter().any(|(_, scores)| best(scores) != first) {
            let name = Scan::strand_name(strand.strand);
            return Err(format!("the reference motifs disagree on the {name} strand"));
        }
    }
    let calls = scan.strands().map(StrandCall::of);
    let shift = Shift { plus: calls[0].shift, minus: calls[1].shift };
    match scan.data_type.accepts(shift) {
        true => Ok(calls),
        false => Err(format!("the best fit is {shift}, which is not among the accepted shifts")),
    }
}

/// Scores that an error shows of each strand.
const SHOWN: usize = 4;

fn explain(scan: &Scan, why: &str, files: Option<&Path>) -> Problem {
    let data_type = scan.data_type;
    let mut what = format!(
        "cannot tell the shift of the {data_type} reads: {why}\n  {:<8}{:>5}  {:>5}  best for",
        "strand", "shift", "score"
    );
    for strand in scan.strands() {
        let mut ranked = strand.by_shift();
        // what most motifs say first, then by score
        ranked.sort_by(|a, b| b.2.cmp(&a.2).then(b.1.total_cmp(&a.1)));
        let motifs = strand.motifs.len();
        let name = Scan::strand_name(strand.strand);
        for (shift, score, votes) in ranked.into_iter().take(SHOWN) {
            what += &format!(
                "\n  {name:<8}{:>5}  {score:>5.2}  {votes} of {motifs} motifs",
                Signed(shift)
            );
        }
    }
    let seen = format!(
        "{} plus and {} minus reads, sampled of {}",
        scan.plus.reads, scan.minus.reads, scan.seen
    );
    let look = match files {
        Some(files) => {
            format!("look at {}.png (scores: {}.tsv); ", files.display(), files.display())
        }
        None => String::new(),
    };
    let other = match data_type {
        DataType::Atac => "DNASE",
        DataType::Dnase => "ATAC",
    };
    Problem::new(what).at(seen).fix(format!(
        "{look}accepted are {}; if you know what the reads have, pass --shift P/M, e.g. --shift +4/-5; \
         otherwise check that the genome is the one the reads were aligned to and that they are not {other}, \
         or sample more reads (--num-samples)",
        data_type.accepted()
    ))
}
