//! Packs against the plain definition of what they hold, from memory and from files, and the
//! `pack` command on the built binary.

use std::fs;
use std::io::Write;
use std::path::Path;

use assert_cmd::Command;
use cbp_fast::files::bigwig;
use cbp_fast::input::{bigwig::BigWig, chrom_sizes, fasta, folds, regions};
use cbp_fast::pack::{cache, genome, signal};
use cbp_fast::store::{GenomePack, SignalPack, format};
use proptest::prelude::*;

use crate::compress::{bgzip, gzip};
use crate::shared;

fn code(base: u8) -> u8 {
    match base.to_ascii_uppercase() {
        b'A' => 0,
        b'C' => 1,
        b'G' => 2,
        b'T' => 3,
        _ => 4,
    }
}

/// The window as its documentation defines it, one base at a time.
fn naive_codes(sequence: &[u8], start: i64, revcomp: bool, n: usize) -> Vec<u8> {
    let mut codes: Vec<u8> = (start..start + n as i64)
        .map(|at| usize::try_from(at).ok().and_then(|at| sequence.get(at)).map_or(4, |&b| code(b)))
        .collect();
    if revcomp {
        codes.reverse();
        codes.iter_mut().filter(|c| **c < 4).for_each(|c| *c = 3 - *c);
    }
    codes
}

fn naive_counts(track: &[f32], start: i64, revcomp: bool, n: usize) -> Vec<f32> {
    let mut counts: Vec<f32> = (start..start + n as i64)
        .map(|at| usize::try_from(at).ok().and_then(|at| track.get(at)).copied().unwrap_or(0.0))
        .collect();
    if revcomp {
        counts.reverse();
    }
    counts
}

fn codes(pack: &GenomePack, contig: u32, start: i64, revcomp: bool, n: usize) -> Vec<u8> {
    let mut out = vec![77; n];
    pack.codes(contig, start, revcomp, &mut out);
    out
}

fn counts(pack: &SignalPack, contig: u32, start: i64, revcomp: bool, n: usize) -> Vec<f32> {
    let mut out = vec![-1.0; n];
    pack.counts(contig, start, revcomp, &mut out);
    out
}

fn sequence() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"ACGTacgtNnRYKM-*".to_vec()), 0..400)
}

