//! Checks that the HDF5 library lacks: structures that it would walk for ever.
//!
//! Variable-length strings (`model_config`) lie in global heap collections. HDF5 1.14 walks a
//! collection's objects by their sizes, and loops for ever where damage makes a step of 0 bytes
//! (found by mutating model files). It walks trees (of groups and of chunks) by their children without
//! a look at their levels, and runs out of stack where a child leads back. So both are walked here
//! first.
//!
//! Source: HDF5 file format specification 3.0, II.A, III.A.1 and III.E "Global Heap".

/// `GCOL`, version 1, three reserved zeros.
const SIGNATURE: [u8; 8] = *b"GCOL\x01\0\0\0";
/// Signature and the collection's size.
const HEADER: usize = 16;
/// Index u16, reference count u16, 4 reserved, size u64.
const OBJECT: usize = 16;

/// Signature, type u8, level u8, number of children u16, two siblings u64.
const TREE_HEADER: usize = 24;
/// Keys of a group's tree are offsets of names.
const GROUP_KEY: usize = 8;
/// Keys of a tree of chunks: size and filters, then an offset for each axis and one for the type.
const CHUNK_KEYS: std::ops::RangeInclusive<usize> = 2..=33;

/// Where a file is damaged, and what there is.
#[derive(Debug, PartialEq)]
pub struct Damage {
    pub at: usize,
    pub what: &'static str,
}

/// The first place of `file` that HDF5 could not walk to its end.
pub fn first(file: &[u8]) -> Option<Damage> {
    if !has_long_addresses(file) {
        return Some(Damage { at: 0, what: "addresses of another width than 8 bytes" });
    }
    // Collections and trees lie on 8-byte boundaries.
    (0..file.len().saturating_sub(HEADER)).step_by(8).find_map(|at| match &file[at..at + 4] {
        b"GCOL" if file[at..at + 8] == SIGNATURE && !ends(&file[at..]) => {
            Some(Damage { at, what: "a global heap without an end" })
        }
        b"TREE" if !descends(file, at) => Some(Damage { at, what: "a tree that leads back" }),
        _ => None,
    })
}

/// True when the superblock gives addresses and lengths 8 bytes, as every known writer does. What is
/// checked here is read with that width.
fn has_long_addresses(file: &[u8]) -> bool {
    let widths = match file.get(8) {
        Some(0 | 1) => file.get(13..15),
        _ => file.get(9..11),
    };
    widths == Some(&[8, 8])
}

/// True when the children of the tree's node at `at` are nodes one level below.
fn descends(file: &[u8], at: usize) -> bool {
    let Some(&[kind, level, few, many]) = file.get(at + 4..at + 8) else { return false };
    if level == 0 {
        return true;
    }
    let children = usize::from(u16::from_le_bytes([few, many]));
    let is_below = |child: Option<u64>| {
        let child = child.and_then(|child| usize::try_from(child).ok());
        let end = |child: usize| child.checked_add(6);
        let node = child.and_then(|child| file.get(child..end(child)?));
        node.is_some_and(|node| node.starts_with(b"TREE") && node[4..] == [kind, level - 1])
    };
    let all_below = |key: usize| {
        (0..children).all(|i| is_below(u64_at(file, at + TREE_HEADER + key + i * (key + 8))))
    };
    match kind {
        0 => all_below(GROUP_KEY),
        // The number of axes is not said in the node.
        _ => CHUNK_KEYS.into_iter().any(|offsets| all_below(8 + 8 * offsets)),
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn ends(collection: &[u8]) -> bool {
    let size = u64_at(collection, 8).and_then(|n| usize::try_from(n).ok());
    let Some(collection) = size.and_then(|n| collection.get(..n)) else { return false };
    let mut at = HEADER;
    while at + OBJECT <= collection.len() {
        let Some(size) = u64_at(collection, at + 8) else { return false };
        // Object 0 is the free space behind the last object; its size counts its own header.
        let is_free = collection[at] == 0 && collection[at + 1] == 0;
        let step = if is_free {
            Some(size)
        } else {
            size.checked_next_multiple_of(8).and_then(|n| n.checked_add(OBJECT as u64))
        };
        let step = step.and_then(|n| usize::try_from(n).ok());
        match step.and_then(|n| at.checked_add(n)) {
            Some(next) if next > at && next <= collection.len() => at = next,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One object of 5 bytes, then free space up to `size`.
    fn collection(size: usize) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend((size as u64).to_le_bytes());
        bytes.extend([1, 0, 1, 0, 0, 0, 0, 0]);
        bytes.extend(5u64.to_le_bytes());
        bytes.extend(*b"hello\0\0\0");
        let free = size - bytes.len();
        bytes.extend([0; 8]);
        bytes.extend((free as u64).to_le_bytes());
        bytes.resize(size, 0);
        bytes
    }

    /// Where the heap stands behind the start of a file with 8-byte addresses.
    const AT: usize = 24;

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut start = b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08".to_vec();
        start.resize(AT, 0);
        [vec![start], parts.to_vec()].concat().concat()
    }

    fn damage(file: &[u8]) -> Option<usize> {
        first(file).map(|damage| damage.at)
    }

    #[test]
    fn steps_of_zero_and_overflows_are_found() {
        let good = file(&[collection(4096), collection(64)]);
        assert_eq!(damage(&good), None);
        let mut free_of_zero = good.clone();
        free_of_zero[AT + 48..AT + 56].fill(0);
        assert_eq!(damage(&free_of_zero), Some(AT));
        for size in [u64::MAX, u64::MAX - 14, u64::MAX - 23, 1 << 40] {
            let mut overflow = good.clone();
            overflow[AT + 24..AT + 32].copy_from_slice(&size.to_le_bytes());
            assert_eq!(damage(&overflow), Some(AT), "{size}");
        }
        assert_eq!(damage(&good[..2000]), Some(AT), "cut inside the collection");
        let mut short = good;
        short[13] = 4;
        assert_eq!(damage(&short), Some(0), "addresses of 4 bytes");
        assert_eq!(damage(b""), Some(0));
    }

    /// A node with one child, and as many bytes in each key.
    fn node(kind: u8, level: u8, key: usize, child: usize) -> Vec<u8> {
        let mut bytes = b"TREE".to_vec();
        bytes.extend([kind, level, 1, 0]);
        bytes.extend([0xff; 16]);
        bytes.extend(vec![0; key]);
        bytes.extend((child as u64).to_le_bytes());
        bytes.extend(vec![0; key]);
        bytes
    }

    #[test]
    fn trees_that_lead_back_are_found() {
        for (kind, key) in [(0, 8), (1, 8 + 8 * 4)] {
            let size = node(kind, 0, key, 0).len();
            let second = AT + size;
            let leaf = node(kind, 0, key, AT);
            assert_eq!(damage(&file(&[node(kind, 1, key, second), leaf.clone()])), None);
            for child in [AT, second + 8, usize::MAX, 1 << 40] {
                let file = file(&[node(kind, 1, key, child), leaf.clone()]);
                assert_eq!(damage(&file), Some(AT), "{kind} {child}");
            }
            let higher = file(&[node(kind, 1, key, second), node(kind, 1, key, AT)]);
            assert_eq!(damage(&higher), Some(AT));
            let other_kind = file(&[node(kind, 1, key, second), node(1 - kind, 0, key, AT)]);
            assert_eq!(damage(&other_kind), Some(AT));
        }
    }
}
