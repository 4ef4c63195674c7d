//! A GPU through its driver: memory, launches, graphs. Thin on purpose, as tests cannot reach it
//! without a GPU.
//!
//! One context, one stream: everything runs in the order it was asked for. A prepared schedule is one CUDA graph
//! (graph.rs), made once and replayed. With CUDA_LAUNCH_BLOCKING=1 there are no graphs and
//! every launch is waited for, so that an error names the kernel that caused it.

use std::collections::HashMap;
use std::ffi::{CString, c_void};

use anyhow::Result;
use cudarc::driver::sys::{self, CUfunction_attribute_enum as Attribute};
use cudarc::driver::{DriverError, result};

use super::binaries;
use super::device::{Address, Detached, Device, Launch, Location, Prepared};
use super::driver::{self, Gpu};
use super::graph::Links;
use super::ops::hopper::Core;
use super::schedule::Schedule;
use super::tensor_map;
use crate::error::Problem;

/// Bytes of page-locked memory through which downloads go: losses in one piece, weights in several.
const STAGING: usize = 1 << 20;

/// Dynamic shared memory that needs no asking for.
const PLAIN_SHARED: u32 = 48 << 10;

pub struct CudaDevice {
    gpu: Gpu,
    core: Core,
    pub(super) links: Links,
    device: sys::CUdevice,
    context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    functions: HashMap<&'static str, Function>,
    staging: *mut u8,
    buffers: Vec<Buffer>,
    pub(super) graphs: Vec<sys::CUgraphExec>,
    blocking: bool,
}

struct Buffer {
    address: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Bytes of dynamic shared memory it may have.
    shared: u32,
}

impl CudaDevice {
    /// Opens the GPU and loads the kernels of this binary.
    pub fn open(gpu: Gpu) -> Result<Self> {
        let wanted = |variable| std::env::var(variable).ok();
        let core = Core::chosen(&gpu, wanted("CBP_CORE").as_deref())?;
        let links = Links::chosen(&gpu, wanted("CBP_LINKS").as_deref())?;
        let fails = |e| problem(format!("cannot use GPU {} ({})", gpu.ordinal, gpu.name), e);
        let device = result::device::get(gpu.ordinal as i32).map_err(fails)?;
        // SAFETY: the device is valid; the context is released in `drop`.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(fails)?;
        let mut this = Self {
            core,
            links,
            device,
            context,
            stream: std::ptr::null_mut(),
            modules: Vec::new(),
            functions: HashMap::new(),
            staging: std::ptr::null_mut(),
            buffers: Vec::new(),
            graphs: Vec::new(),
            blocking: std::env::var_os("CUDA_LAUNCH_BLOCKING").is_some_and(|v| v == "1"),
            gpu: gpu.clone(),
        };
        this.enter()?;
        this.stream =
            result::stream::create(result::stream::StreamKind::NonBlocking).map_err(fails)?;
        // SAFETY: page-locked memory of that many bytes, freed in `drop`.
        this.staging = unsafe { result::malloc_host(STAGING, 0) }.map_err(fails)?.cast();
        for (file, image) in binaries::FATBINS {
            if binaries::is_for_hopper(file) && this.core() == Core::Portable {
                continue; // it has no code for this GPU
            }
            // The driver reads the image in words.
            let mut aligned = vec![0u64; image.len().div_ceil(8)];
            bytemuck::cast_slice_mut(&mut aligned)[..image.len()].copy_from_slice(image);
            // SAFETY: a whole fatbin of this build; the driver copies what it keeps.
            let module = unsafe { result::module::load_data(aligned.as_ptr().cast()) }
                .map_err(|e| problem(format!("the driver refuses the kernels of {file}"), e))?;
            this.modules.push(module);
        }
        Ok(this)
    }

