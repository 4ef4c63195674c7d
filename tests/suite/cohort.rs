//! `cohort`: several command lines at the same time, on the built binary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::fixture::{Fixture, stderr, strs};
use crate::training::terminate;

/// A line of the file.
fn line(arguments: &[String]) -> String {
    arguments.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(" ")
}

fn same_files(fixture: &Fixture, one: &str, other: &str, names: &[&str]) {
    for name in names {
        let read = |run: &str| fs::read(fixture.path(&format!("{run}/{name}"))).unwrap();
        assert!(read(one) == read(other), "{name} of {one} and {other}");
    }
}

const OF_BIAS: [&str; 3] = ["models/bias.h5", "logs/bias.log", "logs/bias.log.batch"];

#[test]
fn runs_at_once_leave_what_each_leaves_alone() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    let seeds = ["1", "2", "3"];
    for seed in seeds {
        fixture.succeed(&strs(&fixture.bias_train(&format!("alone_{seed}"), &["-s", seed])));
    }
    let mut text = String::from("# three seeds\n\n");
    for seed in seeds {
        text += &line(&fixture.bias_train(seed, &["-s", seed]));
        text += "\n";
    }
    fs::write(fixture.path("runs.txt"), text).unwrap();
    let output = fixture.succeed(&["cohort", "runs.txt", "--at-once", "2"]);
    let said = stderr(&output);
    assert!(said.contains("3 runs, 2 at a time") && said.contains("all 3 runs are done"), "{said}");
    for seed in seeds {
        same_files(&fixture, &format!("alone_{seed}"), seed, &OF_BIAS);
        assert!(said.contains(&format!("\n{seed}: wrote ")), "{said}");
        let record: Value =
            serde_json::from_str(&fixture.read(&format!("{seed}/logs/bias.run.json"))).unwrap();
        let words = record["command_line"].as_array().unwrap();
        assert!(words[0] == "cbp-fast" && words[2] == "train", "{words:?}");
    }
    // Of the two that begin together, one packs.
    assert!(!said.contains("packing into"), "alone_1 has packed: {said}");

    // Again: nothing is left to do.
    let output = fixture.succeed(&["cohort", "runs.txt", "--log-json"]);
    let said = stderr(&output);
    assert_eq!(said.matches("is complete already").count(), 3, "{said}");
    assert!(said.lines().all(|line| line.starts_with("{\"event\":")), "{said}");
    assert!(said.contains("\"run\":\"2\""), "{said}");
}

/// The same on emulated GPUs, main models beside a bias model.
#[cfg(feature = "emulate")]
#[test]
fn runs_at_once_on_a_gpu_leave_what_each_leaves_alone() {
    const SMALL: [&str; 14] = [
        "-il",
        "140",
        "-ol",
        "40",
        "-dil",
        "1",
        "-fil",
        "3",
        "-e",
        "2",
        "--device",
        "emulated",
        "--precision",
        "fp16",
    ];
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    fixture.succeed(&strs(&fixture.bias_train("bias", &SMALL)));
    fixture.succeed(&strs(&fixture.train("alone", &SMALL)));
    let lines = [
        line(&fixture.bias_train("again/bias", &SMALL)),
        line(&fixture.train("again/main", &SMALL)),
    ];
    fs::write(fixture.path("runs.txt"), lines.join("\n")).unwrap();
    let said = stderr(&fixture.succeed(&["cohort", "runs.txt"])).to_string();
    assert!(said.contains("2 runs, 2 at a time"), "{said}");
    same_files(&fixture, "bias", "again/bias", &OF_BIAS);
    same_files(
        &fixture,
        "alone",
        "again/main",
        &["models/chrombpnet.h5", "models/bias_model_scaled.h5", "logs/chrombpnet.log.batch"],
    );
}

#[test]
fn a_run_that_fails_leaves_the_others_alone() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    let mut broken = fixture.bias_train("broken", &[]);
    let peaks = broken.iter().position(|a| a == "-p").unwrap() + 1;
    broken[peaks] = fixture.path("no.bed").display().to_string();
    let good = fixture.bias_train("good", &[]);
    fs::write(fixture.path("runs.txt"), [line(&broken), line(&good)].join("\n")).unwrap();
    let output = fixture.command(&["cohort", "runs.txt", "-q"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("warning: broken: ") && said.contains("no.bed"), "{said}");
    assert!(said.contains("1 of 2 runs did not end well") && said.contains("fix:"), "{said}");
    assert!(fixture.path("good/models/bias.h5").exists());
}

#[test]
fn a_signal_stops_all_runs_and_the_same_command_goes_on() {
    let fixture = Fixture::new();
    let long = ["-e", "40", "-es", "40"];
    fixture.succeed(&strs(&fixture.bias_train("alone", &long)));
    let names = ["one", "two", "three"];
    let lines: Vec<String> = names.iter().map(|n| line(&fixture.bias_train(n, &long))).collect();
    fs::write(fixture.path("runs.txt"), lines.join("\n")).unwrap();
    let arguments = ["cohort", "runs.txt", "--at-once", "2"];
    let mut child = fixture.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(": epoch 2/")));
    terminate(child.id());
    let said = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("1 were not begun") && !fixture.path("three").exists(), "{said}");
    fixture.succeed(&arguments);
    for name in names {
        same_files(&fixture, "alone", name, &OF_BIAS);
    }
}

#[test]
fn a_file_that_is_no_list_of_trainings_is_refused_by_its_line() {
    let fixture = Fixture::new();
    let train = line(&fixture.bias_train("a", &[]));
    let table = [
        ("# nothing\n".to_string(), "no run in the file", "runs.txt"),
        (format!("{train}\ndoctor"), "this is no training", "runs.txt line 2"),
        (format!("{train}\n\n{train}"), "a second run writes to", "runs.txt line 3"),
        ("bias train -g 'a".into(), "a quotation does not end", "runs.txt line 1"),
        ("bias train --nothing".into(), "unexpected argument '--nothing'", "runs.txt line 1"),
        ("train --help".into(), "this is no training", "runs.txt line 1"),
    ];
    for (text, what, place) in table {
        fs::write(fixture.path("runs.txt"), text).unwrap();
        let output = fixture.command(&["cohort", "runs.txt"]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(what) && said.contains(place) && said.contains("fix:"), "{said}");
        assert!(!fixture.path("a").exists(), "nothing is begun: {said}");
    }
    let output = fixture.command(&["cohort", "runs.txt", "--at-once", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
