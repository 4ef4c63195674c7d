//! Genome pack: windows of base codes.
//!
//! Each base is a nibble, low nibble first, that *is* its one-hot column: A=1, C=2, G=4, T=8,
//! anything else 0. Reverse complement is the order and the bits reversed. Section `bases` holds
//! all contigs, each starting at a multiple of 128 bytes.

use std::io::{Seek, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use super::format::{self, ALIGN, ContigEntry, Fingerprint, Header, Kind, PackWriter, ValueType};
use super::mapped::{self, Bytes, Memory};
use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::sequence::complement;

/// The one-hot bits of C and G in the two nibbles of a byte, and in eight bytes.
const GC_BYTE: u8 = 0x66;
const GC_WORD: u64 = 0x6666_6666_6666_6666;

/// ASCII base to one-hot nibble; lower case counts as upper.
const NIBBLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 4 {
        table[b"ACGT"[i] as usize] = 1 << i;
        table[b"acgt"[i] as usize] = 1 << i;
        i += 1;
    }
    table
};

/// Code of a nibble: 0..=3 for the four one-hot columns, 4 for anything else.
const fn code(nibble: u8) -> u8 {
    match nibble {
        1 => 0,
        2 => 1,
        4 => 2,
        8 => 3,
        _ => 4,
    }
}

/// The two codes of each byte, first base first.
const FORWARD: [[u8; 2]; 256] = {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [code(byte as u8 & 15), code(byte as u8 >> 4)];
        byte += 1;
    }
    table
};

/// The two codes of each byte as the opposite strand reads them: last base first, complemented.
const REVERSE: [[u8; 2]; 256] = {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        let [first, second] = FORWARD[byte];
        table[byte] = [complement(second), complement(first)];
        byte += 1;
    }
    table
};

/// Packed genome, mapped from disk or in memory.
pub struct GenomePack {
    bytes: Bytes,
    header: Header,
    contigs: Assembly,
    /// Bytes of each contig's bases in the pack.
    bases: Vec<Range<usize>>,
}

impl GenomePack {
    /// Maps a `.cbg` file, once all of it agrees with its checksums.
    pub fn open(path: &Path) -> Result<Self> {
        let (bytes, header) = mapped::open(path, Kind::Genome)?;
        Self::new(bytes, header).map_err(|p| p.at(path.display()).into())
    }

