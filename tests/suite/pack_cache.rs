//! The cache of packs: a pack is used for the bytes it was made from, and for no others, whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cbp_fast::error::Problem;
use cbp_fast::files::bigwig;
use cbp_fast::input::reads::{Contigs, Format, Options, Sources};
use cbp_fast::pack::cache;
use cbp_fast::pack::cut_sites::Request;
use cbp_fast::pack::shift::Shift;
use cbp_fast::store::format::{self, HEADER};
use cbp_fast::store::{GenomePack, SignalPack};

use crate::fixture::{Fixture, stderr, strs};

/// Two folders with files of one name, size and time, and a cache for both.
struct Twins {
    folder: tempfile::TempDir,
}

impl Twins {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// The file in both folders, once `write` has filled them.
    fn files(&self, name: &str, write: impl Fn(&Path, bool)) -> [PathBuf; 2] {
        let files = ["a", "b"].map(|twin| self.folder.path().join(twin).join(name));
        for (file, second) in files.iter().zip([false, true]) {
            write(file, second);
            set_time(file, UNIX_EPOCH + Duration::from_secs(1));
        }
        let [a, b] = files.each_ref().map(|file| fs::metadata(file).unwrap());
        assert_eq!((a.len(), a.modified().unwrap()), (b.len(), b.modified().unwrap()));
        assert_ne!(fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap());
        files
    }

    fn packs(&self) -> usize {
        let names = fs::read_dir(self.cache()).unwrap().map(|e| e.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|e| e == "cbg" || e == "cbs")).count()
    }
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// All bases of the first contig, and what was said.
fn genome(path: &Path, cache: &Path) -> (Vec<u8>, String) {
    let mut said = String::new();
    let pack = cache::open_genome(path, cache, &mut |line| said += &format!("{line}\n")).unwrap();
    let mut codes = vec![9; pack.contigs()[0].length as usize];
    pack.codes(0, 0, false, &mut codes);
    (codes, said)
}

fn all_counts(pack: &SignalPack) -> Vec<f32> {
    let mut counts = vec![9.0; pack.contigs()[0].length as usize];
    pack.counts(0, 0, false, &mut counts);
    counts
}

fn signal(path: &Path, cache: &Path) -> (Vec<f32>, String) {
    let mut said = String::new();
    let pack = cache::open_signal(path, cache, &mut |line| said += &format!("{line}\n")).unwrap();
    (all_counts(&pack), said)
}

/// Cut sites of one file of reads, 100 bp of chr1.
fn reads(path: &Path, format: Format, cache: &Path) -> (Vec<f32>, String) {
    let sources = Sources { format, files: vec![path.to_path_buf()] };
    let request = Request { sources, options: Options::default(), shift: "0/0".into() };
    let contigs = Contigs::new([("chr1".to_string(), 100)]);
    let mut said = String::new();
    let mut report = |line: &str| said += &format!("{line}\n");
    let mut shift = || Ok(Shift { plus: 0, minus: 0 });
    let opened =
        cache::open_reads(&request, &contigs, cache, None, &mut shift, &mut report, &mut |_| {});
    (all_counts(&opened.unwrap().0), said)
}

fn fasta(path: &Path, second: bool) {
    let bases = if second { "ACGTACGTAA" } else { "ACGTACGTAC" };
    fs::write(path, format!(">chr1\n{bases}\n")).unwrap();
}

fn track(path: &Path, second: bool) {
    let mut counts = vec![0.0; 50];
    counts[if second { 20 } else { 10 }] = 3.0;
    bigwig::write(path, &[("chr1".to_string(), 50)], &[counts]).unwrap();
}

fn fragments(path: &Path, second: bool) {
    let start = if second { 41 } else { 40 };
    fs::write(path, format!("chr1\t{start}\t90\tA\t1\n")).unwrap();
}

