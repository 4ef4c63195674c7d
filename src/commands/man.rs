//! `man`: a manual page for each command, from the parser itself.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Command};
use clap_mangen::Man;

use crate::console::Console;
use crate::files::atomic;
use crate::run::claim::Claim;
use crate::{cli, console};

#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Folder for cbp-fast.1, cbp-fast-train.1, ...; it is made where it is missing
    #[arg(value_name = "FOLDER", help_heading = "Output")]
    pub folder: PathBuf,
}

pub fn run(args: ManArgs) -> Result<()> {
    let console = Console::new(false, false);
    let claimed = Claim::new("man").folder("FOLDER", &args.folder).take(&console)?;
    let mut parser = cli::parser().disable_help_subcommand(true);
    parser.build();
    let pages = write(&parser, &args.folder)?;
    drop(claimed);
    Ok(console::print(&format!("wrote {pages} pages into {}\n", args.folder.display()))?)
}

/// Writes the page of a command and those of its subcommands; returns how many.
fn write(command: &Command, folder: &Path) -> Result<usize> {
    // As git names its pages: `bias train` is cbp-fast-bias-train.
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    atomic::write(&folder.join(format!("{name}.1")), |file| Ok(file.write_all(&page)?))?;
    command.get_subcommands().try_fold(1, |pages, sub| Ok(pages + write(sub, folder)?))
}
