//! Damaged and foreign files: every one is an error that says what is wrong, or a result; never a
//! panic, a hang or a file half-written.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use assert_cmd::Command;
use cbp_fast::error::Problem;
use cbp_fast::files::bigwig;
use cbp_fast::input::assembly::Contig;
use cbp_fast::input::{bigwig::BigWig, chrom_sizes, fasta, folds, intervals, regions};
use cbp_fast::pack::{genome, signal};
use cbp_fast::preflight::sources;
use cbp_fast::store::{GenomePack, SignalPack, format};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A small genome pack, its FASTA, a signal pack and its bigWig.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn make() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        let text = format!(">chr1 d\n{}\n>chr2\nACGTN\n", "ACGTTGCANN".repeat(40));
        fs::write(files.at("g.fa"), text).unwrap();
        genome::write(&files.at("g.fa"), &files.at("g.cbg"), |_, _| {}).unwrap();
        let contigs = [("chr1".to_string(), 70_000), ("chr2".to_string(), 50)];
        let mut dense = vec![vec![0.0; 70_000], vec![1.0; 50]];
        for i in (0..70_000).step_by(113) {
            dense[0][i] = (i % 5) as f32;
        }
        bigwig::write(&files.at("s.bw"), &contigs, &dense).unwrap();
        signal::write(&files.at("s.bw"), &files.at("s.cbs"), |_, _| {}).unwrap();
        files
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// Opens and reads windows everywhere; an error is fine, a panic is not.
fn use_genome(path: &Path) -> anyhow::Result<()> {
    let pack = GenomePack::open(path)?;
    let mut out = [0; 300];
    for contig in 0..pack.contigs().len() as u32 {
        let end = pack.contigs()[contig as usize].length as i64;
        for start in [-100, 0, 33, end / 2, end - 150, end] {
            for revcomp in [false, true] {
                pack.codes(contig, start, revcomp, &mut out);
                assert!(out.iter().all(|&code| code <= 4));
            }
        }
    }
    Ok(())
}

fn use_signal(path: &Path) -> anyhow::Result<()> {
    let pack = SignalPack::open(path)?;
    let mut out = [0.0; 3000];
    for contig in 0..pack.contigs().len() as u32 {
        let end = pack.contigs()[contig as usize].length as i64;
        for start in [-100, 0, 64_000, end / 2, end - 150, end] {
            pack.counts(contig, start, start % 2 == 0, &mut out);
            pack.sum(contig, start, start + 3000);
        }
        pack.sum(contig, 0, end);
    }
    Ok(())
}

fn use_bigwig(path: &Path) -> anyhow::Result<()> {
    let mut bigwig = BigWig::open(path)?;
    bigwig.total();
    let contigs = bigwig.contigs().to_vec();
    // All of the file decides; a few places alone may lie where nothing is damaged.
    let mut places = Ok(());
    for Contig { name, length } in &contigs {
        let end = *length as u32;
        for (start, end) in [(0, end.min(10)), (end / 2, end), (0, 0), (end, end), (5, u32::MAX)] {
            places = places.and(bigwig.values(name, start, end, |bases, _| {
                assert!(bases > 0 && bases <= end - start);
                Ok(())
            }));
        }
    }
    for Contig { name, .. } in &contigs {
        bigwig.intervals(name, |_, _, _| Ok(()))?;
    }
    places
}

fn is_problem(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Problem>().is_some_and(|p| p.to_string().contains("\n  where: "))
}

#[test]
fn packs_cut_at_any_length_say_so() {
    let files = Files::make();
    for (name, open) in
        [("g.cbg", use_genome as fn(&Path) -> anyhow::Result<()>), ("s.cbs", use_signal)]
    {
        let whole = fs::read(files.at(name)).unwrap();
        for length in (0..whole.len()).step_by(61).chain([1, 7, 8, 4095, 4096, whole.len() - 1]) {
            fs::write(files.at("cut"), &whole[..length]).unwrap();
            let error = open(&files.at("cut")).unwrap_err();
            let text = error.to_string();
            let wanted = match length {
                0 => "found an empty file",
                1..8 => "expected a cbp-fast pack",
                _ => "truncated",
            };
            assert!(is_problem(&error) && text.contains(wanted), "{name} {length}: {text}");
            assert!(text.contains("fix: make "), "{text}");
            format::verify(&files.at("cut")).unwrap_err();
        }
        fs::write(files.at("cut"), [&whole[..], b"x"].concat()).unwrap();
        let text = open(&files.at("cut")).unwrap_err().to_string();
        assert!(text.contains("followed by other bytes"), "{text}");
    }
}

