//! Reads to signal pack: records a second and peak memory, beside `samtools view -c` (decompression
//! and decoding alone) and the official pipe of bedtools, awk and sort, where those are installed.
//!
//! ```text
//! cargo bench --bench reads -- FOLDER [COPIES] [--peers] [--deep=MILLIONS]
//! ```
//!
//! `--deep` counts that many million reads, spread evenly over contigs of hg38's lengths, which is the
//! worst case for memory; it leaves the files out and needs 12 bytes of disk a read.
//!
//! In FOLDER (needs about 1.5 GB, with `--peers` 4 GB; kept): the yeast reads and fragments COPIES
//! times over (default 29: 20.4 million alignments, 10.2 million fragments), block by block as they
//! were compressed, so not sorted. The yeast data is found as the tests find it (CBP_YEAST, or
//! ../shared/data/yeast-atac). Each pack is checked against the shared bigWig before its time is
//! reported. Out, on stdout: one JSON line a step.

mod measure;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use cbp_fast::input::assembly::Contig;
use cbp_fast::input::bigwig::BigWig;
use cbp_fast::input::reads::{Contigs, ReadEnd, Strand};
use cbp_fast::pack::cut_sites::{BUDGET, Counter};
use cbp_fast::pack::shift::Shift;
use cbp_fast::store::SignalPack;
use cbp_fast::store::signal::SignalWriter;
use measure::{Measured, make, measure, report, watch};
use serde_json::json;

/// bytes of the empty block that ends a BGZF file
const END: usize = 28;

fn main() -> Result<()> {
    // cargo bench adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let (flags, arguments): (Vec<String>, Vec<String>) =
        arguments.into_iter().partition(|a| a.starts_with("--"));
    let Some(folder) = arguments.first().map(PathBuf::from) else {
        bail!("usage: cargo bench --bench reads -- FOLDER [COPIES] [--peers] [--deep=MILLIONS]");
    };
    let copies: u64 = arguments.get(1).map_or(Ok(29), |s| s.parse()).context("COPIES")?;
    fs::create_dir_all(&folder)?;
    if let Some(millions) = flags.iter().find_map(|f| f.strip_prefix("--deep=")) {
        return deep(millions.parse().context("MILLIONS")?, &folder);
    }
    let yeast = std::env::var_os("CBP_YEAST").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/yeast-atac"),
        PathBuf::from,
    );
    ensure!(yeast.is_dir(), "{} is not there (CBP_YEAST names another folder)", yeast.display());
    let text = |path: &Path| path.display().to_string();

    let bam = folder.join(format!("reads-{copies}.bam"));
    make(&bam, |out| repeat(&yeast.join("reads.bam"), bam_header, copies, out))?;
    let fragments = folder.join(format!("fragments-{copies}.tsv.gz"));
    make(&fragments, |out| repeat(&yeast.join("fragments.tsv.gz"), |_| Ok(0), copies, out))?;

    let genome = text(&folder.join("genome.cbg"));
    measure(
        "pack genome",
        &["pack", "genome", "-g", &text(&yeast.join("genome.fa.gz")), "-o", &genome, "--force"],
        None,
    )?;
    let pack = folder.join("reads.cbs");
    for (step, flag, file) in [("BAM", "-ibam", &bam), ("fragments", "-ifrag", &fragments)] {
        let (file, out) = (text(file), text(&pack));
        let run = measure(
            step,
            &[
                "pack", "signal", flag, &file, "-g", &genome, "-d", "ATAC", "--shift", "0/0", "-o",
                &out, "--force",
            ],
            None,
        )?;
        let cuts = check(&pack, &yeast.join("unstranded.bw"), copies)?;
        let records = if step == "BAM" { cuts } else { cuts / 2 };
        rate(&format!("{step} to signal pack"), &run, records, &file)?;
    }
    if flags.iter().any(|f| f == "--peers") {
        peers(&bam, &yeast.join("chrom.sizes"), &folder, copies)?;
    }
    Ok(())
}

/// Counts `millions` of random read ends in this process.
fn deep(millions: u64, folder: &Path) -> Result<()> {
    let contigs = measure::hg38();
    let starts: Vec<u64> = contigs
        .iter()
        .scan(0, |end, (_, length)| {
            *end += length;
            Some(*end - length)
        })
        .collect();
    let total: u64 = contigs.iter().map(|(_, length)| length).sum();
    let contigs = Contigs::new(contigs);
    let mut counter = Counter::new(&contigs, Shift { plus: 4, minus: -4 }, folder, BUDGET);
    let start = Instant::now();
    let mut random = 1u64;
    for _ in 0..millions * 1_000_000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        let contig = starts.partition_point(|&start| start <= at) - 1;
        let strand = if random & 1 << 20 == 0 { Strand::Plus } else { Strand::Minus };
        let position = (at - starts[contig]) as i64;
        counter.add(ReadEnd { contig: contig as u32, position, strand })?;
    }
    let counted_in = start.elapsed().as_secs_f64();
    let (counted, spills) = (counter.counted(), counter.spills());
    let pack = folder.join("deep.cbs");
    let mut writer = SignalWriter::new(File::create(&pack)?, tempfile::tempfile_in(folder)?)?;
    counter.finish(&mut writer)?;
    writer.finish(None)?;
    let sum = SignalPack::open(&pack)?.totals().1;
    ensure!(sum == counted as f64, "{sum} cut sites in the pack, {counted} were counted");
    println!(
        "{}",
        json!({"step": "deep", "reads": millions * 1_000_000, "spills": spills,
               "seconds_counting": counted_in, "seconds": start.elapsed().as_secs_f64(),
               "peak_rss_mb": measure::own_peak_mb()?})
    );
    fs::remove_file(pack)?;
    Ok(())
}