    /// Bytes that are free now, and in all.
    pub fn memory(&self) -> Result<(u64, u64)> {
        self.enter()?;
        let (free, total) =
            result::mem_get_info().map_err(|e| problem("cannot ask for free memory", e))?;
        Ok((free as u64, total as u64))
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Milliseconds that `repeats` runs of `prepared` take on the GPU.
    pub fn time(&mut self, prepared: &Prepared, repeats: usize) -> Result<f64> {
        self.timed(|this| (0..repeats).try_for_each(|_| this.run(prepared)))
    }

    /// Milliseconds of one launch that finds nothing in the L2 cache: `bytes` at `at` are written before.
    pub fn time_cold(&mut self, launch: &Launch, at: Address, bytes: usize) -> Result<f64> {
        self.zero(at, bytes)?;
        self.timed(|this| this.launch(launch))
    }

    /// Milliseconds that `repeats` copies within the device take.
    pub fn time_copies(
        &mut self,
        to: Address,
        from: Address,
        bytes: usize,
        repeats: usize,
    ) -> Result<f64> {
        self.check(to, bytes, "copy")?;
        self.check(from, bytes, "copy")?;
        self.timed(|this| {
            for _ in 0..repeats {
                // SAFETY: both ranges lie in buffers of this device.
                unsafe { result::memcpy_dtod_async(to.raw(), from.raw(), bytes, this.stream) }
                    .map_err(|e| problem("cannot copy on the device", e))?;
            }
            Ok(())
        })
    }

    /// Milliseconds between two events around what `work` asks for.
    fn timed(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<f64> {
        self.enter()?;
        let fails = |e| problem("cannot time work on the GPU", e);
        let flags = sys::CUevent_flags::CU_EVENT_DEFAULT;
        let start = result::event::create(flags).map_err(fails)?;
        let end = result::event::create(flags).map_err(fails)?;
        // SAFETY: events and stream are of this context and alive.
        let begun = unsafe { result::event::record(start, self.stream) };
        let done = work(self);
        // SAFETY: as above; nothing uses the events afterwards.
        let milliseconds = unsafe {
            let elapsed = begun
                .and_then(|()| result::event::record(end, self.stream))
                .and_then(|()| result::event::synchronize(end))
                .and_then(|()| result::event::elapsed(start, end));
            let _ = result::event::destroy(start);
            let _ = result::event::destroy(end);
            elapsed
        };
        done?;
        Ok(f64::from(milliseconds.map_err(fails)?))
    }

    /// Makes the context current on this thread: an engine may be used from any.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }
            .map_err(|e| problem("cannot enter the CUDA context", e).into())
    }

    /// Errors unless a range lies in one buffer. A wrong address would otherwise be an error of some later call.
    fn check(&self, at: Address, bytes: usize, what: &str) -> Result<()> {
        let inside = |b: &Buffer| {
            at.raw().checked_sub(b.address).is_some_and(|offset| offset + bytes as u64 <= b.bytes)
        };
        anyhow::ensure!(
            self.buffers.iter().any(inside),
            "{what} of {bytes} bytes at {:#x}, which no buffer holds",
            at.raw()
        );
        Ok(())
    }

    pub(super) fn function(&mut self, launch: &Launch) -> Result<sys::CUfunction> {
        let known = self.functions.get(launch.kernel).copied();
        let mut function = match known {
            Some(function) => function,
            None => Function { handle: self.find(launch)?, shared: PLAIN_SHARED },
        };
        if launch.shared_bytes > function.shared {
            // SAFETY: the function belongs to a loaded module.
            unsafe {
                result::function::set_function_attribute(
                    function.handle,
                    Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                    launch.shared_bytes as i32,
                )
            }
            .map_err(|e| launch_problem(launch, e))?;
            function.shared = launch.shared_bytes;
        }
        self.functions.insert(launch.kernel, function);
        Ok(function.handle)
    }

    fn find(&self, launch: &Launch) -> Result<sys::CUfunction> {
        let name = CString::new(launch.kernel)?;
        // SAFETY: the modules are loaded.
        let get = |&module| unsafe { result::module::get_function(module, name.clone()) }.ok();
        let Some(handle) = self.modules.iter().find_map(get) else {
            anyhow::bail!("this binary has no kernel named {}", launch.kernel);
        };
        if self.gpu.driver >= (12, 4) {
            // The kernel reads as many bytes as it was compiled for.
            let (mut offset, mut size) = (0, 0);
            // SAFETY: writes two sizes; the call exists since CUDA 12.4.
            unsafe { sys::cuFuncGetParamInfo(handle, 0, &mut offset, &mut size) }
                .result()
                .map_err(|e| launch_problem(launch, e))?;
            anyhow::ensure!(
                size == launch.args.len(),
                "kernel {} takes {size} bytes of arguments, the launch has {}",
                launch.kernel,
                launch.args.len()
            );
        }
        Ok(handle)
    }

    fn launch_alone(&mut self, launch: &Launch) -> Result<()> {
        let function = self.function(launch)?;
        let [grid, block] = [launch.grid, launch.block].map(|[x, y, z]| (x, y, z));
        let driver = self.gpu.driver;
        let args = launch.encoded_args(|map| tensor_map::encode(map, driver))?;
        let mut parameters = [args.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the driver copies the one argument, whose size is the kernel's; the addresses in it
        // are of this device's buffers.
        unsafe {
            result::launch_kernel(
                function,
                grid,
                block,
                launch.shared_bytes,
                self.stream,
                &mut parameters,
            )
        }
        .map_err(|e| launch_problem(launch, e).into())
    }
}

impl Device for CudaDevice {
    fn alloc(&mut self, bytes: usize, label: &str) -> Result<Address> {
        self.enter()?;
        // SAFETY: freed in `drop`; the engine writes before it reads.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|e| {
            let free = self.memory().map_or(0, |(free, _)| free);
            let what = format!(
                "GPU {} has no {} MiB for {label} ({} MiB are free)",
                self.gpu.ordinal,
                bytes >> 20,
                free >> 20
            );
            problem(what, e).fix("end what else uses the GPU, or lower --batch-size")
        })?;
        self.buffers.push(Buffer { address, bytes: bytes as u64 });
        Ok(Address::from_raw(address))
    }

