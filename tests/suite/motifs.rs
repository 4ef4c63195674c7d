//! `motifs` with a stand-in for tfmodisco-lite; `tests/interop/motifs.sh` runs the real one.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::fixture::{Fixture, command, stderr, strs, tree};

/// Notes its arguments, then does what the real one does to files.
const STAND_IN: &str = r#"#!/bin/sh
echo "$@" >> calls
if [ -e fail ]; then echo "first line"; echo "No seqlets found" >&2; exit 3; fi
if [ "$1" = motifs ]; then [ -e silent ] || echo results > "$7"; else echo page > "$5/motifs.html"; fi
"#;

struct Run(tempfile::TempDir);

impl Run {
    fn new(heads: &[&str]) -> Self {
        let run = Self(tempfile::tempdir().unwrap());
        run.put("run/models/x_chrombpnet.h5", "");
        for head in heads {
            let name = format!("x_chrombpnet_nobias.{head}_scores.h5");
            run.put(&format!("run/auxiliary/interpret_subsample/{name}"), "scores");
        }
        run.put("bin/modisco", STAND_IN);
        let program = run.0.path().join("bin/modisco");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        run
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn motifs(&self, path: &str, more: &[&str]) -> Output {
        let folder: &[&str] = if more.contains(&"-o") { &[] } else { &["-o", "run"] };
        let arguments = [&["motifs"], folder, more].concat();
        let path = format!("{}:/usr/bin:/bin", self.0.path().join(path).display());
        command(self.0.path(), &arguments).env("PATH", path).output().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_default()
    }
}

const RESULTS: &str = "run/auxiliary/interpret_subsample/x_modisco_results_profile_scores.h5";

#[test]
fn results_go_to_the_official_places_with_the_official_arguments() {
    let run = Run::new(&["profile"]);
    let output = run.motifs("bin", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let calls = run.read("calls");
    let lines: Vec<&str> = calls.lines().collect();
    let scores = "run/auxiliary/interpret_subsample/x_chrombpnet_nobias.profile_scores.h5";
    assert!(lines[0].starts_with(&format!("motifs -i {scores} -n 50000 -o ")), "{calls}");
    assert!(lines[0].ends_with(" -w 500"), "{calls}");
    assert!(lines[1].starts_with(&format!("report -i {RESULTS} -o ")), "{calls}");
    assert_eq!(
        tree(&run.0.path().join("run")),
        [
            "auxiliary/interpret_subsample/x_chrombpnet_nobias.profile_scores.h5",
            "auxiliary/interpret_subsample/x_modisco_results_profile_scores.h5",
            "evaluation/modisco_profile/motifs.html",
            "logs/x_modisco_profile.log",
            "logs/x_modisco_profile.run.json",
            "models/x_chrombpnet.h5",
        ]
    );
    // Again: nothing to do; forced, or with new contributions, all of it.
    let output = run.motifs("bin", &[]);
    assert!(stderr(&output).contains("is there already"), "{}", stderr(&output));
    assert_eq!(run.read("calls").lines().count(), 2);
    assert!(run.motifs("bin", &["--force", "-n", "7", "-w", "9"]).status.success());
    let calls = run.read("calls");
    assert!(calls.lines().nth(2).unwrap().contains(" -n 7 -o "), "{calls}");
    assert_eq!(calls.lines().count(), 4);
}

#[test]
fn a_signal_ends_modisco_too_and_its_log_is_no_way_to_other_files() {
    let run = Run::new(&["profile"]);
    run.put("bin/modisco", "#!/bin/sh\necho started\necho $$ > pid\nexec sleep 60\n");
    run.put("victim", "precious");
    let log = run.0.path().join("run/logs/x_modisco_profile.log");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("../../victim", &log).unwrap();
    let program = run.0.path().join("bin/modisco");
    let arguments = ["motifs", "-o", "run", "--modisco", program.to_str().unwrap()];
    let mut command = command(run.0.path(), &arguments);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    while run.read("pid").is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "ended before it could be stopped");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let kill = |signal: &str, process: &str| {
        let mut kill = std::process::Command::new("kill");
        kill.args([signal, process]).stderr(std::process::Stdio::null()).status().unwrap().success()
    };
    assert!(kill("-TERM", &child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("interrupted"), "{}", stderr(&output));
    assert!(!kill("-0", run.read("pid").trim()), "modisco still runs");
    assert_eq!(
        (run.read("victim"), fs::read_to_string(&log).unwrap()),
        ("precious".into(), "started\n".into())
    );
    let left = tree(&run.0.path().join("run"));
    assert!(left.iter().all(|name| !name.contains(".cbp-fast")), "{left:?}");
}

#[test]
fn motifs_are_kept_while_all_they_were_made_from_is_the_same() {
    let run = Run::new(&["profile"]);
    let (scores, page) = (
        "run/auxiliary/interpret_subsample/x_chrombpnet_nobias.profile_scores.h5",
        "run/evaluation/modisco_profile/motifs.html",
    );
    let mut calls = 0;
    let mut made = |wanted: &[&str], more: &[&str], why: &str| {
        let output = run.motifs("bin", more);
        assert!(output.status.success(), "{why}: {}", stderr(&output));
        let all = run.read("calls");
        let new: Vec<_> =
            all.lines().skip(calls).filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(new, wanted, "{why}");
        calls = all.lines().count();
    };
    let both = ["motifs", "report"];
    run.put("db.meme", "MEME 1");
    made(&both, &[], "nothing is there");
    // Older files than what was made of them, as copies with their times are.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    run.put(scores, "others");
    fs::File::options()
        .append(true)
        .open(run.0.path().join(scores))
        .unwrap()
        .set_modified(old)
        .unwrap();
    made(&both, &[], "other contributions");
    run.put(scores, "others");
    made(&[], &[], "the same, written again");
    made(&both, &["-n", "7"], "another number of seqlets");
    made(&both, &["-w", "400", "-n", "7"], "another window");
    made(&["report"], &["-w", "400", "-n", "7", "-m", "db.meme"], "names");
    made(&[], &["-w", "400", "-n", "7", "-m", "db.meme"], "the same names");
    run.put("db.meme", "MEME 2");
    made(&["report"], &["-w", "400", "-n", "7", "-m", "db.meme"], "other names");
    made(&["report"], &["-w", "400", "-n", "7"], "no names");
    run.put(page, "another page");
    made(&["report"], &["-w", "400", "-n", "7"], "a page that was changed");
    run.put(RESULTS, "other results");
    made(&both, &["-w", "400", "-n", "7"], "results that were changed");
    fs::remove_file(run.0.path().join("run/logs/x_modisco_profile.run.json")).unwrap();
    let text = stderr(&run.motifs("bin", &["-w", "400", "-n", "7"]));
    assert!(text.contains("no record of what they were made from") && text.contains("--force"));
    made(&both, &["-w", "400", "-n", "7", "--force"], "forced");
}

#[test]
fn a_database_is_handed_on() {
    let run = Run::new(&["profile", "counts"]);
    run.put("db.meme", "MEME");
    let output = run.motifs("bin", &["-m", "db.meme", "-pc", "counts"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let calls = run.read("calls");
    assert!(calls.lines().nth(1).unwrap().contains(" -m db.meme"), "{calls}");
    assert!(!calls.contains("profile_scores"), "{calls}");
    assert!(run.motifs("bin", &[]).status.success());
    assert!(Path::exists(&run.0.path().join("run/evaluation/modisco_profile/motifs.html")));
    let output = run.motifs("bin", &["-m", "none.meme"]);
    assert!(stderr(&output).contains("none.meme"), "{}", stderr(&output));
}

#[test]
fn what_is_missing_or_fails_is_said_and_leaves_nothing() {
    let run = Run::new(&["profile"]);
    let fails = |path: &str, more: &[&str]| {
        let before = tree(&run.0.path().join("run/auxiliary"));
        let output = run.motifs(path, more);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(tree(&run.0.path().join("run/auxiliary")), before);
        text
    };
    let text = fails("no-bin", &[]);
    assert!(text.contains("not on PATH") && text.contains("pip install modisco-lite=="), "{text}");
    let text = fails("bin", &["--modisco", "bin"]);
    assert!(text.contains("no program") && text.contains("pip install"), "{text}");
    let text = fails("bin", &["-pc", "counts"]);
    assert!(text.contains("no contributions to the counts") && text.contains("contribs"), "{text}");
    run.put("silent", "");
    assert!(fails("bin", &[]).contains("wrote nothing"));
    run.put("fail", "");
    let text = fails("bin", &["--modisco", "bin/modisco"]);
    assert!(text.contains("No seqlets found") && text.contains("modisco_profile.log"), "{text}");
    let empty = Run::new(&[]);
    let output = empty.motifs("bin", &[]);
    assert!(stderr(&output).contains("no contributions to the profile"), "{}", stderr(&output));
}

#[test]
fn a_folder_that_is_not_there_is_said_before_a_program_that_is_not() {
    let run = Run::new(&["profile"]);
    let text = stderr(&run.motifs("no-bin", &["-o", "nofolder"]));
    assert!(text.contains("there is no such folder\n  where: nofolder"), "{text}");
    assert!(!text.contains("modisco-lite"), "{text}");
}

#[test]
fn pipelines_and_qc_hand_program_and_database_on() {
    let fixture = Fixture::new();
    fixture.write("modisco", STAND_IN);
    let program = fixture.path("modisco");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    fixture.write("db.meme", "MEME");
    fixture.write("other.meme", "MEME version 4");

    // What is not there stops a command before the long work.
    let pipeline = |more: &[&str]| {
        let mut line = fixture.bias_train("bias", &["-e", "1"]);
        line[1] = "pipeline".into();
        line.extend(["--num-interpret", "2", "--device", "cpu"].map(String::from));
        line.extend(more.iter().map(|s| s.to_string()));
        line
    };
    let text = fixture.fail(&strs(&pipeline(&["--meme-db", "none.meme"])));
    assert!(text.contains("no such motif database\n  where: none.meme"), "{text}");
    let text = fixture.fail(&strs(&pipeline(&["--modisco", "db.meme"])));
    assert!(text.contains("no program\n  where: db.meme"), "{text}");
    assert!(!fixture.path("bias").exists());

    let calls = || -> Vec<String> {
        let text = fs::read_to_string(fixture.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(fixture.path("calls"));
        text.lines().map(String::from).collect()
    };
    fixture.succeed(&strs(&pipeline(&["--modisco", "./modisco", "--meme-db", "db.meme"])));
    let made = calls();
    assert_eq!(made.len(), 4, "{made:?}");
    for (i, call) in made.iter().enumerate() {
        assert!(call.starts_with(["motifs -i ", "report -i "][i % 2]), "{call}");
        assert_eq!(call.contains(" -m db.meme"), i % 2 == 1, "{call}");
    }
    // Another database: new pages of the motifs that are there, and no more.
    let again = ["--modisco", "./modisco", "--meme-db", "other.meme"];
    let said = stderr(&fixture.succeed(&strs(&pipeline(&again))));
    assert!(said.contains("contributions: complete already"), "{said}");
    let made = calls();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(made.iter().all(|c| c.starts_with("report ") && c.contains(" -m other.meme")));
    fixture.succeed(&strs(&pipeline(&again)));
    assert_eq!(calls(), [""; 0]);

    let qc = "bias qc -bm bias/models/bias.h5 -bw signal.bw -g genome.fa -c chrom.sizes -d ATAC \
              -p peaks.bed -n nonpeaks.bed -fl folds.json -bs 8 --num-interpret 2 --device cpu \
              -o qc --modisco ./modisco --meme-db db.meme";
    fixture.succeed(&qc.split_whitespace().collect::<Vec<_>>());
    assert_eq!(calls().iter().filter(|c| c.contains(" -m db.meme")).count(), 2);
}
