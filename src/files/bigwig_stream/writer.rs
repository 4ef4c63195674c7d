//! The bigWig itself: header, list of contigs, values, index, overviews.
//!
//! ```text
//! header 64 | zoom headers 10 x 24 | summary 40 | contigs | values | index | zoom data, index | ... | magic
//! ```

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Result;

use super::ValueRun;
use super::blocks::{Block, Counted, Deflate, write_index};
use super::contigs;
use super::zoom::{self, MAX_LEVELS, Record, ZoomHeader, Zooms};
use crate::files::atomic::OutFile;
use crate::input::assembly::Contig;

const MAGIC: u32 = 0x888F_FC26;
const VERSION: u16 = 4;
const HEADER_BYTES: u64 = 64;
const SUMMARY_OFFSET: u64 = HEADER_BYTES + MAX_LEVELS as u64 * 24;
const CONTIGS_OFFSET: u64 = SUMMARY_OFFSET + 40;
/// Values or runs of a block, as UCSC's tools have it.
const VALUES_PER_BLOCK: usize = 1024;
const BLOCK_HEADER_BYTES: usize = 24;
/// A block of runs with start, end and value.
const BED_GRAPH: u8 = 1;
/// A block of runs of one length, with start and value.
const VARIABLE_STEP: u8 = 2;
/// A block of values one base apart, without positions.
const FIXED_STEP: u8 = 3;

/// A bigWig that is being written.
pub struct Writer {
    out: Counted<BufWriter<OutFile>>,
    deflate: Deflate,
    values_offset: u64,
    /// The block of values that may still grow: contig, first base, values.
    open: (u32, u32, Vec<f32>),
    /// The block of runs that may still grow. One of the two is empty.
    runs: (u32, Vec<ValueRun>),
    blocks: Vec<Block>,
    zooms: Zooms,
    summary: Option<Record>,
}

impl Writer {
    /// Writes to `file`, which is empty; a scratch file of a hundredth of its size lies in `folder`.
    pub fn create(file: OutFile, folder: &Path, contigs: &[Contig]) -> Result<Self> {
        let lengths = contigs::lengths(contigs)?;
        let mut out = Counted::new(BufWriter::new(file));
        out.write(&[0; CONTIGS_OFFSET as usize])?;
        contigs::write(&mut out, contigs, &lengths)?;
        let values_offset = out.at;
        out.write(&[0; 8])?;
        let longest = lengths.into_iter().max().unwrap_or(0);
        Ok(Self {
            out,
            deflate: Deflate::new(),
            values_offset,
            open: (0, 0, Vec::with_capacity(VALUES_PER_BLOCK)),
            runs: (0, Vec::with_capacity(VALUES_PER_BLOCK)),
            blocks: Vec::new(),
            zooms: Zooms::create(folder, longest)?,
            summary: None,
        })
    }

    /// Values one a base from `start` on, after all that came before.
    pub fn add(&mut self, contig: u32, start: u32, mut values: &[f32]) -> Result<()> {
        self.close_runs()?;
        let (open_contig, open_start, open) = &self.open;
        if contig != *open_contig || start != open_start + open.len() as u32 {
            self.close_values()?;
            self.open.0 = contig;
            self.open.1 = start;
        }
        while !values.is_empty() {
            let room = VALUES_PER_BLOCK - self.open.2.len();
            let (now, later) = values.split_at(room.min(values.len()));
            self.open.2.extend_from_slice(now);
            if self.open.2.len() == VALUES_PER_BLOCK {
                self.close_values()?;
            }
            values = later;
        }
        Ok(())
    }

    /// Runs in order, after all that came before.
    pub fn add_runs(&mut self, contig: u32, runs: &[ValueRun]) -> Result<()> {
        self.close_values()?;
        if contig != self.runs.0 {
            self.close_runs()?;
            self.runs.0 = contig;
        }
        for &run in runs {
            self.runs.1.push(run);
            if self.runs.1.len() == VALUES_PER_BLOCK {
                self.close_runs()?;
            }
        }
        Ok(())
    }

    /// One value on a whole contig, after all that came before.
    pub fn add_contig(&mut self, contig: u32, length: u32, value: f32) -> Result<()> {
        self.close_values()?;
        self.close_runs()?;
        self.write_runs(contig, &[ValueRun { start: 0, end: length, value }])?;
        self.zooms.add_contig(contig, length, value)?;
        Ok(())
    }

    fn close_runs(&mut self) -> Result<()> {
        if self.runs.1.is_empty() {
            return Ok(());
        }
        let (contig, mut runs) = (self.runs.0, std::mem::take(&mut self.runs.1));
        self.write_runs(contig, &runs)?;
        for run in &runs {
            self.zooms.add_run(contig, run.start, run.end, run.value)?;
        }
        runs.clear();
        self.runs.1 = runs;
        Ok(())
    }

