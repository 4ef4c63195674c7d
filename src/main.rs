//! Parse, dispatch, print the error once, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cbp_fast::cli::main(std::env::args_os())
}