/// Sparse counts over up to three bins; whole or with fractions.
fn track() -> impl Strategy<Value = Vec<f32>> {
    let count =
        prop_oneof![(1u32..9).prop_map(|c| c as f32), Just(65_535.0), Just(70_000.0), Just(0.25)];
    (0usize..140_000, prop::collection::vec((any::<prop::sample::Index>(), count), 0..60)).prop_map(
        |(length, entries)| {
            let mut track = vec![0.0; length];
            for (at, count) in entries {
                if length > 0 {
                    track[at.index(length)] = count;
                }
            }
            track
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn genome_windows_equal_the_definition(
        a in sequence(), b in sequence(), start in -30i64..430, n in 0usize..90, revcomp: bool,
    ) {
        let pack = GenomePack::from_sequences([("a", &a[..]), ("b", &b[..])]);
        prop_assert_eq!(codes(&pack, 0, start, revcomp, n), naive_codes(&a, start, revcomp, n));
        prop_assert_eq!(codes(&pack, 1, start, revcomp, n), naive_codes(&b, start, revcomp, n));
    }

    #[test]
    fn revcomp_twice_is_the_window_itself(a in sequence(), start in -30i64..430, n in 0usize..90) {
        let pack = GenomePack::from_sequences([("a", &a[..])]);
        let mut once = codes(&pack, 0, start, true, n);
        once.reverse();
        let twice: Vec<u8> = once.into_iter().map(|c| if c < 4 { 3 - c } else { 4 }).collect();
        prop_assert_eq!(twice, codes(&pack, 0, start, false, n));
    }

    #[test]
    fn windows_at_both_ends_of_a_contig(a in sequence(), n in 1usize..90, revcomp: bool) {
        // A neighbour on either side must not shine through.
        let pack = GenomePack::from_sequences([("x", &b"AAAA"[..]), ("a", &a[..]), ("y", b"TTTT")]);
        let end = a.len() as i64;
        for start in [-(n as i64), -1, 0, end - n as i64, end - 1, end] {
            prop_assert_eq!(
                codes(&pack, 1, start, revcomp, n), naive_codes(&a, start, revcomp, n), "start {}", start
            );
        }
    }

    #[test]
    fn signal_windows_and_sums_equal_the_dense_track(
        a in track(), b in track(), start in -300i64..140_300, n in 0usize..3000, revcomp: bool,
    ) {
        let pack = SignalPack::from_dense([("a", &a[..]), ("b", &b[..])]);
        for (contig, track) in [(0, &a), (1, &b)] {
            let wanted = naive_counts(track, start, revcomp, n);
            let sum: f64 = wanted.iter().map(|&c| f64::from(c)).sum();
            prop_assert_eq!(pack.sum(contig, start, start + n as i64), sum);
            prop_assert_eq!(counts(&pack, contig, start, revcomp, n), wanted);
        }
    }
}

fn write_fasta(path: &Path, contigs: &[(&str, &[u8])], width: usize, line_end: &str) {
    let mut out = Vec::new();
    for (name, sequence) in contigs {
        write!(out, ">{name} description{line_end}").unwrap();
        for line in sequence.chunks(width) {
            out.extend_from_slice(line);
            out.extend_from_slice(line_end.as_bytes());
        }
    }
    fs::write(path, out).unwrap();
}

/// The body of a pack, without the header that names its source.
fn body(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()[format::HEADER..].to_vec()
}

#[test]
fn fasta_of_any_shape_gives_the_same_pack() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Longer than a block of the reader, so that lines and contigs cross blocks.
    let long: Vec<u8> =
        (0..1_500_001u32).map(|i| b"ACGTNacgtR"[(i * 7 % 97 % 10) as usize]).collect();
    let contigs = [("chr1", &long[..]), ("chr2", &b"TTNA"[..]), ("empty", &b""[..])];
    write_fasta(&at("a.fa"), &contigs, 60, "\n");
    genome::write(&at("a.fa"), &at("a.cbg"), |_, _| {}).unwrap();
    let wanted = body(&at("a.cbg"));
    let pack = GenomePack::open(&at("a.cbg")).unwrap();
    assert_eq!(codes(&pack, 0, 1_499_990, false, 20), naive_codes(&long, 1_499_990, false, 20));
    let all = codes(&pack, 0, 0, true, long.len());
    assert_eq!(all, naive_codes(&long, 0, true, long.len()));

    write_fasta(&at("b.fa"), &contigs, 61, "\r\n");
    write_fasta(&at("c.fa"), &contigs, 10_000_000, "\n");
    let plain = fs::read(at("a.fa")).unwrap();
    fs::write(at("d.fa"), gzip(&plain)).unwrap();
    fs::write(at("e.fa"), [gzip(&plain[..1_000_003]), gzip(&plain[1_000_003..])].concat()).unwrap();
    fs::write(at("f.fa"), bgzip(&plain)).unwrap();
    for name in ["b", "c", "d", "e", "f"] {
        let (source, pack) = (at(&format!("{name}.fa")), at(&format!("{name}.cbg")));
        genome::write(&source, &pack, |_, _| {}).unwrap();
        assert!(body(&pack) == wanted, "{name}.fa gives another pack");
        // The content hash taken while streaming is that of the file.
        let header = format::verify(&pack).unwrap();
        assert_eq!(header.source, Some(cache::fingerprint(&source).unwrap()), "{name}.fa");
    }
}

#[test]
fn bigwig_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut dense = vec![vec![0.0; 200_000], vec![0.0; 10], vec![3.0; 70_000]];
    for i in (0..200_000).step_by(37) {
        dense[0][i] = (i % 7) as f32;
    }
    let contigs =
        [("chr2".to_string(), 200_000), ("chrE".to_string(), 10), ("chr1".to_string(), 70_000)];
    bigwig::write(&at("x.bw"), &contigs, &dense).unwrap();
    signal::write(&at("x.bw"), &at("x.cbs"), |_, _| {}).unwrap();
    let pack = SignalPack::open(&at("x.cbs")).unwrap();
    let named: Vec<(String, u64)> =
        pack.contigs().iter().map(|c| (c.name.clone(), c.length)).collect();
    assert_eq!(named.len(), 3);
    for ((name, length), track) in contigs.iter().zip(&dense) {
        let id = pack.contig_id(name).unwrap();
        assert_eq!(pack.contigs()[id as usize].length, *length);
        assert_eq!(&counts(&pack, id, 0, false, track.len()), track);
    }
    format::verify(&at("x.cbs")).unwrap();
    assert_eq!(pack.source(), Some(&cache::fingerprint(&at("x.bw")).unwrap()));
}

