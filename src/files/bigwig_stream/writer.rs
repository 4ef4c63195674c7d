//! The bigWig itself: header, list of contigs, values, index, overviews.
//!
//! ```text
//! header 64 | zoom headers 10 x 24 | summary 40 | contigs | values | index | zoom data, index | ... | magic
//! ```

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Result;

use super::blocks::{Block, Counted, compressed, write_index};
use super::zoom::{self, MAX_LEVELS, Record, ZoomHeader, Zooms};
use crate::error::Problem;
use crate::files::bigwig::length_in_bigwig;

const MAGIC: u32 = 0x888F_FC26;
const VERSION: u16 = 4;
const CONTIGS_MAGIC: u32 = 0x78CA_8C91;
const HEADER_BYTES: u64 = 64;
const SUMMARY_OFFSET: u64 = HEADER_BYTES + MAX_LEVELS as u64 * 24;
const CONTIGS_OFFSET: u64 = SUMMARY_OFFSET + 40;
/// Values of a block, as UCSC's tools have it.
const VALUES_PER_BLOCK: usize = 1024;
const BLOCK_HEADER_BYTES: usize = 24;
/// A block of values one base apart, without positions.
const FIXED_STEP: u8 = 3;

/// A bigWig that is being written.
pub struct Writer {
    out: Counted<BufWriter<File>>,
    values_offset: u64,
    /// The block that may still grow: contig, first base, values.
    open: (u32, u32, Vec<f32>),
    blocks: Vec<Block>,
    zooms: Zooms,
    summary: Option<Record>,
}

impl Writer {
    pub fn create(path: &Path, contigs: &[(String, u64)]) -> Result<Self> {
        let mut lengths = Vec::with_capacity(contigs.len());
        for (name, length) in contigs {
            lengths.push(length_in_bigwig(*length, || format!("contig {name}"))?);
        }
        let count = u16::try_from(contigs.len()).map_err(|_| {
            Problem::new(format!("{} contigs, a bigWig lists at most 65,535", contigs.len()))
                .fix("list the contigs that have regions in a file of chromosome sizes (-c)")
        })?;
        let mut out = Counted::new(BufWriter::new(File::create(path)?));
        out.write(&[0; CONTIGS_OFFSET as usize])?;
        // A tree of one leaf. Contigs are numbered, and listed, in the order given.
        let key_bytes = contigs.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(1);
        out.write(&CONTIGS_MAGIC.to_le_bytes())?;
        out.write(&u32::from(count.max(256)).to_le_bytes())?;
        out.write(&(key_bytes as u32).to_le_bytes())?;
        out.write(&8u32.to_le_bytes())?;
        out.write(&u64::from(count).to_le_bytes())?;
        out.write(&[0; 8])?;
        out.write(&[1, 0])?;
        out.write(&count.to_le_bytes())?;
        for (((name, _), length), id) in contigs.iter().zip(&lengths).zip(0u32..) {
            let mut key = name.as_bytes().to_vec();
            key.resize(key_bytes, 0);
            out.write(&key)?;
            out.write(&id.to_le_bytes())?;
            out.write(&length.to_le_bytes())?;
        }
        let values_offset = out.at;
        out.write(&[0; 8])?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let longest = lengths.into_iter().max().unwrap_or(0);
        Ok(Self {
            out,
            values_offset,
            open: (0, 0, Vec::with_capacity(VALUES_PER_BLOCK)),
            blocks: Vec::new(),
            zooms: Zooms::create(folder.unwrap_or(Path::new(".")), longest)?,
            summary: None,
        })
    }

    /// Values one a base from `start` on, after all that came before.
    pub fn add(&mut self, contig: u32, start: u32, mut values: &[f32]) -> Result<()> {
        let (open_contig, open_start, open) = &self.open;
        if contig != *open_contig || start != open_start + open.len() as u32 {
            self.close_block()?;
            self.open.0 = contig;
            self.open.1 = start;
        }
        while !values.is_empty() {
            let room = VALUES_PER_BLOCK - self.open.2.len();
            let (now, later) = values.split_at(room.min(values.len()));
            self.open.2.extend_from_slice(now);
            if self.open.2.len() == VALUES_PER_BLOCK {
                self.close_block()?;
            }
            values = later;
        }
        Ok(())
    }

    /// Writes the open block; the next one begins behind it.
    fn close_block(&mut self) -> Result<()> {
        let (contig, start, values) = &mut self.open;
        if values.is_empty() {
            return Ok(());
        }
        let (contig, start, count) = (*contig, *start, values.len());
        let end = start + count as u32;
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + 4 * count);
        // contig, start, end, step, span
        for word in [contig, start, end, 1, 1] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([FIXED_STEP, 0]);
        bytes.extend((count as u16).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        let bytes = compressed(&bytes)?;
        let size = bytes.len() as u32;
        self.blocks.push(Block { contig, start, end, size, offset: self.out.at });
        self.out.write(&bytes)?;
        self.zooms.add(contig, start, values)?;
        let record = Record::of(contig, start, values);
        match &mut self.summary {
            Some(summary) => summary.merge(&record),
            None => self.summary = Some(record),
        }
        values.clear();
        self.open.1 = end;
        Ok(())
    }

    pub fn finish(mut self) -> Result<()> {
        self.close_block()?;
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
    let block_bytes = zoom::BLOCK_BYTES.max(BLOCK_HEADER_BYTES + 4 * VALUES_PER_BLOCK);
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
