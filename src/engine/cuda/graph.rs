//! A schedule as one CUDA graph: a kernel node a launch, an edge for everything that it waits for.
//!
//! Along a chain an edge is programmatic (programmatic dependent launch): the next kernel's blocks are placed while the
//! one before ends, and wait in the kernel's first instruction (`CBP_KERNEL` in kernels/prims/cuda.cuh) until it has.
//! That hides what a launch costs, a few microseconds. At forks and joins it would do harm: blocks that only wait would
//! keep another branch from the multiprocessors.

use std::ffi::c_void;
use std::ptr;

use anyhow::Result;
use cudarc::driver::{result, sys};

use super::cuda_device::{CudaDevice, problem};
use super::driver::Gpu;
use super::schedule::Schedule;
use super::tensor_map;
use crate::error::Problem;

/// How a launch in a chain waits for the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// A launch's blocks are placed before the one in front has ended: Hopper, for which there is machine code in every build that
    /// waits, and drivers since CUDA 12.3.
    Programmatic,
    /// A launch begins when the one in front has ended.
    Full,
}

impl Links {
    /// What a GPU can do, or that of the variable CBP_LINKS: `full`, to compare the two.
    pub fn chosen(gpu: &Gpu, wanted: Option<&str>) -> Result<Self, Problem> {
        let can = gpu.capability.0 == 9 && gpu.driver >= (12, 3);
        match wanted {
            None => Ok(if can { Links::Programmatic } else { Links::Full }),
            Some("full") => Ok(Links::Full),
            Some(other) => Err(Problem::new(format!("CBP_LINKS={other} is not a choice"))
                .fix("leave it unset, or set it to full")),
        }
    }

    fn edge(self) -> sys::CUgraphEdgeData {
        let plain = sys::CUgraphEdgeData { from_port: 0, to_port: 0, type_: 0, reserved: [0; 5] };
        match self {
            Links::Full => plain,
            Links::Programmatic => sys::CUgraphEdgeData {
                from_port: sys::CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC as u8,
                type_: sys::CUgraphDependencyType::CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC as u8,
                ..plain
            },
        }
    }
}

/// A graph under construction.
struct Graph(sys::CUgraph);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `new`; an executable form does not need it.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}

impl CudaDevice {
    /// Kernels must have been loaded before. The executable graph lives as long as the device.
    pub(super) fn instantiate(&mut self, schedule: &Schedule) -> Result<sys::CUgraphExec> {
        let fails = |e| problem("cannot make a CUDA graph of a schedule", e);
        let mut raw = ptr::null_mut();
        // SAFETY: writes the handle; `Graph` destroys it.
        unsafe { sys::cuGraphCreate(&mut raw, 0) }.result().map_err(fails)?;
        let graph = Graph(raw);
        let mut nodes = Vec::new();
        for i in 0..schedule.launches().len() {
            let node = self.add_kernel(&graph, schedule, i)?;
            for from in schedule.after(i) {
                let link = schedule.link(i).map_or(Links::Full, |_| self.links);
                // SAFETY: both nodes are of this graph. Without edge data the call is as old as graphs are.
                unsafe {
                    match link {
                        Links::Full => sys::cuGraphAddDependencies(graph.0, &nodes[from], &node, 1),
                        Links::Programmatic => sys::cuGraphAddDependencies_v2(
                            graph.0,
                            &nodes[from],
                            &node,
                            &link.edge(),
                            1,
                        ),
                    }
                }
                .result()
                .map_err(fails)?;
            }
            nodes.push(node);
        }
        // SAFETY: a whole graph on our context.
        unsafe {
            let executable = result::graph::instantiate(graph.0, sys::CUgraphInstantiate_flags(0))
                .map_err(fails)?;
            self.graphs.push(executable);
            result::graph::upload(executable, self.stream).map_err(fails)?;
            Ok(executable)
        }
    }

    fn add_kernel(
        &mut self,
        graph: &Graph,
        schedule: &Schedule,
        i: usize,
    ) -> Result<sys::CUgraphNode> {
        let launch = &schedule.launches()[i];
        let function = self.function(launch)?;
        let driver = self.gpu().driver;
        let args = launch.encoded_args(|map| tensor_map::encode(map, driver))?;
        let mut parameters = [args.as_ptr().cast_mut().cast::<c_void>()];
        let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (launch.grid, launch.block);
        let node = sys::CUDA_KERNEL_NODE_PARAMS {
            func: function,
            gridDimX: grid_x,
            gridDimY: grid_y,
            gridDimZ: grid_z,
            blockDimX: block_x,
            blockDimY: block_y,
            blockDimZ: block_z,
            sharedMemBytes: launch.shared_bytes,
            kernelParams: parameters.as_mut_ptr(),
            extra: ptr::null_mut(),
            kern: ptr::null_mut(),
            ctx: ptr::null_mut(),
        };
        let mut made = ptr::null_mut();
        // SAFETY: the call copies the one argument, whose size is the kernel's; the addresses in it are of this
        // device's buffers.
        unsafe { sys::cuGraphAddKernelNode_v2(&mut made, graph.0, ptr::null(), 0, &node) }
            .result()
            .map_err(|e| problem(format!("kernel {} does not fit a graph", launch.kernel), e))?;
        Ok(made)
    }
}
