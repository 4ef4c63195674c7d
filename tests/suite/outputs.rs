//! What lands on disk: whole or not at all, with the permissions asked for, and nothing beside it,
//! whatever ends the process.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::model::{Architecture, Network, ParameterSet};

use crate::fixture::{Fixture, INPUTLEN, OUTPUTLEN, stderr};

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let arch = Architecture::new(INPUTLEN, OUTPUTLEN, 4, 2).unwrap();
    let network = Network { arch, parameters: ParameterSet::glorot_uniform(&arch, 1) };
    keras_h5::write_single(&fixture.path("m.h5"), &network, Naming::WithoutBias).unwrap();
    fixture
}

const PREDICT: &str = "predict -m m.h5 -g genome.fa -c chrom.sizes -r peaks.bed -op";

/// Runs a line after what a shell does first.
fn after(fixture: &Fixture, first: &str, line: &str) -> Output {
    let script = format!("{first}; exec \"$0\" {line}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_cbp-fast")]);
    shell.current_dir(fixture.folder.path()).env("CUDA_VISIBLE_DEVICES", "");
    shell.output().unwrap()
}

/// Temporary files of ours in the fixture's folder.
fn temporaries(fixture: &Fixture) -> Vec<String> {
    let entries = fs::read_dir(fixture.folder.path()).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.starts_with(".cbp-fast-") && !n.ends_with("cache")).collect()
}

/// Every write behind a limit of the size of files fails.
#[test]
fn a_write_that_fails_is_told_and_leaves_nothing() {
    let fixture = fixture();
    let run = |prefix: &str| format!("{PREDICT} {prefix} --cache-dir c -q");
    fixture.succeed(&run("whole").split(' ').collect::<Vec<_>>());
    let suffixes = ["_predictions.h5", ".bw"];
    let whole = suffixes.map(|s| fs::read(fixture.path(&format!("whole{s}"))).unwrap());
    // 512-byte blocks, or 1,024 in some shells.
    for blocks in [0, 1, 4, 10, 30, 60, 100] {
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}");
        let output = after(&fixture, &limit, &run("part"));
        let said = stderr(&output);
        assert!(!said.contains("panicked"), "{blocks}: {said}");
        match output.status.code() {
            Some(0) => {}
            Some(1) => assert!(said.contains("cannot write"), "{blocks}: {said}"),
            code => panic!("{blocks}: {code:?} {said}"),
        }
        for (suffix, whole) in suffixes.iter().zip(&whole) {
            let path = fixture.path(&format!("part{suffix}"));
            match fs::read(&path) {
                Ok(found) => assert!(found == *whole, "{blocks} {suffix}"),
                Err(_) => assert_eq!(output.status.code(), Some(1), "{blocks} {suffix}"),
            }
            let _ = fs::remove_file(&path);
        }
        assert!(temporaries(&fixture).is_empty(), "{blocks}");
    }
}

#[test]
fn the_umask_is_honoured() {
    let fixture = fixture();
    for (umask, mode) in [("077", 0o600), ("027", 0o640)] {
        let prefix = format!("u{umask}");
        let line = format!("{PREDICT} {prefix} --cache-dir c{umask} -q");
        let output = after(&fixture, &format!("umask {umask}"), &line);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut seen = 0;
        for folder in [fixture.path(""), fixture.path(&format!("c{umask}"))] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let metadata = entry.metadata().unwrap();
                let name = entry.file_name().into_string().unwrap();
                if metadata.is_file() && (name.starts_with(&prefix) || name.ends_with(".cbg")) {
                    assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
                    seen += 1;
                }
            }
        }
        assert!(seen >= 3, "{seen}");
    }
}

/// Starts a long prediction and sends it a signal once it has temporary files.
fn ended_by(fixture: &Fixture, signal: &str) -> Output {
    let line = format!("{PREDICT} x --cache-dir c -q").replace("peaks.bed", "many.bed");
    let mut child = fixture
        .command(&line.split(' ').collect::<Vec<_>>())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let before = temporaries(fixture).len();
    while temporaries(fixture).len() < before + 2 {
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be stopped");
        std::thread::sleep(Duration::from_millis(2));
    }
    let process = child.id().to_string();
    assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

#[test]
fn signals_remove_temporary_files_and_the_next_run_sweeps_those_of_a_kill() {
    let fixture = fixture();
    fixture.write("many.bed", &fixture.read("peaks.bed").repeat(300));
    let line = format!("{PREDICT} y --cache-dir c -q");
    let short: Vec<&str> = line.split(' ').collect();
    fixture.succeed(&short);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    for (signal, number) in [("-TERM", 15), ("-INT", 2), ("-HUP", 1)] {
        if ignored >> (number - 1) & 1 == 1 {
            println!("skipped: signal {number} is ignored here (nohup, background job)");
            continue;
        }
        let output = ended_by(&fixture, signal);
        assert_eq!(output.status.signal(), Some(number), "{}", stderr(&output));
        assert_eq!(temporaries(&fixture), Vec::<String>::new(), "{signal}");
    }
    assert_eq!(ended_by(&fixture, "-KILL").status.signal(), Some(9));
    assert!(!temporaries(&fixture).is_empty());
    fixture.succeed(&short);
    assert_eq!(temporaries(&fixture), Vec::<String>::new());
}

#[test]
fn nothing_is_written_through_a_link_or_over_a_foreign_file() {
    let fixture = fixture();
    let line = "contribs -m m.h5 -g genome.fa -c chrom.sizes -r peaks.bed --cache-dir c -q -op q";
    let mut line: Vec<&str> = line.split(' ').collect();
    fixture.write("victim", "precious");
    let partial = fixture.path("q.scores.partial");
    for force in [false, true] {
        if force {
            line.push("--force");
        }
        symlink("victim", &partial).unwrap();
        let said = fixture.fail(&line);
        assert!(said.contains("symbolic link") && said.contains("q.scores.partial"), "{said}");
        assert_eq!(fixture.read("victim"), "precious");
        fs::remove_file(&partial).unwrap();
        fixture.write("q.scores.partial", "notes of mine");
        let said = fixture.fail(&line);
        assert!(said.contains("not a file of finished rows"), "{said}");
        assert_eq!(fixture.read("q.scores.partial"), "notes of mine");
        fs::remove_file(&partial).unwrap();
    }
    // A link at a final name is replaced.
    fs::remove_file(fixture.path("x.bw")).ok();
    symlink("victim", fixture.path("x.bw")).unwrap();
    let line = format!("{PREDICT} x --cache-dir c -q");
    fixture.succeed(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(fixture.read("victim"), "precious");
    assert_eq!(fs::symlink_metadata(fixture.path("x.bw")).unwrap().nlink(), 1);
    assert!(fs::symlink_metadata(fixture.path("x.bw")).unwrap().is_file());
}