/// One alignment of 10 bp on chr1. Source: SAM specification, section 4.2.
fn bam(path: &Path, second: bool) {
    let mut bytes = b"BAM\x01\0\0\0\0\x01\0\0\0\x05\0\0\0chr1\0".to_vec();
    bytes.extend(100i32.to_le_bytes());
    let mut record = 0i32.to_le_bytes().to_vec();
    record.extend(if second { 31i32 } else { 30 }.to_le_bytes());
    record.extend([2, 60, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    record.extend([0xff; 8]);
    record.extend([0; 4]);
    record.extend(b"r\0");
    record.extend((10u32 << 4).to_le_bytes());
    bytes.extend((record.len() as i32).to_le_bytes());
    bytes.extend(record);
    fs::write(path, bytes).unwrap();
}

#[test]
fn equal_names_sizes_and_times_are_not_equal_bytes() {
    let twins = Twins::new();
    let cache = twins.cache();
    let [a, b] = twins.files("genome.fa", fasta);
    assert_eq!(genome(&a, &cache).0[8..], [0, 1]);
    assert_eq!(genome(&b, &cache).0[8..], [0, 0]);
    assert_eq!(genome(&a, &cache).0[8..], [0, 1]);
    let [a, b] = twins.files("signal.bw", track);
    let [of_a, of_b] = [&a, &b].map(|file| signal(file, &cache).0);
    assert_eq!((of_a[10], of_a[20], of_b[10], of_b[20]), (3.0, 0.0, 0.0, 3.0));
    let [a, b] = twins.files("fragments.tsv", fragments);
    let [of_a, of_b] = [&a, &b].map(|file| reads(file, Format::Fragments, &cache).0);
    assert_eq!((of_a[40], of_a[41], of_b[40], of_b[41]), (1.0, 0.0, 0.0, 1.0));
    let [a, b] = twins.files("reads.bam", bam);
    let [of_a, of_b] = [&a, &b].map(|file| reads(file, Format::Bam, &cache).0);
    assert_eq!((of_a[30], of_a[31], of_b[30], of_b[31]), (1.0, 0.0, 0.0, 1.0));
    assert_eq!(twins.packs(), 8);

    // The same in one place: the file is rewritten, and its time set back.
    let [a, _] = twins.files("place.fa", fasta);
    assert_eq!(genome(&a, &cache).0[8..], [0, 1]);
    fasta(&a, true);
    set_time(&a, UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!(genome(&a, &cache).0[8..], [0, 0]);
}

#[test]
fn equal_bytes_have_one_pack_under_any_name_and_time() {
    let twins = Twins::new();
    let cache = twins.cache();
    let at = |name: &str| twins.folder.path().join(name);
    let later = SystemTime::now() + Duration::from_secs(90);
    let uses = |said: &str| said.contains("using its pack") && !said.contains("packing");
    fasta(&at("a/x.fa"), false);
    fasta(&at("b/other.fasta"), false);
    set_time(&at("b/other.fasta"), later);
    assert!(genome(&at("a/x.fa"), &cache).1.contains("packing into"));
    assert!(uses(&genome(&at("b/other.fasta"), &cache).1));
    track(&at("a/x.bw"), false);
    track(&at("b/y.bigWig"), false);
    set_time(&at("b/y.bigWig"), later);
    assert!(signal(&at("a/x.bw"), &cache).1.contains("packing into"));
    assert!(uses(&signal(&at("b/y.bigWig"), &cache).1));
    fragments(&at("a/x.tsv"), false);
    fragments(&at("b/y.tsv"), false);
    set_time(&at("b/y.tsv"), later);
    assert!(reads(&at("a/x.tsv"), Format::Fragments, &cache).1.contains("packing into"));
    assert!(uses(&reads(&at("b/y.tsv"), Format::Fragments, &cache).1));
    assert_eq!(twins.packs(), 3);
    // What `check` and `report` find is the same.
    let found = cache::find(&at("b/other.fasta"), &cache, format::Kind::Genome).unwrap().unwrap();
    assert!(found.starts_with(&cache));
    fasta(&at("b/other.fasta"), true);
    assert!(cache::find(&at("b/other.fasta"), &cache, format::Kind::Genome).unwrap().is_none());
}

/// The one pack of `extension` in the cache.
fn pack_in(cache: &Path, extension: &str) -> PathBuf {
    let mut files = fs::read_dir(cache).unwrap().map(|e| e.unwrap().path());
    files.find(|path| path.extension().is_some_and(|e| e == extension)).unwrap()
}

#[test]
fn a_flipped_bit_anywhere_is_never_read() {
    let twins = Twins::new();
    let cache = twins.cache();
    let (fa, bw) = (twins.folder.path().join("a/x.fa"), twins.folder.path().join("a/x.bw"));
    fasta(&fa, false);
    track(&bw, false);
    let (codes, counts) = (genome(&fa, &cache).0, signal(&bw, &cache).0);
    for extension in ["cbg", "cbs"] {
        let pack = pack_in(&cache, extension);
        let whole = fs::read(&pack).unwrap();
        let header = format::read_header(&pack).unwrap();
        let sections: Vec<_> = header.sections.iter().map(|(_, range)| range.clone()).collect();
        let of_sections = sections.iter().filter(|s| !s.is_empty()).map(|s| s.start);
        // The header, the first and last byte of the body, and the first of each section.
        for byte in [30, 600, HEADER, whole.len() - 1].into_iter().chain(of_sections) {
            let mut damaged = whole.clone();
            damaged[byte] ^= 4;
            fs::write(&pack, &damaged).unwrap();
            // Given by hand it is an error that names it ...
            let error = match extension {
                "cbg" => GenomePack::open(&pack).err().unwrap(),
                _ => SignalPack::open(&pack).err().unwrap(),
            };
            let text = error.downcast_ref::<Problem>().unwrap().to_string();
            assert!(text.contains("damaged") || text.contains("malformed"), "{byte}: {text}");
            assert!(text.contains(&pack.display().to_string()), "{byte}: {text}");
            // ... and in the cache it is made anew, which is said.
            let said = match extension {
                "cbg" => {
                    let (again, said) = genome(&fa, &cache);
                    assert_eq!(again, codes, "byte {byte}");
                    said
                }
                _ => {
                    let (again, said) = signal(&bw, &cache);
                    assert_eq!(again, counts, "byte {byte}");
                    said
                }
            };
            assert!(said.contains("damaged, made again") && said.contains("packing"), "{said}");
            assert!(fs::read(&pack).unwrap() == whole, "byte {byte} is not mended");
        }
    }
}

#[test]
fn a_pack_under_the_name_of_another_is_not_taken_for_it() {
    let twins = Twins::new();
    let cache = twins.cache();
    let [a, b] = twins.files("genome.fa", fasta);
    genome(&a, &cache);
    let of_a = pack_in(&cache, "cbg");
    let kept = twins.folder.path().join("kept.cbg");
    fs::rename(&of_a, &kept).unwrap();
    let of_b = (genome(&b, &cache), pack_in(&cache, "cbg")).1;
    fs::copy(&kept, &of_b).unwrap();
    let (codes, said) = genome(&b, &cache);
    assert_eq!(codes[8..], [0, 0]);
    assert!(said.contains("the pack of another source"), "{said}");
}

#[test]
fn training_never_goes_on_a_damaged_pack_or_another_genome() {
    let fixture = Fixture::new();
    let train = |out: &str, more: &[&str]| {
        let arguments =
            fixture.bias_train(out, &[&["-e", "1", "--cache-dir", "cache"], more].concat());
        stderr(&fixture.succeed(&strs(&arguments)))
    };
    train("a", &[]);
    let model = |out: &str| fs::read(fixture.path(&format!("{out}/models/bias.h5"))).unwrap();
    for extension in ["cbg", "cbs"] {
        let pack = pack_in(&fixture.path("cache"), extension);
        let mut bytes = fs::read(&pack).unwrap();
        let end = bytes.len() - 400;
        bytes[HEADER..end].iter_mut().step_by(64).for_each(|byte| *byte ^= 3);
        fs::write(&pack, &bytes).unwrap();
        let text = fixture.fail(&["pack", "verify", &pack.display().to_string()]);
        assert!(text.contains("damaged"), "{text}");
    }
    let said = train("b", &[]);
    assert_eq!(said.matches("damaged, made again").count(), 2, "{said}");
    assert!(model("a") == model("b"), "other weights");

    // Another genome of the same name, size and time, in the same cache and in one of its own.
    let text = fixture.read("genome.fa");
    let swapped: String = text
        .lines()
        .map(|line| match line.starts_with('>') {
            true => format!("{line}\n"),
            false => line.chars().rev().chain(['\n']).collect(),
        })
        .collect();
    fs::create_dir(fixture.path("other")).unwrap();
    fixture.write("other/genome.fa", &swapped);
    for file in ["genome.fa", "other/genome.fa"] {
        set_time(&fixture.path(file), UNIX_EPOCH + Duration::from_secs(1));
    }
    train("c", &["-g", "other/genome.fa"]);
    train("d", &["-g", "other/genome.fa", "--cache-dir", "own"]);
    assert!(model("c") == model("d"), "trained on the other genome");
    assert!(model("c") != model("a"));
}

#[test]
fn a_damaged_pack_that_is_given_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.succeed(&["pack", "genome", "-g", "genome.fa", "-o", "g.cbg"]);
    let mut bytes = fs::read(fixture.path("g.cbg")).unwrap();
    bytes[HEADER + 100] ^= 1;
    fs::write(fixture.path("g.cbg"), &bytes).unwrap();
    let text = fixture.fail(&strs(&fixture.bias_train("out", &["-g", "g.cbg"])));
    assert!(text.contains("genome pack is damaged") && text.contains("where: g.cbg"), "{text}");
    // A pack of the version before this one.
    bytes[8] = 1;
    fs::write(fixture.path("g.cbg"), &bytes).unwrap();
    let text = fixture.fail(&strs(&fixture.bias_train("out", &["-g", "g.cbg"])));
    assert!(text.contains("layout version 1") && text.contains("fix: make it again"), "{text}");
}

#[test]
fn a_pack_that_is_truncated_under_a_run_ends_it_with_a_message() {
    let fixture = Fixture::new();
    for (out, extension) in [("of_genome", "cbg"), ("of_signal", "cbs")] {
        let more = ["-e", "100000", "-es", "100000", "--cache-dir", "cache", "--threads", "1"];
        let arguments = fixture.bias_train(out, &more);
        let mut command = fixture.command(&strs(&arguments));
        command.stderr(std::process::Stdio::piped());
        let mut run = command.spawn().unwrap();
        let started = Instant::now();
        while !fixture.path(&format!("{out}/logs/bias.log")).exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "no epoch ends");
            assert!(run.try_wait().unwrap().is_none(), "the run ended early");
            std::thread::sleep(Duration::from_millis(5));
        }
        let pack = pack_in(&fixture.path("cache"), extension);
        fs::File::options().write(true).open(&pack).unwrap().set_len(HEADER as u64).unwrap();
        let output = run.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("error: a file that was being read was truncated"), "{text}");
        let name = pack.file_name().unwrap().to_string_lossy().into_owned();
        assert!(text.contains(&name) && text.contains("fix: run the same command again"), "{text}");
        // What comes next makes the pack anew.
        let next = fixture.bias_train(&format!("next_{out}"), &["-e", "1", "--cache-dir", "cache"]);
        let said = stderr(&fixture.succeed(&strs(&next)));
        assert!(said.contains("damaged, made again (") && said.contains("truncated"), "{said}");
    }
}
