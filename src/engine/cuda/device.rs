//! What an engine needs of a device: memory by address, launches by kernel name.
//!
//! A launch is plain data, so a training step is a schedule that can be printed, replayed and compared.

use std::borrow::Cow;
use std::fmt;

use anyhow::Result;
use bytemuck::{NoUninit, Pod, Zeroable};

use super::ops::Floor;
use super::ops::hopper::Core;
use super::schedule::Schedule;

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

/// A tensor of 16-bit elements, `[batch, length, channels]`, as a Hopper GPU copies boxes of it: 64 channels of `rows`
/// rows, swizzled over 128 bytes (`kernels/prims/hopper.cuh`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMap {
    pub address: Address,
    /// a multiple of 64
    pub channels: usize,
    pub length: usize,
    pub batch: usize,
    pub rows: usize,
    pub walk: Walk,
}

/// Which rows follow each other in a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Rows of the flat tensor `[batch * length, channels]`.
    Rows,
    /// Positions from `lower` to `length - 1 + upper` of an example, then of the next (im2col).
    Positions { lower: i32, upper: i32 },
}

impl TensorMap {
    /// Bytes of one in a kernel's arguments, whatever the device.
    pub const BYTES: usize = 128;

    /// Panics when the copy engine could not take it.
    pub fn check(&self) {
        assert!(self.channels > 0 && self.channels.is_multiple_of(64), "{self:?}: whole boxes");
        assert!(
            (1..=256).contains(&self.rows) && self.address.raw().is_multiple_of(16),
            "{self:?}"
        );
        if let Walk::Positions { lower, upper } = self.walk {
            let corner = |c: i32| i16::try_from(c).is_ok();
            assert!(corner(lower) && corner(upper), "{self:?}: corners are 16 bits");
            let walk = self.length as i64 + i64::from(upper) - i64::from(lower);
            assert!(walk > 0, "{self:?}: nowhere to walk");
        }
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
    /// The struct's first members, 128 bytes each, which the device fills in.
    pub tensor_maps: Vec<TensorMap>,
    /// What it does in the step ("dilated_3 forward"), for errors and profiles.
    pub label: String,
    /// What it has to do whatever its kernel.
    pub floor: Floor,
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
        Self {
            kernel,
            grid,
            block,
            shared_bytes,
            args,
            tensor_maps: Vec::new(),
            label: label.into(),
            floor: Floor::NONE,
        }
    }

    pub fn with_floor(mut self, floor: Floor) -> Self {
        self.floor = floor;
        self
    }

    /// Puts tensor maps before the arguments, as a struct aligned to 64 bytes has them.
    pub fn with_tensor_maps(mut self, maps: Vec<TensorMap>) -> Self {
        let mut args = vec![0; TensorMap::BYTES * maps.len()];
        args.append(&mut self.args);
        args.resize(args.len().next_multiple_of(64), 0);
        self.args = args;
        self.tensor_maps = maps;
        self
    }

    /// The arguments with tensor maps as `encode` writes them.
    pub fn encoded_args(
        &self,
        mut encode: impl FnMut(&TensorMap) -> Result<[u8; TensorMap::BYTES]>,
    ) -> Result<Cow<'_, [u8]>> {
        if self.tensor_maps.is_empty() {
            return Ok(Cow::Borrowed(&self.args));
        }
        let mut args = self.args.clone();
        for (map, to) in self.tensor_maps.iter().zip(args.chunks_exact_mut(TensorMap::BYTES)) {
            map.check();
            to.copy_from_slice(&encode(map)?);
        }
        Ok(Cow::Owned(args))
    }
}

/// A schedule as a device has prepared it.
#[derive(Debug)]
pub struct Prepared {
    pub schedule: Schedule,
    /// The device's own number for what it made of it (a graph); 0 where it keeps nothing.
    pub handle: usize,
}

/// Where memory lies. Devices in one place can use each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The GPU of this number.
    Gpu(u32),
    /// The memory of an emulated device.
    Emulated(u64),
}

/// Memory that belongs to no device any more: it is given back when this is dropped.
pub struct Detached(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Detached {
    pub fn new(free: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(free)))
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(free) = self.0.take() {
            free();
        }
    }
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
    /// Takes memory from the device, which must have no work under way that uses it when it is given back.
    fn detach(&mut self, at: Address) -> Result<Detached>;
    fn location(&self) -> Location;
    /// Bytes of the whole device, whoever uses them.
    fn memory_bytes(&self) -> u64;
    /// Bytes that `alloc` may still find.
    fn free_bytes(&self) -> Result<u64>;
    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()>;
    /// Waits for the work before it.
    fn download(&mut self, from: Address, out: &mut [u8]) -> Result<()>;
    fn zero(&mut self, at: Address, bytes: usize) -> Result<()>;
    /// May return before the kernel has run; an error may then come from a later call.
    fn launch(&mut self, launch: &Launch) -> Result<()>;
    fn prepare(&mut self, schedule: Schedule) -> Result<Prepared>;
    fn run(&mut self, prepared: &Prepared) -> Result<()>;
    /// Waits for all work.
    fn sync(&mut self) -> Result<()>;
    /// The fastest kernels for the dilated layers that fit this device.
    fn core(&self) -> Core;
    /// One line for the log.
    fn describe(&self) -> String;
}
