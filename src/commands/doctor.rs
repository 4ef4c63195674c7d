//! `doctor`: what this machine and binary can do; with --selftest, whether they do it right.

use anyhow::Result;
use clap::Args;

use crate::cli::args::{ConsoleArgs, DeviceArgs};
use crate::doctor::machine;

/// Show what this machine and this binary can do: driver, GPUs, kernels, CPU.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// List the kernels and their registers
    #[arg(long)]
    pub kernels: bool,

    /// Print one line of JSON instead
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

pub fn run(args: DoctorArgs) -> Result<()> {
    let facts = machine::facts();
    if args.json {
        println!("{facts}");
    } else {
        print!("{}", machine::text(&facts));
        if args.kernels {
            print!("{}", machine::kernel_table(&facts));
        }
    }
    Ok(())
}
