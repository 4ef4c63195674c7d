//! Signal pack: windows of per-base counts.
//!
//! Sparse: a contig is cut into bins of 65,536 bp, a bin is a run of entries, an entry is an
//! offset in its bin (u16) and a count. Sections `offsets` and `values` hold the entries of all
//! contigs in order, `bins` where each bin begins (one more number than bins). Counts are u16
//! where all are whole and at most 65,535, else f32.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use super::format::{self, ContigEntry, Fingerprint, Header, Kind, PackWriter, ValueType};
use super::mapped::{self, Bytes, Memory};
use crate::error::Problem;
use crate::input::assembly::Assembly;

/// bp of a bin: what a u16 offset reaches.
pub const BIN: u64 = 1 << 16;

/// Packed per-base counts, mapped from disk or in memory.
pub struct SignalPack {
    bytes: Bytes,
    header: Header,
    contigs: Assembly,
    /// First bin of each contig.
    first_bin: Vec<usize>,
    bins: Range<usize>,
    offsets: Range<usize>,
    values: Range<usize>,
}

/// Counts of a run of entries.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    U16(&'a [u16]),
    F32(&'a [f32]),
}

impl Values<'_> {
    fn slice(self, range: Range<usize>) -> Self {
        match self {
            Values::U16(v) => Values::U16(v.get(range).unwrap_or_default()),
            Values::F32(v) => Values::F32(v.get(range).unwrap_or_default()),
        }
    }
}

impl SignalPack {
    /// Maps a `.cbs` file, once all of it agrees with its checksums.
    pub fn open(path: &Path) -> Result<Self> {
        let (bytes, header) = mapped::open(path, Kind::Signal)?;
        Self::new(bytes, header).map_err(|p| p.at(path.display()).into())
    }

