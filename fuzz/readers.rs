//! Every reader by name: a file goes in, and all that can be read from it is read.
//!
//! In: the path of a file that may hold anything. Out: an error, or nothing. What must not come out
//! is a panic, a crash, a hang, or memory far beyond the file's size. The fuzz target, the mutants
//! and the replay of the corpus in the test suite all go through this table.

use std::fs;
use std::path::Path;

use anyhow::Result;
use cbp_fast::files::{keras_h5, row_spool::RowSpool, train_state};
use cbp_fast::footprint::motifs;
use cbp_fast::input::assembly::Contig;
use cbp_fast::input::reads::{self, Barcodes, Contigs, Format, Options, Sources};
use cbp_fast::input::variants::{self, Schema};
use cbp_fast::input::{
    bigwig::BigWig, chrom_sizes, fasta, folds, intervals, lines, peak_list, regions,
};
use cbp_fast::interpret::reference_file::ReferenceFile;
use cbp_fast::model::Architecture;
use cbp_fast::pack::shift::ReferenceMotifs;
use cbp_fast::report::read as report;
use cbp_fast::run::record::RunRecord;
use cbp_fast::store::format::HEADER;
use cbp_fast::store::{GenomePack, SignalPack, format};

/// Reads one file whole.
pub type Read = fn(&Path) -> Result<()>;

/// Name, as folders of tests/corpus have it, and reader.
pub const READERS: [(&str, Read); 28] = [
    ("bam", bam),
    ("barcodes", |path| Barcodes::read(path).map(drop)),
    ("bcf", |path| variants(path, None)),
    ("bigwig", bigwig),
    ("chrom_sizes", |path| chrom_sizes::read(path).map(drop)),
    ("epoch_log", |path| report::logs::epochs(path).map(drop)),
    ("fasta", |path| fasta::read_all(path).map(drop)),
    ("folds", |path| folds::read(path).map(drop)),
    ("fragments", |path| reads(path, Format::Fragments)),
    ("genome_pack", genome_pack),
    ("genome_pack_forged", |path| forged(path, genome_pack)),
    ("intervals", |path| intervals::read(path).map(drop)),
    ("json", |path| report::tables::json(path).map(drop)),
    ("keras_h5", |path| keras_h5::read(path).map(drop)),
    ("lines", |path| lines::for_each(path, |_, _| Ok(()))),
    ("modisco_html", |path| report::modisco::matches(path).map(drop)),
    ("motifs", |path| motifs::read(path).map(drop)),
    ("peak_list", |path| peak_list::read(path).map(drop)),
    ("predictions_h5", predictions_h5),
    ("reference_motifs", |path| ReferenceMotifs::read(path).map(drop)),
    ("references", references),
    ("regions", |path| regions::read(path).map(drop)),
    ("row_spool", row_spool),
    ("run_record", |path| RunRecord::read(path).map(drop)),
    ("signal_pack", signal_pack),
    ("signal_pack_forged", |path| forged(path, signal_pack)),
    ("tagalign", |path| reads(path, Format::TagAlign)),
    ("variants", variant_lists),
];

/// The key of the spool among the seeds.
pub const SPOOL_KEY: &str = "0123456789abcdef";

/// The architecture of the model and the training state among the seeds.
pub fn architecture() -> Architecture {
    Architecture::new(140, 40, 2, 1).expect("lengths that fit")
}

/// The training state, which needs to be told its architecture.
pub fn state(path: &Path) -> Result<()> {
    train_state::load(path, &architecture()).map(drop)
}

/// The reader called `name`; `train_state` is one of them.
pub fn reader(name: &str) -> Option<Read> {
    if name == "train_state" {
        return Some(state);
    }
    READERS.iter().find(|(known, _)| *known == name).map(|(_, read)| *read)
}

/// All names, in order.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = READERS.iter().map(|(name, _)| *name).collect();
    names.push("train_state");
    names
}

fn contigs() -> Contigs {
    Contigs::new([("chr1".to_string(), 1000), ("chr2".to_string(), 500)])
}

