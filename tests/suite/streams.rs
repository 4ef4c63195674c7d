//! What a command says, and where it cannot be said: closed pipes, full disks, names that a terminal
//! would obey, paths of any bytes, threads that the machine refuses.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{Fixture, stderr, strs};

/// A pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A disk without space; not every system has one.
fn full_disk() -> Option<Stdio> {
    let file = File::options().write(true).open("/dev/full");
    if file.is_err() {
        println!("skipped: there is no /dev/full");
    }
    file.ok().map(Into::into)
}

/// Characters that a terminal would obey, or that change the order of text.
fn is_hostile(c: char) -> bool {
    c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn trainings_go_on_without_their_messages() {
    let fixture = Fixture::new();
    fixture.keep_regions(6);
    let train = |output: &str, stream: Stdio, more: &[&str]| {
        let more = [&["-e", "1"][..], more].concat();
        let arguments = fixture.bias_train(output, &more);
        let status = fixture.command(&strs(&arguments)).stderr(stream).status().unwrap();
        assert!(status.success(), "{output}: {status}");
        assert!(fixture.path(&format!("{output}/models/bias.h5")).exists(), "{output}");
    };
    train("pipe", closed_pipe(), &[]);
    train("json", closed_pipe(), &["--log-json"]);
    if let Some(full) = full_disk() {
        train("full", full, &[]);
    }
}

#[test]
fn data_that_cannot_be_written_is_an_error_unless_its_reader_has_seen_enough() {
    let fixture = Fixture::new();
    for arguments in [&["doctor"][..], &["doctor", "--json", "--kernels"], &["--help"]] {
        let output = fixture.command(arguments).stdout(closed_pipe()).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
        let Some(full) = full_disk() else { continue };
        let output = fixture.command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).starts_with("error: cannot write to stdout"), "{arguments:?}");
    }
    // The verdict does not depend on who reads the report.
    fixture.write("folds.json", r#"{"train":["1"],"valid":["2"],"test":["3"]}"#);
    let check = [&["check".to_string()], &fixture.bias_train("o", &[])[..]].concat();
    let mut command = fixture.command(&strs(&check));
    let status = command.stdout(closed_pipe()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn names_from_inputs_do_not_reach_the_terminal() {
    let fixture = Fixture::new();
    let hostile = "x\x1b[31m\u{9b}2J\r\u{202e}y";
    let folds = serde_json::json!({"train": ["chr1"], "valid": ["chr2"],
        "test": ["chr3", hostile, format!("a\nerror: {}", "z".repeat(70_000))]});
    fixture.write("folds.json", &folds.to_string());
    let check = [&["check".to_string()], &fixture.bias_train("o", &[])[..]].concat();
    let output = fixture.run(&strs(&check));
    let text = String::from_utf8(output.stdout).unwrap();
    // No contig has a name of 70,000 characters.
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        !text.contains(is_hostile) && text.contains(r"x\u{1b}[31m\u{9b}2J\r\u{202e}y"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() < 1_000 && !line.starts_with("error")), "{text}");
    assert!(text.contains("characters)..."), "{text}");

    // As JSON the names are whole, and still nothing a terminal would obey.
    let json: Vec<String> = [check, vec!["--json".to_string()]].concat();
    let text = String::from_utf8(fixture.run(&strs(&json)).stdout).unwrap();
    assert!(!text.contains(is_hostile), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> =
        report["contigs"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(names.contains(&hostile), "{names:?}");

    // In a table a CR would end the line.
    fixture.write("chrom.sizes", &format!("{}\t9\n", hostile.replace('\r', "")));
    let error = fixture.fail(&strs(&fixture.bias_train("o", &[])));
    assert!(!error.contains(is_hostile) && error.contains(r"x\u{1b}[31m"), "{error}");
}

#[test]
fn every_line_of_the_log_is_json() {
    let fixture = Fixture::new();
    fixture.keep_regions(6);
    let hostile = "x\x1b[31m\u{9b}\"\\\n\u{202e}";
    let folds =
        serde_json::json!({"train": ["chr1"], "valid": ["chr2"], "test": ["chr3", hostile]});
    fixture.write("folds.json", &folds.to_string());
    let arguments = fixture.bias_train("o", &["-e", "1", "--log-json"]);
    let text = stderr(&fixture.succeed(&strs(&arguments)));
    assert!(!text.contains(is_hostile), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["event"].is_string()), "{text}");
    let told = |line: &Value| line["message"].as_str().is_some_and(|m| m.contains(r"x\u{1b}["));
    assert!(text.contains("chr") && lines.iter().any(|l| told(l) || l.to_string().contains("x")));
}

#[test]
fn paths_may_be_any_bytes() {
    let fixture = Fixture::new();
    fixture.keep_regions(4);
    let name = OsStr::from_bytes(b"x\xff");
    let arguments = fixture.bias_train("?", &["-e", "1", "-q"]);
    let arguments = arguments.iter().map(|a| if a == "?" { name } else { OsStr::new(a) });
    let mut command = fixture.command(&[]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let folder = fixture.folder.path().join(name);
    let record = fs::read_to_string(folder.join("logs/bias.run.json")).unwrap();
    assert!(record.contains("x\u{fffd}"), "{record}");

    let model = fixture.folder.path().join(OsStr::from_bytes(b"m\xff.h5"));
    fs::copy(folder.join("models/bias.h5"), &model).unwrap();
    let data = ["-g", "genome.fa", "-c", "chrom.sizes", "-r", "peaks.bed", "-q", "-m"];
    for command in ["contribs", "predict"] {
        let mut command = fixture.command(&[command]);
        command.args(data).arg(model.file_name().unwrap()).arg(OsStr::from_bytes(b"-op=p\xff"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let names: Vec<_> = fs::read_dir(fixture.folder.path()).unwrap().flatten().collect();
    let has = |name: &[u8]| names.iter().any(|entry| entry.file_name().as_bytes() == name);
    assert!(has(b"p\xff.counts_scores.h5") && has(b"p\xff.counts_scores.bw"), "{names:?}");
    assert!(has(b"p\xff.interpret.args.json") && has(b"p\xff_predictions.h5"), "{names:?}");
}

#[test]
fn threads_that_are_refused_are_an_error() {
    let fixture = Fixture::new();
    // More stack than there is address space: no thread can be started.
    let run = |arguments: &[&str]| {
        fixture.command(arguments).env("RUST_MIN_STACK", (1u64 << 60).to_string()).output().unwrap()
    };
    let report = ["report", "-o", "nothing"];
    let prep = [
        "prep",
        "nonpeaks",
        "-g",
        "genome.fa",
        "-c",
        "chrom.sizes",
        "-p",
        "peaks.bed",
        "-fl",
        "folds.json",
        "-o",
        "n",
    ];
    for arguments in [&report[..], &prep] {
        let output = run(arguments);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.starts_with("error: cannot start a thread"), "{error}");
        assert!(error.contains("ulimit -u"), "{error}");
    }
}
