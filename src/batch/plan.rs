//! A plan is a slice of examples; engines turn it into tensors themselves.

use bytemuck::{Pod, Zeroable};

/// One example, 16 bytes: a window of the genome pack and how to read it.
///
/// The sequence window is `[start, start + inputlen)`; the counts window has `outputlen` bases
/// and the same centre, so it begins at `start + (inputlen - outputlen) / 2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Example {
    /// Index into the genome pack's contig table.
    pub contig: u32,
    /// First base of the sequence window, 0-based.
    pub start: u32,
    /// `REVCOMP` and `PEAK` bits.
    pub flags: u32,
    /// Row of the region table the example was made from.
    pub row: u32,
}

impl Example {
    /// Sequence and counts are reverse-complemented together.
    pub const REVCOMP: u32 = 1;
    /// The region is a peak (else a nonpeak).
    pub const PEAK: u32 = 2;

    pub fn is_revcomp(&self) -> bool {
        self.flags & Self::REVCOMP != 0
    }

    pub fn is_peak(&self) -> bool {
        self.flags & Self::PEAK != 0
    }
}

/// Windows whose starts follow each other, as plans will ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Index into the genome pack's contig table.
    pub contig: u32,
    /// First base of the first sequence window, 0-based.
    pub first_start: u32,
    /// How many windows, each one base further on.
    pub starts: u32,
    /// True when every window is taken on both strands.
    pub both_strands: bool,
}

impl Windows {
    /// The window of one example, forward.
    pub fn of(example: &Example) -> Self {
        Self { contig: example.contig, first_start: example.start, starts: 1, both_strands: false }
    }
}
