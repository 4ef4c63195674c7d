//! Packs as jobs: a genome, and counts from a bigWig or from reads.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::describe::{FRACTIONAL, content};
use super::inputs;
use super::reads::{self, Reads, SignalInput};
use super::{genome, signal};
use crate::console::{self, Console, grouped, plain};
use crate::error::Problem;
use crate::files::bigwig;
use crate::input::chrom_sizes;
use crate::input::reads::Contigs;
use crate::plot::canvas::with_extension;
use crate::run::claim::Claim;
use crate::run::prefix::suffixed;
use crate::store::SignalPack;
use crate::store::format::{self, ValueType};
use crate::threads;

/// How a pack is written.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Replace the output if it is there.
    pub force: bool,
    pub quiet: bool,
}

/// A FASTA becomes a genome pack.
#[derive(Clone, Debug)]
pub struct PackGenome {
    pub fasta: PathBuf,
    pub output: PathBuf,
    pub how: How,
}

impl PackGenome {
    /// Errors: no FASTA, an output that is there or cannot be written.
    pub fn run(&self) -> Result<()> {
        let _claimed = Claim::new("pack genome")
            .reads("-g", [&self.fasta])
            .writes("-o", [self.output.clone()])
            .prefix("-o", &self.output)
            .take(&self.how.console())?;
        self.how.pack(&self.output, |progress| {
            genome::write(&self.fasta, &self.output, |contig, bp| {
                progress(format!("{contig}, {} Mb done", bp / 1_000_000));
            })
        })
    }
}

/// A bigWig or reads become a signal pack.
#[derive(Clone, Debug)]
pub struct PackSignal {
    pub input: SignalInput,
    /// Genome that the reads were aligned to.
    pub genome: Option<PathBuf>,
    /// Contigs of the reads; enough where their shift is given.
    pub chrom_sizes: Option<PathBuf>,
    /// Write the counts of the reads as a bigWig, too.
    pub bigwig_out: Option<PathBuf>,
    /// The pack; `None`: the input's name with `.cbs`.
    pub output: Option<PathBuf>,
    pub cache_dir: PathBuf,
    pub how: How,
}

impl PackSignal {
    /// Errors: inputs that do not fit, an output that is there or cannot be written.
    pub fn run(&self) -> Result<()> {
        match &self.input {
            SignalInput::Track(bigwig) => self.pack_track(bigwig),
            SignalInput::Reads(reads) => self.pack_reads(reads),
        }
    }

    fn pack_track(&self, bigwig: &PathBuf) -> Result<()> {
        if self.bigwig_out.is_some() {
            return Err(Problem::new("--bigwig-out: the input is a bigWig already").into());
        }
        let output = self.output.clone().unwrap_or_else(|| bigwig.with_extension("cbs"));
        let _claimed = Claim::new("pack signal")
            .reads("-bw", [bigwig])
            .reads("-g", &self.genome)
            .reads("-c", &self.chrom_sizes)
            .writes("-o", [output.clone()])
            .prefix("-o", &output)
            .take(&self.how.console())?;
        self.how.pack(&output, |progress| {
            signal::write(bigwig, &output, |contig, done| {
                progress(format!("{contig}, {done} contigs done"));
            })
        })
    }

