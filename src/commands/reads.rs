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
use crate::pack::cut_sites::{self, Report, Request, Shift};
use crate::store::GenomePack;
use crate::store::genome::Contig;

/// Where cut sites are counted, relative to the aligned read ends. Source: official tool.
fn target(data_type: DataType) -> Shift {
    match data_type {
        DataType::Atac => Shift { plus: 4, minus: -4 },
        DataType::Dnase => Shift { plus: 0, minus: 1 },
    }
}

/// The reads of a command, and how to come by their shift.
pub struct Reads<'a> {
    pub request: Request,
    pub contigs: Contigs,
    args: &'a ReadsArgs,
    data_type: DataType,
    /// What a shift is detected on.
    genome: Option<&'a GenomePack>,
    console: &'a Console,
}

impl<'a> Reads<'a> {
    /// Errors: a list of barcodes that cannot be read.
    pub fn new(
        sources: Sources,
        args: &'a ReadsArgs,
        data_type: DataType,
        genome: Option<&'a GenomePack>,
        contigs: Contigs,
        console: &'a Console,
    ) -> Result<Self> {
        let options = args.options()?;
        let shift = match args.shift {
            Some(has) => to_add(has, data_type).to_string(),
            None => "detected".to_string(),
        };
        let request = Request { sources, options, shift };
        Ok(Self { request, contigs, args, data_type, genome, console })
    }

    /// The shift to add: to the one given, or to the one that the reads show.
    pub fn shift(&self) -> Result<Shift> {
        let has = match self.args.shift {
            Some(shift) => shift,
            None => self.detect()?,
        };
        let (add, target) = (to_add(has, self.data_type), target(self.data_type));
        self.console.info(format!("shift: the reads have {has}, adding {add} to reach {target}"));
        Ok(add)
    }

    /// The shift that the reads have, from the sequence around their ends.
    fn detect(&self) -> Result<Shift> {
        let _ = self.genome;
        Err(Problem::new("the shift of the reads is not given")
            .at(self.request.sources.files[0].display())
            .fix(
                "pass --shift with what the reads have: 0/0 as aligned, +4/-5 for Cell Ranger's \
                 fragments, +4/-4 for tagAligns that were shifted for ATAC",
            )
            .into())
    }

    /// Packs into `out`; says what was counted.
    pub fn pack(&self, out: &Path) -> Result<()> {
        let scratch = cut_sites::scratch_folder(self.args.tmpdir.as_deref(), out)?;
        let shift = self.shift()?;
        let mut bar = ReadsProgress::new(self.console);
        let mut progress = |position: Position| bar.show(position);
        let report = self.request.write(shift, &self.contigs, out, &scratch, &mut progress)?;
        bar.finish();
        say(&report, self.console);
        Ok(())
    }

    /// Finds or makes the pack in the cache; says what was counted if it was made now.
    pub fn cached_pack(&self, cache_dir: &Path) -> Result<PathBuf> {
        let mut bar = ReadsProgress::new(self.console);
        let (pack, report) = cache::pack_reads(
            &self.request,
            &self.contigs,
            cache_dir,
            self.args.tmpdir.as_deref(),
            &mut || self.shift(),
            &mut |line| self.console.info(line),
            &mut |position| bar.show(position),
        )?;
        bar.finish();
        if let Some(report) = report {
            say(&report, self.console);
        }
        Ok(pack)
    }
}

fn to_add(has: Shift, data_type: DataType) -> Shift {
    let target = target(data_type);
    Shift { plus: target.plus - has.plus, minus: target.minus - has.minus }
}

/// The contigs that cut sites are counted on.
pub fn contigs(genome: &[Contig]) -> Contigs {
    Contigs::new(genome.iter().map(|c| (c.name.clone(), c.length)))
}

/// Warnings and the summary.
fn say(report: &Report, console: &Console) {
    for warning in report.warnings() {
        console.warning(warning);
    }
    console.event("cut_sites", report.summary(), report.to_json());
}

/// A bar over the compressed bytes of the files.
struct ReadsProgress<'a> {
    console: &'a Console,
    bar: Option<Progress>,
    shown: u64,
}

impl<'a> ReadsProgress<'a> {
    fn new(console: &'a Console) -> Self {
        Self { console, bar: None, shown: 0 }
    }

    fn show(&mut self, position: Position) {
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

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }
}