#[test]
fn packs_of_another_version_or_kind_and_foreign_files() {
    let files = Files::make();
    let mut other = fs::read(files.at("g.cbg")).unwrap();
    other[8] = 7;
    fs::write(files.at("v7.cbg"), other).unwrap();
    fs::write(files.at("page.cbg"), "<!DOCTYPE html><p>not found").unwrap();
    fs::write(files.at("text.cbg"), "hello").unwrap();
    fs::write(files.at("h5.cbg"), b"\x89HDF\r\n\x1a\n and more").unwrap();
    for (name, wanted) in [
        ("v7.cbg", "layout version 7, this program reads version 2"),
        ("page.cbg", "found a web page"),
        ("text.cbg", "found something else"),
        ("h5.cbg", "found an HDF5 file"),
        ("s.bw", "found a bigWig file"),
        ("s.cbs", "expected a genome pack, found a signal pack"),
        ("", "expected a file, found a folder"),
        ("no.cbg", "file does not exist"),
    ] {
        let error = GenomePack::open(&files.at(name)).err().unwrap();
        assert!(is_problem(&error), "{name}: {error:?}");
        assert!(error.to_string().contains(wanted), "{name}: {error}");
    }
    let error = SignalPack::open(&files.at("g.cbg")).err().unwrap().to_string();
    assert!(error.contains("expected a signal pack, found a genome pack"), "{error}");
}

#[test]
fn every_flipped_bit_is_found() {
    let files = Files::make();
    for name in ["g.cbg", "s.cbs"] {
        let whole = fs::read(files.at(name)).unwrap();
        for at in (0..whole.len()).step_by(97) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(files.at("flipped"), flipped).unwrap();
            let error = format::verify(&files.at("flipped")).unwrap_err();
            assert!(is_problem(&error), "{name} byte {at}: {error}");
        }
    }
}

#[test]
fn verify_on_the_command_line_exits_1_with_the_reason() {
    let files = Files::make();
    let mut pack = fs::read(files.at("s.cbs")).unwrap();
    pack[format::HEADER + 5] ^= 16;
    fs::write(files.at("s.cbs"), pack).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cbp-fast"))
        .args(["pack", "verify"])
        .arg(files.at("s.cbs"))
        .assert()
        .code(1)
        .get_output()
        .clone();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.starts_with("error: signal pack is damaged: its body hashes to"), "{text}");
    assert!(text.contains("s.cbs") && text.contains("fix: make it again"), "{text}");
    assert!(output.stdout.is_empty());
}

/// Changes a few bytes, cuts, or repeats a part.
pub fn mutate(rng: &mut ChaCha8Rng, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match rng.random_range(0..10) {
        0 => bytes.truncate(rng.random_range(0..whole.len())),
        1 => {
            let from = rng.random_range(0..whole.len());
            let piece = bytes[from..(from + 50).min(whole.len())].to_vec();
            let to = rng.random_range(0..whole.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            for _ in 0..rng.random_range(1..8) {
                // Half of the changes in the first bytes, where the structure is.
                let end = if rng.random() { whole.len().min(600) } else { whole.len() };
                let at = rng.random_range(0..end);
                bytes[at] = match rng.random_range(0..3) {
                    0 => rng.random(),
                    1 => bytes[at] ^ 1 << rng.random_range(0..8),
                    _ => [0, 0xff, 0x7f, 0x80][rng.random_range(0..4)],
                };
            }
        }
    }
    bytes
}

/// Runs `open` on `rounds` mutations; a panic fails with the seed. Returns how many were refused.
fn survive(
    name: &str,
    whole: &[u8],
    rounds: u64,
    open: impl Fn(&Path) -> anyhow::Result<()>,
) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated");
    let mut refused = 0;
    for seed in 0..rounds {
        let bytes = mutate(&mut ChaCha8Rng::seed_from_u64(seed), whole);
        fs::write(&path, bytes).unwrap();
        match catch_unwind(AssertUnwindSafe(|| open(&path))) {
            Ok(result) => refused += usize::from(result.is_err()),
            Err(_) => panic!("{name}: mutation {seed} panics"),
        }
    }
    refused
}

