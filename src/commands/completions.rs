//! `completions`: what a shell needs to complete command lines, from the parser itself.

use anyhow::Result;
use clap::Args;
use clap_complete::Shell;

use crate::{cli, console};

#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsArgs {
    /// Shell that reads them
    #[arg(help_heading = "Inputs")]
    pub shell: Shell,
}

pub fn run(args: CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::parser(), cli::NAME, &mut script);
    Ok(console::print(&String::from_utf8(script)?)?)
}
