//! Memory and speed at the size of a human genome, without one: makes the inputs, runs the release
//! binary on them, reports seconds and peak memory of each step.
//!
//! ```text
//! cargo bench --bench scale -- FOLDER [SECONDS]
//! cargo bench --bench scale -- FOLDER nonpeaks
//! ```
//!
//! In FOLDER (needs about 8 GB; kept, so that a second run starts at once): a FASTA with hg38's
//! contig lengths and random bases, a bigWig of some 40 million cuts, 300,000 peaks, 600,000
//! nonpeaks. Out, on stdout: one JSON line a step. Training runs for SECONDS (default 90) and is
//! then asked to stop, as a batch system would (SIGTERM). `nonpeaks` makes the FASTA and the regions
//! alone, and times `prep nonpeaks` alone. Linux only: memory is read from /proc.

mod measure;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bigtools::beddata::BedParserStreamingIterator;
use bigtools::{BigWigWrite, Value};
use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::model::{Architecture, Network, ParameterSet};
use cbp_fast::store::{GenomePack, SignalPack};
use measure::{make, measure, report};
use serde_json::json;

const PEAKS: u64 = 300_000;
/// Contig ends without peaks, bp.
const MARGIN: u64 = 20_000;

fn main() -> Result<()> {
    // cargo bench adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        bail!("usage: cargo bench --bench scale -- FOLDER [SECONDS | nonpeaks]");
    };
    fs::create_dir_all(&folder)?;
    if arguments.get(1).is_some_and(|step| step == "nonpeaks") {
        return time_nonpeaks(&folder);
    }
    let seconds: u64 = arguments.get(1).map_or(Ok(90), |s| s.parse()).context("SECONDS")?;
    let at = |name: &str| folder.join(name);
    let text = |name: &str| at(name).display().to_string();

    make(&at("genome.fa"), write_fasta)?;
    make(&at("regions.done"), |done| write_regions(&folder, done))?;
    make(&at("signal.bw"), write_signal)?;
    let arch = Architecture::new(2114, 1000, 8, 4)?;
    let parameters = ParameterSet::glorot_uniform(&arch, 1);
    keras_h5::write_single(&at("bias.h5"), &Network { arch, parameters }, Naming::Bias)?;

    let fasta_mb = fs::metadata(at("genome.fa"))?.len() as f64 / 1e6;
    let pack = ["pack", "genome", "-g", &text("genome.fa"), "-o", &text("genome.cbg"), "--force"];
    let run = measure("pack genome", &pack, None)?;
    report("pack genome", &run, json!({"fasta_mb": fasta_mb, "mb_per_s": fasta_mb / run.seconds}));

    time_nonpeaks(&folder)?;

    let pack =
        ["pack", "signal", "--bigwig", &text("signal.bw"), "-o", &text("signal.cbs"), "--force"];
    let run = measure("pack signal", &pack, None)?;
    let bigwig_mb = fs::metadata(at("signal.bw"))?.len() as f64 / 1e6;
    report("pack signal", &run, json!({"bigwig_mb": bigwig_mb}));

    let start = Instant::now();
    let genome = GenomePack::open(&at("genome.cbg"))?;
    let genome_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let signal = SignalPack::open(&at("signal.cbs"))?;
    let signal_ms = start.elapsed().as_secs_f64() * 1e3;
    println!("{}", json!({"step": "open packs", "genome_ms": genome_ms, "signal_ms": signal_ms}));
    drop((genome, signal));

    let (genome, signal, sizes) = (text("genome.cbg"), text("signal.cbs"), text("chrom.sizes"));
    let (peaks, nonpeaks, folds) =
        (text("peaks.narrowPeak"), text("nonpeaks.bed"), text("folds.json"));
    let data = [
        "-g", &genome, "--bigwig", &signal, "-c", &sizes, "-d", "ATAC", "-p", &peaks, "-n",
        &nonpeaks, "-fl", &folds, "--force", "--device", "cpu",
    ];
    let limit = Some(Duration::from_secs(seconds));
    let output = text("run-bias");
    let own = ["bias", "train", "-b", "0.5", "-fil", "8", "-dil", "4", "-o", &output];
    let run = measure("bias train", &[&own[..], &data[..]].concat(), limit)?;
    report("bias train", &run, json!({"nonpeaks": 2 * PEAKS}));

    let (output, bias) = (text("run-chrombpnet"), text("bias.h5"));
    let own = ["train", "-b", &bias, "-fil", "8", "-dil", "8", "-o", &output];
    let run = measure("train", &[&own[..], &data[..]].concat(), limit)?;
    report("train", &run, json!({"peaks": PEAKS, "nonpeaks": 2 * PEAKS}));
    Ok(())
}