/// The whole step from reads to text counts as the official tool runs it, and the least that any
/// reader of BAM does.
fn peers(bam: &Path, sizes: &Path, folder: &Path, copies: u64) -> Result<()> {
    let records = copies * 702_836;
    let file = bam.display().to_string();
    for threads in ["0", "1"] {
        // -@ counts helpers beside the main thread.
        let arguments = ["view", "-c", "-@", threads, &file];
        match watch("samtools", Command::new("samtools").args(arguments), None) {
            Ok(run) => rate(&format!("samtools view -c -@ {threads}"), &run, records, &file)?,
            Err(error) => eprintln!("samtools left out: {error:#}"),
        }
    }
    let out = folder.join("official.bedGraph");
    let pipe = format!(
        "set -o pipefail; bedtools bamtobed -i {file} \
         | awk -v OFS='\\t' '{{if ($6==\"+\"){{print $1,$2+4,$3,$4,$5,$6}} \
           else if ($6==\"-\") {{print $1,$2,$3-4,$4,$5,$6}}}}' \
         | sort -T {folder} -k1,1 | bedtools genomecov -bg -5 -i stdin -g {sizes} \
         | LC_COLLATE=C sort -k1,1 -k2,2n > {out}",
        folder = folder.display(),
        sizes = sizes.display(),
        out = out.display()
    );
    match watch("official pipe", Command::new("bash").args(["-c", &pipe]), None) {
        Ok(run) => rate("official pipe to bedGraph", &run, records, &file)?,
        Err(error) => eprintln!("official pipe left out: {error:#}"),
    }
    Ok(())
}

fn rate(step: &str, run: &Measured, records: u64, file: &str) -> Result<()> {
    let mb = fs::metadata(file)?.len() as f64 / 1e6;
    let per_s = records as f64 / run.seconds;
    report(step, run, json!({"records": records, "records_per_s": per_s, "file_mb": mb}));
    Ok(())
}

/// The pack holds `copies` times the counts of `track`; returns its cut sites.
fn check(pack: &Path, track: &Path, copies: u64) -> Result<u64> {
    let pack = SignalPack::open(pack)?;
    let mut track = BigWig::open(track)?;
    let mut sum = 0.0;
    for Contig { name, length } in track.contigs().to_vec() {
        let contig = pack.contig_id(&name).with_context(|| format!("{name} is not packed"))?;
        let mut wanted = vec![0.0; length as usize];
        track.intervals(&name, |start, end, value| {
            wanted[start as usize..end as usize].fill(value * copies as f32);
            Ok(())
        })?;
        let mut counts = vec![0.0; length as usize];
        pack.counts(contig, 0, false, &mut counts);
        ensure!(counts == wanted, "wrong counts on {name}");
        sum += wanted.iter().map(|&count| f64::from(count)).sum::<f64>();
    }
    ensure!(pack.totals().1 == sum, "{} cut sites, expected {sum}", pack.totals().1);
    Ok(sum as u64)
}

/// Writes the header of a BGZF file once and its records `copies` times. Blocks are compressed
/// apart from each other, so they are compressed once and written often.
fn repeat(
    source: &Path,
    header: impl Fn(&[u8]) -> Result<usize>,
    copies: u64,
    out: &Path,
) -> Result<()> {
    let mut content = Vec::new();
    noodles_bgzf::io::Reader::new(File::open(source)?).read_to_end(&mut content)?;
    let (header, records) = content.split_at(header(&content)?);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(out)?);
    let blocks = |bytes: &[u8]| -> Result<Vec<u8>> {
        let mut writer = noodles_bgzf::io::Writer::new(Vec::new());
        writer.write_all(bytes)?;
        Ok(writer.finish()?)
    };
    let (header, records) = (blocks(header)?, blocks(records)?);
    out.write_all(&header[..header.len() - END])?;
    for _ in 0..copies {
        out.write_all(&records[..records.len() - END])?;
    }
    out.write_all(&records[records.len() - END..])?;
    out.flush()?;
    Ok(())
}

/// bytes before the first record. Source: SAM specification, section 4.2.
fn bam_header(content: &[u8]) -> Result<usize> {
    let number = |at: usize| -> Result<usize> {
        let bytes = content.get(at..at + 4).context("BAM header is cut")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let mut at = 8 + number(4)?;
    let references = number(at)?;
    at += 4;
    for _ in 0..references {
        at += 4 + number(at)? + 4;
    }
    Ok(at)
}
