//! The device memory of an engine: every buffer named and sized before any is asked for.

use std::fmt;
use std::ops::Index;

use anyhow::Result;

use super::device::{Address, Detached, Device};
use crate::console::grouped;

/// A planned buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

#[derive(Clone, Debug)]
struct Buffer {
    label: String,
    bytes: usize,
    address: Address,
}

/// Buffers in the order they were planned.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    buffers: Vec<Buffer>,
    allocated: bool,
}

impl Arena {
    /// Plans a buffer of `count` elements of `T`.
    pub fn plan<T>(&mut self, label: impl Into<String>, count: usize) -> Slot {
        self.plan_bytes(label, count * size_of::<T>())
    }

    pub fn plan_bytes(&mut self, label: impl Into<String>, bytes: usize) -> Slot {
        assert!(!self.allocated, "an arena is planned before it is allocated");
        self.buffers.push(Buffer { label: label.into(), bytes, address: Address::NULL });
        Slot(self.buffers.len() - 1)
    }

    /// Asks the device for everything that is planned, which then lives as long as the device.
    pub fn allocate(&mut self, device: &mut impl Device) -> Result<()> {
        for buffer in &mut self.buffers {
            buffer.address = device.alloc(buffer.bytes, &buffer.label)?;
        }
        self.allocated = true;
        Ok(())
    }

    /// Gives everything back.
    pub fn free(self, device: &mut impl Device) -> Result<()> {
        if self.allocated {
            for buffer in self.buffers {
                device.free(buffer.address)?;
            }
        }
        Ok(())
    }

    /// Takes everything from the device.
    pub fn detach(&self, device: &mut impl Device) -> Result<Vec<Detached>> {
        self.buffers.iter().map(|buffer| device.detach(buffer.address)).collect()
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.bytes).sum()
    }

    /// Bytes of one buffer.
    pub fn bytes_of(&self, slot: Slot) -> usize {
        self.buffers[slot.0].bytes
    }
}

impl Index<Slot> for Arena {
    type Output = Address;

    fn index(&self, slot: Slot) -> &Address {
        assert!(self.allocated, "an arena is allocated before it is used");
        &self.buffers[slot.0].address
    }
}

/// The plan: a line a buffer, and the sum.
impl fmt::Display for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for buffer in &self.buffers {
            writeln!(f, "{:>14} {}", grouped(buffer.bytes as u64), buffer.label)?;
        }
        write!(f, "{:>14} bytes in {} buffers", grouped(self.bytes() as u64), self.buffers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_can_be_read() {
        let mut arena = Arena::default();
        arena.plan::<f32>("logits [2, 1000]", 2000);
        arena.plan::<u8>("codes [2, 2114]", 4228);
        assert_eq!(
            arena.to_string(),
            "         8,000 logits [2, 1000]\n         4,228 codes [2, 2114]\n        \
             12,228 bytes in 2 buffers"
        );
    }
}
