//! A device without a GPU: the kernels' own sources, compiled for the host (`kernels/host`).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytemuck::{Pod, Zeroable};

use super::device::{Address, Detached, Device, Launch, Location, Prepared, TensorMap, Walk};
use super::ops::hopper::Core;
use super::schedule::Schedule;
use crate::error::Problem;

/// When an asynchronous copy's bytes arrive in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Delivery {
    /// A copy lands with its instruction.
    AtOnce = 0,
    /// A copy lands at any time, in any order.
    Random = 1,
    /// A copy lands only in the wait that demands it.
    Starved = 2,
}

/// How to run kernels. Results of a correct kernel do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// None: plain speed. Blocks run on several OS threads, threads in a fixed order, copies arrive at once; of
    /// checks, those of divergence and of red zones remain, and a wild access is a crash of this process.
    pub checks: Option<Checks>,
    /// Threads of the machine where nothing is checked; 0 means all it has.
    pub os_threads: u32,
}

/// What to check beyond divergence, bounds and alignment, and under which schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Seed of the order in which threads and blocks run.
    pub seed: u64,
    /// When asynchronous copies arrive.
    pub delivery: Delivery,
    /// Report accesses that nothing orders.
    pub races: bool,
    /// Report reads of bytes that nothing has written. Otherwise they are NaN.
    pub uninitialised: bool,
}

/// What a device says it has, and has free: enough for small models, and no more than this host has.
const MEMORY_BYTES: u64 = 1 << 30;

impl Options {
    pub fn checked(seed: u64, delivery: Delivery) -> Self {
        let checks = Checks { seed, delivery, races: true, uninitialised: false };
        Self { checks: Some(checks), os_threads: 1 }
    }

    pub fn fast() -> Self {
        Self { checks: None, os_threads: 0 }
    }
}

/// A kernel that the emulator holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmulatedKernel {
    pub name: String,
    /// Size of its argument struct.
    pub args_bytes: usize,
    /// Threads of its largest block.
    pub max_threads: u32,
}

/// All kernels that the emulator holds, by name. Those of `kernels/host/planted` are the emulator's own tests.
pub fn kernels() -> Vec<EmulatedKernel> {
    let mut kernels = Vec::new();
    let (mut name, mut args_bytes, mut max_threads) = (ptr::null(), 0, 0);
    // SAFETY: the out pointers are valid, and the names are static strings of the kernels' objects.
    unsafe {
        while cbp_emu_kernel(kernels.len(), &mut name, &mut args_bytes, &mut max_threads) == 1 {
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            kernels.push(EmulatedKernel { name, args_bytes: args_bytes as usize, max_threads });
        }
    }
    kernels
}

/// An open device of the emulator: its memory.
struct Open {
    handle: NonNull<Handle>,
    uploaded_bytes: u64,
}

// SAFETY: the handle is owned and every call on it goes through a lock; the runtime keeps no state of the calling
// thread between calls.
unsafe impl Send for Open {}

impl Open {
    fn call(&self, call: impl FnOnce(*mut Handle) -> c_int) -> Result<()> {
        if call(self.handle.as_ptr()) == 0 {
            return Ok(());
        }
        // SAFETY: the handle is open; its text lives until the next call on it.
        let text = unsafe { CStr::from_ptr(cbp_emu_error(self.handle.as_ptr())) };
        Err(Problem::new(format!("emulated device: {}", text.to_string_lossy())).into())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: opened in `EmulatedDevice::new`, closed only here.
        unsafe { cbp_emu_close(self.handle.as_ptr()) }
    }
}

#[derive(Clone)]
pub struct EmulatedDevice {
    open: Arc<Mutex<Open>>,
    options: Options,
    /// Seed of the order of a schedule's launches; `None`: as they were added.
    order: Option<u64>,
    core: Core,
    free_bytes: u64,
}