    /// Writes a block of runs.
    fn write_runs(&mut self, contig: u32, runs: &[ValueRun]) -> Result<()> {
        let (start, end) = (runs[0].start, runs[runs.len() - 1].end);
        let length = |run: &ValueRun| run.end - run.start;
        let same = runs.iter().all(|run| length(run) == length(&runs[0]));
        let (kind, span) = if same { (VARIABLE_STEP, length(&runs[0])) } else { (BED_GRAPH, 0) };
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + 12 * runs.len());
        // contig, start, end, step, span
        for word in [contig, start, end, 0, span] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([kind, 0]);
        bytes.extend((runs.len() as u16).to_le_bytes());
        let mut all: Option<Record> = None;
        for run in runs {
            bytes.extend(run.start.to_le_bytes());
            if kind == BED_GRAPH {
                bytes.extend(run.end.to_le_bytes());
            }
            bytes.extend(run.value.to_le_bytes());
            let record = Record::constant(contig, run.start, run.end, run.value);
            match &mut all {
                Some(all) => all.merge(&record),
                None => all = Some(record),
            }
        }
        self.write_block((contig, start, end), &bytes)?;
        self.count(all);
        Ok(())
    }

    fn write_block(&mut self, (contig, start, end): (u32, u32, u32), bytes: &[u8]) -> Result<()> {
        let bytes = self.deflate.zlib(bytes)?;
        let size = bytes.len() as u32;
        self.blocks.push(Block { contig, start, end, size, offset: self.out.at });
        Ok(self.out.write(bytes)?)
    }

    /// Adds a block's record to the summary of the file.
    fn count(&mut self, record: Option<Record>) {
        match (&mut self.summary, record) {
            (Some(summary), Some(record)) => summary.merge(&record),
            (summary, record) => *summary = summary.or(record),
        }
    }

    /// Writes the open block of values; the next one begins behind it.
    fn close_values(&mut self) -> Result<()> {
        if self.open.2.is_empty() {
            return Ok(());
        }
        let (contig, start, mut values) =
            (self.open.0, self.open.1, std::mem::take(&mut self.open.2));
        let end = start + values.len() as u32;
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + 4 * values.len());
        // contig, start, end, step, span
        for word in [contig, start, end, 1, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([FIXED_STEP, 0]);
        bytes.extend((values.len() as u16).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.write_block((contig, start, end), &bytes)?;
        self.zooms.add(contig, start, &values)?;
        self.count(Some(Record::of(contig, start, &values)));
        values.clear();
        self.open = (contig, end, values);
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.close_values()?;
        self.close_runs()?;
        let Self { mut out, values_offset, blocks, zooms, summary, .. } = self;
        let index_offset = out.at;
        write_index(&mut out, &blocks, VALUES_PER_BLOCK as u32)?;
        let zooms = zooms.finish(&mut out)?;
        out.write(&MAGIC.to_le_bytes())?;

        let out = out.inner();
        out.seek(SeekFrom::Start(values_offset))?;
        out.write_all(&(blocks.len() as u64).to_le_bytes())?;
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&header(&zooms, values_offset, index_offset))?;
        if let Some(Record { valid, min, max, sum, sum_squares, .. }) = summary {
            out.seek(SeekFrom::Start(SUMMARY_OFFSET))?;
            out.write_all(&valid.to_le_bytes())?;
            for value in [f64::from(min), f64::from(max), sum, sum_squares] {
                out.write_all(&value.to_le_bytes())?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Header and zoom headers.
fn header(zooms: &[ZoomHeader], values_offset: u64, index_offset: u64) -> Vec<u8> {
    let block_bytes = zoom::BLOCK_BYTES.max(BLOCK_HEADER_BYTES + 12 * VALUES_PER_BLOCK);
    let mut bytes = Vec::with_capacity(SUMMARY_OFFSET as usize);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((zooms.len() as u16).to_le_bytes());
    bytes.extend(CONTIGS_OFFSET.to_le_bytes());
    bytes.extend(values_offset.to_le_bytes());
    bytes.extend(index_offset.to_le_bytes());
    // Fields and autoSql: bigBed only.
    bytes.extend([0; 12]);
    bytes.extend(SUMMARY_OFFSET.to_le_bytes());
    bytes.extend((block_bytes as u32).to_le_bytes());
    bytes.extend([0; 8]);
    debug_assert_eq!(bytes.len() as u64, HEADER_BYTES);
    for zoom in zooms {
        bytes.extend(zoom.reduction.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(zoom.data.to_le_bytes());
        bytes.extend(zoom.index.to_le_bytes());
    }
    bytes
}
