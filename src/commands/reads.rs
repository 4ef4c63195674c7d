//! From reads to a signal pack, as commands need it: settle the shift, pack or find the pack, say what
//! was counted.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::args::DataType;
use crate::cli::reads_args::ReadsArgs;
use crate::console::{Console, Progress};
use crate::error::Problem;
use crate::input::reads::{Contigs, Position, Sources};
use crate::pack::cache;
use crate::pack::cut_sites::{Recipe, Report, Shift};
use crate::store::GenomePack;
use crate::store::genome::Contig;

/// Where cut sites are counted, relative to the aligned read ends. Source: official tool.
pub fn target(data_type: DataType) -> Shift {
    match data_type {
        DataType::Atac => Shift { plus: 4, minus: -4 },
        DataType::Dnase => Shift { plus: 0, minus: 1 },
    }
}

/// Files, filters and the shift that is still to be added. `genome` is what a shift is detected on.
///
/// Errors: a list of barcodes that cannot be read; no --shift, since detection is not built in.
pub fn recipe(
    sources: Sources,
    args: &ReadsArgs,
    data_type: DataType,
    genome: Option<&GenomePack>,
    console: &Console,
) -> Result<Recipe> {
    let options = args.options()?;
    let has = match args.shift {
        Some(shift) => shift,
        None => detected(&sources, genome)?,
    };
    let target = target(data_type);
    let shift = Shift { plus: target.plus - has.plus, minus: target.minus - has.minus };
    console.info(format!("shift: the reads have {has}, adding {shift} to reach {target}"));
    Ok(Recipe { sources, options, shift })
}

/// The shift that the reads have, from the sequence around their ends.
fn detected(sources: &Sources, _genome: Option<&GenomePack>) -> Result<Shift> {
    Err(Problem::new("the shift of the reads is not given")
        .at(sources.files[0].display())
        .fix(
            "pass --shift with what the reads have: 0/0 as aligned, +4/-5 for Cell Ranger's fragments, \
             +4/-4 for tagAligns that were shifted for ATAC",
        )
        .into())
}

/// The contigs that cut sites are counted on.
pub fn contigs(genome: &[Contig]) -> Contigs {
    Contigs::new(genome.iter().map(|c| (c.name.clone(), c.length)))
}

/// Finds or makes the pack of `recipe` in the cache; says what was counted.
pub fn cached_pack(
    recipe: &Recipe,
    contigs: &Contigs,
    cache_dir: &Path,
    args: &ReadsArgs,
    console: &Console,
) -> Result<PathBuf> {
    let mut bar = ReadsProgress::new(console);
    let (pack, report) = cache::pack_reads(
        recipe,
        contigs,
        cache_dir,
        args.tmpdir.as_deref(),
        &mut |line| console.info(line),
        &mut |position| bar.show(position),
    )?;
    bar.finish();
    if let Some(report) = report {
        say(&report, console);
    }
    Ok(pack)
}

/// Warnings and the summary.
pub fn say(report: &Report, console: &Console) {
    for warning in report.warnings() {
        console.warning(warning);
    }
    console.event("cut_sites", report.summary(), report.to_json());
}

/// A bar over the compressed bytes of the files.
pub struct ReadsProgress<'a> {
    console: &'a Console,
    bar: Option<Progress>,
    shown: u64,
}

impl<'a> ReadsProgress<'a> {
    pub fn new(console: &'a Console) -> Self {
        Self { console, bar: None, shown: 0 }
    }

    pub fn show(&mut self, position: Position) {
        const MB: u64 = 1_000_000;
        let bar = self
            .bar
            .get_or_insert_with(|| self.console.progress("reads", position.total / MB).unit("MB"));
        let done = position.bytes / MB;
        if done > self.shown {
            let name = position.file.file_name().unwrap_or_default().to_string_lossy();
            bar.advance(done - self.shown, &name);
            self.shown = done;
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}