impl EmulatedDevice {
    pub fn new(options: Options) -> Self {
        let os_threads = match options.os_threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            n => n,
        };
        let raw = match options.checks {
            Some(checks) => RawOptions {
                seed: checks.seed,
                checked: 1,
                delivery: checks.delivery as u32,
                races: checks.races.into(),
                uninitialised: checks.uninitialised.into(),
                os_threads,
            },
            None => RawOptions { os_threads, ..RawOptions::default() },
        };
        // SAFETY: the options are copied during the call.
        let handle =
            NonNull::new(unsafe { cbp_emu_open(&raw) }).expect("memory for an emulated device");
        let order = options.checks.map(|checks| checks.seed);
        let open = Arc::new(Mutex::new(Open { handle, uploaded_bytes: 0 }));
        Self { open, options, order, core: Core::Portable, free_bytes: MEMORY_BYTES }
    }

    /// The device as one that `core` fits.
    pub fn with_core(mut self, core: Core) -> Self {
        self.core = core;
        self
    }

    /// Runs a schedule in one of the orders that it allows, which differ from seed to seed, as it does with checks.
    pub fn with_order(mut self, seed: u64) -> Self {
        self.order = Some(seed);
        self
    }

    /// Says that it has so much memory free, whatever it has given away.
    pub fn with_free_bytes(mut self, free_bytes: u64) -> Self {
        self.free_bytes = free_bytes;
        self
    }

    /// Bytes that were uploaded, by this device and its clones, which share its memory.
    pub fn uploaded_bytes(&self) -> u64 {
        self.open().uploaded_bytes
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, call: impl FnOnce(*mut Handle) -> c_int) -> Result<()> {
        self.open().call(call)
    }
}

impl Device for EmulatedDevice {
    fn alloc(&mut self, bytes: usize, label: &str) -> Result<Address> {
        let label = c_string(label);
        let mut address = 0;
        // SAFETY: the handle is open, the label is copied during the call.
        self.call(|handle| unsafe { cbp_emu_alloc(handle, bytes, label.as_ptr(), &mut address) })?;
        Ok(Address::from_raw(address))
    }

    /// Later use of the memory is reported.
    fn free(&mut self, at: Address) -> Result<()> {
        // SAFETY: the handle is open.
        self.call(|handle| unsafe { cbp_emu_free(handle, at.raw()) })
    }

    fn detach(&mut self, at: Address) -> Result<Detached> {
        let open = Arc::clone(&self.open);
        Ok(Detached::new(move || {
            let open = open.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the handle is open. An error has nobody to tell.
            let _ = open.call(|handle| unsafe { cbp_emu_free(handle, at.raw()) });
        }))
    }

    fn location(&self) -> Location {
        Location::Emulated(Arc::as_ptr(&self.open) as u64)
    }

    fn memory_bytes(&self) -> u64 {
        MEMORY_BYTES
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(self.free_bytes)
    }

    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        // SAFETY: the handle is open, the runtime checks the range of `to` and reads `bytes` only.
        self.call(|handle| unsafe {
            cbp_emu_upload(handle, to.raw(), bytes.as_ptr().cast(), bytes.len())
        })?;
        self.open().uploaded_bytes += bytes.len() as u64;
        Ok(())
    }

    fn download(&mut self, from: Address, out: &mut [u8]) -> Result<()> {
        // SAFETY: the handle is open, the runtime checks the range of `from` and fills `out` only.
        self.call(|handle| unsafe {
            cbp_emu_download(handle, from.raw(), out.as_mut_ptr().cast(), out.len())
        })
    }

    fn zero(&mut self, at: Address, bytes: usize) -> Result<()> {
        // SAFETY: the handle is open, the runtime checks the range.
        self.call(|handle| unsafe { cbp_emu_zero(handle, at.raw(), bytes) })
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let (kernel, label) = (c_string(launch.kernel), c_string(&launch.label));
        let args = launch.encoded_args(|map| Ok(bytemuck::cast(RawTensorMap::new(map))))?;
        // SAFETY: the handle is open; strings, shapes and arguments are copied or only read during the call, and the
        // runtime compares the size of the arguments with the kernel's. With checks off, addresses inside the
        // arguments are the caller's promise (`Options::checks`).
        self.call(|handle| unsafe {
            cbp_emu_launch(
                handle,
                kernel.as_ptr(),
                launch.grid.as_ptr(),
                launch.block.as_ptr(),
                launch.shared_bytes,
                args.as_ptr().cast(),
                args.len(),
                label.as_ptr(),
            )
        })
    }

    fn prepare(&mut self, schedule: Schedule) -> Result<Prepared> {
        Ok(Prepared { schedule, handle: 0 })
    }

    fn run(&mut self, prepared: &Prepared) -> Result<()> {
        let launches = prepared.schedule.launches();
        let Some(seed) = self.order else {
            return launches.iter().try_for_each(|launch| self.launch(launch));
        };
        let order = prepared.schedule.shuffled(seed);
        order.into_iter().try_for_each(|i| self.launch(&launches[i]))
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn core(&self) -> Core {
        self.core
    }

    fn describe(&self) -> String {
        match self.options.checks {
            Some(Checks { seed, delivery, .. }) => {
                format!("emulated device (host, checked, seed {seed}, copies {delivery:?})")
            }
            None => "emulated device (host, unchecked)".to_owned(),
        }
    }
}

