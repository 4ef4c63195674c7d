//! A check that the HDF5 library lacks: global heaps whose object list never ends.
//!
//! Variable-length strings (`model_config`) lie in global heap collections. HDF5 1.14 walks a
//! collection's objects by their sizes, and loops for ever where damage makes a step of 0 bytes
//! (found by mutating model files). So the collections are walked here first.
//!
//! Source: HDF5 file format specification 3.0, III.E "Global Heap".

/// `GCOL`, version 1, three reserved zeros.
const SIGNATURE: [u8; 8] = *b"GCOL\x01\0\0\0";
/// Signature and the collection's size.
const HEADER: usize = 16;
/// Index u16, reference count u16, 4 reserved, size u64.
const OBJECT: usize = 16;

/// Offset of the first collection in `file` that HDF5 could not walk to its end.
pub fn first_endless(file: &[u8]) -> Option<usize> {
    // Collections are at least 4 KiB and lie on 8-byte boundaries.
    (0..file.len().saturating_sub(HEADER))
        .step_by(8)
        .filter(|&at| file[at..at + 8] == SIGNATURE)
        .find(|&at| !ends(&file[at..]))
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

    #[test]
    fn steps_of_zero_and_overflows_are_found() {
        let good = [vec![7; 24], collection(4096), collection(64)].concat();
        assert_eq!(first_endless(&good), None);
        assert_eq!(first_endless(&[]), None);
        assert_eq!(first_endless(b"GCOL"), None);
        let mut free_of_zero = good.clone();
        free_of_zero[24 + 48..24 + 56].fill(0);
        assert_eq!(first_endless(&free_of_zero), Some(24));
        for size in [u64::MAX, u64::MAX - 14, u64::MAX - 23, 1 << 40] {
            let mut overflow = good.clone();
            overflow[24 + 24..24 + 32].copy_from_slice(&size.to_le_bytes());
            assert_eq!(first_endless(&overflow), Some(24), "{size}");
        }
        assert_eq!(first_endless(&good[..2000]), Some(24), "cut inside the collection");
    }
}
