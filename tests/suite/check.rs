//! `check`: every verdict by the data that earns it, and the same checks in front of training.

use std::fs;

use cbp_fast::files::bigwig;
use serde_json::Value;

use crate::fixture::{CONTIG, Fixture, stderr, strs, tree};

/// The report of `check` before a training command; fails with it.
fn report(fixture: &Fixture, command: &[String], more: &[&str]) -> Value {
    let arguments = [&["check"], &strs(command)[..], more, &["--json"]].concat();
    let output = fixture.run(&arguments);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", stderr(&output)));
    let code = if report["verdict"] == "fail" { 1 } else { 0 };
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    report
}

/// Has the report this verdict of a check, with these words?
fn says(report: &Value, verdict: &str, check: &str, words: &str) -> bool {
    report["checks"].as_array().unwrap().iter().any(|c| {
        let text = [&c["what"], &c["where"], &c["fix"]].map(|v| v.as_str().unwrap_or_default());
        c["verdict"] == verdict && c["check"] == check && text.join("\n").contains(words)
    })
}

#[test]
fn a_sound_data_set_passes_and_nothing_is_written() {
    let fixture = Fixture::new();
    let before = tree(fixture.folder.path());
    let report = report(&fixture, &fixture.bias_train("out", &[]), &[]);
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert_eq!(tree(fixture.folder.path()), before);
    for (check, words) in [
        ("contigs", "names and lengths agree"),
        ("summits", "66 peaks"),
        ("splits", "22/22/22 peaks"),
        ("overlaps", "no nonpeak window"),
        ("depth", "counts in all; median"),
        ("background", "0.0 % of the nonpeaks"),
        ("bias threshold", "factor 1.5"),
        ("time", "an epoch"),
        ("memory", "in memory"),
        ("disk", "on disk in out"),
    ] {
        assert!(says(&report, "pass", check, words), "{check}: {report:#}");
    }
    let chr2 = &report["contigs"][1];
    assert_eq!(
        (&chr2["name"], &chr2["genome"], &chr2["signal"]),
        (&"chr2".into(), &CONTIG.into(), &CONTIG.into())
    );
    assert_eq!((&chr2["peaks"], &chr2["fold"]), (&22.into(), &"valid".into()));
    assert!(report["estimates"]["epoch_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn text_has_the_table_and_the_verdict() {
    let fixture = Fixture::new();
    let command = fixture.bias_train("out", &[]);
    let output = fixture.succeed(&[&["check"], &strs(&command)[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("contig  genome  chrom_sizes  signal  peaks  nonpeaks   fold\n"),
        "{text}"
    );
    assert!(
        text.contains("\nchr1    24,000       24,000  24,000     22        22  train\n"),
        "{text}"
    );
    assert!(text.contains("\npass: ") && text.ends_with("0 warnings, 0 failed\n"), "{text}");
}

struct Case {
    name: &'static str,
    spoil: fn(&Fixture),
    more: &'static [&'static str],
    verdict: &'static str,
    check: &'static str,
    words: &'static str,
}

fn signal(fixture: &Fixture, names: [&str; 3], length: usize, value: impl Fn(usize, usize) -> f32) {
    let contigs: Vec<(String, u64)> =
        names.iter().map(|n| (n.to_string(), length as u64)).collect();
    let tracks: Vec<Vec<f32>> =
        (0..3).map(|c| (0..length).map(|i| value(c, i)).collect()).collect();
    bigwig::write(&fixture.path("signal.bw"), &contigs, &tracks).unwrap();
}

fn replace(fixture: &Fixture, file: &str, from: &str, to: &str) {
    fixture.write(file, &fixture.read(file).replace(from, to));
}

/// `bias train` with `-b 1.5`.
const CASES: &[Case] = &[
    Case {
        name: "1 for chr1 in peaks",
        spoil: |f| replace(f, "peaks.bed", "chr", ""),
        more: &[],
        verdict: "fail",
        check: "contigs",
        words: "sed 's/^/chr/' peaks.bed",
    },
    Case {
        name: "1 for chr1 in folds",
        spoil: |f| replace(f, "folds.json", "chr", ""),
        more: &[],
        verdict: "fail",
        check: "contigs",
        words: "`train` list is in the genome (genome: chr1, chr2, chr3; here: 1)",
    },
    Case {
        name: "1 for chr1 in the signal",
        spoil: |f| signal(f, ["1", "2", "3"], CONTIG, |_, _| 1.0),
        more: &[],
        verdict: "fail",
        check: "contigs",
        words: "share no contig name",
    },
    Case {
        name: "1 for chr1 in the blacklist",
        spoil: |f| f.write("b.bed", "1\t0\t9\n"),
        more: &["-br", "b.bed"],
        verdict: "fail",
        check: "contigs",
        words: "here: 1",
    },
    Case {
        name: "another assembly",
        spoil: |f| signal(f, ["chr1", "chr2", "chr3"], CONTIG - 7, |_, _| 1.0),
        more: &[],
        verdict: "fail",
        check: "contigs",
        words: "another assembly?",
    },
    Case {
        name: "sizes of another assembly",
        spoil: |f| replace(f, "chrom.sizes", "24000", "23000"),
        more: &[],
        verdict: "fail",
        check: "contigs",
        words: "chrom_sizes",
    },
    Case {
        name: "peaks off the genome",
        spoil: |f| {
            f.write("peaks.bed", &(f.read("peaks.bed") + "chr9\t1\t90\t.\t.\t.\t.\t.\t.\t40\n"))
        },
        more: &[],
        verdict: "warn",
        check: "rows",
        words: "1 of 67 peaks lie on contigs missing from the genome, e.g. chr9 (line 67)",
    },
    Case {
        name: "no summits",
        spoil: |f| replace(f, "peaks.bed", "\t100\n", "\t-1\n"),
        more: &[],
        verdict: "fail",
        check: "peaks",
        words: "caller reported none",
    },
    Case {
        name: "summits at 0",
        spoil: |f| replace(f, "peaks.bed", "\t100\n", "\t0\n"),
        more: &[],
        verdict: "warn",
        check: "summits",
        words: "at their first base",
    },
    Case {
        name: "3 columns",
        spoil: |f| f.write("nonpeaks.bed", "chr1\t1\t90\n"),
        more: &[],
        verdict: "fail",
        check: "nonpeaks",
        words: "nonpeaks.bed line 1",
    },
    Case {
        name: "repeated peaks",
        spoil: |f| f.write("peaks.bed", &f.read("peaks.bed").repeat(2)),
        more: &[],
        verdict: "warn",
        check: "summits",
        words: "66 of 132 peaks repeat the summit of an earlier row",
    },
    Case {
        name: "overlapping lists",
        spoil: |f| {
            f.write("folds.json", r#"{"train":["chr1"],"valid":["chr2","chr1"],"test":["chr3"]}"#)
        },
        more: &[],
        verdict: "fail",
        check: "folds",
        words: "chr1 is in both train and valid",
    },
    Case {
        name: "nonpeaks that are peaks",
        spoil: |f| f.write("nonpeaks.bed", &(f.read("nonpeaks.bed") + &f.read("peaks.bed"))),
        more: &[],
        verdict: "warn",
        check: "overlaps",
        words: "nonpeaks have a peak in their window",
    },
    Case {
        name: "peaks in the blacklist",
        spoil: |f| f.write("b.bed", "chr1\t900\t1200\n"),
        more: &["-br", "b.bed"],
        verdict: "warn",
        check: "overlaps",
        words: "1 of 66 peaks have a blacklisted base in their window",
    },
    Case {
        name: "no nonpeaks to train on",
        spoil: |f| f.write("nonpeaks.bed", &f.read("nonpeaks.bed").replace("chr1", "chr3")),
        more: &[],
        verdict: "fail",
        check: "splits",
        words: "nonpeaks file lies on the train chromosomes (chr1)",
    },
    Case {
        name: "silent signal",
        spoil: |f| {
            signal(f, ["chr1", "chr2", "chr3"], CONTIG, |c, i| {
                f32::from(u8::from(c == 0 && i == 5))
            })
        },
        more: &[],
        verdict: "fail",
        check: "bias threshold",
        words: "1st percentile of peak counts is 0 (100.0 %",
    },
    Case {
        name: "no nonpeak below the threshold",
        spoil: |_| {},
        more: &["--bias-threshold-factor", "0.001"],
        verdict: "fail",
        check: "bias threshold",
        words: "raise --bias-threshold-factor",
    },
    Case {
        name: "swapped",
        spoil: |f| {
            fs::rename(f.path("peaks.bed"), f.path("x"))
                .and_then(|()| fs::rename(f.path("nonpeaks.bed"), f.path("peaks.bed")))
                .and_then(|()| fs::rename(f.path("x"), f.path("nonpeaks.bed")))
                .unwrap()
        },
        more: &[],
        verdict: "warn",
        check: "background",
        words: "nonpeaks have more signal than peaks",
    },
    Case {
        name: "a normalised track",
        spoil: |f| {
            signal(
                f,
                ["chr1", "chr2", "chr3"],
                CONTIG,
                |_, i| if i % 1000 < 300 { 1.5 } else { 0.25 },
            )
        },
        more: &[],
        verdict: "warn",
        check: "values",
        words: "fractional",
    },
    Case {
        name: "a negative track",
        spoil: |f| signal(f, ["chr1", "chr2", "chr3"], CONTIG, |_, _| -1.0),
        more: &[],
        verdict: "fail",
        check: "signal",
        words: "value is -1",
    },
    Case {
        name: "a signal and reads",
        spoil: |_| {},
        more: &["-ibam", "x.bam"],
        verdict: "fail",
        check: "signal",
        words: "-ibam",
    },
    Case {
        name: "missing genome",
        spoil: |f| fs::remove_file(f.path("genome.fa")).unwrap(),
        more: &[],
        verdict: "fail",
        check: "genome",
        words: "genome.fa",
    },
    Case {
        name: "a layer too many",
        spoil: |_| {},
        more: &["--n-dilation-layers", "9"],
        verdict: "fail",
        check: "settings",
        words: "inputlen 306 is too short",
    },
    Case {
        name: "a GPU where there is none",
        spoil: |_| {},
        more: &["--device", "cuda"],
        verdict: "warn",
        check: "device",
        words: "not estimated: --device cuda",
    },
    Case {
        name: "no device at all",
        spoil: |_| {},
        more: &["--device", "tpu"],
        verdict: "fail",
        check: "device",
        words: "--device tpu is not a device",
    },
];

#[test]
fn every_mistake_has_its_verdict() {
    for case in CASES {
        let fixture = Fixture::new();
        (case.spoil)(&fixture);
        let mut command = fixture.bias_train("out", &[]);
        let mut more = case.more.to_vec();
        if let ["--bias-threshold-factor" | "--n-dilation-layers", value] = case.more[..] {
            // a flag may be given once
            let short = if case.more[0].starts_with("--bias") { "-b" } else { "-dil" };
            let at = command.iter().position(|a| a == short).unwrap();
            command[at + 1] = value.to_string();
            more.clear();
        }
        let report = report(&fixture, &command, &more);
        let found = says(&report, case.verdict, case.check, case.words);
        assert!(found, "{}: {report:#}", case.name);
        assert!(!fixture.path("out").exists() && !fixture.path(".cbp-fast-cache").exists());
    }
}

#[test]
fn all_mistakes_at_once() {
    let fixture = Fixture::new();
    fixture.write("peaks.bed", "chr1\t1\t9\n");
    fixture.write("folds.json", "{");
    fs::remove_file(fixture.path("chrom.sizes")).unwrap();
    let report = report(&fixture, &fixture.bias_train("out", &[]), &[]);
    for check in ["peaks", "folds", "chrom_sizes"] {
        assert!(says(&report, "fail", check, ""), "{check}: {report:#}");
    }
}

#[test]
fn the_main_model_and_its_bias_model() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let good = report(&fixture, &fixture.train("out", &[]), &[]);
    assert!(says(&good, "pass", "bias model", "4 filters, 2 dilated layers"), "{good:#}");
    assert!(says(&good, "pass", "bias threshold", "for a bias model of this sample"), "{good:#}");
    let lengths = report(&fixture, &fixture.train("out", &["-ol", "98"]), &[]);
    assert!(
        says(&lengths, "fail", "bias model", "has inputlen 306 and outputlen 100"),
        "{lengths:#}"
    );
    let ratio = report(&fixture, &fixture.train("out", &["-sr", "7"]), &[]);
    assert!(says(&ratio, "fail", "splits", "an epoch wants 308 nonpeaks"), "{ratio:#}");
    fixture.write("bias/models/bias.h5", "not a model");
    let broken = report(&fixture, &fixture.train("out", &[]), &[]);
    assert!(says(&broken, "fail", "bias model", "bias.h5"), "{broken:#}");
}

#[test]
fn packs_and_compressed_files_are_checked_alike() {
    let fixture = Fixture::new();
    fixture.succeed(&["pack", "genome", "-g", "genome.fa", "-o", "g.cbg"]);
    fixture.succeed(&["pack", "signal", "--bigwig", "signal.bw", "-o", "s.cbs"]);
    let plain = report(&fixture, &fixture.bias_train("out", &[]), &[]);
    let packs =
        report(&fixture, &fixture.bias_train("out", &["-g", "g.cbg", "--bigwig", "s.cbs"]), &[]);
    assert_eq!(plain["contigs"], packs["contigs"]);
    let what = |report: &Value, check: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|c| c["check"] == check).map(|c| c["what"].clone())
    };
    for check in ["depth", "background", "bias threshold"] {
        assert_eq!(what(&plain, check), what(&packs, check));
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    std::io::Write::write_all(&mut encoder, fixture.read("peaks.bed").as_bytes()).unwrap();
    fs::write(fixture.path("peaks.gz"), encoder.finish().unwrap()).unwrap();
    let gzip = report(&fixture, &fixture.bias_train("out", &["-p", "peaks.gz"]), &[]);
    assert_eq!(plain["contigs"], gzip["contigs"]);
}

#[test]
fn training_says_the_warnings_and_stops_before_packing() {
    let fixture = Fixture::new();
    fixture.write("peaks.bed", &fixture.read("peaks.bed").repeat(2));
    let output = fixture.succeed(&strs(&fixture.bias_train("twice", &["-e", "1"])));
    assert!(
        stderr(&output).contains("warning: 66 of 132 peaks repeat the summit"),
        "{}",
        stderr(&output)
    );

    let fixture = Fixture::new();
    replace(&fixture, "chrom.sizes", "24000", "23000");
    let text = fixture.fail(&strs(&fixture.bias_train("out", &[])));
    assert!(text.contains("another assembly"), "{text}");
    // the signal's header told: nothing was hashed, packed or written
    assert!(!fixture.path(".cbp-fast-cache").exists() && !fixture.path("out").exists());
}
