//! Bad input of every kind, on the built binary: exit code 1, what and where and how to fix it, and
//! nothing half-written.

use std::fs;

use crate::fixture::{Fixture, strs};

#[test]
fn help_and_version_and_bad_usage() {
    let fixture = Fixture::new();
    let help = fixture.succeed(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in ["train", "bias", "check", "prep", "predict", "pack", "demo", "bench"] {
        assert!(text.contains(command), "{text}");
    }
    fixture.succeed(&["--version"]);
    assert_eq!(fixture.run(&["train", "--nonsense"]).status.code(), Some(2));
    assert_eq!(fixture.run(&["no-such-command"]).status.code(), Some(2));
}

/// What is done to the files, the extra flags, and what stderr must say.
struct Case {
    name: &'static str,
    spoil: fn(&Fixture),
    flags: &'static [&'static str],
    says: &'static [&'static str],
}

fn replace_in(fixture: &Fixture, file: &str, from: &str, to: &str) {
    let text = fixture.read(file);
    assert!(text.contains(from), "{file} has no {from}");
    fixture.write(file, &text.replace(from, to));
}

fn truncate(fixture: &Fixture, file: &str, keep: usize) {
    let bytes = fs::read(fixture.path(file)).unwrap();
    fs::write(fixture.path(file), &bytes[..keep.min(bytes.len())]).unwrap();
}

const NOTHING: fn(&Fixture) = |_| {};

