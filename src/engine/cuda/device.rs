//! What an engine needs of a device: memory by address, launches by kernel name.
//!
//! A launch is plain data, so a training step is a list that can be printed, replayed and compared.

use std::fmt;

use anyhow::Result;
use bytemuck::{NoUninit, Pod, Zeroable};

/// An address in device memory; `Global<T>` in kernels. 0 is no address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable, Default)]
pub struct Address(u64);

impl Address {
    pub const NULL: Self = Self(0);

    pub fn from_raw(address: u64) -> Self {
        Self(address)
    }

    pub fn raw(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on, in the same allocation.
    pub fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// One kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The kernel's symbol.
    pub kernel: &'static str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The kernel's one argument, as its struct lies in memory.
    pub args: Vec<u8>,
    /// What it does in the step ("dilated_3 forward"), for errors and profiles.
    pub label: String,
}

impl Launch {
    pub fn new(
        kernel: &'static str,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        args: &impl NoUninit,
        label: impl Into<String>,
    ) -> Self {
        let args = bytemuck::bytes_of(args).to_vec();
        Self { kernel, grid, block, shared_bytes, args, label: label.into() }
    }
}

/// Launches in order, as a device has prepared them.
#[derive(Debug)]
pub struct LaunchList {
    pub launches: Vec<Launch>,
    /// The device's own number for what it made of them (a captured graph); 0 where it keeps nothing.
    pub handle: usize,
}

/// A GPU, or the host in its place.
///
/// Work is done in the order of the calls. Errors name the kernel, the launch's shape and what the driver or the
/// emulator said.
pub trait Device {
    /// 256-byte aligned memory with unspecified content. Lives until `free`, or as long as the device.
    fn alloc(&mut self, bytes: usize, label: &str) -> Result<Address>;
    /// Waits for the work before it, and gives memory back; `at` is what `alloc` returned.
    fn free(&mut self, at: Address) -> Result<()>;
    /// Bytes that `alloc` may still find.
    fn free_bytes(&self) -> Result<u64>;
    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()>;
    /// Waits for the work before it.
    fn download(&mut self, from: Address, out: &mut [u8]) -> Result<()>;
    fn zero(&mut self, at: Address, bytes: usize) -> Result<()>;
    /// May return before the kernel has run; an error may then come from a later call.
    fn launch(&mut self, launch: &Launch) -> Result<()>;
    fn prepare(&mut self, list: Vec<Launch>) -> Result<LaunchList>;
    fn run(&mut self, list: &LaunchList) -> Result<()>;
    /// Waits for all work.
    fn sync(&mut self) -> Result<()>;
    /// One line for the log.
    fn describe(&self) -> String;
}
