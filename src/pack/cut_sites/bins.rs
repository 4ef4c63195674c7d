//! Counts of one bin: 65,536 bp, like a bin of the signal pack.
//!
//! A bin begins as a list of offsets, 2 bytes a cut in any order. Once the list would take as much
//! as one byte a base it becomes that: a byte a base, and a list of the bases whose byte ran over,
//! each worth 256. So a bin never takes more than 64 KiB, but for 2 bytes in 256 cuts.

use std::mem;

use anyhow::Result;

/// Cuts at each base of one bin.
#[derive(Debug)]
pub enum Bin {
    Listed(Vec<u16>),
    Counted { low: Box<[u8]>, wrapped: Vec<u16> },
}

impl Default for Bin {
    fn default() -> Self {
        Bin::Listed(Vec::new())
    }
}

impl Bin {
    /// Counts one cut; `length` is that of the bin, bp. Returns how many bytes it grew by.
    #[inline]
    pub fn add(&mut self, offset: u16, length: usize) -> usize {
        match self {
            Bin::Listed(list) if list.len() < list.capacity() => {
                list.push(offset);
                0
            }
            Bin::Counted { low, wrapped } => {
                let count = &mut low[usize::from(offset)];
                *count = count.wrapping_add(1);
                if *count > 0 {
                    return 0;
                }
                let before = wrapped.capacity();
                wrapped.push(offset);
                2 * (wrapped.capacity() - before)
            }
            Bin::Listed(_) => self.grow(offset, length),
        }
    }

    #[cold]
    fn grow(&mut self, offset: u16, length: usize) -> usize {
        let before = self.bytes();
        if let Bin::Listed(list) = self {
            let wanted = (2 * list.capacity()).max(16);
            if 2 * wanted <= length {
                list.reserve_exact(wanted - list.len());
                list.push(offset);
            } else {
                let list = mem::take(list);
                *self = Bin::Counted { low: vec![0; length].into(), wrapped: Vec::new() };
                for offset in list.into_iter().chain([offset]) {
                    self.add(offset, length);
                }
            }
        }
        self.bytes().saturating_sub(before)
    }

    /// bytes on the heap
    pub fn bytes(&self) -> usize {
        match self {
            Bin::Listed(list) => 2 * list.capacity(),
            Bin::Counted { low, wrapped } => low.len() + 2 * wrapped.capacity(),
        }
    }

    /// Adds the counts to `sums`, one a base.
    pub fn add_to(&self, sums: &mut [u32]) {
        match self {
            Bin::Listed(list) => list.iter().for_each(|&o| add(sums, o, 1)),
            Bin::Counted { low, wrapped } => {
                sums.iter_mut()
                    .zip(low)
                    .for_each(|(sum, &count)| *sum = sum.saturating_add(count.into()));
                wrapped.iter().for_each(|&o| add(sums, o, 256));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Bin::Listed(list) if list.is_empty())
    }
}

pub fn add(sums: &mut [u32], offset: u16, count: u32) {
    if let Some(sum) = sums.get_mut(usize::from(offset)) {
        *sum = sum.saturating_add(count);
    }
}

/// Passes the bases with a count, in order, and leaves `sums` at zero.
pub fn drain(sums: &mut [u32], mut each: impl FnMut(u16, u32) -> Result<()>) -> Result<()> {
    // Most stretches of a genome are empty, and a block of 32 is checked at once.
    for (block, counts) in sums.chunks_mut(32).enumerate() {
        if counts.iter().fold(0, |any, &count| any | count) == 0 {
            continue;
        }
        for (i, count) in counts.iter_mut().enumerate() {
            if *count > 0 {
                each((32 * block + i) as u16, mem::take(count))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_every_change_of_form() {
        for (length, cuts) in [(1, 600), (33, 20_000), (65_536, 200_000)] {
            let mut bin = Bin::default();
            let mut wanted = vec![0u32; length];
            let mut bytes = 0;
            for i in 0..cuts {
                let offset = if i % 3 == 0 { 0 } else { i * 7919 % length };
                wanted[offset] += 1;
                bytes += bin.add(offset as u16, length);
            }
            assert_eq!(bytes, bin.bytes(), "{length}");
            assert!(matches!(bin, Bin::Counted { .. }));
            let mut sums = vec![0; length];
            bin.add_to(&mut sums);
            assert_eq!(sums, wanted);
            let mut drained = vec![0; length];
            drain(&mut sums, |offset, count| {
                drained[usize::from(offset)] = count;
                Ok(())
            })
            .unwrap();
            assert_eq!(drained, wanted);
            assert!(sums.iter().all(|&c| c == 0));
        }
    }
}
