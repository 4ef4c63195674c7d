//! `pack`: make, describe and verify genome and signal packs, and check a signal's shift.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::shift_qc::{self, ShiftQcArgs};
use crate::cli::args::{CacheArgs, DataType};
use crate::cli::reads_args::ReadsArgs;
use crate::console::{self, Console, grouped, plain};
use crate::error::Problem;
use crate::files::bigwig;
use crate::input::chrom_sizes;
use crate::input::reads::Contigs;
use crate::pack::inputs;
use crate::pack::reads::{self, Reads, SignalInput};
use crate::pack::{cache, genome, signal};
use crate::plot::canvas::with_extension;
use crate::predict::outputs::suffixed;
use crate::run::claim::Claim;
use crate::store::format::{self, Header, Kind, ValueType};
use crate::store::genome::Contig;
use crate::store::{GenomePack, SignalPack};
use crate::threads;

/// Contigs that `pack info` lists without `--all-contigs`.
const LISTED: usize = 30;

#[derive(Args)]
pub struct PackArgs {
    #[command(subcommand)]
    command: PackCommand,
}

#[derive(Subcommand)]
enum PackCommand {
    /// Pack a FASTA (plain, gzip or bgzip) into a genome pack (.cbg)
    ///
    /// 4 bits a base: hg38 becomes 1.5 GB, one file for any number of samples. Other commands take
    /// the pack wherever they take a FASTA.
    Genome(GenomeArgs),
    /// Pack reads, or a bigWig of insertion counts, into a signal pack (.cbs)
    ///
    /// Other commands take the pack wherever they take a bigWig. Whole counts up to 65,535 are
    /// stored as u16, fractional or larger ones as f32; negative values are refused. Reads (BAM,
    /// fragments, tagAlign) need -d, and -g; where --shift tells what they have, -c will do.
    Signal(Box<SignalArgs>),
    /// Show the bases around the cut sites of a bigWig, beside the textbook pattern of the assay
    ///
    /// Cut sites that were shifted as they should be show the textbook pattern at 0 bp.
    ShiftQc(ShiftQcArgs),
    /// Print what a pack holds
    Info(InfoArgs),
    /// Read a pack whole and compare it with its checksum (exit code 1 when it is damaged)
    Verify(VerifyArgs),
}