#[test]
fn fractions_are_kept_and_negative_values_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let contig = [("chr1".to_string(), 4)];
    bigwig::write(&at("f.bw"), &contig, &[vec![0.0, 0.1, 2.0, 1e9]]).unwrap();
    signal::write(&at("f.bw"), &at("f.cbs"), |_, _| {}).unwrap();
    let pack = SignalPack::open(&at("f.cbs")).unwrap();
    assert_eq!(counts(&pack, 0, 0, false, 4), [0.0, 0.1, 2.0, 1e9]);

    bigwig::write(&at("n.bw"), &contig, &[vec![0.0, 1.0, -2.5, 1.0]]).unwrap();
    let error = signal::write(&at("n.bw"), &at("n.cbs"), |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("value is -2.5") && error.contains("chr1:2 (0-based)"), "{error}");
    assert!(!at("n.cbs").exists());
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "something half-written: {left:?}");
}

#[test]
fn cache_reuses_refreshes_and_takes_packs() {
    let folder = tempfile::tempdir().unwrap();
    let fasta = folder.path().join("g.fa.gz");
    let cache_dir = folder.path().join("deep/cache");
    fs::write(&fasta, gzip(b">chr1\nACGT\n")).unwrap();
    let mut said = Vec::new();
    let open = |path: &Path, said: &mut Vec<String>| {
        said.clear();
        cache::open_genome(path, &cache_dir, &mut |line| said.push(line.to_string())).unwrap()
    };
    assert_eq!(codes(&open(&fasta, &mut said), 0, 0, false, 4), [0, 1, 2, 3]);
    assert!(said[0].contains("packing into"), "{said:?}");
    open(&fasta, &mut said);
    assert!(said[0].contains("using its pack"), "{said:?}");
    let pack = fs::read_dir(&cache_dir).unwrap().next().unwrap().unwrap().path();
    open(&pack, &mut said);
    assert!(said.is_empty(), "{said:?}");

    // A damaged pack in the cache is made anew, and so is the pack of a changed source.
    fs::write(&pack, b"CBPFGENO").unwrap();
    open(&fasta, &mut said);
    assert!(said[0].contains("damaged, made again"), "{said:?}");
    assert!(said[1].contains("packing into"), "{said:?}");
    fs::write(&fasta, gzip(b">chr1\nTTTTT\n")).unwrap();
    assert_eq!(codes(&open(&fasta, &mut said), 0, 0, false, 4), [3, 3, 3, 3]);

    let blocked = folder.path().join("g.fa.gz/cache");
    let error = cache::open_genome(&fasta, &blocked, &mut |_| {}).err().unwrap().to_string();
    assert!(error.contains("cannot write to the cache folder"), "{error}");
    assert!(error.contains("pack genome -g"), "{error}");
}

#[test]
fn fingerprint_knows_a_touched_file_from_a_changed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bed");
    fs::write(&path, "one").unwrap();
    let before = cache::fingerprint(&path).unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(9)).unwrap();
    let touched = cache::fingerprint(&path).unwrap();
    assert_eq!(touched.mtime_ns, 9_000_000_000);
    assert!(touched != before && touched.same_content(&before));
    fs::write(&path, "two").unwrap();
    assert!(!cache::fingerprint(&path).unwrap().same_content(&before));
    let json = serde_json::to_string(&before).unwrap();
    assert_eq!(serde_json::from_str::<cache::Fingerprint>(&json).unwrap(), before);
}

// Data of the official implementation and real data.

#[test]
fn golden_fasta_plain_and_bgzip_give_equal_packs() {
    let Some(goldens) = shared::goldens() else { return };
    let inputs = goldens.join("data/inputs");
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.cbg"), folder.path().join("b.cbg"));
    genome::write(&inputs.join("genome.fa"), &a, |_, _| {}).unwrap();
    genome::write(&inputs.join("genome.fa.gz"), &b, |_, _| {}).unwrap();
    assert!(body(&a) == body(&b));
    let pack = GenomePack::open(&a).unwrap();
    let sizes = chrom_sizes::read(&inputs.join("chrom.sizes")).unwrap();
    assert_eq!(sizes.len(), pack.contigs().len());
    for contig in pack.contigs().iter() {
        assert_eq!(sizes.length(&contig.name), Some(contig.length), "{}", contig.name);
    }
    for (id, (name, bases)) in
        fasta::read_all(&inputs.join("genome.fa")).unwrap().iter().enumerate()
    {
        let all = codes(&pack, id as u32, 0, false, bases.len());
        assert!(all == naive_codes(bases, 0, false, bases.len()), "{name}");
    }
}

