//! Counts read ends at their bases, over the whole genome, in bounded memory.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bins::{self, Bin};
use super::spill::{RunWriter, SpilledRun};
use crate::input::assembly::Contig;
use crate::input::reads::{Contigs, Noted, ReadEnd};
use crate::pack::shift::Shift;
use crate::store::signal::{BIN, SignalWriter};

/// bytes that counts may take before they go to disk. A list that doubles as it grows takes 2 to 4
/// bytes a cut, and a bin never more than a byte a base.
pub const BUDGET: usize = 1 << 30;

/// Counts of all contigs, partly on disk.
pub struct Counter<'a> {
    contigs: &'a Contigs,
    shift: Shift,
    scratch: PathBuf,
    budget: usize,
    /// First bin of each contig.
    first: Vec<usize>,
    bins: Vec<Bin>,
    /// bp of each bin; only the last of a contig is shorter than BIN.
    lengths: Vec<u32>,
    bytes: usize,
    runs: Vec<SpilledRun>,
    counted: u64,
    off_contig: Noted,
}

impl<'a> Counter<'a> {
    /// `budget`: bytes of counts beyond which they are spilled to a file in `scratch`.
    pub fn new(contigs: &'a Contigs, shift: Shift, scratch: &Path, budget: usize) -> Self {
        let (mut first, mut lengths) = (Vec::new(), Vec::new());
        for Contig { length, .. } in contigs.list() {
            first.push(lengths.len());
            let whole = (length / BIN) as usize;
            lengths.extend(std::iter::repeat_n(BIN as u32, whole));
            if length % BIN > 0 {
                lengths.push((length % BIN) as u32);
            }
        }
        let bins = lengths.iter().map(|_| Bin::default()).collect();
        Self {
            contigs,
            shift,
            scratch: scratch.to_path_buf(),
            budget,
            first,
            bins,
            lengths,
            bytes: 0,
            runs: Vec::new(),
            counted: 0,
            off_contig: Noted::default(),
        }
    }

    /// Counts one read end where its shift puts it.
    ///
    /// Errors: the disk's, when counts have to be spilled.
    #[inline]
    pub fn add(&mut self, end: ReadEnd) -> Result<()> {
        let position = end.position + i64::from(self.shift.of(end.strand));
        if position < 0 || position >= self.contigs.length(end.contig) {
            self.off_contig.note(|| {
                format!(
                    "{}:{position} (0-based), a contig of {} bp",
                    self.contigs.name(end.contig),
                    self.contigs.length(end.contig)
                )
            });
            return Ok(());
        }
        let position = position as u64;
        let bin = self.first[end.contig as usize] + (position / BIN) as usize;
        self.bytes += self.bins[bin].add((position % BIN) as u16, self.lengths[bin] as usize);
        self.counted += 1;
        if self.bytes > self.budget {
            self.spill()?;
        }
        Ok(())
    }

    /// Cut sites counted so far.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    pub fn off_contig(&self) -> &Noted {
        &self.off_contig
    }

    /// Times that counts went to disk.
    pub fn spills(&self) -> usize {
        self.runs.len()
    }

    fn spill(&mut self) -> Result<()> {
        let mut writer = RunWriter::new(&self.scratch)?;
        let mut sums = vec![0; BIN as usize];
        for (index, bin) in self.bins.iter_mut().enumerate() {
            if bin.is_empty() {
                continue;
            }
            let sums = &mut sums[..self.lengths[index] as usize];
            std::mem::take(bin).add_to(sums);
            writer.bin(index, sums)?;
        }
        self.runs.push(writer.finish()?);
        self.bytes = 0;
        Ok(())
    }

    /// Writes all contigs with their counts, in order.
    ///
    /// Errors: the disk's.
    pub fn finish<W: Write + Seek, S: Read + Write + Seek>(
        mut self,
        out: &mut SignalWriter<W, S>,
    ) -> Result<()> {
        let mut sums = vec![0; BIN as usize];
        for (contig, Contig { name, length }) in self.contigs.list().iter().enumerate() {
            out.contig(name, *length)?;
            let first = self.first[contig];
            for bin in 0..length.div_ceil(BIN) {
                let index = first + bin as usize;
                let sums = &mut sums[..self.lengths[index] as usize];
                // Taken, so that memory is given back while the pack grows.
                std::mem::take(&mut self.bins[index]).add_to(sums);
                for run in &mut self.runs {
                    run.add_bin(index, sums)?;
                }
                bins::drain(sums, |offset, count| {
                    out.entry(bin * BIN + u64::from(offset), count as f32)
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;

    use super::*;
    use crate::input::assembly::Contig;
    use crate::input::reads::Strand;
    use crate::store::SignalPack;

    /// Every budget, from one that spills at every cut to one that never does, gives the plain count.
    #[test]
    fn spilled_and_kept_counts_agree() {
        let contigs = Contigs::new([
            ("a".to_string(), 3 * BIN + 17),
            ("empty".to_string(), 5),
            ("b".to_string(), BIN),
            ("none".to_string(), 0),
            ("c".to_string(), 40),
        ]);
        let shift = Shift { plus: 4, minus: -5 };
        let mut state = 1u64;
        let mut random = |n: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let ends: Vec<ReadEnd> = (0..30_000)
            .map(|_| {
                let contig = [0, 2, 4, 4][random(4) as usize];
                let strand = if random(2) == 0 { Strand::Plus } else { Strand::Minus };
                ReadEnd { contig, position: random(contigs.length(contig) as u64) as i64, strand }
            })
            .collect();
        let mut wanted: BTreeMap<(u32, i64), f32> = BTreeMap::new();
        let mut off = 0;
        for end in &ends {
            let at = end.position + if end.strand == Strand::Plus { 4 } else { -5 };
            match (0..contigs.length(end.contig)).contains(&at) {
                true => *wanted.entry((end.contig, at)).or_default() += 1.0,
                false => off += 1,
            }
        }
        let folder = tempfile::tempdir().unwrap();
        for (budget, spills) in [(0, 100..301), (3_000, 5..300), (BUDGET, 0..1)] {
            let mut counter = Counter::new(&contigs, shift, folder.path(), budget);
            // Each run is an open file.
            let some = if budget == 0 { 300 } else { ends.len() };
            ends[..some].iter().for_each(|&end| counter.add(end).unwrap());
            assert!(spills.contains(&counter.spills()), "{budget}: {}", counter.spills());
            let counted = counter.counted();
            let (total, dropped) = (counted as f64, counter.off_contig().count);
            let path = folder.path().join("out.cbs");
            let file = std::fs::File::create(&path).unwrap();
            let mut writer = SignalWriter::new(file, Cursor::new(Vec::new())).unwrap();
            counter.finish(&mut writer).unwrap();
            writer.finish(None).unwrap();
            let pack = SignalPack::open(&path).unwrap();
            assert_eq!(pack.totals().1, total);
            assert_eq!(pack.contigs().len(), 5);
            if some < ends.len() {
                continue;
            }
            assert_eq!(dropped, off);
            for (contig, Contig { length, .. }) in contigs.list().iter().enumerate() {
                let mut counts = vec![0.0; *length as usize];
                pack.counts(contig as u32, 0, false, &mut counts);
                for (at, count) in counts.iter().enumerate() {
                    let wanted = wanted.get(&(contig as u32, at as i64)).copied().unwrap_or(0.0);
                    assert_eq!(*count, wanted, "contig {contig} base {at}");
                }
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "scratch files stay");
    }
}