#[test]
fn mutated_packs_never_panic() {
    let files = Files::make();
    let genome = fs::read(files.at("g.cbg")).unwrap();
    let signal = fs::read(files.at("s.cbs")).unwrap();
    assert!(survive("g.cbg", &genome, 600, use_genome) > 200);
    assert!(survive("s.cbs", &signal, 600, use_signal) > 200);
}

/// The checksums would hide what lies behind them, so mend them: a forged pack.
#[test]
fn forged_packs_never_panic() {
    let files = Files::make();
    let forge = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        if bytes.len() >= format::HEADER {
            let length = bytes.len() as u64;
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            let blocks: Vec<u8> = bytes[format::HEADER..]
                .chunks(1 << 20)
                .flat_map(|block| xxhash_rust::xxh3::xxh3_64(block).to_le_bytes())
                .collect();
            let body = xxhash_rust::xxh3::xxh3_64(&blocks);
            bytes[24..32].copy_from_slice(&body.to_le_bytes());
            bytes[32..40].fill(0);
            let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..format::HEADER]);
            bytes[32..40].copy_from_slice(&sum.to_le_bytes());
            fs::write(path, bytes).unwrap();
        }
    };
    let genome = fs::read(files.at("g.cbg")).unwrap();
    let signal = fs::read(files.at("s.cbs")).unwrap();
    survive("g.cbg", &genome, 500, |path| {
        forge(path);
        use_genome(path)
    });
    survive("s.cbs", &signal, 500, |path| {
        forge(path);
        use_signal(path)
    });
    // Changes to the tables in the body alone.
    survive("s.cbs body", &signal[format::HEADER..], 500, |path| {
        let body = fs::read(path).unwrap();
        fs::write(path, [&signal[..format::HEADER], &body].concat()).unwrap();
        forge(path);
        use_signal(path)
    });
}

#[test]
fn mutated_bigwigs_never_panic() {
    let files = Files::make();
    let whole = fs::read(files.at("s.bw")).unwrap();
    let refused = survive("s.bw", &whole, 2000, use_bigwig);
    assert!(refused > 500, "{refused}");
}

/// Without compression nothing but our own checks stands between a damaged interval and the pack.
#[test]
fn mutated_uncompressed_bigwigs_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("u.bw");
    let sizes = [("chr1".to_string(), 5000), ("chr2".to_string(), 300)];
    let values = sizes.iter().flat_map(|(name, length)| {
        (0..*length).step_by(7).map(move |start| {
            (name.as_str(), bigtools::Value { start, end: start + 2, value: 1.0 })
        })
    });
    let values = bigtools::beddata::BedParserStreamingIterator::wrap_infallible_iter(values, true);
    let mut writer = bigtools::BigWigWrite::create_file(&path, sizes.clone().into()).unwrap();
    writer.options.compress = false;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    writer.write(values, runtime).unwrap();
    use_bigwig(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let pack = folder.path().join("u.cbs");
    let refused = survive("u.bw", &whole, 1000, |path| {
        signal::write(path, &pack, |_, _| {})?;
        use_signal(&pack)
    });
    assert!(refused > 200, "{refused}");
}

#[test]
fn bigwigs_cut_or_foreign_say_so() {
    let files = Files::make();
    let whole = fs::read(files.at("s.bw")).unwrap();
    // Data of the first overview: the header's 64 bytes, then its width, 4 bytes of nothing, its place.
    let overviews = u64::from_le_bytes(whole[72..80].try_into().unwrap()) as usize;
    for length in (0..whole.len()).step_by(23) {
        fs::write(files.at("cut.bw"), &whole[..length]).unwrap();
        match use_bigwig(&files.at("cut.bw")) {
            // A cut within the overviews, which are at the end, loses nothing that is read.
            Ok(()) => assert!(length >= overviews, "{length} of {}", whole.len()),
            Err(error) => assert!(is_problem(&error), "{length}: {error}"),
        }
    }
    fs::write(files.at("bed.bw"), [&[0xeb, 0xf2, 0x89, 0x87][..], &whole[4..]].concat()).unwrap();
    for (name, wanted) in [
        ("bed.bw", "expected a bigWig, found a bigBed file"),
        ("g.cbg", "expected a bigWig, found a cbp-fast pack"),
        ("g.fa", "expected a bigWig, found a FASTA file"),
        ("", "found a folder"),
        ("no.bw", "does not exist"),
    ] {
        let error = BigWig::open(&files.at(name)).err().unwrap();
        assert!(error.to_string().contains(wanted), "{name}: {error}");
    }
    // A failed pack leaves nothing behind.
    signal::write(&files.at("bed.bw"), &files.at("out.cbs"), |_, _| {}).unwrap_err();
    assert!(!files.at("out.cbs").exists());
}

