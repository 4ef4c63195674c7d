//! Parse, dispatch, print the error once, exit code.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    cbp_fast::cli::main(std::env::args_os())
}