#[test]
fn golden_bigwigs_equal_their_text() {
    let Some(goldens) = shared::goldens() else { return };
    let expected = goldens.join("data/expected/bigwig");
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for entry in fs::read_dir(&expected).unwrap() {
        let bw = entry.unwrap().path();
        if bw.extension().is_none_or(|e| e != "bw") {
            continue;
        }
        let cbs = folder.path().join("x.cbs");
        signal::write(&bw, &cbs, |_, _| {}).unwrap();
        let pack = SignalPack::open(&cbs).unwrap();
        let text = fs::read_to_string(bw.with_extension("bedGraph")).unwrap();
        let mut dense: Vec<Vec<f32>> =
            pack.contigs().iter().map(|c| vec![0.0; c.length as usize]).collect();
        for line in text.lines() {
            let c: Vec<&str> = line.split('\t').collect();
            let id = pack.contig_id(c[0]).unwrap() as usize;
            dense[id][c[1].parse().unwrap()..c[2].parse().unwrap()].fill(c[3].parse().unwrap());
        }
        for (id, track) in dense.iter().enumerate() {
            assert!(&counts(&pack, id as u32, 0, false, track.len()) == track, "{}", bw.display());
            checked += 1;
        }
        assert!(pack.totals().1 > 0.0);
    }
    assert!(checked > 0);
}