/// Cases for `bias train`.
const CASES: &[Case] = &[
    Case {
        name: "missing genome",
        spoil: |f| fs::remove_file(f.path("genome.fa")).unwrap(),
        flags: &[],
        says: &["genome.fa"],
    },
    Case {
        name: "missing bigWig",
        spoil: |f| fs::remove_file(f.path("signal.bw")).unwrap(),
        flags: &[],
        says: &["signal.bw"],
    },
    Case {
        name: "truncated bigWig",
        spoil: |f| truncate(f, "signal.bw", 700),
        flags: &[],
        says: &["signal.bw"],
    },
    Case {
        name: "a FASTA for a bigWig",
        spoil: |f| {
            fs::copy(f.path("genome.fa"), f.path("signal.bw")).unwrap();
        },
        flags: &[],
        says: &["signal.bw", "fix:"],
    },
    Case {
        name: "a bigWig for a FASTA",
        spoil: |f| {
            fs::copy(f.path("signal.bw"), f.path("genome.fa")).unwrap();
        },
        flags: &[],
        says: &["genome.fa"],
    },
    Case {
        name: "empty peaks",
        spoil: |f| f.write("peaks.bed", ""),
        flags: &[],
        says: &["peaks.bed", "no regions"],
    },
    Case {
        name: "three columns",
        spoil: |f| f.write("peaks.bed", "chr1\t100\t200\n"),
        flags: &[],
        says: &["3 columns, expected 10", "peaks.bed line 1"],
    },
    Case {
        name: "summit outside its interval",
        spoil: |f| replace_in(f, "peaks.bed", "\t100\n", "\t900\n"),
        flags: &[],
        says: &["peaks.bed line 1", "summit"],
    },
    Case {
        name: "peaks named otherwise",
        spoil: |f| replace_in(f, "peaks.bed", "chr", ""),
        flags: &[],
        says: &["peaks.bed", "no region lies on a contig", "chr1"],
    },
    Case {
        name: "folds named otherwise",
        spoil: |f| replace_in(f, "folds.json", "chr", ""),
        flags: &[],
        says: &["folds.json", "`train`"],
    },
    Case {
        name: "bigWig named otherwise",
        spoil: |f| {
            let contigs = [("1".to_string(), 24_000u64)];
            let track = vec![vec![1.0f32; 24_000]];
            cbp_fast::files::bigwig::write(&f.path("signal.bw"), &contigs, &track).unwrap();
        },
        flags: &[],
        says: &["share no contig name", "signal.bw"],
    },
    Case {
        name: "bigWig of another assembly",
        spoil: |f| {
            let contigs = [("chr1".to_string(), 23_000u64)];
            let track = vec![vec![1.0f32; 23_000]];
            cbp_fast::files::bigwig::write(&f.path("signal.bw"), &contigs, &track).unwrap();
        },
        flags: &[],
        says: &["another assembly", "24000", "23000"],
    },
    Case {
        name: "sizes of another assembly",
        spoil: |f| replace_in(f, "chrom.sizes", "24000", "24001"),
        flags: &[],
        says: &["chrom.sizes", "another assembly"],
    },
    Case {
        name: "negative signal",
        spoil: |f| {
            let contigs = [("chr1".to_string(), 24_000u64)];
            let mut track = vec![vec![1.0f32; 24_000]];
            track[0][77] = -1.0;
            cbp_fast::files::bigwig::write(&f.path("signal.bw"), &contigs, &track).unwrap();
        },
        flags: &[],
        says: &["negative", "chr1", "77"],
    },
    Case {
        name: "overlapping folds",
        spoil: |f| {
            f.write("folds.json", r#"{"train":["chr1"],"valid":["chr2","chr1"],"test":["chr3"]}"#);
        },
        flags: &[],
        says: &["folds.json", "chr1"],
    },
    Case {
        name: "empty training list",
        spoil: |f| f.write("folds.json", r#"{"train":[],"valid":["chr2"],"test":["chr3"]}"#),
        flags: &[],
        says: &["folds.json", "train"],
    },
    Case {
        name: "folds are no JSON",
        spoil: |f| f.write("folds.json", "{train: chr1}"),
        flags: &[],
        says: &["folds.json"],
    },
    Case {
        name: "no nonpeak below the threshold",
        spoil: NOTHING,
        flags: &["-b", "0.0001"],
        says: &["fix:"],
    },
    Case {
        name: "silent signal",
        spoil: |f| {
            let contigs: Vec<(String, u64)> =
                ["chr1", "chr2", "chr3"].iter().map(|n| (n.to_string(), 24_000)).collect();
            let mut track = vec![vec![0.0f32; 24_000]; 3];
            track[0][5] = 1.0;
            cbp_fast::files::bigwig::write(&f.path("signal.bw"), &contigs, &track).unwrap();
        },
        flags: &[],
        says: &["1st percentile", "fix:"],
    },
    Case {
        name: "input too short for the layers",
        spoil: NOTHING,
        flags: &["-dil", "9"],
        says: &["inputlen 306 is too short"],
    },
    Case { name: "odd lengths", spoil: NOTHING, flags: &["-ol", "99"], says: &["must be even"] },
    Case {
        name: "no GPU",
        spoil: NOTHING,
        flags: &["--device", "cuda"],
        says: &["--device cuda: ", "driver", "--device cpu"],
    },
    Case {
        name: "no such device",
        spoil: NOTHING,
        flags: &["--device", "cuda:x"],
        says: &["cuda:x is not a device", "auto, cpu, cuda or cuda:N"],
    },
    Case {
        name: "a precision that the CPU lacks",
        spoil: NOTHING,
        flags: &["--device", "cpu", "--precision", "fp16"],
        says: &["--precision fp16: the CPU computes in f32"],
    },
    Case {
        name: "a file where the output folder should be",
        spoil: |f| f.write("out", "in the way"),
        flags: &[],
        says: &["out", "cannot write to the output folder"],
    },
    Case {
        name: "unknown trackable",
        spoil: NOTHING,
        flags: &["-track", "accuracy"],
        says: &["accuracy is not a tracked loss"],
    },
    Case { name: "zero batch", spoil: NOTHING, flags: &["-bs", "0"], says: &["at least 1"] },
];

#[test]
fn bad_training_input_gets_what_where_and_how_to_fix_it() {
    for case in CASES {
        let fixture = Fixture::new();
        (case.spoil)(&fixture);
        let text = fixture.fail(&strs(&fixture.bias_train("out", case.flags)));
        assert!(text.contains("error: "), "{}: {text}", case.name);
        for wanted in case.says {
            assert!(text.contains(wanted), "{}: no {wanted:?} in\n{text}", case.name);
        }
        assert!(!fixture.path("out/models/bias.h5").exists(), "{}", case.name);
    }
}

#[test]
fn a_bias_model_must_fit() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let text = fixture.fail(&strs(&fixture.train("main", &["-ol", "98"])));
    assert!(text.contains("the bias model has outputlen 100"), "{text}");
    let text = fixture.fail(&strs(&fixture.train("main1", &["-sr", "7"])));
    assert!(text.contains("nonpeaks") && text.contains("fix:"), "{text}");
    fixture.write("bias/models/bias.h5", "not a model");
    let text = fixture.fail(&strs(&fixture.train("main2", &[])));
    assert!(text.contains("bias.h5"), "{text}");
}

#[test]
fn predict_writes_the_official_files_and_refuses_what_does_not_fit() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let model = "bias/models/bias.h5";
    fixture.succeed(&[
        "predict",
        "-m",
        model,
        "-g",
        "genome.fa",
        "-bw",
        "signal.bw",
        "-p",
        "peaks.bed",
        "-n",
        "nonpeaks.bed",
        "-fl",
        "folds.json",
        "-o",
        "test",
        "--logits",
    ]);
    let metrics: serde_json::Value =
        serde_json::from_str(&fixture.read("test_metrics.json")).unwrap();
    for group in ["peaks", "nonpeaks", "peaks_and_nonpeaks"] {
        assert!(metrics["counts_metrics"][group]["pearsonr"].is_number(), "{metrics}");
        assert!(metrics["profile_metrics"][group]["median_jsd"].is_number(), "{metrics}");
    }
    let rows = fixture.read("test_predicted_counts.tsv").lines().count();
    assert_eq!(rows, 1 + 44, "a header, the test chromosome's peaks and nonpeaks");

    fixture.succeed(&["predict", "-m", model, "-g", "genome.fa", "-r", "peaks.bed", "-o", "r"]);
    assert!(!fixture.path("r_metrics.json").exists(), "no bigWig, no metrics");

    fixture.write("short.fa", ">a\nACGT\n");
    let text = fixture.fail(&["predict", "-m", model, "--fasta", "short.fa", "-o", "s"]);
    assert!(text.contains("4 bp long, but the model reads 306 bp"), "{text}");
    assert!(!fixture.path("s_predictions.h5").exists());

    let text = fixture.fail(&[
        "predict",
        "-m",
        "genome.fa",
        "-r",
        "peaks.bed",
        "-g",
        "genome.fa",
        "-o",
        "x",
    ]);
    assert!(text.contains("genome.fa") && text.contains("fix:"), "{text}");
    let text = fixture.fail(&[
        "predict",
        "-m",
        model,
        "-r",
        "peaks.bed",
        "-g",
        "genome.fa",
        "-o",
        "no/such/x",
    ]);
    assert!(text.contains("no/such"), "{text}");
}

