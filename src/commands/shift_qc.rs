//! `pack shift-qc`: the composition around the cut sites of a bigWig, beside the textbook.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs, DataType};
use crate::error::Problem;
use crate::input::folds::{self, Split};
use crate::pack::inputs;
use crate::pack::shift::ReferenceMotifs;
use crate::pack::shift::qc::{self, ShiftQc};
use crate::plot::canvas::with_extension;
use crate::run::claim::Claim;
use crate::run::prefix;
use crate::threads;

#[derive(Args)]
#[command(next_help_heading = "Inputs")]
pub struct ShiftQcArgs {
    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short, long, value_name = "FASTA")]
    genome: PathBuf,
    /// bigWig of unstranded cut sites (-bw), or a signal pack
    #[arg(long, value_name = "BIGWIG")]
    bigwig: PathBuf,
    /// Assay
    #[arg(short, long, value_enum)]
    data_type: DataType,
    /// Prefix of the files to write (-op), in a folder that exists: PREFIX.svg, .png and .tsv;
    /// a PREFIX that ends in / stands for FOLDER/bw_shift_qc
    #[arg(short, long, value_name = "PREFIX", help_heading = "Output")]
    output_prefix: PathBuf,
    /// Chromosomes to look at, separated by commas [default: all with signal]
    #[arg(long, value_delimiter = ',', conflicts_with = "chr_fold_path", help_heading = "Regions")]
    chromosomes: Vec<String>,
    /// Fold JSON (-fl): look at its first validation chromosome, as the official pipelines do
    #[arg(long, value_name = "JSON", help_heading = "Regions")]
    chr_fold_path: Option<PathBuf>,
    /// Motifs to compare ATAC data with, in the official text format [default: the official ones]
    #[arg(long = "ATAC-ref-path", value_name = "FILE")]
    atac_ref_path: Option<PathBuf>,
    /// Motifs to compare DNASE data with
    #[arg(long = "DNASE-ref-path", value_name = "FILE")]
    dnase_ref_path: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    console: ConsoleArgs,
}

pub fn run(mut args: ShiftQcArgs) -> Result<()> {
    let console = args.console.console();
    prefix::check(&args.output_prefix, "-op")?;
    args.output_prefix = prefix::named(&args.output_prefix, qc::STEM);
    let files = ["svg", "png", "tsv"].map(|end| with_extension(&args.output_prefix, end));
    let _claimed = Claim::new("pack shift-qc")
        .reads("-g", [&args.genome])
        .reads("-bw", [&args.bigwig])
        .reads("-fl", &args.chr_fold_path)
        .reads("--ATAC-ref-path", &args.atac_ref_path)
        .reads("--DNASE-ref-path", &args.dnase_ref_path)
        .writes("-op", files)
        .prefix("-op", &args.output_prefix)
        .take(&console)?;
    threads::pool(0)?;
    let reference = match args.data_type {
        DataType::Atac => &args.atac_ref_path,
        DataType::Dnase => &args.dnase_ref_path,
    };
    let motifs = ReferenceMotifs::open(reference.as_deref(), args.data_type)?;
    let fold = args.chr_fold_path.as_deref().map(|path| folds::read(path).map(|f| (path, f)));
    let fold = fold.transpose()?;

    let tracks =
        inputs::open_tracks(&args.genome, Some(&args.bigwig), &args.cache.cache_dir, &console)?;
    let (genome, Some(signal)) = (&tracks.genome, &tracks.signal) else {
        return Err(Problem::new("no signal given").fix("pass --bigwig").into());
    };
    let chromosomes = match fold {
        Some((path, fold)) => {
            inputs::check_folds(&fold, path, genome, &console)?;
            let first = fold.names(Split::Valid).first().cloned().ok_or_else(|| {
                Problem::new("fold has no validation chromosome")
                    .at(path.display())
                    .fix("name one under \"valid\", or pass --chromosomes")
            })?;
            vec![first]
        }
        None if args.chromosomes.is_empty() => {
            let shared = genome.contigs().iter().filter(|c| {
                signal.contig_id(&c.name).is_some() && !tracks.disputed.contains_key(&c.name)
            });
            shared.map(|c| c.name.clone()).collect()
        }
        None => args.chromosomes,
    };
    inputs::refuse_disputed(&tracks.disputed, chromosomes.iter().map(String::as_str))?;
    let found = ShiftQc::new(genome, signal, &chromosomes, args.data_type, &motifs)?;
    found.write(&args.output_prefix)?;
    found.say(&console);
    console.info(format!("wrote {}.svg, .png and .tsv", args.output_prefix.display()));
    Ok(())
}
