//! Where the enzyme cut, relative to where reads begin.
//!
//! Tn5 and DNase I prefer some sequences to others, and the preferred pattern is centred on the
//! cut. The base composition around read ends, slid along the known pattern, tells how far the
//! ends have been moved already; the rest up to the target (+4/-4 for ATAC, 0/+1 for DNASE, where
//! the patterns of both strands fall on each other) is then applied to every read.
//!
//! ```text
//! ReadEnds -> Sample (uniform, seeded) -> Scan (composition, score of every shift) -> Detection
//!                                           |-> plot and tables, written before anything can fail
//! signal pack -> qc::ShiftQc: the composition around the cut sites as they ended up
//! ```
//!
//! Source: the official shift detection and its accepted results; other than there, the sample is
//! seeded and of any size, and every score is reported.

mod detect;
mod motifs;
mod pwm;
pub mod qc;
mod report;
mod sample;
mod scan;

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;

pub use detect::{Detection, StrandCall, detect};
pub use motifs::{MOTIF_ROWS, Motif, ReferenceMotifs};
pub use pwm::{Counts, Pwm};
pub use sample::Sample;
pub use scan::{SHIFTS, Scan, StrandScan, WINDOW};

use crate::error::Problem;
use crate::input::reads::Strand;

/// Assay; it decides the shift of read ends and the default bias threshold factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataType {
    #[value(name = "ATAC", alias = "atac")]
    Atac,
    #[value(name = "DNASE", alias = "dnase")]
    Dnase,
}

impl DataType {
    pub fn name(self) -> &'static str {
        match self {
            DataType::Atac => "ATAC",
            DataType::Dnase => "DNASE",
        }
    }

    /// The flag that gives other motifs for this assay.
    pub fn motifs_flag(self) -> &'static str {
        match self {
            DataType::Atac => "--ATAC-ref-path",
            DataType::Dnase => "--DNASE-ref-path",
        }
    }

    /// The shift that cut sites shall have. Source: official README.
    pub fn target(self) -> Shift {
        match self {
            DataType::Atac => Shift { plus: 4, minus: -4 },
            DataType::Dnase => Shift { plus: 0, minus: 1 },
        }
    }

    /// True when detection may find `shift`. Source: official shift detection.
    pub fn accepts(self, shift: Shift) -> bool {
        let Shift { plus, minus } = shift;
        match self {
            DataType::Atac => {
                (plus, minus) == (0, 0) || ((3..=5).contains(&plus) && (-6..=-4).contains(&minus))
            }
            DataType::Dnase => plus == 0 && (minus == 0 || minus == 1),
        }
    }

    /// `accepts` in words.
    fn accepted(self) -> &'static str {
        match self {
            DataType::Atac => "0/0 (unshifted) and +3, +4, +5 with -4, -5, -6",
            DataType::Dnase => "0/0 (unshifted) and 0/+1",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far reads have been (or are to be) moved, in bp, to the right where positive: the start of
/// plus reads and the end of minus reads. Written `+4/-5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shift {
    pub plus: i32,
    pub minus: i32,
}

impl Shift {
    /// What is still to be applied to reads that have `self`.
    pub fn additional(self, data_type: DataType) -> Shift {
        let target = data_type.target();
        Shift { plus: target.plus - self.plus, minus: target.minus - self.minus }
    }

    pub fn of(self, strand: Strand) -> i32 {
        match strand {
            Strand::Plus => self.plus,
            Strand::Minus => self.minus,
        }
    }
}

/// A shift of one strand: `+4`, `-5` or `0`.
struct Signed(i32);

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` so that columns line up
        match self.0 {
            0 => f.pad("0"),
            n => f.pad(&format!("{n:+}")),
        }
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Signed(self.plus), Signed(self.minus))
    }
}

/// Shifts beyond this are typing errors: no protocol moves reads so far.
const FARTHEST: i32 = 100;

impl FromStr for Shift {
    type Err = Problem;

    /// Takes `+4/-5`, also without the plus sign.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| {
            Problem::new(format!("shift {text:?} {why}")).fix(
                "write what the reads have as PLUS/MINUS in bp, e.g. +4/-5 for 10x fragments, 0/0 for an unshifted BAM",
            )
        };
        let (plus, minus) =
            text.trim().split_once('/').ok_or_else(|| wrong("has no slash between the strands"))?;
        let strand = |part: &str| -> Result<i32, Problem> {
            let n: i32 = part.trim().parse().map_err(|_| wrong("has a part that is no number"))?;
            match (-FARTHEST..=FARTHEST).contains(&n) {
                true => Ok(n),
                false => Err(wrong(&format!("moves reads by more than {FARTHEST} bp"))),
            }
        };
        Ok(Shift { plus: strand(plus)?, minus: strand(minus)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_as_text() {
        for (text, plus, minus, again) in [
            ("+4/-5", 4, -5, "+4/-5"),
            ("4/-4", 4, -4, "+4/-4"),
            ("0/0", 0, 0, "0/0"),
            ("+0/+1", 0, 1, "0/+1"),
            (" -3 / -6 ", -3, -6, "-3/-6"),
        ] {
            let shift: Shift = text.parse().unwrap();
            assert_eq!(shift, Shift { plus, minus }, "{text}");
            assert_eq!(shift.to_string(), again);
            assert_eq!(again.parse::<Shift>().unwrap(), shift);
        }
        for (text, why) in [
            ("", "no slash"),
            ("4", "no slash"),
            ("4,-5", "no slash"),
            ("4/", "no number"),
            ("four/-5", "no number"),
            ("4/-5/6", "no number"),
            ("4.5/-5", "no number"),
            ("400/-5", "more than 100 bp"),
            ("99999999999/0", "no number"),
        ] {
            let error = text.parse::<Shift>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("fix:"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_still_to_be_applied() {
        let additional = |data_type, plus, minus| {
            let Shift { plus, minus } = Shift { plus, minus }.additional(data_type);
            (plus, minus)
        };
        assert_eq!(additional(DataType::Atac, 0, 0), (4, -4));
        assert_eq!(additional(DataType::Atac, 4, -5), (0, 1));
        assert_eq!(additional(DataType::Atac, 4, -4), (0, 0));
        assert_eq!(additional(DataType::Dnase, 0, 0), (0, 1));
        assert_eq!(additional(DataType::Dnase, 0, 1), (0, 0));
    }
}