#[test]
fn quiet_says_nothing_and_json_lines_are_json() {
    let fixture = Fixture::new();
    let output = fixture.succeed(&strs(&fixture.bias_train("a", &["-e", "1", "--quiet"])));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.lines().all(|l| l.starts_with("warning:")), "{text}");
    assert!(output.stdout.is_empty());

    let output = fixture.succeed(&strs(&fixture.bias_train("b", &["-e", "2", "--log-json"])));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect();
    let epochs = events.iter().filter(|e| e["event"] == "epoch").count();
    assert_eq!(epochs, 2, "{text}");
}

#[test]
fn completions_and_manual_pages_come_from_the_parser() {
    let fixture = Fixture::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = fixture.succeed(&["completions", shell]).stdout;
        let script = String::from_utf8(script).unwrap();
        for known in ["nonpeaks", "counts-head", "contribs_bw"] {
            assert!(script.contains(known), "{shell}: no {known}");
        }
    }
    assert_eq!(fixture.run(&["completions", "tcsh"]).status.code(), Some(2));

    fixture.succeed(&["man", "pages/man1"]);
    let page = fixture.read("pages/man1/cbp-fast-bias-train.1");
    assert!(page.starts_with(".ie"), "{page}");
    for known in ["cbp\\-fast bias train", "bias\\-threshold\\-factor", "INPUTS", "Examples:"] {
        assert!(page.contains(known), "no {known} in\n{page}");
    }
    assert!(fixture.read("pages/man1/cbp-fast.1").contains("cbp\\-fast\\-train(1)"));
    fixture.write("in-the-way", "");
    assert!(fixture.fail(&["man", "in-the-way"]).contains("in-the-way"));
}
