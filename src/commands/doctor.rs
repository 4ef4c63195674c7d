//! `doctor`: what this machine and binary can do; with --selftest, whether they do it right.

use anyhow::Result;
use clap::Args;

use crate::cli::args::{ConsoleArgs, DeviceArgs};
use crate::console;
use crate::doctor::machine;
use crate::doctor::selftest::{self, AWKWARD, Case, HOPPER, REAL};
use crate::engine::cuda::cuda_device::CudaDevice;
use crate::engine::cuda::device::Device as DeviceTrait;
#[cfg(feature = "emulate")]
use crate::engine::cuda::emulated::{EmulatedDevice, Options};
use crate::engine::cuda::precision::Precision;
use crate::engine::{Chosen, Device};
use crate::error::Problem;

/// Show what this machine and this binary can do: driver, GPUs, kernels, CPU.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct DoctorArgs {
    /// List the kernels and their registers
    #[arg(long)]
    pub kernels: bool,

    /// Print one line of JSON instead
    #[arg(long)]
    pub json: bool,

    /// Run every kernel on the device, in every precision, and compare with f64 on the CPU
    ///
    /// Whole training steps at awkward and at real shapes. Exit code 1 when a number is off.
    #[arg(long, help_heading = "Device")]
    pub selftest: bool,

    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub fn run(args: DoctorArgs) -> Result<()> {
    if args.selftest {
        return selftest(&args);
    }
    let facts = machine::facts();
    if args.json {
        console::print_json(&facts)?;
    } else {
        console::print(&machine::text(&facts))?;
        if args.kernels {
            console::print(&machine::kernel_table(&facts))?;
        }
    }
    Ok(())
}

fn selftest(args: &DoctorArgs) -> Result<()> {
    let console = args.console.console();
    let Chosen { device, fallback, .. } = args.device.apply_to_predict(&console)?;
    let precisions = match args.device.precision {
        Some(precision) => vec![precision],
        None => Precision::ALL.into_iter().chain([Precision::Int8]).collect(),
    };
    let tested = match device {
        Device::Cpu => {
            let reason = fallback.map_or(String::new(), |reason| format!(" ({reason})"));
            return Err(Problem::new(format!("the selftest is for GPUs{reason}"))
                .fix("pass --device cuda on a machine that has one")
                .into());
        }
        Device::Cuda { gpu, .. } => {
            let cases = [&AWKWARD[..], &HOPPER, &REAL].concat();
            all(&cases, &precisions, &mut || CudaDevice::open(gpu.clone()))?
        }
        // Real shapes would take hours there.
        #[cfg(feature = "emulate")]
        Device::Emulated { .. } => {
            let mut open = || Ok(EmulatedDevice::new(Options::fast()));
            all(&AWKWARD, &precisions, &mut open)?
        }
    };
    let failed = tested.iter().filter(|is_met| !**is_met).count();
    if failed > 0 {
        return Err(Problem::new(format!("{failed} of {} cases failed", tested.len()))
            .fix("please report this with the output of `cbp-fast doctor --json`; until then, another --precision may work")
            .into());
    }
    console::print(&format!("all {} cases passed\n", tested.len()))?;
    Ok(())
}

/// Prints a line a case, and returns which are as they should be.
fn all<D: DeviceTrait>(
    cases: &[Case],
    precisions: &[Precision],
    open: &mut dyn FnMut() -> Result<D>,
) -> Result<Vec<bool>> {
    let mut met = Vec::new();
    for &precision in precisions {
        for &case in cases {
            // Without tensor cores the full model takes seconds even on a GPU; its shapes are no other.
            if precision == Precision::Plain && case.main.2 > 128 {
                continue;
            }
            let outcome = selftest::run(case, precision, open)?;
            console::print(&format!("{outcome}\n"))?;
            met.push(outcome.is_met());
        }
    }
    Ok(met)
}
