//! Where counts come from, and the way from reads to a signal pack: settle the shift, pack or find the
//! pack, say what was counted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::cache;
use super::cut_sites::{self, Report, Request};
use super::shift::{self, DataType, ReferenceMotifs, Sample, Shift};
use crate::console::{Console, Progress};
use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::input::reads::{self, Barcodes, Contigs, Filters, Options, Position, Sources};
use crate::store::{GenomePack, SignalPack};

/// Reads that a shift is detected on, on each strand. Source: official default.
const NUM_SAMPLES: usize = 10_000;
/// The sample does not follow --seed, so that runs that differ in it share a pack.
const SAMPLE_SEED: u64 = 1234;

/// Where counts come from.
#[derive(Clone, Debug)]
pub enum SignalInput {
    /// A bigWig or a signal pack.
    Track(PathBuf),
    Reads(Reads),
}

impl SignalInput {
    /// The file, of several the first.
    pub fn path(&self) -> &Path {
        match self {
            Self::Track(path) => path,
            Self::Reads(reads) => &reads.sources.files[0],
        }
    }

    /// The file that counts can be read from as it is.
    pub fn track(&self) -> Option<&Path> {
        match self {
            Self::Track(path) => Some(path),
            Self::Reads(_) => None,
        }
    }
}

/// Reads, and how they become cut sites.
#[derive(Clone, Debug)]
pub struct Reads {
    /// At least one file.
    pub sources: Sources,
    pub data_type: DataType,
    /// The shift that the reads have; `None`: it is detected.
    pub shift: Option<Shift>,
    /// BAM: alignments below this mapping quality are left out.
    pub min_mapq: u8,
    /// BAM: alignments flagged as duplicates are left out.
    pub skip_duplicates: bool,
    /// BAM: only alignments flagged as properly paired are kept.
    pub proper_pairs: bool,
    /// Fragments: a file of the cells that are kept, one barcode a line.
    pub barcodes: Option<PathBuf>,
    /// Malformed records that may be skipped, over all files.
    pub skip_bad_records: u64,
    /// Reads on unknown contigs or past a contig's end are errors.
    pub strict: bool,
    /// Folder for scratch files; `None`: that of the output.
    pub tmpdir: Option<PathBuf>,
    /// Reads on each strand that a shift is detected on; `None`: 10,000, as officially.
    pub num_samples: Option<usize>,
    /// Motifs that a shift is detected with; `None`: the official ones.
    pub reference_motifs: Option<PathBuf>,
}

impl Reads {
    /// All reads of `sources`, whose shift is detected: the official behaviour.
    pub fn new(sources: Sources, data_type: DataType) -> Self {
        Self {
            sources,
            data_type,
            shift: None,
            min_mapq: 0,
            skip_duplicates: false,
            proper_pairs: false,
            barcodes: None,
            skip_bad_records: 0,
            strict: false,
            tmpdir: None,
            num_samples: None,
            reference_motifs: None,
        }
    }

    /// What the counts depend on beside the files, for the record of a run.
    pub fn settings(&self) -> Value {
        json!({
            "shift": self.shift.map_or("detected".to_string(), |shift| shift.to_string()),
            "min_mapq": self.min_mapq, "skip_duplicates": self.skip_duplicates,
            "num_samples": self.num_samples, "proper_pairs": self.proper_pairs,
            "skip_bad_records": self.skip_bad_records,
        })
    }

    /// `settings` of reads that are counted as officially.
    pub fn default_settings(&self) -> Value {
        Self::new(self.sources.clone(), self.data_type).settings()
    }

    /// What is left out and what is forgiven.
    ///
    /// Errors: a list of barcodes that cannot be read.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            filters: Filters {
                min_mapq: self.min_mapq,
                skip_duplicates: self.skip_duplicates,
                proper_pairs: self.proper_pairs,
                barcodes: self.barcodes.as_deref().map(Barcodes::read).transpose()?,
            },
            skip_bad_records: self.skip_bad_records,
            strict: self.strict,
        })
    }

    /// Makes ready to count on `contigs`. A shift is detected on `genome`, which leaves a figure and
    /// tables under the prefix `figures`.
    ///
    /// Errors: a list of barcodes or a file of motifs that cannot be read.
    pub fn on<'a>(
        &'a self,
        genome: Option<&'a GenomePack>,
        contigs: Contigs,
        figures: PathBuf,
        console: &'a Console,
    ) -> Result<Counting<'a>> {
        let options = self.options()?;
        let data_type = self.data_type;
        let shift = match self.shift {
            Some(has) => has.additional(data_type).to_string(),
            None => {
                let motifs = match &self.reference_motifs {
                    Some(path) => format!(" with motifs {}", cache::fingerprint(path)?.xxh3),
                    None => String::new(),
                };
                let samples = self.num_samples.unwrap_or(NUM_SAMPLES);
                // Other bases around the same reads may show another shift.
                let genome = genome.map_or(String::new(), |genome| {
                    format!(" of genome {:016x}", genome.checksum())
                });
                format!("detected for {data_type} on {samples} reads a strand{genome}{motifs}")
            }
        };
        let request = Request { sources: self.sources.clone(), options, shift };
        Ok(Counting { reads: self, request, contigs, genome, figures, console })
    }
}

/// Reads that are about to be counted, and how to come by their shift.
pub struct Counting<'a> {
    reads: &'a Reads,
    request: Request,
    contigs: Contigs,
    /// What a shift is detected on.
    genome: Option<&'a GenomePack>,
    /// Prefix of the figure and tables that a detection leaves.
    figures: PathBuf,
    console: &'a Console,
}

impl Counting<'_> {
    /// The shift to add: to the one given, or to the one that the reads show.
    fn shift(&self) -> Result<Shift> {
        let Some(has) = self.reads.shift else { return self.detect() };
        let add = has.additional(self.reads.data_type);
        self.console.info(format!(
            "shift: the reads have {has}, adding {add} to reach {}",
            self.reads.data_type.target()
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
            ReferenceMotifs::open(self.reads.reference_motifs.as_deref(), self.reads.data_type)?;
        let mut sample = Sample::new(self.reads.num_samples.unwrap_or(NUM_SAMPLES), SAMPLE_SEED);
        let mut bar = ReadsProgress::new("shift", self.console);
        let mut progress = |position: Position| bar.show(position);
        reads::read(sources, &self.contigs, options, &mut progress, &mut |end| {
            sample.observe(end);
            Ok(())
        })?;
        bar.finish();
        let found =
            shift::detect(&sample, genome, self.reads.data_type, &motifs, Some(&self.figures))?;
        self.console.info(found.summary());
        Ok(found.additional)
    }

    /// Packs into `out`; says what was counted.
    pub fn pack(&self, out: &Path) -> Result<()> {
        let scratch = cut_sites::scratch_folder(self.reads.tmpdir.as_deref(), out)?;
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
            self.reads.tmpdir.as_deref(),
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
pub fn contigs(genome: &Assembly) -> Contigs {
    Contigs::from(genome.clone())
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
