//! Is the structure of a bigWig sound? Checked before bigtools follows its offsets.
//!
//! Walks the header, the chromosome tree and the index of data blocks with every offset and count
//! held against the file's length; a few reads per 256 blocks. Limits make sure that a tree that
//! leads back into itself ends, and that no count asks for memory that the file cannot fill.
//! Source of the layout: UCSC's bbiFile.h, bPlusTree.h, cirTree.h.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::Problem;

const BIGWIG: u32 = 0x888f_fc26;
const CHROM_TREE: u32 = 0x78ca_8c91;
const INDEX_TREE: u32 = 0x2468_ace0;
/// A block holds at most 65,535 items of 12 bytes; anything near this is a damaged number.
const LARGEST_BLOCK: u32 = 16 << 20;
const DEEPEST_TREE: usize = 32;
/// Longest contig name in bytes.
const LONGEST_NAME: u32 = 4096;

/// True when the file begins as a bigWig does.
pub fn is_bigwig(file: &File) -> std::io::Result<bool> {
    let mut magic = [0; 4];
    match file.read_exact_at(&mut magic, 0) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
        Ok(()) => Ok([u32::from_le_bytes(magic), u32::from_be_bytes(magic)].contains(&BIGWIG)),
    }
}

/// Checks the structure of a bigWig.
pub fn check(file: &File) -> Result<(), Problem> {
    let length = file.metadata().map_err(|e| unreadable(&e))?.len();
    let mut start = [0; 64];
    if length < 64 {
        return Err(Problem::new("bigWig is truncated: its header is not whole")
            .fix("copy or make the file again"));
    }
    file.read_exact_at(&mut start, 0).map_err(|e| unreadable(&e))?;
    let little = start[..4] == BIGWIG.to_le_bytes();
    let bytes = Bytes { file, length, little };
    let damaged = |reason| {
        Problem::new(format!("bigWig is truncated or damaged: {reason}"))
            .fix("copy or make the file again")
    };
    if bytes.is_header_only(&start).map_err(damaged)? {
        return Err(Problem::new("bigWig has no values: only its header was written")
            .fix("check the sample that it was made of; programs leave such a file when there are no reads"));
    }
    bytes.check().map_err(damaged)
}

fn unreadable(error: &std::io::Error) -> Problem {
    Problem::new(format!("cannot read file: {error}"))
}

struct Bytes<'f> {
    file: &'f File,
    length: u64,
    little: bool,
}