#[derive(Args)]
#[command(next_help_heading = "Inputs")]
struct GenomeArgs {
    /// FASTA file: plain, gzip or bgzip
    #[arg(short, long, value_name = "FASTA")]
    genome: PathBuf,
    /// Pack to write
    #[arg(short, long, value_name = "OUT.cbg", help_heading = "Output")]
    output: PathBuf,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Inputs")]
struct SignalArgs {
    /// bigWig of unstranded insertion counts per base (-bw); instead of reads
    #[arg(long, value_name = "BIGWIG")]
    bigwig: Option<PathBuf>,
    #[command(flatten)]
    reads: ReadsArgs,
    /// Reads: FASTA or genome pack that they were aligned to
    #[arg(short, long, value_name = "FASTA")]
    genome: Option<PathBuf>,
    /// Reads: chromosome sizes, 2 columns; enough when --shift is given
    #[arg(short, long)]
    chrom_sizes: Option<PathBuf>,
    /// Reads: assay
    #[arg(short, long, value_enum)]
    data_type: Option<DataType>,
    /// Reads: write the counts as a bigWig, too
    #[arg(long, value_name = "OUT.bw", help_heading = "Output")]
    bigwig_out: Option<PathBuf>,
    /// Pack to write [default: the input's name with .cbs]
    #[arg(short, long, value_name = "OUT.cbs", help_heading = "Output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
struct HowArgs {
    /// Replace the output if it is there
    #[arg(long)]
    force: bool,
    /// Print errors only
    #[arg(short, long, help_heading = "Messages")]
    quiet: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Inputs")]
struct InfoArgs {
    /// Genome or signal pack
    file: PathBuf,
    /// List every contig, however many
    #[arg(long, help_heading = "Output")]
    all_contigs: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Inputs")]
struct VerifyArgs {
    /// Genome or signal pack
    file: PathBuf,
    /// Print errors only
    #[arg(short, long, help_heading = "Messages")]
    quiet: bool,
}

pub fn run(args: PackArgs) -> Result<()> {
    match args.command {
        PackCommand::Genome(args) => pack_genome(&args),
        PackCommand::Signal(args) => pack_signal(&args),
        PackCommand::ShiftQc(args) => shift_qc::run(args),
        PackCommand::Info(args) => info(&args.file, args.all_contigs),
        PackCommand::Verify(args) => {
            let header = format::verify(&args.file)?;
            if !args.quiet {
                let file = args.file.display();
                console::print(&format!("{file}: intact {}\n", header.kind.name()))?;
            }
            Ok(())
        }
    }
}

fn pack_genome(args: &GenomeArgs) -> Result<()> {
    let _claimed = Claim::new("pack genome")
        .reads("-g", [&args.genome])
        .writes("-o", [args.output.clone()])
        .prefix("-o", &args.output)
        .take(&Console::new(args.how.quiet, false))?;
    pack(&args.output, &args.how, |progress| {
        genome::write(&args.genome, &args.output, |contig, bp| {
            progress(format!("{contig}, {} Mb done", bp / 1_000_000));
        })
    })
}

fn pack_signal(args: &SignalArgs) -> Result<()> {
    let how = &args.how;
    let console = Console::new(args.how.quiet, false);
    match args.reads.signal(args.bigwig.as_deref(), args.data_type)? {
        SignalInput::Track(bigwig) => {
            if args.bigwig_out.is_some() {
                return Err(Problem::new("--bigwig-out: the input is a bigWig already").into());
            }
            let output = args.output.clone().unwrap_or_else(|| bigwig.with_extension("cbs"));
            let _claimed = Claim::new("pack signal")
                .reads("-bw", [&bigwig])
                .reads("-g", &args.genome)
                .reads("-c", &args.chrom_sizes)
                .writes("-o", [output.clone()])
                .prefix("-o", &output)
                .take(&console)?;
            pack(&output, how, |progress| {
                signal::write(&bigwig, &output, |contig, done| {
                    progress(format!("{contig}, {done} contigs done"));
                })
            })
        }
        SignalInput::Reads(reads) => pack_reads(args, &reads),
    }
}

fn pack_reads(args: &SignalArgs, reads: &Reads) -> Result<()> {
    let console = Console::new(args.how.quiet, false);
    let sources = &reads.sources;
    let first = &sources.files[0];
    let output = args.output.clone().unwrap_or_else(|| {
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
        .reads("-g", &args.genome)
        .reads("-c", &args.chrom_sizes)
        .reads("--barcodes", &args.reads.barcodes)
        .reads("--ATAC-ref-path", &args.reads.atac_ref_path)
        .reads("--DNASE-ref-path", &args.reads.dnase_ref_path)
        .writes("-o", [output.clone(), suffixed(&figures, "_pwm.tsv")])
        .writes("-o", ["svg", "png", "tsv"].map(|end| with_extension(&figures, end)))
        .writes("--bigwig-out", args.bigwig_out.clone())
        .prefix("-o", &output);
    if let Some(path) = &args.bigwig_out {
        claim = claim.prefix("--bigwig-out", path);
    }
    let _claimed = claim.take(&console)?;
    for path in [Some(&output), args.bigwig_out.as_ref()].into_iter().flatten() {
        may_write(path, args.how.force)?;
    }
    threads::pool(0)?;
    let start = Instant::now();
    let genome = match &args.genome {
        Some(path) => Some(inputs::open_genome(path, &args.cache.cache_dir, &console)?),
        None => None,
    };
    let sizes = args.chrom_sizes.as_deref().map(chrom_sizes::read).transpose()?;
    let contigs = match (&genome, sizes) {
        (Some(genome), sizes) => {
            let mut contigs = reads::contigs(genome.contigs());
            if let (Some(sizes), Some(path)) = (&sizes, &args.chrom_sizes) {
                for (name, problem) in inputs::check_sizes(sizes, path, genome, &console)? {
                    contigs.disputed(&name, problem);
                }
            }
            contigs
        }
        (None, Some(sizes)) => Contigs::new(sizes.entries),
        (None, None) => {
            return Err(Problem::new("reads need the contigs they were aligned to")
                .fix("pass -g with the FASTA, or -c with its chromosome sizes and --shift")
                .into());
        }
    };
    let genome = genome.as_deref();
    reads.on(genome, contigs, figures, &console)?.pack(&output)?;
    if let Some(path) = &args.bigwig_out {
        bigwig::write_pack(path, &SignalPack::open(&output)?)?;
        console.info(format!("wrote {}", path.display()));
    }
    wrote(&output, &args.how, start)
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

fn pack(
    output: &Path,
    how: &HowArgs,
    write: impl FnOnce(&mut dyn FnMut(String)) -> Result<()>,
) -> Result<()> {
    may_write(output, how.force)?;
    let start = Instant::now();
    let spinner = match how.quiet || !std::io::stderr().is_terminal() {
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
    wrote(output, how, start)
}

fn wrote(output: &Path, how: &HowArgs, start: Instant) -> Result<()> {
    if !how.quiet {
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
            console::say(&format!("note: {F32}"));
        }
    }
    Ok(())
}

const F32: &str = "the track has fractional counts or counts above 65,535, stored as f32";

fn content(header: &Header) -> String {
    match header.kind {
        Kind::Genome => format!("{} bp", grouped(header.total)),
        Kind::Signal => {
            format!("{} bases with counts, sum {}", grouped(header.total), header.sum)
        }
    }
}

fn info(file: &Path, all_contigs: bool) -> Result<()> {
    let (kind, contigs): (Kind, Vec<Contig>) = match cache::pack_kind(file)? {
        Some(Kind::Signal) => (Kind::Signal, SignalPack::open(file)?.contigs().to_vec()),
        // A file that is no pack at all gets its message from here, too.
        _ => (Kind::Genome, GenomePack::open(file)?.contigs().to_vec()),
    };
    let header = format::read_header(file)?;
    let mut out = String::new();
    // A name that holds ends of lines stays on its own.
    let mut row =
        |key: &str, value: String| writeln!(out, "{key:<10}{}", value.replace('\n', "\\n"));
    row("kind", kind.name().to_string())?;
    row("version", header.version.to_string())?;
    match &header.source {
        Some(s) => row("source", format!("{} ({} bytes, xxh3 {})", s.name, s.size, s.xxh3))?,
        None => row("source", "made in memory".to_string())?,
    }
    row("content", content(&header))?;
    row(
        "values",
        match header.value_type {
            ValueType::F32 => format!("f32: {F32}"),
            other => other.name().to_string(),
        },
    )?;
    row("checksum", format!("{:016x} (`pack verify` compares it)", header.checksum))?;
    for (name, range) in &header.sections {
        row(
            "section",
            format!("{name}, {} bytes at {}", grouped(range.len() as u64), range.start),
        )?;
    }
    row("contigs", grouped(header.contig_count))?;
    let listed = if all_contigs { contigs.len() } else { contigs.len().min(LISTED) };
    for contig in &contigs[..listed] {
        row("", format!("{}\t{}", contig.name, contig.length))?;
    }
    if listed < contigs.len() {
        row("", format!("and {} more (--all-contigs)", grouped((contigs.len() - listed) as u64)))?;
    }
    console::print(&out)?;
    Ok(())
}
