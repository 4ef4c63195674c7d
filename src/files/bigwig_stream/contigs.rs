//! The list of contigs of a bigWig, a tree of names.

use std::io::{self, Write};

use super::blocks::Counted;
use crate::error::Problem;
use crate::files::bigwig::length_in_bigwig;
use crate::input::assembly::Contig;

const MAGIC: u32 = 0x78CA_8C91;
/// Contigs of a leaf, as its count has 16 bits. A list that one leaf can hold stays in the order
/// given; a larger one is a tree in the order of names.
const LARGEST_LEAF: usize = u16::MAX as usize;
/// Children of a node of a tree, and contigs of its leaves.
const FANOUT: usize = 256;
/// Number and length, or the offset of a child.
const VALUE_BYTES: usize = 8;
const NODE_BYTES: usize = 4;

/// Lengths as a bigWig has them.
///
/// Errors: a contig of 2^32 bp or more.
pub fn lengths(contigs: &[Contig]) -> Result<Vec<u32>, Problem> {
    let length = |c: &Contig| length_in_bigwig(c.length, || format!("contig {}", c.name));
    contigs.iter().map(length).collect()
}

/// Writes the list; contigs are numbered in the order given.
pub fn write<W: Write>(
    out: &mut Counted<W>,
    contigs: &[Contig],
    lengths: &[u32],
) -> io::Result<()> {
    let key_bytes = contigs.iter().map(|contig| contig.name.len()).max().unwrap_or(0).max(1);
    let mut order: Vec<usize> = (0..contigs.len()).collect();
    let fanout = if contigs.len() <= LARGEST_LEAF {
        contigs.len().max(FANOUT)
    } else {
        order.sort_unstable_by_key(|&id| &contigs[id].name);
        FANOUT
    };
    out.write(&MAGIC.to_le_bytes())?;
    out.write(&(fanout as u32).to_le_bytes())?;
    out.write(&(key_bytes as u32).to_le_bytes())?;
    out.write(&(VALUE_BYTES as u32).to_le_bytes())?;
    out.write(&(contigs.len() as u64).to_le_bytes())?;
    out.write(&[0; 8])?;
    let key = |id: usize| {
        let mut key = contigs[id].name.as_bytes().to_vec();
        key.resize(key_bytes, 0);
        key
    };

    // Contigs below one item of each level, from the leaves up.
    let mut spans = vec![1];
    while order.len().div_ceil(spans[spans.len() - 1]) > fanout {
        spans.push(spans[spans.len() - 1] * fanout);
    }
    // From the root down, a level behind the one above it, so that offsets of children are known.
    let item_bytes = key_bytes + VALUE_BYTES;
    for &span in spans.iter().rev() {
        let nodes = order.len().div_ceil(span * fanout).max(1);
        let level_bytes = nodes * NODE_BYTES + order.len().div_ceil(span) * item_bytes;
        let mut child = out.at + level_bytes as u64;
        if order.is_empty() {
            out.write(&[1, 0, 0, 0])?;
        }
        for node in order.chunks(span * fanout) {
            out.write(&[u8::from(span == 1), 0])?;
            out.write(&(node.len().div_ceil(span) as u16).to_le_bytes())?;
            for item in node.chunks(span) {
                out.write(&key(item[0]))?;
                if span == 1 {
                    out.write(&(item[0] as u32).to_le_bytes())?;
                    out.write(&lengths[item[0]].to_le_bytes())?;
                } else {
                    out.write(&child.to_le_bytes())?;
                    // The child's own node.
                    let items = item.len().div_ceil(span / fanout);
                    child += (NODE_BYTES + items * item_bytes) as u64;
                }
            }
        }
    }
    Ok(())
}
