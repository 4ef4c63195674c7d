//! DNA as models read it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::error::{Error, Result};
use crate::error::Problem;
use crate::sequence;

/// A DNA sequence of any length, a code a base.
///
/// ```
/// use cbp_fast::Sequence;
///
/// let sequence: Sequence = "ACGtn".parse()?;
/// assert_eq!(sequence.codes(), [0, 1, 2, 3, 4]);
/// assert_eq!(sequence.reverse_complement().to_string(), "NACGT");
/// # Ok::<(), cbp_fast::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sequence(Vec<u8>);

impl Sequence {
    /// Reads bases in any case. U is T; N, `-` and the ambiguous letters of IUPAC are N, an all-zero one-hot column.
    ///
    /// Errors: a character that is none of these, with its place.
    pub fn new(bases: impl AsRef<[u8]>) -> Result<Self> {
        let codes = bases.as_ref().iter().enumerate().map(|(at, base)| {
            Ok(match base.to_ascii_uppercase() {
                b'A' => 0,
                b'C' => 1,
                b'G' => 2,
                b'T' | b'U' => 3,
                b'N' | b'R' | b'Y' | b'S' | b'W' | b'K' | b'M' | b'B' | b'D' | b'H' | b'V'
                | b'X' | b'-' => 4,
                _ => {
                    return Err(Problem::new(format!("{:?} is no base", char::from(*base)))
                        .at(format!("base {} of the sequence, counted from 1", at + 1))
                        .fix("give letters of DNA: A, C, G, T, and N for what is not known"));
                }
            })
        });
        Ok(Self(codes.collect::<Result<_, Problem>>()?))
    }

    /// Takes codes: 0, 1, 2, 3 are A, C, G, T, and 4 is N.
    ///
    /// Errors: a larger code.
    pub fn from_codes(codes: Vec<u8>) -> Result<Self> {
        match codes.iter().position(|&code| code > 4) {
            None => Ok(Self(codes)),
            Some(at) => Err(Problem::new(format!("code {} at {at} is above 4", codes[at]))
                .fix("0, 1, 2, 3 are A, C, G, T, and 4 is N")
                .into()),
        }
    }

    /// A code a base: 0, 1, 2, 3 are A, C, G, T, and 4 is N.
    pub fn codes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bp.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without a base.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The other strand, read in its own direction.
    pub fn reverse_complement(&self) -> Self {
        Self(sequence::reverse_complement(&self.0).collect())
    }

    /// A part of the sequence. Panics where slices panic: beyond the end.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0[range].to_vec())
    }

    /// The sequence with `bases` written over its own from `at` (0-based) on: an allele, or a motif.
    ///
    /// Errors: bases that reach beyond the end.
    pub fn with(&self, at: usize, bases: &Sequence) -> Result<Self> {
        let mut codes = self.0.clone();
        let end = at.saturating_add(bases.len());
        let Some(part) = codes.get_mut(at..end) else {
            return Err(Problem::new(format!(
                "{} bp from base {at} on do not fit into a sequence of {} bp",
                bases.len(),
                self.len()
            ))
            .into());
        };
        part.copy_from_slice(bases.codes());
        Ok(Self(codes))
    }
}

impl FromStr for Sequence {
    type Err = Error;

    fn from_str(bases: &str) -> Result<Self> {
        Self::new(bases)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&sequence::letters(&self.0))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Self = Self(self.0.iter().take(20).copied().collect());
        let more = if self.len() > 20 { "..." } else { "" };
        write!(f, "Sequence({first}{more}, {} bp)", self.len())
    }
}
