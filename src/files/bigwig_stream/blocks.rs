//! Compressed blocks of a bigWig, and the R-tree that finds them.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

/// Where a compressed block lies, and the bases it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub contig: u32,
    pub start: u32,
    pub end: u32,
    /// Bytes.
    pub size: u32,
    pub offset: u64,
}

/// A file that is written front to back and knows how far.
pub struct Counted<W> {
    out: W,
    pub at: u64,
}

impl<W: Write> Counted<W> {
    pub fn new(out: W) -> Self {
        Self { out, at: 0 }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    pub fn inner(&mut self) -> &mut W {
        &mut self.out
    }
}

/// Makes zlib streams, in memory that is used again.
pub struct Deflate {
    compressor: Compressor,
    buffer: Vec<u8>,
}

impl Deflate {
    pub fn new() -> Self {
        Self { compressor: Compressor::new(CompressionLvl::default()), buffer: Vec::new() }
    }

    /// `bytes` as zlib.
    pub fn zlib(&mut self, bytes: &[u8]) -> io::Result<&[u8]> {
        self.buffer.resize(self.compressor.zlib_compress_bound(bytes.len()), 0);
        match self.compressor.zlib_compress(bytes, &mut self.buffer) {
            Ok(size) => Ok(&self.buffer[..size]),
            // The bound is one.
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Children of a node, and blocks of a leaf.
const FANOUT: usize = 256;
const MAGIC: u32 = 0x2468_ACE0;
const HEADER_BYTES: u64 = 48;
const NODE_BYTES: u64 = 4;
const LEAF_ITEM_BYTES: u64 = 32;
const INNER_ITEM_BYTES: u64 = 24;

/// First and last base that something covers.
#[derive(Clone, Copy)]
struct Bounds {
    first: (u32, u32),
    last: (u32, u32),
}

impl Bounds {
    fn of(blocks: &[Block]) -> Self {
        // Blocks are sorted and do not overlap; an empty tree covers nothing.
        let first = blocks.first().map_or((0, 0), |b| (b.contig, b.start));
        let last = blocks.last().map_or((0, 0), |b| (b.contig, b.end));
        Self { first, last }
    }

    fn bytes(self) -> [u8; 16] {
        let words = [self.first.0, self.first.1, self.last.0, self.last.1];
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Writes the index of `blocks`, which are in coordinate order. `items_per_block` is a hint for
/// readers.
pub fn write_index<W: Write>(
    out: &mut Counted<W>,
    blocks: &[Block],
    items_per_block: u32,
) -> io::Result<()> {
    let data_end = out.at;
    out.write(&MAGIC.to_le_bytes())?;
    out.write(&(FANOUT as u32).to_le_bytes())?;
    out.write(&(blocks.len() as u64).to_le_bytes())?;
    out.write(&Bounds::of(blocks).bytes())?;
    out.write(&data_end.to_le_bytes())?;
    out.write(&items_per_block.to_le_bytes())?;
    out.write(&[0; 4])?;

    // Blocks below one item of each level: 1 in a leaf, 256 in the level above it, ...
    let mut spans = vec![1];
    while blocks.len().div_ceil(spans[spans.len() - 1]) > FANOUT {
        spans.push(spans[spans.len() - 1] * FANOUT);
    }
    // From the root down, so that the offsets of children are known: a level begins where the one
    // above it ends.
    let mut level_start = out.at;
    for &span in spans.iter().rev() {
        let nodes: Vec<&[Block]> = blocks.chunks(span * FANOUT).collect();
        let item_bytes = if span == 1 { LEAF_ITEM_BYTES } else { INNER_ITEM_BYTES };
        let items = blocks.len().div_ceil(span) as u64;
        let level_end = level_start + nodes.len().max(1) as u64 * NODE_BYTES + items * item_bytes;
        let mut child = level_end;
        if nodes.is_empty() {
            out.write(&[1, 0, 0, 0])?;
        }
        for node in nodes {
            let count = node.len().div_ceil(span) as u16;
            out.write(&[u8::from(span == 1), 0])?;
            out.write(&count.to_le_bytes())?;
            for item in node.chunks(span) {
                out.write(&Bounds::of(item).bytes())?;
                if span == 1 {
                    out.write(&item[0].offset.to_le_bytes())?;
                    out.write(&u64::from(item[0].size).to_le_bytes())?;
                } else {
                    out.write(&child.to_le_bytes())?;
                    // The child's own node.
                    let below = span / FANOUT;
                    let bytes = if below == 1 { LEAF_ITEM_BYTES } else { INNER_ITEM_BYTES };
                    child += NODE_BYTES + item.len().div_ceil(below) as u64 * bytes;
                }
            }
        }
        level_start = level_end;
    }
    debug_assert_eq!(out.at, level_start);
    debug_assert!(out.at >= data_end + HEADER_BYTES);
    Ok(())
}