    fn pack_reads(&self, reads: &Reads) -> Result<()> {
        let console = self.how.console();
        let sources = &reads.sources;
        let first = &sources.files[0];
        let output = self.output.clone().unwrap_or_else(|| {
            // reads.tagAlign.gz -> reads.cbs
            let plain = if first.extension().is_some_and(|e| e == "gz") {
                first.with_extension("")
            } else {
                first.clone()
            };
            plain.with_extension("cbs")
        });
        // Names after a point that is not that of a pack stay: x.rep1 and x.rep2 have figures of their own.
        let figures = match output.extension().is_some_and(|extension| extension == "cbs") {
            true => output.with_extension("shift"),
            false => suffixed(&output, ".shift"),
        };
        let mut claim = Claim::new("pack signal")
            .reads(sources.format.flag(), &sources.files)
            .reads("-g", &self.genome)
            .reads("-c", &self.chrom_sizes)
            .reads("--barcodes", &reads.barcodes)
            .reads(&format!("--{}-ref-path", reads.data_type), &reads.reference_motifs)
            .writes("-o", [output.clone(), suffixed(&figures, "_pwm.tsv")])
            .writes("-o", ["svg", "png", "tsv"].map(|end| with_extension(&figures, end)))
            .writes("--bigwig-out", self.bigwig_out.clone())
            .prefix("-o", &output);
        if let Some(path) = &self.bigwig_out {
            claim = claim.prefix("--bigwig-out", path);
        }
        let _claimed = claim.take(&console)?;
        for path in [Some(&output), self.bigwig_out.as_ref()].into_iter().flatten() {
            may_write(path, self.how.force)?;
        }
        threads::pool(0)?;
        let start = Instant::now();
        let genome = match &self.genome {
            Some(path) => Some(inputs::open_genome(path, &self.cache_dir, &console)?),
            None => None,
        };
        let sizes = self.chrom_sizes.as_deref().map(chrom_sizes::read).transpose()?;
        let contigs = match (&genome, sizes) {
            (Some(genome), sizes) => {
                let mut contigs = reads::contigs(genome.contigs());
                if let (Some(sizes), Some(path)) = (&sizes, &self.chrom_sizes) {
                    for (name, problem) in inputs::check_sizes(sizes, path, genome, &console)? {
                        contigs.disputed(&name, problem);
                    }
                }
                contigs
            }
            (None, Some(sizes)) => Contigs::from(sizes),
            (None, None) => {
                return Err(Problem::new("reads need the contigs they were aligned to")
                    .fix("pass -g with the FASTA, or -c with its chromosome sizes and --shift")
                    .into());
            }
        };
        let genome = genome.as_deref();
        reads.on(genome, contigs, figures, &console)?.pack(&output)?;
        if let Some(path) = &self.bigwig_out {
            bigwig::write_pack(path, &SignalPack::open(&output)?)?;
            console.info(format!("wrote {}", path.display()));
        }
        self.how.wrote(&output, start)
    }
}

impl How {
    fn console(&self) -> Console {
        Console::new(self.quiet, false)
    }

    fn pack(
        &self,
        output: &Path,
        write: impl FnOnce(&mut dyn FnMut(String)) -> Result<()>,
    ) -> Result<()> {
        may_write(output, self.force)?;
        let start = Instant::now();
        let spinner = match self.quiet || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => ProgressBar::new_spinner(),
        };
        spinner.set_style(ProgressStyle::with_template("{spinner} packing {msg} ({elapsed})")?);
        // It turns when there is news: to turn by itself it would need a thread.
        let result = write(&mut |message| {
            spinner.set_message(plain::line(&message).into_owned());
            spinner.tick();
        });
        spinner.finish_and_clear();
        result?;
        self.wrote(output, start)
    }

    fn wrote(&self, output: &Path, start: Instant) -> Result<()> {
        if !self.quiet {
            let header = format::read_header(output)?;
            console::say(&format!(
                "wrote {}: {}, {} contigs, {} in {:.1} s",
                output.display(),
                header.kind.name(),
                grouped(header.contig_count),
                content(&header),
                start.elapsed().as_secs_f64()
            ));
            if header.value_type == ValueType::F32 {
                console::say(&format!("note: {FRACTIONAL}"));
            }
        }
        Ok(())
    }
}

/// Keeps an output that is there, unless `force`.
fn may_write(output: &Path, force: bool) -> Result<(), Problem> {
    if output.exists() && !force {
        return Err(Problem::new("output is there already and was kept")
            .at(output.display())
            .fix("pass --force to replace it, or another -o"));
    }
    Ok(())
}
