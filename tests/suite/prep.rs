//! `prep` on the built binary: outputs, refusals, shortfalls, bad input.

use std::collections::HashSet;
use std::fs;

use crate::fixture::{Fixture, stderr, tree};

const NONPEAKS: [&str; 10] =
    ["prep", "nonpeaks", "-g", "genome.fa", "-p", "peaks.bed", "-c", "chrom.sizes", "-il", "306"];

fn nonpeaks<'a>(more: &[&'a str]) -> Vec<&'a str> {
    // Small steps leave enough windows between the fixture's peaks.
    let steps = if more.contains(&"-st") { &[][..] } else { &["-st", "10", "-npr=1"] };
    [&NONPEAKS[..], steps, more].concat()
}

fn places(fixture: &Fixture, file: &str) -> Vec<(String, u64, u64)> {
    let rows = fixture.read(file);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        (cells[0].to_string(), cells[1].parse().unwrap(), cells[2].parse().unwrap())
    };
    rows.lines().map(row).collect()
}

#[test]
fn nonpeaks_keep_clear_of_peaks_and_blacklist() {
    let fixture = Fixture::new();
    fixture.write("blacklist.bed", "chr1\t0\t6000\nchr3\t9000\t9100\textra\n");
    fixture.succeed(&nonpeaks(&["-fl", "folds.json", "-br", "blacklist.bed", "-o", "out/np"]));
    let drawn = places(&fixture, "out/np_negatives.bed");
    let unique: HashSet<_> = drawn.iter().collect();
    assert_eq!(unique.len(), drawn.len());
    let peaks = places(&fixture, "peaks.bed");
    let avoided = [peaks.clone(), places(&fixture, "blacklist.bed")].concat();
    for (chrom, start, end) in &drawn {
        assert_eq!(end - start, 306);
        for (other, from, to) in &avoided {
            assert!(
                chrom != other || *end + 153 <= *from || *to + 153 <= *start,
                "{chrom}:{start}"
            );
        }
    }
    // one each, and rows that training reads
    assert_eq!(drawn.len(), peaks.len());
    assert!(
        fixture
            .read("out/np_negatives.bed")
            .lines()
            .all(|l| l.ends_with("\t.\t.\t.\t.\t.\t.\t153"))
    );
    assert!(
        fixture.read("out/np_auxiliary/blacklist_slop.bed").ends_with("chr3\t8847\t9253\textra\n")
    );
}

#[test]
fn one_pass_serves_all_folds_as_each_alone() {
    let fixture = Fixture::new();
    fixture.write("other.json", r#"{"train":["chr3"],"valid":["chr1"],"test":["chr2"]}"#);
    fixture.succeed(&nonpeaks(&[
        "--all-folds",
        "folds.json",
        "other.json",
        "-o",
        "all",
        "-s",
        "5",
    ]));
    for fold in ["folds", "other"] {
        let (file, prefix) = (format!("{fold}.json"), format!("only-{fold}"));
        fixture.succeed(&nonpeaks(&["-fl", &file, "-o", &prefix, "-s", "5"]));
        let alone = fixture.read(&format!("{prefix}_negatives.bed"));
        assert_eq!(alone, fixture.read(&format!("all_{fold}_negatives.bed")));
        let table = fixture.read(&format!("all_auxiliary/negatives_gc_{fold}.tsv"));
        assert_eq!(table, fixture.read(&format!("{prefix}_auxiliary/negatives_gc.tsv")));
    }
    let seed = fixture.read("all_folds_negatives.bed");
    fixture.succeed(&nonpeaks(&["-fl", "folds.json", "-o", "six", "-s", "6"]));
    assert_ne!(seed, fixture.read("six_negatives.bed"));
}

#[test]
fn earlier_nonpeaks_are_kept_unless_forced() {
    let fixture = Fixture::new();
    let command = nonpeaks(&["-fl", "folds.json", "-o", "np"]);
    fixture.succeed(&command);
    let text = fixture.fail(&command);
    assert!(text.contains("np_negatives.bed") && text.contains("--force"), "{text}");
    fixture.succeed(&[&command[..], &["--force"]].concat());
}

#[test]
fn a_shortfall_is_a_table_and_a_warning_or_an_error() {
    let fixture = Fixture::new();
    // Windows so far apart that 46 peaks of a chromosome cannot have four each.
    let short = ["-fl", "folds.json", "-st", "500", "-npr=4", "-o", "np"];
    let text = stderr(&fixture.succeed(&nonpeaks(&short)));
    for wanted in
        ["warning: ", "could not be drawn", "split  gc", "train", "np_auxiliary/negatives_gc.tsv"]
    {
        assert!(text.contains(wanted), "{text}");
    }
    let table = fixture.read("np_auxiliary/negatives_gc.tsv");
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|l| l.split('\t').collect()).collect();
    let sum =
        |column: usize| rows.iter().map(|r| r[column].parse::<usize>().unwrap()).sum::<usize>();
    let drawn = fixture.read("np_negatives.bed").lines().count();
    assert_eq!((sum(3), sum(5)), (drawn + sum(6), drawn));
    assert!(sum(6) > 0);

    let strict = ["-fl", "folds.json", "-st", "500", "-npr=4", "-o", "strict", "--strict"];
    let text = fixture.fail(&nonpeaks(&strict));
    assert!(text.contains("could not be drawn") && text.contains("fix:"), "{text}");
    assert!(!fixture.path("strict_negatives.bed").exists());
}

