//! Sequencing reads, as far as cut sites need them: where each read begins, and on which strand.

/// Strand of a read on the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strand {
    Plus,
    Minus,
}

/// The 5' end of one read, as the file has it: no shift applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// Index into the contig list that the reader was opened with (the genome's).
    pub contig: u32,
    /// 0-based position of the first sequenced base: the alignment's start on the plus strand,
    /// its end - 1 on the minus strand.
    pub position: i64,
    pub strand: Strand,
}
