//! The argument group of every command that starts from reads.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::error::Problem;
use crate::input::reads::{Format, Sources};
use crate::pack::reads::{Reads, SignalInput};
use crate::pack::shift::{DataType, Shift};

/// Reads, and how they become cut sites.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reads")]
pub struct ReadsArgs {
    /// BAM (-ibam), sorted or not; repeat the flag to pool replicates
    #[arg(long, value_name = "BAM")]
    pub input_bam_file: Vec<PathBuf>,

    /// Fragment file (-ifrag), plain, gzip or bgzip; repeat to pool
    #[arg(long, value_name = "TSV")]
    pub input_fragment_file: Vec<PathBuf>,

    /// tagAlign (-itag), plain or gzip; repeat to pool
    #[arg(long, value_name = "TAGALIGN")]
    pub input_tagalign_file: Vec<PathBuf>,

    /// Shift that the reads already have, plus/minus in bp [default: detected]
    ///
    /// 0/0 for reads as aligned, +4/-5 for Cell Ranger's fragments. They are moved from there to
    /// +4/-4 (ATAC) or 0/+1 (DNASE).
    #[arg(long, value_name = "P/M", allow_hyphen_values = true)]
    pub shift: Option<Shift>,

    /// BAM: leave out alignments below this mapping quality
    #[arg(long, value_name = "Q", default_value_t = 0)]
    pub min_mapq: u8,

    /// BAM: leave out alignments that are flagged as duplicates
    #[arg(long)]
    pub skip_duplicates: bool,

    /// BAM: keep only alignments that are flagged as properly paired
    #[arg(long)]
    pub proper_pairs: bool,

    /// Fragments: keep only the cells listed in this file, one barcode a line
    #[arg(long, value_name = "FILE")]
    pub barcodes: Option<PathBuf>,

    /// Malformed records that may be skipped before giving up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip_bad_records: u64,

    /// Refuse reads on contigs that the genome lacks or past a contig's end, instead of dropping them
    #[arg(long)]
    pub strict: bool,

    /// Folder for scratch files, which only very deep data needs [default: that of the output]
    #[arg(long, value_name = "FOLDER")]
    pub tmpdir: Option<PathBuf>,

    /// Reads on each strand that the shift is detected on [default: 10000]
    #[arg(long, value_name = "N")]
    pub num_samples: Option<usize>,

    /// Motifs to detect the shift of ATAC reads with, in the official text format [default: the
    /// official ones]
    #[arg(long = "ATAC-ref-path", value_name = "FILE")]
    pub atac_ref_path: Option<PathBuf>,

    /// Motifs to detect the shift of DNASE reads with
    #[arg(long = "DNASE-ref-path", value_name = "FILE")]
    pub dnase_ref_path: Option<PathBuf>,

    // Official: how to sort. Reads are never sorted here.
    #[arg(long, hide = true)]
    pub bsort: bool,
}

impl ReadsArgs {
    /// Where the counts come from.
    ///
    /// Errors unless exactly one kind is given, and an assay where it is reads.
    pub fn signal(
        &self,
        bigwig: Option<&Path>,
        data_type: Option<DataType>,
    ) -> Result<SignalInput> {
        let given = [
            (Format::Bam, &self.input_bam_file),
            (Format::Fragments, &self.input_fragment_file),
            (Format::TagAlign, &self.input_tagalign_file),
        ];
        let mut given = given.into_iter().filter(|(_, files)| !files.is_empty());
        let all = "--bigwig (cut sites), -ibam, -ifrag or -itag (reads)";
        match (bigwig, given.next(), given.next()) {
            (Some(bigwig), None, _) => Ok(SignalInput::Track(bigwig.to_path_buf())),
            (None, Some((format, files)), None) => {
                files.iter().try_for_each(|path| crate::input::pipe::refuse(path, "reads"))?;
                let data_type = data_type.ok_or_else(|| {
                    Problem::new("reads need their assay, which decides where cuts are counted")
                        .fix("pass -d ATAC or -d DNASE")
                })?;
                let sources = Sources { format, files: files.clone() };
                Ok(SignalInput::Reads(self.reads(sources, data_type)))
            }
            (None, None, _) => {
                Err(Problem::new("no signal given").fix(format!("pass one of {all}")).into())
            }
            (bigwig, first, second) => {
                let flags: Vec<&str> = bigwig
                    .map(|_| "--bigwig")
                    .into_iter()
                    .chain([first, second].into_iter().flatten().map(|(f, _)| f.flag()))
                    .collect();
                Err(Problem::new(format!("{} are given, expected one of them", flags.join(" and ")))
                    .fix("pool replicates of one format by repeating its flag; for others, make a signal pack of each")
                    .into())
            }
        }
    }

    fn reads(&self, sources: Sources, data_type: DataType) -> Reads {
        Reads {
            sources,
            data_type,
            shift: self.shift,
            min_mapq: self.min_mapq,
            skip_duplicates: self.skip_duplicates,
            proper_pairs: self.proper_pairs,
            barcodes: self.barcodes.clone(),
            skip_bad_records: self.skip_bad_records,
            strict: self.strict,
            tmpdir: self.tmpdir.clone(),
            num_samples: self.num_samples,
            reference_motifs: self.reference_motifs(data_type).map(Path::to_path_buf),
        }
    }

    /// The user's own file of motifs, if there is one.
    pub fn reference_motifs(&self, data_type: DataType) -> Option<&Path> {
        match data_type {
            DataType::Atac => self.atac_ref_path.as_deref(),
            DataType::Dnase => self.dnase_ref_path.as_deref(),
        }
    }
}
