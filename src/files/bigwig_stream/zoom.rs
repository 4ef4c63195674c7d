//! The overviews of a bigWig, made while values stream by: bins of 64 bp, and each further level four
//! times as wide, made from the records of the level below. Finished blocks wait in one unnamed
//! temporary file.

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::blocks::{Block, Counted, Deflate, write_index};
use crate::files::atomic::{self, OutFile};

const FIRST_REDUCTION: u32 = 64;
const FACTOR: u32 = 4;
/// The header has room for ten.
pub const MAX_LEVELS: usize = 10;
const RECORDS_PER_BLOCK: usize = 1024;
const RECORD_BYTES: usize = 32;
/// Bytes of the temporary file that are read at a time.
const READ_AT_ONCE: usize = 1 << 20;

/// Summary of the values in a bin, or in a whole file.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub contig: u32,
    /// From the first base with a value to behind the last.
    pub start: u32,
    pub end: u32,
    /// Bases with a value.
    pub valid: u64,
    pub min: f32,
    pub max: f32,
    pub sum: f64,
    pub sum_squares: f64,
}

impl Record {
    /// `values`: one a base from `start` on, at least one.
    pub fn of(contig: u32, start: u32, values: &[f32]) -> Self {
        let mut record = Self {
            contig,
            start,
            end: start + values.len() as u32,
            valid: values.len() as u64,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            sum: 0.0,
            sum_squares: 0.0,
        };
        for &value in values {
            record.min = record.min.min(value);
            record.max = record.max.max(value);
            record.sum += f64::from(value);
            record.sum_squares += f64::from(value) * f64::from(value);
        }
        record
    }

    /// One value on all of `[start, end)`.
    pub fn constant(contig: u32, start: u32, end: u32, value: f32) -> Self {
        let valid = u64::from(end - start);
        let (n, x) = (valid as f64, f64::from(value));
        let (min, max) = (value, value);
        Self { contig, start, end, valid, min, max, sum: n * x, sum_squares: n * x * x }
    }

    /// Adds what lies further right.
    pub fn merge(&mut self, right: &Self) {
        self.end = right.end;
        self.valid += right.valid;
        self.min = self.min.min(right.min);
        self.max = self.max.max(right.max);
        self.sum += right.sum;
        self.sum_squares += right.sum_squares;
    }

    fn write(&self, out: &mut Vec<u8>) {
        for word in [self.contig, self.start, self.end, self.valid as u32] {
            out.extend(word.to_le_bytes());
        }
        for value in [self.min, self.max, self.sum as f32, self.sum_squares as f32] {
            out.extend(value.to_le_bytes());
        }
    }
}

struct Level {
    reduction: u32,
    /// The bin that may still grow.
    open: Option<Record>,
    done: Vec<Record>,
    /// Offsets into the temporary file.
    blocks: Vec<Block>,
    records: u32,
}

/// All levels of one file.
pub struct Zooms {
    levels: Vec<Level>,
    spool: Counted<BufWriter<OutFile>>,
    deflate: Deflate,
}

/// Reduction, offset of data, offset of index: a line of the file's header.
pub struct ZoomHeader {
    pub reduction: u32,
    pub data: u64,
    pub index: u64,
}

/// Largest block before compression.
pub const BLOCK_BYTES: usize = RECORDS_PER_BLOCK * RECORD_BYTES;

impl Zooms {
    /// Levels that are narrower than the longest contig.
    pub fn create(folder: &Path, longest: u32) -> io::Result<Self> {
        let reductions = std::iter::successors(Some(FIRST_REDUCTION), |r| r.checked_mul(FACTOR));
        let levels = reductions
            .take(MAX_LEVELS)
            .take_while(|&reduction| reduction < longest)
            .map(|reduction| Level {
                reduction,
                open: None,
                done: Vec::with_capacity(RECORDS_PER_BLOCK),
                blocks: Vec::new(),
                records: 0,
            })
            .collect();
        let spool = Counted::new(BufWriter::new(atomic::scratch(folder)?));
        Ok(Self { levels, spool, deflate: Deflate::new() })
    }