#[test]
fn mutated_text_files_never_panic() {
    let files = Files::make();
    let fasta_text = fs::read(files.at("g.fa")).unwrap();
    let read_fasta = |path: &Path| fasta::read_all(path).map(drop);
    survive("g.fa", &fasta_text, 400, read_fasta);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    std::io::Write::write_all(&mut encoder, &fasta_text).unwrap();
    survive("g.fa.gz", &encoder.finish().unwrap(), 200, read_fasta);
    let mut bgzip = noodles_bgzf::io::Writer::new(Vec::new());
    std::io::Write::write_all(&mut bgzip, &fasta_text).unwrap();
    survive("bgzip", &bgzip.finish().unwrap(), 100, read_fasta);

    let rows = "chr1\t10\t20\tp\t5\t.\t5.0\t9.0\t-1\t4\n".repeat(5);
    survive("peaks", rows.as_bytes(), 300, |path| regions::read(path).map(drop));
    let fold = br#"{"train": ["chr1", "chr3"], "valid": ["chr2"], "test": []}"#;
    let rows = "track x\nchr1\t10\t20\nchr2\t5\t9\tHigh Signal Region\n".repeat(5);
    survive("blacklist", rows.as_bytes(), 300, |path| intervals::read(path).map(drop));
    survive("fold", fold, 300, |path| folds::read(path).map(drop));
    survive("sizes", b"chr1\t100\nchr2\t50\n", 300, |path| chrom_sizes::read(path).map(drop));
}

/// What the preflight believes without packing: an index beside a FASTA, and headers.
#[test]
fn mutated_indexes_never_panic() {
    let files = Files::make();
    let (genome, index) = (files.at("g.fa"), files.at("g.fa.fai"));
    let cache = files.at("cache");
    let patience = std::time::Duration::from_secs(60);
    survive("fai", b"chr1\t400\t8\t400\t401\nchr2\t5\t415\t5\t6\n", 300, |path| {
        fs::copy(path, &index)?;
        sources::genome(&genome, &cache, patience).map(drop)
    });
    let whole = fs::read(files.at("s.bw")).unwrap();
    survive("signal", &whole, 500, |path| {
        let mut signal = sources::Signal::open(path, &cache)?;
        for Contig { name, length } in signal.contigs().to_vec() {
            signal.window(&name, -5, length as i64 + 5)?;
        }
        Ok(())
    });
    assert!(!cache.exists());
}

#[test]
fn compressed_fasta_cut_anywhere_is_an_error() {
    let files = Files::make();
    let text = fs::read(files.at("g.fa")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    std::io::Write::write_all(&mut encoder, &text).unwrap();
    let gzip = encoder.finish().unwrap();
    let mut bgzip = noodles_bgzf::io::Writer::new(Vec::new());
    std::io::Write::write_all(&mut bgzip, &text).unwrap();
    for whole in [gzip, bgzip.finish().unwrap()] {
        for length in 3..whole.len() {
            // Without the end marker of 28 bytes, or with one byte of it, all content is there.
            if whole.ends_with(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                && whole.len() - length >= 27
                && whole.len() - length <= 28
            {
                continue;
            }
            fs::write(files.at("cut.fa.gz"), &whole[..length]).unwrap();
            let out = files.at("cut.cbg");
            let error = genome::write(&files.at("cut.fa.gz"), &out, |_, _| {}).unwrap_err();
            assert!(is_problem(&error), "{length}: {error}");
            assert!(!out.exists());
        }
    }
}