    /// A signal in memory, from dense per-base values. For tests and simulation.
    pub fn from_dense<'a>(tracks: impl IntoIterator<Item = (&'a str, &'a [f32])>) -> Self {
        let build = || -> Result<Self> {
            let mut writer = SignalWriter::new(Memory::default(), Cursor::new(Vec::new()))?;
            for (name, track) in tracks {
                writer.contig(name, track.len() as u64)?;
                for (at, &value) in track.iter().enumerate() {
                    if value != 0.0 {
                        writer.entry(at as u64, value)?;
                    }
                }
            }
            let (bytes, header) = writer.finish(None)?.into_pack()?;
            Ok(Self::new(bytes, header)?)
        };
        // Memory takes every write, and what the writer wrote is well formed.
        build().expect("a pack in memory is written whole")
    }

    fn new(bytes: Bytes, header: Header) -> Result<Self, Problem> {
        let offsets = header.section::<u16>("offsets")?;
        let bins = header.section::<u64>("bins")?;
        let (values, value_size) = match header.value_type {
            ValueType::U16 => (header.section::<u16>("values")?, 2),
            ValueType::F32 => (header.section::<f32>("values")?, 4),
            ValueType::Nibbles => {
                return Err(Problem::new("signal pack has no value type"));
            }
        };
        let entries = offsets.len() / 2;
        if values.len() / value_size != entries || header.total != entries as u64 {
            return Err(Problem::new(format!(
                "signal pack has {entries} offsets and {} values, its header says {} entries",
                values.len() / value_size,
                header.total
            )));
        }
        let index_of_bins: &[u64] = bytemuck::cast_slice(&bytes.as_slice()[bins.clone()]);
        let sorted = index_of_bins.is_sorted()
            && index_of_bins.first() == Some(&0)
            && index_of_bins.last() == Some(&(entries as u64));
        if !sorted {
            return Err(Problem::new("bin index of the signal pack is damaged"));
        }
        let table = header.contigs(bytes.as_slice())?;
        let mut first_bin = Vec::with_capacity(table.len());
        for contig in &table {
            let end = contig.first.checked_add(contig.length.div_ceil(BIN));
            if end.is_none_or(|end| end >= index_of_bins.len() as u64) {
                return Err(Problem::new(format!(
                    "bins of contig {} lie outside the pack",
                    contig.name
                )));
            }
            first_bin.push(contig.first as usize);
        }
        let contigs = table.into_iter().map(|c| (c.name, c.length)).collect();
        Ok(Self { bytes, header, contigs, first_bin, bins, offsets, values })
    }

    pub fn contigs(&self) -> &Assembly {
        &self.contigs
    }

    pub fn contig_id(&self, name: &str) -> Option<u32> {
        self.contigs.id(name)
    }

    /// Checksum of contigs and counts.
    pub fn checksum(&self) -> u64 {
        self.header.checksum
    }

    /// What the pack was made from; `None` for one made in memory.
    pub fn source(&self) -> Option<&Fingerprint> {
        self.header.source.as_ref()
    }

    /// Bases with a count, and the sum of all counts.
    pub fn totals(&self) -> (u64, f64) {
        (self.header.total, self.header.sum)
    }

    pub fn value_type(&self) -> ValueType {
        self.header.value_type
    }

    fn all_values(&self) -> Values<'_> {
        let bytes = &self.bytes.as_slice()[self.values.clone()];
        match self.header.value_type {
            ValueType::F32 => Values::F32(bytemuck::cast_slice(bytes)),
            _ => Values::U16(bytemuck::cast_slice(bytes)),
        }
    }

    /// Offsets and values of all entries, and where each bin begins: what a device keeps a copy of.
    pub fn all_entries(&self) -> (&[u16], Values<'_>, &[u64]) {
        let bytes = self.bytes.as_slice();
        let offsets = bytemuck::cast_slice(&bytes[self.offsets.clone()]);
        let bins = bytemuck::cast_slice(&bytes[self.bins.clone()]);
        (offsets, self.all_values(), bins)
    }

    /// First bin of a contig.
    pub fn first_bin(&self, contig: u32) -> u64 {
        self.first_bin[contig as usize] as u64
    }

    /// Offsets and counts of `[start, end)` (inside the contig), bin by bin, with the position of
    /// each bin. Nothing read from the body is trusted as an index: a damaged body gives wrong
    /// counts, never a crash.
    fn each_bin(
        &self,
        contig: u32,
        start: u64,
        end: u64,
        mut each: impl FnMut(u64, &[u16], Values),
    ) {
        let bytes = self.bytes.as_slice();
        let bins: &[u64] = bytemuck::cast_slice(&bytes[self.bins.clone()]);
        let offsets: &[u16] = bytemuck::cast_slice(&bytes[self.offsets.clone()]);
        let values = self.all_values();
        let first_bin = self.first_bin[contig as usize];
        for bin in start / BIN..end.div_ceil(BIN) {
            let at = first_bin + bin as usize;
            let (Some(&low), Some(&high)) = (bins.get(at), bins.get(at + 1)) else { return };
            let low = low as usize;
            let Some(inside) = offsets.get(low..high as usize) else { continue };
            let position = bin * BIN;
            let skip = inside.partition_point(|&o| position + u64::from(o) < start);
            let take = inside[skip..].partition_point(|&o| position + u64::from(o) < end);
            let found = low + skip..low + skip + take;
            each(position, &inside[skip..skip + take], values.slice(found));
            // Offsets and values lie in two places; the search reads a few offsets more.
            self.bytes.touched(2 * take);
            self.bytes.touched(4 * take);
        }
    }

    /// The part of `[start, end)` that lies on the contig.
    fn clamp(&self, contig: u32, start: i64, end: i64) -> (u64, u64) {
        let length = self.contigs[contig as usize].length as i64;
        let start = start.clamp(0, length);
        (start as u64, end.clamp(start, length) as u64)
    }

    /// Counts of `[start, start + out.len())`, reversed with `revcomp`; 0 where nothing is stored
    /// or outside the contig.
    pub fn counts(&self, contig: u32, start: i64, revcomp: bool, out: &mut [f32]) {
        out.fill(0.0);
        let n = out.len();
        let (from, to) = self.clamp(contig, start, start.saturating_add(n as i64));
        // out[i] <- count[start + i], reversed: out[n - 1 - i] <- count[start + i]
        let mut put = |position: u64, value: f32| {
            let i = (position as i64).wrapping_sub(start) as usize;
            let i = if revcomp { (n - 1).wrapping_sub(i) } else { i };
            if let Some(count) = out.get_mut(i) {
                *count = value;
            }
        };
        self.each_bin(contig, from, to, |bin, offsets, values| match values {
            Values::U16(v) => {
                offsets.iter().zip(v).for_each(|(&o, &v)| put(bin + u64::from(o), f32::from(v)))
            }
            Values::F32(v) => offsets.iter().zip(v).for_each(|(&o, &v)| put(bin + u64::from(o), v)),
        });
    }

    /// Sum of `[start, end)`, in f64.
    pub fn sum(&self, contig: u32, start: i64, end: i64) -> f64 {
        let (from, to) = self.clamp(contig, start, end);
        let mut sum = 0.0;
        self.each_bin(contig, from, to, |_, _, values| {
            sum += match values {
                Values::U16(v) => v.iter().map(|&v| u64::from(v)).sum::<u64>() as f64,
                Values::F32(v) => v.iter().map(|&v| f64::from(v)).sum::<f64>(),
            }
        });
        sum
    }
}

/// Streams entries into a signal pack. Offsets go straight to the pack; values wait in `spool`
/// (4 bytes each) since their type is known only after the last one.
pub struct SignalWriter<W, S> {
    out: PackWriter<W>,
    spool: S,
    contigs: Vec<ContigEntry>,
    /// Where each finished bin began.
    bins: Vec<u64>,
    /// Entries written so far, and those of them still in the buffers.
    entries: u64,
    offsets: Vec<u16>,
    values: Vec<f32>,
    whole: bool,
    sum: f64,
}

/// Entries that are buffered before they are written.
const BUFFERED: usize = 1 << 16;