    /// Adds values, one a base.
    pub fn add(&mut self, contig: u32, mut start: u32, mut values: &[f32]) -> io::Result<()> {
        while !values.is_empty() && !self.levels.is_empty() {
            let left_in_bin = (FIRST_REDUCTION - start % FIRST_REDUCTION) as usize;
            let (bin, rest) = values.split_at(left_in_bin.min(values.len()));
            self.merge(0, Record::of(contig, start, bin))?;
            start += bin.len() as u32;
            values = rest;
        }
        Ok(())
    }

    /// Adds one value on all of `[start, end)`.
    pub fn add_run(&mut self, contig: u32, mut start: u32, end: u32, value: f32) -> io::Result<()> {
        while start < end && !self.levels.is_empty() {
            let stop = end.min((start / FIRST_REDUCTION + 1).saturating_mul(FIRST_REDUCTION));
            self.merge(0, Record::constant(contig, start, stop, value))?;
            start = stop;
        }
        Ok(())
    }

    /// Adds a contig that has one value throughout. One record of each level says so: bins would be
    /// 300 MB for an empty human genome.
    pub fn add_contig(&mut self, contig: u32, length: u32, value: f32) -> io::Result<()> {
        for level in 0..self.levels.len() {
            if let Some(record) = self.levels[level].open.take() {
                self.close(level, record)?;
            }
            self.push(level, Record::constant(contig, 0, length, value))?;
        }
        Ok(())
    }

    /// Merges a record into the open bin of a level, or closes that bin and opens the next.
    fn merge(&mut self, level: usize, record: Record) -> io::Result<()> {
        let Some(at) = self.levels.get_mut(level) else { return Ok(()) };
        let bin = |r: &Record| (r.contig, r.start / at.reduction);
        match &mut at.open {
            Some(open) if bin(open) == bin(&record) => open.merge(&record),
            open => {
                if let Some(closed) = open.replace(record) {
                    self.close(level, closed)?;
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, level: usize, record: Record) -> io::Result<()> {
        self.push(level, record)?;
        self.merge(level + 1, record)
    }

    fn push(&mut self, level: usize, record: Record) -> io::Result<()> {
        let at = &mut self.levels[level];
        at.done.push(record);
        match at.done.len() == RECORDS_PER_BLOCK {
            true => at.flush(&mut self.spool, &mut self.deflate),
            false => Ok(()),
        }
    }

    /// Writes every level's data and index to the bigWig.
    pub fn finish<W: Write>(mut self, out: &mut Counted<W>) -> io::Result<Vec<ZoomHeader>> {
        for level in 0..self.levels.len() {
            if let Some(record) = self.levels[level].open.take() {
                self.close(level, record)?;
            }
            self.levels[level].flush(&mut self.spool, &mut self.deflate)?;
        }
        self.spool.inner().flush()?;
        let spool = self.spool.inner().get_mut();
        spool.rewind()?;
        // A level's blocks lie in order, with those of the others between them.
        let mut spool = BufReader::with_capacity(READ_AT_ONCE, spool);
        let mut at = 0;
        let mut headers = Vec::new();
        let mut bytes = Vec::new();
        for Level { reduction, mut blocks, records, .. } in self.levels {
            let data = out.at;
            out.write(&records.to_le_bytes())?;
            for block in &mut blocks {
                bytes.resize(block.size as usize, 0);
                spool.seek_relative(block.offset as i64 - at as i64)?;
                spool.read_exact(&mut bytes)?;
                at = block.offset + u64::from(block.size);
                block.offset = out.at;
                out.write(&bytes)?;
            }
            headers.push(ZoomHeader { reduction, data, index: out.at });
            write_index(out, &blocks, RECORDS_PER_BLOCK as u32)?;
        }
        Ok(headers)
    }
}

impl Level {
    /// Writes the closed bins, contig by contig, since a block lies on one.
    fn flush(
        &mut self,
        spool: &mut Counted<BufWriter<OutFile>>,
        deflate: &mut Deflate,
    ) -> io::Result<()> {
        for records in self.done.chunk_by(|a, b| a.contig == b.contig) {
            let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
            records.iter().for_each(|record| record.write(&mut bytes));
            let bytes = deflate.zlib(&bytes)?;
            let (first, last) = (records[0], records[records.len() - 1]);
            self.blocks.push(Block {
                contig: first.contig,
                start: first.start,
                end: last.end,
                size: bytes.len() as u32,
                offset: spool.at,
            });
            spool.write(bytes)?;
            self.records += records.len() as u32;
        }
        self.done.clear();
        Ok(())
    }
}
