//! From reads to a signal pack, as commands need it: settle the shift, pack or find the pack, say what
//! was counted.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::args::DataType;
use crate::cli::reads_args::ReadsArgs;
use crate::console::{Console, Progress};
use crate::error::Problem;
use crate::input::{
    self,
    reads::{Contigs, Position, Sources},
};
use crate::pack::cache;
use crate::pack::cut_sites::{self, Report, Request};
use crate::pack::shift::{self, ReferenceMotifs, Sample, Shift};
use crate::store::genome::Contig;
use crate::store::{GenomePack, SignalPack};

/// Reads that a shift is detected on, on each strand. Source: official default.
const NUM_SAMPLES: usize = 10_000;
/// The sample does not follow --seed, so that runs that differ in it share a pack.
const SAMPLE_SEED: u64 = 1234;

/// The reads of a command, and how to come by their shift.
pub struct Reads<'a> {
    request: Request,
    contigs: Contigs,
    args: &'a ReadsArgs,
    data_type: DataType,
    /// What a shift is detected on.
    genome: Option<&'a GenomePack>,
    /// Prefix of the figure and tables that a detection leaves.
    figures: PathBuf,
    console: &'a Console,
}

impl<'a> Reads<'a> {
    /// Errors: a list of barcodes or a file of motifs that cannot be read.
    pub fn new(
        sources: Sources,
        args: &'a ReadsArgs,
        data_type: DataType,
        genome: Option<&'a GenomePack>,
        contigs: Contigs,
        figures: PathBuf,
        console: &'a Console,
    ) -> Result<Self> {
        let options = args.options()?;
        let shift = match args.shift {
            Some(has) => has.additional(data_type).to_string(),
            None => {
                let motifs = match args.reference_motifs(data_type) {
                    Some(path) => format!(" with motifs {}", cache::fingerprint(path)?.xxh3),
                    None => String::new(),
                };
                let samples = args.num_samples.unwrap_or(NUM_SAMPLES);
                // Other bases around the same reads may show another shift.
                let genome = genome.map_or(String::new(), |genome| {
                    format!(" of genome {:016x}", genome.checksum())
                });
                format!("detected for {data_type} on {samples} reads a strand{genome}{motifs}")
            }
        };
        let request = Request { sources, options, shift };
        Ok(Self { request, contigs, args, data_type, genome, figures, console })
    }

    /// The shift to add: to the one given, or to the one that the reads show.
    fn shift(&self) -> Result<Shift> {
        let Some(has) = self.args.shift else { return self.detect() };
        let add = has.additional(self.data_type);
        self.console.info(format!(
            "shift: the reads have {has}, adding {add} to reach {}",
            self.data_type.target()
        ));
        Ok(add)
    }

    /// What the sequence around the read ends says.
    fn detect(&self) -> Result<Shift> {
        let Some(genome) = self.genome else {
            return Err(Problem::new(
                "the shift of the reads is not given, and detecting it takes their genome",
            )
            .at(self.request.sources.files[0].display())
            .fix(
                "pass -g, or --shift with what the reads have: 0/0 as aligned, +4/-5 for Cell \
                     Ranger's fragments, +4/-4 for tagAligns that were shifted for ATAC",
            )
            .into());
        };
        let Request { sources, options, .. } = &self.request;
        let motifs =
            ReferenceMotifs::open(self.args.reference_motifs(self.data_type), self.data_type)?;
        let mut sample = Sample::new(self.args.num_samples.unwrap_or(NUM_SAMPLES), SAMPLE_SEED);
        let mut bar = ReadsProgress::new("shift", self.console);
        let mut progress = |position: Position| bar.show(position);
        input::reads::read(sources, &self.contigs, options, &mut progress, &mut |end| {
            sample.observe(end);
            Ok(())
        })?;
        bar.finish();
        let found = shift::detect(&sample, genome, self.data_type, &motifs, Some(&self.figures))?;
        self.console.info(found.summary());
        Ok(found.additional)
    }

    /// Packs into `out`; says what was counted.
    pub fn pack(&self, out: &Path) -> Result<()> {
        let scratch = cut_sites::scratch_folder(self.args.tmpdir.as_deref(), out)?;
        let shift = self.shift()?;
        let mut bar = ReadsProgress::new("reads", self.console);
        let mut progress = |position: Position| bar.show(position);
        let report = self.request.write(shift, &self.contigs, out, &scratch, &mut progress)?;
        bar.finish();
        say(&report, self.console);
        Ok(())
    }

    /// Opens the pack in the cache, made where needed; says what was counted if it was made now.
    pub fn open_cached(&self, cache_dir: &Path) -> Result<SignalPack> {
        let mut bar = ReadsProgress::new("reads", self.console);
        let (pack, report) = cache::open_reads(
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
    what: &'static str,
    console: &'a Console,
    bar: Option<Progress>,
    shown: u64,
}

impl<'a> ReadsProgress<'a> {
    fn new(what: &'static str, console: &'a Console) -> Self {
        Self { what, console, bar: None, shown: 0 }
    }

    fn show(&mut self, position: Position) {
        const MB: u64 = 1_000_000;
        let bar = self.bar.get_or_insert_with(|| {
            self.console.progress(self.what, position.total / MB).unit("MB")
        });
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