    /// A genome in memory, from ASCII sequences (any case; anything but ACGT is N). For custom
    /// sequences, variants and tests.
    pub fn from_sequences<'a>(sequences: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let build = || -> Result<Self> {
            let mut writer = GenomeWriter::new(Memory::default())?;
            for (name, sequence) in sequences {
                writer.contig(name)?;
                writer.bases(sequence)?;
            }
            let (bytes, header) = writer.finish(None)?.into_pack()?;
            Ok(Self::new(bytes, header)?)
        };
        // Memory takes every write, and what the writer wrote is well formed.
        build().expect("a pack in memory is written whole")
    }

    fn new(bytes: Bytes, header: Header) -> Result<Self, Problem> {
        let section = header.section::<u8>("bases")?;
        let entries = header.contigs(bytes.as_slice())?;
        let mut bases = Vec::with_capacity(entries.len());
        for contig in &entries {
            let start = (section.start as u64).checked_add(contig.first);
            let end = start.and_then(|s| s.checked_add(contig.length.div_ceil(2)));
            match (start, end) {
                (Some(start), Some(end))
                    if end <= section.end as u64 && contig.first.is_multiple_of(ALIGN as u64) =>
                {
                    bases.push(start as usize..end as usize)
                }
                _ => {
                    return Err(Problem::new(format!(
                        "bases of contig {} lie outside the pack",
                        contig.name
                    )));
                }
            }
        }
        let contigs = entries.into_iter().map(|c| (c.name, c.length)).collect();
        Ok(Self { bytes, header, contigs, bases })
    }

    pub fn contigs(&self) -> &Assembly {
        &self.contigs
    }

    pub fn contig_id(&self, name: &str) -> Option<u32> {
        self.contigs.id(name)
    }

    /// What the pack was made from; `None` for one made in memory.
    pub fn source(&self) -> Option<&Fingerprint> {
        self.header.source.as_ref()
    }

    /// Checksum of contigs and bases: one genome has one, whatever its FASTA is called and however
    /// that is compressed and wrapped.
    pub fn checksum(&self) -> u64 {
        self.header.checksum
    }

    /// One-hot nibbles of a contig, two bases a byte, low nibble first.
    pub fn nibbles(&self, contig: u32) -> &[u8] {
        &self.bytes.as_slice()[self.bases[contig as usize].clone()]
    }

    /// G and C in `[start, end)` of a contig, of which only the part inside the contig is read.
    pub fn gc_count(&self, contig: u32, start: u64, end: u64) -> u32 {
        let end = end.min(self.contigs[contig as usize].length);
        if start >= end {
            return 0;
        }
        let packed = &self.nibbles(contig)[(start / 2) as usize..end.div_ceil(2) as usize];
        // At most one bit of a nibble is set, so its C and G bits (2 and 4) are a base each.
        let mut count: u32 = 0;
        let mut words = packed.chunks_exact(8);
        for word in &mut words {
            // SAFETY: chunks_exact gives 8 bytes.
            let word = u64::from_ne_bytes(word.try_into().unwrap());
            count += (word & GC_WORD).count_ones();
        }
        count += words.remainder().iter().map(|b| (b & GC_BYTE).count_ones()).sum::<u32>();
        if start % 2 == 1 {
            count -= (packed[0] & GC_BYTE & 0x0f).count_ones();
        }
        if end % 2 == 1 {
            count -= (packed[packed.len() - 1] & GC_BYTE & 0xf0).count_ones();
        }
        self.bytes.touched(packed.len());
        count
    }

    /// The nibbles of all contigs, and of each contig the byte where its own begin: what a device
    /// keeps a copy of.
    pub fn all_nibbles(&self) -> (&[u8], Vec<u64>) {
        let start = self.bases.iter().map(|b| b.start).min().unwrap_or(0);
        let end = self.bases.iter().map(|b| b.end).max().unwrap_or(0);
        let first_bytes = self.bases.iter().map(|b| (b.start - start) as u64).collect();
        (&self.bytes.as_slice()[start..end], first_bytes)
    }

    /// Base codes 0..=3 = ACGT, 4 = anything else, of `[start, start + out.len())`; positions
    /// outside the contig read as 4. With `revcomp`, the reverse complement of that window.
    pub fn codes(&self, contig: u32, start: i64, revcomp: bool, out: &mut [u8]) {
        let length = self.contigs[contig as usize].length as i64;
        let n = out.len() as i64;
        let from = start.clamp(0, length);
        let to = start.saturating_add(n).clamp(from, length);
        if to - from < n {
            out.fill(4);
        }
        if from == to {
            return;
        }
        // out[i] <- base[start + i], reversed: out[n - 1 - i] <- complement(base[start + i])
        let skipped = (from - start) as usize;
        let taken = (to - from) as usize;
        let inside = match revcomp {
            false => skipped..skipped + taken,
            true => out.len() - skipped - taken..out.len() - skipped,
        };
        let out = &mut out[inside];
        let (from, to) = (from as usize, to as usize);
        let packed = &self.nibbles(contig)[from / 2..to.div_ceil(2)];
        if revcomp {
            reverse(packed, from % 2, out)
        } else {
            forward(packed, from % 2, out)
        }
        self.bytes.touched(packed.len());
    }
}

/// Codes of `packed` from its base `odd` (0 or 1) on, as many as `out` holds.
fn forward(packed: &[u8], odd: usize, out: &mut [u8]) {
    let (packed, out) = match (odd, packed, out) {
        (1, [first, packed @ ..], [code, out @ ..]) => {
            *code = FORWARD[*first as usize][1];
            (packed, out)
        }
        (_, packed, out) => (packed, out),
    };
    let mut pairs = out.chunks_exact_mut(2);
    for (pair, &byte) in (&mut pairs).zip(packed) {
        pair.copy_from_slice(&FORWARD[byte as usize]);
    }
    if let ([code], Some(&byte)) = (pairs.into_remainder(), packed.last()) {
        *code = FORWARD[byte as usize][0];
    }
}

/// Codes as `forward` gives them, from last to first and complemented.
fn reverse(packed: &[u8], odd: usize, out: &mut [u8]) {
    let (packed, out) = match (odd, packed, out) {
        (1, [first, packed @ ..], [out @ .., code]) => {
            *code = REVERSE[*first as usize][0];
            (packed, out)
        }
        (_, packed, out) => (packed, out),
    };
    let mut pairs = out.rchunks_exact_mut(2);
    for (pair, &byte) in (&mut pairs).zip(packed) {
        pair.copy_from_slice(&REVERSE[byte as usize]);
    }
    if let ([code], Some(&byte)) = (pairs.into_remainder(), packed.last()) {
        *code = REVERSE[byte as usize][1];
    }
}

/// Streams sequences into a genome pack: a contig, its bases in pieces of any size, the next.
pub struct GenomeWriter<W> {
    out: PackWriter<W>,
    contigs: Vec<ContigEntry>,
    /// First base of a byte whose second has not come yet.
    half: Option<u8>,
    packed: Vec<u8>,
    total: u64,
}

impl<W: Write + Seek> GenomeWriter<W> {
    pub fn new(out: W) -> Result<Self> {
        let mut out = PackWriter::new(out)?;
        out.begin_section("bases")?;
        Ok(Self { out, contigs: Vec::new(), half: None, packed: Vec::new(), total: 0 })
    }