/// `prep nonpeaks` for five folds at once, from a genome pack: 300,000 peaks, two nonpeaks each.
fn time_nonpeaks(folder: &Path) -> Result<()> {
    let at = |name: &str| folder.join(name);
    let text = |name: &str| at(name).display().to_string();
    make(&at("genome.fa"), write_fasta)?;
    make(&at("regions.done"), |done| write_regions(folder, done))?;
    make(&at("genome.cbg"), |pack| {
        let (genome, pack) = (text("genome.fa"), pack.display().to_string());
        measure("pack genome", &["pack", "genome", "-g", &genome, "-o", &pack], None).map(drop)
    })?;
    let (genome, sizes, peaks) =
        (text("genome.cbg"), text("chrom.sizes"), text("peaks.narrowPeak"));
    let data = ["-g", &genome, "-c", &sizes, "-p", &peaks, "--force"];
    let (output, folds) = (text("nonpeaks"), text("folds.json"));
    let own = ["prep", "nonpeaks", "-fl", &folds, "-o", &output];
    let run = measure("prep nonpeaks", &[&own[..], &data[..]].concat(), None)?;
    report("prep nonpeaks", &run, json!({"peaks": PEAKS, "folds": 1}));

    let prefix = text("fold");
    let splits =
        ["prep", "splits", "-c", &sizes, "--published", "human", "-op", &prefix, "--force"];
    measure("prep splits", &splits, None)?;
    let folds: Vec<String> = (0..5).map(|i| text(&format!("fold_{i}.json"))).collect();
    let folds: Vec<&str> = folds.iter().map(String::as_str).collect();
    let own = [&["prep", "nonpeaks", "-o", &output, "--all-folds"][..], &folds].concat();
    let run = measure("prep nonpeaks, all folds", &[&own[..], &data[..]].concat(), None)?;
    report("prep nonpeaks, all folds", &run, json!({"peaks": PEAKS, "folds": 5}));
    Ok(())
}

/// xorshift64*: fast, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

fn write_fasta(path: &Path) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut random = Random(1);
    // 12 random bits at a time index 6 letters; a line is 60.
    let six: Vec<[u8; 6]> =
        (0..4096usize).map(|bits| std::array::from_fn(|i| b"ACGT"[bits >> (2 * i) & 3])).collect();
    let mut line = [b'\n'; 61];
    for (name, length) in measure::hg38() {
        writeln!(out, ">{name}")?;
        let mut left = length as usize;
        while left > 0 {
            let (mut a, mut b) = (random.next(), random.next());
            for piece in line[..60].chunks_exact_mut(12) {
                piece[..6].copy_from_slice(&six[(a & 4095) as usize]);
                piece[6..].copy_from_slice(&six[(b & 4095) as usize]);
                (a, b) = (a >> 12, b >> 12);
            }
            let bases = left.min(60);
            out.write_all(&line[..bases])?;
            out.write_all(b"\n")?;
            left -= bases;
        }
    }
    out.flush()?;
    Ok(())
}

/// Peak summits of a contig, evenly spaced over all contigs.
fn summits(length: u64) -> impl Iterator<Item = u64> {
    let spacing = measure::HG38.iter().map(|l| l - 2 * MARGIN).sum::<u64>() / PEAKS;
    (0..).map(move |i| MARGIN + i * spacing).take_while(move |&s| s < length - MARGIN)
}

/// Everything but FASTA and bigWig; `done` says that all of it is there.
fn write_regions(folder: &Path, done: &Path) -> Result<()> {
    let create = |name: &str| -> Result<BufWriter<File>> {
        Ok(BufWriter::new(File::create(folder.join(name))?))
    };
    let (mut peaks, mut nonpeaks) = (create("peaks.narrowPeak")?, create("nonpeaks.bed")?);
    let mut sizes = create("chrom.sizes")?;
    for (name, length) in measure::hg38() {
        writeln!(sizes, "{name}\t{length}")?;
        for summit in summits(length) {
            writeln!(peaks, "{name}\t{}\t{}\t.\t.\t.\t.\t.\t.\t250", summit - 250, summit + 250)?;
            for centre in [summit + 3_400, summit + 6_800] {
                let (start, end) = (centre - 1_057, centre + 1_057);
                writeln!(nonpeaks, "{name}\t{start}\t{end}\t.\t.\t.\t.\t.\t.\t1057")?;
            }
        }
    }
    peaks.flush()?;
    nonpeaks.flush()?;
    sizes.flush()?;
    let (valid, test) = (["chr8", "chr20"], ["chr1", "chr3", "chr6"]);
    let train: Vec<String> = measure::hg38()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|n| !valid.contains(&n.as_str()) && !test.contains(&n.as_str()))
        .collect();
    let folds = json!({"train": train, "valid": valid, "test": test});
    fs::write(folder.join("folds.json"), folds.to_string())?;
    fs::write(done, "")?;
    Ok(())
}

/// A cut every 150 bp or so, and every 10 bp or so within 250 bp of a summit.
fn write_signal(path: &Path) -> Result<()> {
    let sizes = measure::hg38().into_iter().map(|(name, length)| (name, length as u32)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let names = measure::hg38();
    let values = names.iter().flat_map(|(name, length)| {
        let mut random = Random(length | 1);
        let mut peaks = summits(*length).peekable();
        let mut at = 0;
        std::iter::from_fn(move || {
            while peaks.peek().is_some_and(|summit| summit + 250 < at) {
                peaks.next();
            }
            let in_peak = peaks.peek().is_some_and(|summit| at + 250 >= *summit);
            at += 1 + random.below(if in_peak { 20 } else { 300 });
            let value = 1.0 + random.below(2) as f32;
            (at + 1 < *length).then_some(Value { start: at as u32, end: at as u32 + 1, value })
        })
        .map(move |value| (name.as_str(), value))
    });
    let values = BedParserStreamingIterator::wrap_infallible_iter(values, true);
    BigWigWrite::create_file(path, sizes)?.write(values, runtime)?;
    Ok(())
}