    fn free(&mut self, at: Address) -> Result<()> {
        self.sync()?;
        let Some(index) = self.buffers.iter().position(|b| b.address == at.raw()) else {
            anyhow::bail!("{at:?} is not the beginning of a buffer");
        };
        self.buffers.swap_remove(index);
        // SAFETY: allocated by `alloc`, and nothing that uses it is under way.
        unsafe { result::free_sync(at.raw()) }.map_err(|e| problem("cannot free memory", e).into())
    }

    fn detach(&mut self, at: Address) -> Result<Detached> {
        let Some(index) = self.buffers.iter().position(|b| b.address == at.raw()) else {
            anyhow::bail!("{at:?} is not the beginning of a buffer");
        };
        let device = self.device;
        // SAFETY: the device is valid; the context, which keeps the memory, is released after it.
        let context = unsafe { result::primary_ctx::retain(device) }
            .map_err(|e| problem("cannot retain the CUDA context", e))?
            as usize;
        let Buffer { address, .. } = self.buffers.swap_remove(index);
        // SAFETY: retained above; allocated by `alloc`, and nothing that uses it is under way. Errors have nobody
        // to tell.
        Ok(Detached::new(move || unsafe {
            let _ = result::ctx::set_current(context as sys::CUcontext);
            let _ = result::free_sync(address);
            let _ = result::primary_ctx::release(device);
        }))
    }

    fn location(&self) -> Location {
        Location::Gpu(self.gpu.ordinal)
    }

    fn memory_bytes(&self) -> u64 {
        self.gpu.memory
    }

    fn free_bytes(&self) -> Result<u64> {
        self.memory().map(|(free, _)| free)
    }

    fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        self.enter()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.check(to, bytes.len(), "upload")?;
        // SAFETY: the range lies in a buffer, and `sync` ends the use of `bytes`.
        unsafe { result::memcpy_htod_async(to.raw(), bytes, self.stream) }
            .map_err(|e| problem(format!("cannot upload {} bytes", bytes.len()), e))?;
        self.sync()
    }

    fn download(&mut self, from: Address, out: &mut [u8]) -> Result<()> {
        self.enter()?;
        self.check(from, out.len(), "download")?;
        let mut at = from.raw();
        for piece in out.chunks_mut(STAGING) {
            // SAFETY: `staging` has STAGING bytes, and nothing else uses it.
            let staging = unsafe { std::slice::from_raw_parts_mut(self.staging, piece.len()) };
            // SAFETY: the range lies in a buffer; `sync` comes before the bytes are read.
            unsafe { result::memcpy_dtoh_async(staging, at, self.stream) }
                .map_err(|e| problem(format!("cannot download {} bytes", piece.len()), e))?;
            self.sync()?;
            piece.copy_from_slice(staging);
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn zero(&mut self, at: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        self.check(at, bytes, "zero")?;
        // SAFETY: the range lies in a buffer.
        unsafe { result::memset_d8_async(at.raw(), 0, bytes, self.stream) }
            .map_err(|e| problem(format!("cannot clear {bytes} bytes"), e).into())
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        self.enter()?;
        self.launch_alone(launch)?;
        if self.blocking {
            // SAFETY: our stream.
            unsafe { result::stream::synchronize(self.stream) }
                .map_err(|e| launch_problem(launch, e))?;
        }
        Ok(())
    }

    fn prepare(&mut self, schedule: Schedule) -> Result<Prepared> {
        self.enter()?;
        let handle = if self.blocking { 0 } else { self.instantiate(&schedule)? as usize };
        Ok(Prepared { schedule, handle })
    }

    fn run(&mut self, prepared: &Prepared) -> Result<()> {
        self.enter()?;
        let launches = prepared.schedule.launches();
        if prepared.handle == 0 {
            return launches.iter().try_for_each(|launch| self.launch(launch));
        }
        // SAFETY: made by `prepare` of this device, which destroys it only in `drop`.
        unsafe { result::graph::launch(prepared.handle as sys::CUgraphExec, self.stream) }
            .map_err(|e| graph_problem(launches, e).into())
    }

    fn sync(&mut self) -> Result<()> {
        self.enter()?;
        // SAFETY: our stream.
        unsafe { result::stream::synchronize(self.stream) }.map_err(|e| {
            problem("a kernel failed on the GPU", e)
                .fix("run again with CUDA_LAUNCH_BLOCKING=1 to learn which one")
                .into()
        })
    }

    fn core(&self) -> Core {
        self.core
    }

    fn describe(&self) -> String {
        format!("cuda:{} {}", self.gpu.ordinal, self.gpu.line())
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        // SAFETY: all of it is ours and nothing runs after the synchronisation. Errors have nobody
        // left to tell: after a failed kernel every call fails.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            let _ = result::stream::synchronize(self.stream);
            for graph in self.graphs.drain(..) {
                let _ = result::graph::exec_destroy(graph);
            }
            for buffer in self.buffers.drain(..) {
                let _ = result::free_sync(buffer.address);
            }
            for module in self.modules.drain(..) {
                let _ = result::module::unload(module);
            }
            if !self.staging.is_null() {
                let _ = result::free_host(self.staging.cast());
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

pub(super) fn problem(what: impl Into<String>, error: DriverError) -> Problem {
    Problem::new(format!("{}: {}", what.into(), driver::text(error)))
}

fn launch_problem(launch: &Launch, error: DriverError) -> Problem {
    problem(format!("kernel {} failed", launch.kernel), error).at(format!(
        "{}, grid {:?}, block {:?}, {} bytes of shared memory",
        launch.label, launch.grid, launch.block, launch.shared_bytes
    ))
}

fn graph_problem(launches: &[Launch], error: DriverError) -> Problem {
    let [first, last] =
        [launches.first(), launches.last()].map(|l| l.map_or("nothing", |l| l.kernel));
    problem(format!("a graph of {} launches failed", launches.len()), error)
        .at(format!("{first} .. {last}"))
        .fix("run again with CUDA_LAUNCH_BLOCKING=1 to learn which kernel")
}