    /// Begins a contig.
    pub fn contig(&mut self, name: &str) -> Result<()> {
        self.end_contig()?;
        self.out.align()?;
        let first = self.out.section_offset();
        self.contigs.push(ContigEntry { name: name.to_string(), length: 0, first });
        Ok(())
    }

    /// Adds ASCII bases to the contig begun last.
    pub fn bases(&mut self, mut bases: &[u8]) -> Result<()> {
        if let Some(contig) = self.contigs.last_mut() {
            contig.length += bases.len() as u64;
        }
        self.total += bases.len() as u64;
        self.packed.clear();
        if let (Some(low), [first, rest @ ..]) = (self.half, bases) {
            self.packed.push(low | NIBBLE[*first as usize] << 4);
            self.half = None;
            bases = rest;
        }
        let pairs = bases.chunks_exact(2);
        if let [last] = pairs.remainder() {
            self.half = Some(NIBBLE[*last as usize]);
        }
        self.packed.extend(pairs.map(|p| NIBBLE[p[0] as usize] | NIBBLE[p[1] as usize] << 4));
        self.out.write(&self.packed)
    }

    fn end_contig(&mut self) -> Result<()> {
        match self.half.take() {
            Some(low) => self.out.write(&[low]),
            None => Ok(()),
        }
    }

    pub fn finish(mut self, source: Option<Fingerprint>) -> Result<W> {
        self.end_contig()?;
        self.out.finish(
            &self.contigs,
            format::Summary {
                kind: Kind::Genome,
                total: self.total,
                sum: 0.0,
                value_type: ValueType::Nibbles,
                source,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(pack: &GenomePack, start: i64, revcomp: bool, n: usize) -> Vec<u8> {
        let mut out = vec![9; n];
        pack.codes(0, start, revcomp, &mut out);
        out
    }

    #[test]
    fn windows_at_odd_and_even_starts() {
        let pack = GenomePack::from_sequences([("chr1", &b"ACGTNacgtRA"[..])]);
        assert_eq!(window(&pack, 0, false, 5), [0, 1, 2, 3, 4]);
        assert_eq!(window(&pack, 1, false, 4), [1, 2, 3, 4]);
        assert_eq!(window(&pack, 5, false, 6), [0, 1, 2, 3, 4, 0]);
        // revcomp of ACGTN is NACGT
        assert_eq!(window(&pack, 0, true, 5), [4, 0, 1, 2, 3]);
        assert_eq!(window(&pack, 1, true, 3), [0, 1, 2]);
        assert_eq!(window(&pack, 1, true, 2), [1, 2]);
    }

    #[test]
    fn gc_of_any_window() {
        let bases = b"ACGTNGGCcgattRACGNNNGCGCATACGGCTTGCAGCTCACCGGTAC";
        let pack = GenomePack::from_sequences([("chr1", &bases[..])]);
        for start in 0..bases.len() {
            for end in start..=bases.len() {
                let wanted = bases[start..end].iter().filter(|b| b"CGcg".contains(b)).count();
                assert_eq!(pack.gc_count(0, start as u64, end as u64), wanted as u32);
            }
        }
        assert_eq!(pack.gc_count(0, 40, 1_000), pack.gc_count(0, 40, bases.len() as u64));
        assert_eq!((pack.gc_count(0, 5, 5), pack.gc_count(0, 900, 1_000)), (0, 0));
    }

    #[test]
    fn outside_the_contig_is_n() {
        let pack = GenomePack::from_sequences([("chr1", &b"ACG"[..]), ("chr2", &b"TTTT"[..])]);
        assert_eq!(window(&pack, -2, false, 4), [4, 4, 0, 1]);
        assert_eq!(window(&pack, 2, false, 3), [2, 4, 4]);
        assert_eq!(window(&pack, -1, true, 5), [4, 1, 2, 3, 4]);
        for start in [i64::MIN, -9, 3, 100, i64::MAX] {
            assert_eq!(window(&pack, start, true, 3), [4, 4, 4], "{start}");
        }
        assert!(window(&pack, 0, false, 0).is_empty());
    }

    #[test]
    fn contigs_by_name() {
        let pack = GenomePack::from_sequences([("a", &b""[..]), ("b", &b"ACGTA"[..])]);
        assert_eq!((&pack.contigs()[0].name[..], pack.contigs()[0].length), ("a", 0));
        assert_eq!((pack.contig_id("b"), pack.contig_id("c")), (Some(1), None));
        assert_eq!(pack.nibbles(1), [0x21, 0x84, 0x01]);
        assert!(pack.nibbles(1).as_ptr().addr().is_multiple_of(128));
        let (all, first_bytes) = pack.all_nibbles();
        assert_eq!(all[first_bytes[1] as usize..][..3], [0x21, 0x84, 0x01]);
    }
}
