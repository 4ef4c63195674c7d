//! What an engine reads examples from: a genome pack and, for training, a signal pack.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{GenomePack, SignalPack};
use crate::batch::Example;
use crate::error::Problem;

/// Genome and signal with their contigs matched by name. Cheap to clone.
#[derive(Clone)]
pub struct Tracks {
    pub genome: Arc<GenomePack>,
    pub signal: Option<Arc<SignalPack>>,
    /// Signal contig of each genome contig; `None` where the signal does not know the name.
    signal_contigs: Arc<[Option<u32>]>,
    /// Contigs that the inputs know with different lengths: whoever uses one gets its problem.
    pub disputed: Arc<Disputed>,
    /// What `keep` was given last.
    kept: Arc<Mutex<Option<Arc<dyn Any + Send + Sync>>>>,
}

/// The problem of each contig whose length is not the same in all inputs, by name.
pub type Disputed = HashMap<String, Problem>;

impl Tracks {
    pub fn new(genome: Arc<GenomePack>, signal: Option<Arc<SignalPack>>) -> Self {
        let signal_contigs = genome
            .contigs()
            .iter()
            .map(|c| signal.as_ref().and_then(|s| s.contig_id(&c.name)))
            .collect();
        Self { genome, signal, signal_contigs, disputed: Arc::default(), kept: Arc::default() }
    }

    /// Keeps something for as long as these tracks and their clones live, in place of what was kept before: their
    /// copy on the device that they were opened on last, so that the next engine of a job finds it there.
    pub fn keep(&self, copy: Arc<dyn Any + Send + Sync>) {
        let before = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(copy);
        // Given back once the lock is.
        drop(before);
    }

    /// Adds contigs whose length differs between the genome and another input.
    pub fn dispute(mut self, more: Disputed) -> Self {
        if !more.is_empty() {
            Arc::make_mut(&mut self.disputed).extend(more);
        }
        self
    }

    /// Contig of the signal for a contig of the genome; `None` where the signal does not know it.
    pub fn signal_contig(&self, contig: u32) -> Option<u32> {
        self.signal_contigs[contig as usize]
    }

    /// Base codes of an example, reverse-complemented where it says so; `out` has inputlen bytes.
    pub fn fill_codes(&self, example: &Example, out: &mut [u8]) {
        self.genome.codes(example.contig, i64::from(example.start), example.is_revcomp(), out);
    }

    /// Counts of an example's output window; `out` has outputlen values. A contig without signal
    /// is all zero.
    pub fn fill_counts(&self, example: &Example, inputlen: usize, out: &mut [f32]) {
        let start = i64::from(example.start) + ((inputlen - out.len()) / 2) as i64;
        match (&self.signal, self.signal_contigs[example.contig as usize]) {
            (Some(signal), Some(contig)) => signal.counts(contig, start, example.is_revcomp(), out),
            _ => out.fill(0.0),
        }
    }

    /// Sum of the counts in `[start, end)` of a genome contig.
    pub fn total_counts(&self, contig: u32, start: i64, end: i64) -> f64 {
        match (&self.signal, self.signal_contigs[contig as usize]) {
            (Some(signal), Some(contig)) => signal.sum(contig, start, end),
            _ => 0.0,
        }
    }
}