/// Labels and names are ours and hold no NUL; one that did would be cut there.
fn c_string(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).expect("no NUL is left")
}

// ---- the other side: kernels/host/abi.cpp

#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

/// Mirror of `emu::Options` in `block.hpp`.
#[repr(C)]
#[derive(Default)]
struct RawOptions {
    seed: u64,
    checked: u32,
    delivery: u32,
    races: u32,
    uninitialised: u32,
    os_threads: u32,
}

/// Mirror of `emu::TensorMap` in `runtime.hpp`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RawTensorMap {
    magic: u64,
    address: Address,
    channels: u32,
    length: u32,
    batch: u32,
    box_rows: u32,
    im2col: u32,
    lower: i32,
    upper: i32,
    unused: [u32; 21],
}

impl RawTensorMap {
    fn new(map: &TensorMap) -> Self {
        let size = |n: usize| u32::try_from(n).expect("sizes of a tensor fit in 32 bits");
        let (length, batch, [lower, upper]) = match map.walk {
            Walk::Rows => (map.batch * map.length, 1, [0, 0]),
            Walk::Positions { lower, upper } => (map.length, map.batch, [lower, upper]),
        };
        Self {
            magic: 0x7061_6d72_6f73_6e65,
            address: map.address,
            channels: size(map.channels),
            length: size(length),
            batch: size(batch),
            box_rows: size(map.rows),
            im2col: (map.walk != Walk::Rows).into(),
            lower,
            upper,
            unused: [0; 21],
        }
    }
}

unsafe extern "C" {
    fn cbp_emu_open(options: *const RawOptions) -> *mut Handle;
    fn cbp_emu_close(device: *mut Handle);
    fn cbp_emu_error(device: *const Handle) -> *const c_char;
    fn cbp_emu_alloc(
        device: *mut Handle,
        bytes: usize,
        label: *const c_char,
        address: *mut u64,
    ) -> c_int;
    fn cbp_emu_free(device: *mut Handle, address: u64) -> c_int;
    fn cbp_emu_upload(device: *mut Handle, to: u64, from: *const c_void, bytes: usize) -> c_int;
    fn cbp_emu_download(device: *mut Handle, from: u64, to: *mut c_void, bytes: usize) -> c_int;
    fn cbp_emu_zero(device: *mut Handle, at: u64, bytes: usize) -> c_int;
    fn cbp_emu_launch(
        device: *mut Handle,
        kernel: *const c_char,
        grid: *const u32,
        block: *const u32,
        shared_bytes: u32,
        args: *const c_void,
        args_bytes: usize,
        label: *const c_char,
    ) -> c_int;
    fn cbp_emu_kernel(
        index: usize,
        name: *mut *const c_char,
        args_bytes: *mut u32,
        max_threads: *mut u32,
    ) -> c_int;
}
