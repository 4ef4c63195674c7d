//! `pack`: make, describe and verify genome and signal packs, and check a signal's shift.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::shift_qc::{self, ShiftQcArgs};
use crate::cli::args::{CacheArgs, DataType};
use crate::cli::reads_args::ReadsArgs;
use crate::console;
use crate::pack::describe::describe;
use crate::pack::job::{How, PackGenome, PackSignal};
use crate::store::format;

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
        PackCommand::Genome(args) => args.job().run(),
        PackCommand::Signal(args) => args.job()?.run(),
        PackCommand::ShiftQc(args) => shift_qc::run(args),
        PackCommand::Info(args) => {
            console::print(&describe(&args.file, args.all_contigs)?)?;
            Ok(())
        }
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

impl GenomeArgs {
    /// What will happen.
    fn job(self) -> PackGenome {
        PackGenome { fasta: self.genome, output: self.output, how: self.how.how() }
    }
}

impl SignalArgs {
    /// What will happen.
    fn job(self) -> Result<PackSignal> {
        Ok(PackSignal {
            input: self.reads.signal(self.bigwig.as_deref(), self.data_type)?,
            genome: self.genome,
            chrom_sizes: self.chrom_sizes,
            bigwig_out: self.bigwig_out,
            output: self.output,
            cache_dir: self.cache.cache_dir,
            how: self.how.how(),
        })
    }
}

impl HowArgs {
    fn how(&self) -> How {
        How { force: self.force, quiet: self.quiet }
    }
}