#[test]
fn bad_input_gets_what_where_and_how_to_fix_it() {
    type Spoil = fn(&Fixture);
    let cases: &[(&str, Spoil, &[&str], &[&str])] = &[
        ("no genome", |f| fs::remove_file(f.path("genome.fa")).unwrap(), &[], &["genome.fa"]),
        ("3 columns", |f| f.write("peaks.bed", "chr1\t1\t9\n"), &[], &["peaks.bed line 1", "fix:"]),
        ("no rows", |f| f.write("peaks.bed", "#\n"), &[], &["no regions"]),
        (
            "other names",
            |f| f.write("peaks.bed", &f.read("peaks.bed").replace("chr", "")),
            &[],
            &["no region lies on a contig", "peaks.bed"],
        ),
        (
            "blacklist of 2 columns",
            |f| f.write("b.bed", "chr1\t5\n"),
            &["-br", "b.bed"],
            &["b.bed line 1", "2 columns"],
        ),
        (
            "blacklist of other names",
            |f| f.write("b.bed", "1\t5\t9\n"),
            &["-br", "b.bed"],
            &["no row of the blacklist", "here: 1"],
        ),
        (
            "all is blacklisted",
            |f| f.write("b.bed", "chr1\t0\t24000\nchr2\t0\t24000\nchr3\t0\t24000\n"),
            &["-br", "b.bed"],
            &["not one nonpeak", "fix:"],
        ),
        ("other sizes", |f| f.write("chrom.sizes", "chr1\t9\n"), &[], &["another assembly"]),
        ("broken fold", |f| f.write("folds.json", "{"), &[], &["folds.json"]),
        ("odd width", |_| {}, &["-il", "305"], &["--inputlen is 305"]),
        ("no width", |_| {}, &["-il", "0"], &["--inputlen is 0"]),
        ("wide", |_| {}, &["-il", "24002"], &["none of the", "inside its contig"]),
        ("absurdly wide", |_| {}, &["-il", "4000000000000000000"], &["at most"]),
        ("no stride", |_| {}, &["-st", "0"], &["--stride is 0"]),
        ("no ratio", |_| {}, &["--neg-to-pos-ratio-train", "0"], &["expected 1 to 1000"]),
        (
            "a file in the way",
            |f| f.write("np_auxiliary", ""),
            &[],
            &["np_auxiliary", "output folder"],
        ),
    ];
    for (name, spoil, more, says) in cases {
        let fixture = Fixture::new();
        spoil(&fixture);
        let mut command = NONPEAKS.to_vec();
        if let Some(at) = command.iter().position(|flag| more.contains(flag)) {
            command.drain(at..at + 2);
        }
        command.extend_from_slice(more);
        command.extend(["-fl", "folds.json", "-o", "np"]);
        let text = fixture.fail(&command);
        for wanted in *says {
            assert!(text.contains(wanted), "{name}: no {wanted:?} in\n{text}");
        }
        assert!(!fixture.path("np_negatives.bed").exists(), "{name}");
    }
}

#[test]
fn folds_of_one_name_are_refused() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("b")).unwrap();
    fixture.write("b/folds.json", &fixture.read("folds.json"));
    let text = fixture.fail(&nonpeaks(&["--all-folds", "folds.json", "b/folds.json", "-o", "np"]));
    assert!(text.contains("two fold files are called folds"), "{text}");
    assert_eq!(fixture.run(&nonpeaks(&["-o", "np"])).status.code(), Some(2));
}

#[test]
fn splits_by_k_and_by_name() {
    let fixture = Fixture::new();
    let sizes = ["prep", "splits", "-c", "chrom.sizes"];
    fixture.succeed(&[&sizes[..], &["-op", "k", "--k", "3"]].concat());
    for i in 0..3 {
        // what training reads
        let fold = cbp_fast::input::folds::read(&fixture.path(&format!("k_{i}.json"))).unwrap();
        assert_eq!((fold.train.len(), fold.valid.len(), fold.test.len()), (1, 1, 1));
    }
    let text = fixture.fail(&[&sizes[..], &["-op", "k", "--k", "3"]].concat());
    assert!(text.contains("k_0.json") && text.contains("--force"), "{text}");
    for (more, wanted) in [
        (&["--k", "9"][..], "--k is 9 for 3 chromosomes"),
        (&["--k", "1"], "--k is 1"),
        (&["--published", "human"], "no valid chromosome of fold 0"),
        (&["-tcr", "1", "-vcr", "chr2"], "--test-chroms: 1 is not among"),
        (&["-tcr", "chr1", "-vcr", "chr1"], "chr1 is in both"),
    ] {
        let text = fixture.fail(&[&sizes[..], &["-op", "bad"], more].concat());
        assert!(text.contains(wanted) && text.contains("chrom.sizes"), "{text}");
    }
    for more in [&["--k", "3", "-tcr", "chr1", "-vcr", "chr2"][..], &["-tcr", "chr1"], &[]] {
        let command = [&sizes[..], &["-op", "bad"], more].concat();
        assert_eq!(fixture.run(&command).status.code(), Some(2), "{more:?}");
    }
    assert!(!tree(fixture.folder.path()).iter().any(|file| file.starts_with("bad")));

    let names = (1..=22).map(|n| n.to_string()).chain(["X".into(), "Y".into()]);
    let text: String = names.map(|n| format!("chr{n}\t1000\n")).collect();
    fixture.write("human.sizes", &(text + "chrM\t5\n"));
    fixture.succeed(&["prep", "splits", "-c", "human.sizes", "-op", "h", "--published", "human"]);
    let fold = cbp_fast::input::folds::read(&fixture.path("h_4.json")).unwrap();
    assert_eq!(fold.test, ["chr7", "chr13", "chr17", "chr19", "chr21", "chrX"]);
    assert_eq!((fold.valid.len(), fold.train.len()), (2, 16));
}