fn reads(path: &Path, format: Format) -> Result<()> {
    let sources = Sources { format, files: vec![path.to_path_buf()] };
    let options = Options { skip_bad_records: 3, ..Options::default() };
    reads::peek::contigs(&sources, &Options::default())?;
    reads::read(&sources, &contigs(), &options, &mut |_| {}, &mut |end| {
        assert!(end.contig < 2, "{end:?}");
        Ok(())
    })
    .map(drop)
}

fn bam(path: &Path) -> Result<()> {
    reads(path, Format::Bam)
}

fn variants(path: &Path, schema: Option<Schema>) -> Result<()> {
    variants::for_each(path, schema, &mut |_| Ok(())).map(drop)
}

/// By content, then as every text list; read when it is any of them.
fn variant_lists(path: &Path) -> Result<()> {
    let found = variants(path, None);
    // All of them are tried: none may be upset by the rows of another.
    let lists = [Schema::Bed, Schema::Plink, Schema::Plink2, Schema::Chrombpnet]
        .map(|schema| variants(path, Some(schema)).is_ok());
    if lists.contains(&true) { Ok(()) } else { found }
}

/// Bases that are asked for at once, for contigs can claim any length.
const STRETCH: u32 = 100_000;

fn bigwig(path: &Path) -> Result<()> {
    let mut bigwig = BigWig::open(path)?;
    bigwig.total();
    let contigs = bigwig.contigs().to_vec();
    for Contig { name, length } in contigs.iter().take(20) {
        let end = u32::try_from(*length).unwrap_or(u32::MAX);
        for start in [0, end / 2, end.saturating_sub(STRETCH)] {
            let stop = start.saturating_add(STRETCH).min(end);
            bigwig.values(name, start, stop, |bases, _| {
                assert!(bases > 0 && bases <= stop - start);
                Ok(())
            })?;
        }
        bigwig.intervals(name, |_, _, _| Ok(()))?;
    }
    Ok(())
}

fn genome_pack(path: &Path) -> Result<()> {
    let pack = GenomePack::open(path)?;
    let mut out = [0; 300];
    for contig in 0..pack.contigs().len().min(50) as u32 {
        let end = i64::try_from(pack.contigs()[contig as usize].length)?;
        for start in [-100, 0, 33, end / 2, end - 150, end] {
            for revcomp in [false, true] {
                pack.codes(contig, start, revcomp, &mut out);
                assert!(out.iter().all(|&code| code <= 4));
            }
        }
    }
    format::verify(path).map(drop)
}

fn signal_pack(path: &Path) -> Result<()> {
    let pack = SignalPack::open(path)?;
    let mut out = [0.0; 3000];
    for contig in 0..pack.contigs().len().min(50) as u32 {
        let end = i64::try_from(pack.contigs()[contig as usize].length)?;
        for start in [-100, 0, 64_000, end / 2, end - 150, end] {
            pack.counts(contig, start, start % 2 == 0, &mut out);
            pack.sum(contig, start, start.saturating_add(3000));
        }
    }
    format::verify(path).map(drop)
}

/// Mends length and checksum of a pack's header, so that what they protect is read as it is.
fn forged(path: &Path, read: Read) -> Result<()> {
    let mut bytes = fs::read(path)?;
    if bytes.len() >= HEADER {
        let length = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        bytes[32..40].fill(0);
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..HEADER]);
        bytes[32..40].copy_from_slice(&sum.to_le_bytes());
        fs::write(path, bytes)?;
    }
    read(path)
}

fn references(path: &Path) -> Result<()> {
    let file = ReferenceFile::open(path)?;
    file.check(2, 5, 0)?;
    file.rows(0..2).map(drop)
}

fn row_spool(path: &Path) -> Result<()> {
    let spool = RowSpool::open(path, SPOOL_KEY, 2)?;
    (0..spool.len()).try_for_each(|row| spool.read(row).map(drop))
}

fn predictions_h5(path: &Path) -> Result<()> {
    report::evaluation::chosen(path, &[("chr1".to_string(), 100)]).map(drop)
}