impl<W: Write + Seek, S: Read + Write + Seek> SignalWriter<W, S> {
    /// `spool` is an empty scratch file, or memory.
    pub fn new(out: W, spool: S) -> Result<Self> {
        let mut out = PackWriter::new(out)?;
        out.begin_section("offsets")?;
        Ok(Self {
            out,
            spool,
            contigs: Vec::new(),
            bins: Vec::new(),
            entries: 0,
            offsets: Vec::with_capacity(BUFFERED),
            values: Vec::with_capacity(BUFFERED),
            whole: true,
            sum: 0.0,
        })
    }

    /// Begins a contig of `length` bp.
    pub fn contig(&mut self, name: &str, length: u64) -> Result<()> {
        self.end_contig();
        let first = self.bins.len() as u64;
        self.contigs.push(ContigEntry { name: name.to_string(), length, first });
        Ok(())
    }

    /// Adds one base; positions ascend within a contig.
    pub fn entry(&mut self, position: u64, value: f32) -> Result<()> {
        let first = self.contigs.last().map_or(0, |c| c.first);
        let bin = first + position / BIN;
        while self.bins.len() as u64 <= bin {
            self.bins.push(self.entries);
        }
        self.offsets.push((position % BIN) as u16);
        self.values.push(value);
        self.whole &= value.fract() == 0.0 && (0.0..=65535.0).contains(&value);
        self.sum += f64::from(value);
        self.entries += 1;
        if self.offsets.len() == BUFFERED {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write(bytemuck::cast_slice(&self.offsets))?;
        self.spool.write_all(bytemuck::cast_slice(&self.values))?;
        self.offsets.clear();
        self.values.clear();
        Ok(())
    }

    fn end_contig(&mut self) {
        if let Some(contig) = self.contigs.last() {
            let end = contig.first + contig.length.div_ceil(BIN);
            while (self.bins.len() as u64) < end {
                self.bins.push(self.entries);
            }
        }
    }

    pub fn finish(mut self, source: Option<Fingerprint>) -> Result<W> {
        self.end_contig();
        self.bins.push(self.entries);
        self.flush()?;
        self.out.begin_section("values")?;
        self.spool.seek(SeekFrom::Start(0))?;
        let mut left = self.entries as usize;
        let mut values = vec![0f32; BUFFERED];
        while left > 0 {
            let values = &mut values[..left.min(BUFFERED)];
            self.spool.read_exact(bytemuck::cast_slice_mut(values))?;
            if self.whole {
                let values: Vec<u16> = values.iter().map(|&v| v as u16).collect();
                self.out.write(bytemuck::cast_slice(&values))?;
            } else {
                self.out.write(bytemuck::cast_slice(values))?;
            }
            left -= values.len();
        }
        self.out.begin_section("bins")?;
        self.out.write(bytemuck::cast_slice(&self.bins))?;
        self.out.finish(
            &self.contigs,
            format::Summary {
                kind: Kind::Signal,
                total: self.entries,
                sum: self.sum,
                value_type: if self.whole { ValueType::U16 } else { ValueType::F32 },
                source,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_forward_reversed_and_outside() {
        let pack = SignalPack::from_dense([
            ("chr1", &[0.0, 3.0, 0.0, 5.0][..]),
            ("chr2", &[1.0][..]),
            ("chr3", &[][..]),
        ]);
        let window = |contig, start, revcomp, n| {
            let mut out = vec![9.0; n];
            pack.counts(contig, start, revcomp, &mut out);
            out
        };
        assert_eq!(window(0, 0, false, 4), [0.0, 3.0, 0.0, 5.0]);
        assert_eq!(window(0, 1, true, 3), [5.0, 0.0, 3.0]);
        assert_eq!(window(0, -1, false, 3), [0.0, 0.0, 3.0]);
        assert_eq!(window(0, 3, true, 3), [0.0, 0.0, 5.0]);
        assert_eq!(window(1, 0, false, 2), [1.0, 0.0]);
        assert_eq!(window(2, 0, false, 2), [0.0, 0.0]);
        assert_eq!(window(0, i64::MAX, false, 2), [0.0, 0.0]);
        assert_eq!((pack.sum(0, 0, 4), pack.sum(0, -5, 2), pack.sum(0, 3, 99)), (8.0, 3.0, 5.0));
        assert_eq!((pack.sum(0, 3, 1), pack.sum(2, 0, 1)), (0.0, 0.0));
        assert_eq!(pack.totals(), (3, 9.0));
        assert!(matches!(pack.all_values(), Values::U16(_)));
    }

    #[test]
    fn across_bins_and_value_types() {
        let mut track = vec![0.0; 3 * BIN as usize + 10];
        for at in [0, 65_535, 65_536, 2 * 65_536 + 1, 3 * 65_536 + 9] {
            track[at] = at as f32 + 0.5;
        }
        let pack = SignalPack::from_dense([("a", &track[..9]), ("b", &track[..])]);
        assert!(matches!(pack.all_values(), Values::F32(_)));
        let mut out = vec![0.0; track.len()];
        pack.counts(1, 0, false, &mut out);
        assert_eq!(out, track);
        assert_eq!(pack.sum(1, 65_535, 65_537), 65_535.5 + 65_536.5);
        let large = SignalPack::from_dense([("a", &[65_536.0][..])]);
        assert_eq!(large.sum(0, 0, 1), 65_536.0);
    }
}