#[test]
fn golden_and_real_regions_and_folds_read() {
    let read = |path: &Path, rows: usize| {
        let regions = regions::read(path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(regions.len(), text.lines().count(), "{}", path.display());
        assert!(regions.len() >= rows);
        for (region, line) in regions.iter().zip(text.lines()) {
            let c: Vec<&str> = line.split('\t').collect();
            assert_eq!(region.extra.to_string(), c[3..9].join("\t"));
            let sum = c[1].parse::<u64>().unwrap() + c[9].parse::<u64>().unwrap();
            assert_eq!(region.center(), sum);
        }
    };
    if let Some(goldens) = shared::goldens() {
        read(&goldens.join("data/inputs/peaks.bed"), 10);
        read(&goldens.join("data/inputs/regions.bed"), 1);
        for name in ["nonpeaks_default_negatives.bed", "hyper_bias/filtered.bias_peaks.bed"] {
            read(&goldens.join("data/expected").join(name), 10);
        }
        let fold = folds::read(&goldens.join("data/expected/fold_0.json")).unwrap();
        assert!(!fold.test.is_empty());
    }
    if let Some(yeast) = shared::yeast() {
        read(&yeast.join("peaks.narrowPeak"), 1918);
        read(&yeast.join("nonpeaks.bed"), 3638);
        let fold = folds::read(&yeast.join("fold_0.json")).unwrap();
        assert_eq!(fold.split_of("chrVIII"), Some(folds::Split::Test));
        assert_eq!(fold.split_of("chrM"), None);
    }
}

#[test]
fn yeast_packs_hold_what_its_readme_says() {
    let Some(yeast) = shared::yeast() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (cbg, cbs) = (folder.path().join("g.cbg"), folder.path().join("s.cbs"));
    genome::write(&yeast.join("genome.fa.gz"), &cbg, |_, _| {}).unwrap();
    signal::write(&yeast.join("unstranded.bw"), &cbs, |_, _| {}).unwrap();
    let (genome, signal) = (GenomePack::open(&cbg).unwrap(), SignalPack::open(&cbs).unwrap());
    let bp: u64 = genome.contigs().iter().map(|c| c.length).sum();
    assert_eq!((genome.contigs().len(), bp), (14, 9_675_756));
    assert_eq!(signal.totals(), (335_441, 702_836.0));
    let sums: f64 =
        (0..14).map(|id| signal.sum(id, 0, signal.contigs()[id as usize].length as i64)).sum();
    assert_eq!(sums, 702_836.0);
    assert_eq!(genome.contig_id("chrM").is_some(), signal.contig_id("chrM").is_some());
}

#[test]
fn bigwig_intervals_are_sorted_and_named() {
    let Some(goldens) = shared::goldens() else { return };
    let path = goldens.join("data/expected/bigwig/atac_bam_unstranded.bw");
    let mut bigwig = BigWig::open(&path).unwrap();
    let error = bigwig.intervals("chr99", |_, _, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("no contig chr99"), "{error}");
    let mut last = 0;
    bigwig
        .intervals("chr1", |start, end, value| {
            assert!(last <= start && start < end && value > 0.0);
            last = end;
            Ok(())
        })
        .unwrap();
    assert!(last > 0);
}

// The command.

fn cbp(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cbp-fast"));
    command.current_dir(folder);
    command
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn cli_packs_describes_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.fa"), ">chr1 x\nACGTACGT\n>chr2\nNN\n").unwrap();
    let contigs = [("chr1".to_string(), 8), ("chr2".to_string(), 2)];
    let dense = [vec![0.0, 2.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0], vec![0.0; 2]];
    bigwig::write(&folder.path().join("s.bw"), &contigs, &dense).unwrap();

    let made = cbp(folder.path()).args(["pack", "genome", "-g", "g.fa", "-o", "g.cbg"]).unwrap();
    assert!(made.stdout.is_empty());
    assert!(stderr(&made).contains("wrote g.cbg: genome pack, 2 contigs, 10 bp"), "{made:?}");
    let made = cbp(folder.path()).args(["pack", "signal", "--bigwig", "s.bw"]).unwrap();
    assert!(stderr(&made).contains("2 bases with counts, sum 3.5"), "{made:?}");
    assert!(stderr(&made).contains("stored as f32"), "{made:?}");

    let info = cbp(folder.path()).args(["pack", "info", "g.cbg"]).unwrap();
    let text = String::from_utf8(info.stdout).unwrap();
    for wanted in
        ["genome pack", "g.fa (26 bytes, xxh3 ", "10 bp", "chr1\t8", "chr2\t2", "checksum"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let info = cbp(folder.path()).args(["pack", "info", "s.cbs"]).unwrap();
    let text = String::from_utf8(info.stdout).unwrap();
    for wanted in ["signal pack", "s.bw", "sum 3.5", "f32: the track has fractional", "chr1\t8"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    cbp(folder.path()).args(["pack", "verify", "g.cbg"]).assert().success();
    cbp(folder.path()).args(["pack", "verify", "s.cbs"]).assert().success();

    let quiet = ["pack", "genome", "-g", "g.fa", "-o", "q.cbg", "--quiet"];
    let made = cbp(folder.path()).args(quiet).unwrap();
    assert!(made.stderr.is_empty() && made.stdout.is_empty());
}

#[test]
fn cli_keeps_outputs_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("g.fa"), ">chr1\nACGT\n").unwrap();
    fs::write(folder.path().join("g.cbg"), "precious").unwrap();
    let args = ["pack", "genome", "-g", "g.fa", "-o", "g.cbg"];
    let kept = cbp(folder.path()).args(args).assert().code(1).get_output().clone();
    assert!(stderr(&kept).contains("fix: pass --force"), "{kept:?}");
    assert_eq!(fs::read(folder.path().join("g.cbg")).unwrap(), b"precious");
    cbp(folder.path()).args(args).arg("--force").assert().success();
    GenomePack::open(&folder.path().join("g.cbg")).unwrap();

    let own = ["pack", "genome", "-g", "g.fa", "-o", "g.fa", "--force"];
    let refused = cbp(folder.path()).args(own).assert().code(1).get_output().clone();
    assert!(stderr(&refused).contains("output is the input file"), "{refused:?}");
}

#[test]
fn cli_errors_say_what_where_and_how() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.fa"), ">chr1\nAC7T\n").unwrap();
    fs::write(folder.path().join("x.bw"), "not a bigWig").unwrap();
    for (args, wanted) in [
        (&["genome", "-g", "no.fa", "-o", "x.cbg"][..], "file does not exist"),
        (&["genome", "-g", "bad.fa", "-o", "x.cbg"], "where: bad.fa line 2"),
        (&["genome", "-g", ".", "-o", "x.cbg"], "expected a file, found a folder"),
        (&["genome", "-g", "bad.fa", "-o", "no/such/x.cbg"], "where: no/such"),
        (&["signal", "--bigwig", "x.bw"], "expected a bigWig, found something else"),
        (&["info", "bad.fa"], "expected a cbp-fast pack"),
        (&["verify", "x.bw"], "expected a cbp-fast pack"),
    ] {
        let failed =
            cbp(folder.path()).arg("pack").args(args).assert().code(1).get_output().clone();
        let text = stderr(&failed);
        assert!(text.starts_with("error: ") && text.contains(wanted), "{args:?}: {text}");
        assert!(text.contains("x.") || text.contains("where: "), "{args:?}: {text}");
        assert!(!folder.path().join("x.cbg").exists());
    }
    cbp(folder.path()).args(["pack", "genome"]).assert().code(2);
}