impl Bytes<'_> {
    /// True of a header without an index and without a block, as pyBigWig closes a file that no
    /// entry was added to.
    fn is_header_only(&self, header: &[u8; 64]) -> Result<bool, String> {
        if self.u64(header, 24) != 0 {
            return Ok(false);
        }
        let blocks = self.at(self.u64(header, 16), 8, "data")?;
        Ok(self.u64(&blocks, 0) == 0)
    }

    fn check(&self) -> Result<(), String> {
        let header = self.at(0, 64, "header")?;
        let zooms = u64::from(self.u16(&header, 6));
        self.inside(64, zooms * 24, "zoom headers")?;
        if self.u32(&header, 52) > LARGEST_BLOCK {
            return Err(format!("blocks of {} bytes", self.u32(&header, 52)));
        }
        self.chromosomes(self.u64(&header, 8))?;
        self.index(self.u64(&header, 24))
    }

    fn chromosomes(&self, offset: u64) -> Result<(), String> {
        let header = self.at(offset, 32, "chromosome list")?;
        let key = self.u32(&header, 8);
        let count = self.u64(&header, 16);
        if self.u32(&header, 0) != CHROM_TREE || self.u32(&header, 12) != 8 {
            return Err("its chromosome list is not where its header says".to_string());
        }
        if key == 0 || key > LONGEST_NAME || count > self.length / (u64::from(key) + 8) {
            return Err(format!("chromosome list with {count} names of {key} bytes"));
        }
        let item = key as usize + 8;
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        let mut nodes = vec![(offset + 32, 0)];
        let mut visited = 0;
        while let Some((node, depth)) = nodes.pop() {
            let (leaf, items) = self.node(node, item, item, "chromosome list")?;
            visited += 1;
            if depth > DEEPEST_TREE || visited > 2 * count + 2 {
                return Err("its chromosome list leads back into itself".to_string());
            }
            for item in items.chunks_exact(item) {
                let value = &item[key as usize..];
                if !leaf {
                    nodes.push((self.u64(value, 0), depth + 1));
                    continue;
                }
                let name = item[..key as usize].split(|&b| b == 0).next().unwrap_or_default();
                if name.is_empty() || std::str::from_utf8(name).is_err() {
                    return Err("a chromosome name is empty or no text".to_string());
                }
                if !names.insert(name.to_vec()) || !ids.insert(self.u32(value, 0)) {
                    let name = String::from_utf8_lossy(name);
                    return Err(format!("chromosome {name} is listed twice"));
                }
            }
        }
        if names.len() as u64 != count {
            return Err(format!("{} chromosomes, its header says {count}", names.len()));
        }
        Ok(())
    }

    fn index(&self, offset: u64) -> Result<(), String> {
        let header = self.at(offset, 48, "index")?;
        if self.u32(&header, 0) != INDEX_TREE {
            return Err("its index is not where its header says".to_string());
        }
        let mut nodes = vec![(offset + 48, 0)];
        // Each block and each node fills bytes of the file, which bounds an honest index.
        let (mut blocks, mut bytes, mut visited) = (0u64, 0u64, 0u64);
        while let Some((node, depth)) = nodes.pop() {
            let (leaf, items) = self.node(node, 32, 24, "index")?;
            visited += 1;
            for item in items.chunks_exact(if leaf { 32 } else { 24 }) {
                let place = self.u64(item, 16);
                if !leaf {
                    nodes.push((place, depth + 1));
                    continue;
                }
                let size = self.u64(item, 24);
                self.inside(place, size, "data")?;
                if size > 2 * u64::from(LARGEST_BLOCK) {
                    return Err(format!("a block of {size} bytes"));
                }
                blocks += 1;
                bytes = bytes.saturating_add(size);
            }
            let limit = self.length / 24;
            if depth > DEEPEST_TREE
                || nodes.len() as u64 > limit
                || visited > limit
                || blocks > limit
                || bytes > self.length
            {
                return Err("its index leads back into itself".to_string());
            }
        }
        Ok(())
    }

    /// Is it a leaf, and the bytes of its items.
    fn node(
        &self,
        at: u64,
        leaf_item: usize,
        inner_item: usize,
        what: &str,
    ) -> Result<(bool, Vec<u8>), String> {
        let header = self.at(at, 4, what)?;
        let leaf = match header[0] {
            0 => false,
            1 => true,
            other => return Err(format!("node type {other} in its {what}")),
        };
        let count = usize::from(self.u16(&header, 2));
        let items = self.at(at + 4, count * if leaf { leaf_item } else { inner_item }, what)?;
        Ok((leaf, items))
    }

    fn inside(&self, at: u64, n: u64, what: &str) -> Result<(), String> {
        match at.checked_add(n) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(format!("its {what} lies beyond its end ({} bytes)", self.length)),
        }
    }

    fn at(&self, at: u64, n: usize, what: &str) -> Result<Vec<u8>, String> {
        self.inside(at, n as u64, what)?;
        let mut bytes = vec![0; n];
        self.file.read_exact_at(&mut bytes, at).map_err(|e| format!("{e} in its {what}"))?;
        Ok(bytes)
    }

    fn u16(&self, bytes: &[u8], at: usize) -> u16 {
        let b = [bytes[at], bytes[at + 1]];
        if self.little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let b = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if self.little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) }
    }

    fn u64(&self, bytes: &[u8], at: usize) -> u64 {
        let (a, b) = (u64::from(self.u32(bytes, at)), u64::from(self.u32(bytes, at + 4)));
        if self.little { a | b << 32 } else { a << 32 | b }
    }
}
