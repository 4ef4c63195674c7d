//! One run, one folder; no output is an input; nothing stale. On the built binary.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cbp_fast::console::Console;
use cbp_fast::run::lock::Lock;
use serde_json::Value;

use crate::fixture::{Fixture, stderr, strs, tree};

const HELD: &str = "another run writes there: cbp-fast ";
const LONG: [&str; 4] = ["-e", "3000", "-es", "3000"];

fn start(fixture: &Fixture, arguments: &[String]) -> Child {
    let mut command = fixture.command(&strs(arguments));
    command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

fn wait_for(path: &Path) {
    wait_until(&path.display().to_string(), || path.exists());
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        sleep(Duration::from_millis(5));
    }
}

fn small() -> Fixture {
    let fixture = Fixture::new();
    fixture.keep_regions(6);
    fixture
}

fn page_of(fixture: &Fixture, name: &str) -> String {
    let page = fixture.read(name);
    let hash = page.split_once("cbp-fast-made-from\" content=\"").expect("its identity").1;
    hash.split_once('"').unwrap().0.to_string()
}

#[test]
fn of_runs_that_begin_together_in_one_folder_one_runs() {
    let fixture = small();
    fs::create_dir(fixture.path("two")).unwrap();
    std::os::unix::fs::symlink(fixture.path("two"), fixture.path("link")).unwrap();
    let absolute = fixture.path("eight").display().to_string();
    let (two, eight) =
        (vec!["two", "./link/"], vec!["eight", "./eight", "two/../eight", &absolute]);
    for (name, spellings, n) in [("two", two, 2), ("eight", eight, 8)] {
        let runs: Vec<Child> = (0..n)
            .map(|seed| {
                let seed = seed.to_string();
                let more = ["-s", &seed, "-e", "40", "-es", "40", "-q"];
                let out = spellings[seed.parse::<usize>().unwrap() % spellings.len()];
                start(&fixture, &fixture.bias_train(out, &more[..6]))
            })
            .collect();
        let mut won = Vec::new();
        for (seed, run) in runs.into_iter().enumerate() {
            let output = run.wait_with_output().unwrap();
            let text = stderr(&output);
            match output.status.code() {
                Some(0) => won.push(seed),
                // Later than the first one's end, on a machine that is busy.
                code => assert!(
                    code == Some(1) && (text.contains(HELD) || text.contains("other settings")),
                    "{text}"
                ),
            }
        }
        assert_eq!(won.len(), 1, "{name}: {won:?}");
        let record: Value =
            serde_json::from_str(&fixture.read(&format!("{name}/logs/bias.run.json"))).unwrap();
        assert_eq!(
            (&record["settings"]["seed"], &record["complete"]),
            (&won[0].into(), &true.into())
        );
        let left = tree(&fixture.path(name));
        assert!(!left.iter().any(|f| f.contains(".lock")), "{left:?}");
    }
}

#[test]
fn while_a_run_holds_its_folder_every_other_command_is_refused() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("run", &["-e", "1"])));
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let console = Console::new(true, false);
    let lock = Lock::folder(&fixture.path("run"), "-o", "pipeline", &console).unwrap();
    let before = tree(&fixture.path("run"));
    let model = "bias/models/bias.h5";
    let region = ["-r", "peaks.bed", "-g", "genome.fa", "-m", model];
    let inside = "run/auxiliary/interpret_subsample/bias";
    fs::create_dir_all(fixture.path("run/auxiliary/interpret_subsample")).unwrap();
    let train = |more: &[&str]| fixture.train("run", more);
    let owned = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    let commands = [
        fixture.bias_train("./run/", &["-e", "1"]),
        [fixture.bias_train("run", &["-fp", "x"]), owned(&["--force"])].concat(),
        train(&[]),
        owned(&["report", "-o", "run"]),
        owned(&["motifs", "-o", "bias/../run"]),
        [owned(&["contribs", "-c", "chrom.sizes", "-o", inside]), owned(&region)].concat(),
        [owned(&["predict", "-o", "run/evaluation/bias"]), owned(&region)].concat(),
    ];
    for command in commands {
        let text = fixture.fail(&strs(&command));
        let pid = format!("process {} on ", std::process::id());
        assert!(text.contains(HELD) && text.contains(&pid), "{command:?}\n{text}");
        assert!(text.contains("cbp-fast pipeline") && text.contains("fix: wait until"), "{text}");
    }
    assert_eq!(tree(&fixture.path("run")), before);
    drop(lock);
    fixture.succeed(&["report", "-o", "run"]);
}

#[test]
fn prefixes_and_files_have_one_writer_too() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let console = Console::new(true, false);
    let commands: [(&str, &[&str]); 3] = [
        (
            "p",
            &[
                "predict",
                "-m",
                "bias/models/bias.h5",
                "-r",
                "peaks.bed",
                "-g",
                "genome.fa",
                "-o",
                "./p",
            ],
        ),
        ("x.cbg", &["pack", "genome", "-g", "genome.fa", "-o", "bias/../x.cbg"]),
        ("f", &["prep", "splits", "-c", "chrom.sizes", "-op", "f", "--k", "3"]),
    ];
    for (name, command) in commands {
        let lock = Lock::prefix(&fixture.path(name), vec![], "-o", "predict", &console).unwrap();
        assert!(fixture.fail(command).contains(HELD), "{command:?}");
        drop(lock);
        fixture.succeed(command);
    }
    let left = tree(fixture.folder.path());
    assert!(!left.iter().any(|f| f.contains(".lock")), "{left:?}");
}

#[test]
fn the_lock_of_a_killed_run_is_taken_over_and_its_work_goes_on() {
    let fixture = small();
    let long = fixture.bias_train("out", &LONG);
    let mut run = start(&fixture, &long);
    wait_for(&fixture.path("out/logs/bias.log"));
    let text = fixture.fail(&strs(&fixture.bias_train("out", &["-s", "5"])));
    assert!(text.contains(&format!("bias train, process {} on ", run.id())), "{text}");
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(fixture.path("out/.cbp-fast.lock").exists());
    let output =
        fixture.succeed(&strs(&fixture.bias_train("out", &["-e", "1", "-s", "5", "--force"])));
    let text = stderr(&output);
    assert!(text.contains("taken over from a run that ended without cleaning up"), "{text}");
    assert!(!fixture.path("out/.cbp-fast.lock").exists());
}

#[test]
fn two_lines_of_a_cohort_that_name_one_folder_are_refused() {
    let fixture = small();
    fs::create_dir(fixture.path("c0")).unwrap();
    std::os::unix::fs::symlink(fixture.path("c0"), fixture.path("link")).unwrap();
    for other in ["./c0", "c0/", "x/../c0", "link", &fixture.path("c0").display().to_string()] {
        let lines = ["c0", other].map(|out| fixture.bias_train(out, &[]).join(" "));
        fixture.write("runs.txt", &lines.join("\n"));
        let text = fixture.fail(&["cohort", "runs.txt"]);
        assert!(text.contains("a second run writes to") && text.contains("line 1"), "{text}");
        assert!(text.contains("runs.txt line 2"), "{text}");
    }
    assert_eq!(tree(&fixture.path("c0")), [""; 0]);
}

/// Runs a command, then asks it to read each file that it left, one at a time: it refuses each. `flag`
/// is one that takes an input.
fn assert_no_output_is_read(fixture: &Fixture, command: &[&str], flag: &str) -> usize {
    let before = tree(fixture.folder.path());
    fixture.succeed(command);
    let left = tree(fixture.folder.path());
    let made: Vec<&String> =
        left.iter().filter(|f| !before.contains(f) && !f.starts_with(".cbp-fast-cache")).collect();
    for file in &made {
        let mut command: Vec<&str> = command.to_vec();
        let at = command.iter().position(|a| *a == flag).unwrap();
        command[at + 1] = file;
        let bytes = fs::read(fixture.path(file)).unwrap();
        let text = fixture.fail(&command);
        assert!(text.contains("output is the input file"), "{command:?}\n{text}");
        assert!(fs::read(fixture.path(file)).unwrap() == bytes, "{file}");
    }
    made.len()
}

#[test]
fn no_output_of_commands_with_a_prefix_is_an_input() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    fixture.write("variants.tsv", "chr1\t5001\tA\tC\tx\nchr1\t6001\tG\tT\ty\n");
    fixture.write(
        "short.bed",
        &fixture.read("peaks.bed").lines().take(2).collect::<Vec<_>>().join("\n"),
    );
    let model = "bias/models/bias.h5";
    let genome = ["-g", "genome.fa", "--threads", "1"];
    let with = |words: &[&'static str]| [words, &genome[..]].concat();
    let commands = [
        (with(&["predict", "-m", model, "-r", "short.bed", "-bw", "signal.bw", "-o", "p"]), "-r"),
        (
            with(&[
                "contribs",
                "-m",
                model,
                "-r",
                "short.bed",
                "-c",
                "chrom.sizes",
                "-o",
                "c",
                "-os",
                "c.stats",
            ]),
            "-r",
        ),
        (
            with(&[
                "variants",
                "-m",
                model,
                "-l",
                "variants.tsv",
                "-o",
                "v",
                "-n",
                "1",
                "--h5",
                "--allow-ref-mismatch",
                "-p",
                "peaks.bed",
            ]),
            "-l",
        ),
    ];
    for (command, flag) in commands {
        let n = assert_no_output_is_read(&fixture, &command, flag);
        assert!(n >= 4, "{command:?}: {n}");
    }
    let footprints = with(&[
        "footprints",
        "-m",
        model,
        "-r",
        "nonpeaks.bed",
        "-fl",
        "folds.json",
        "-d",
        "DNASE",
        "-o",
        "f",
    ]);
    assert!(assert_no_output_is_read(&fixture, &footprints, "-r") >= 6);
}

#[test]
fn no_output_of_packing_and_preparing_is_an_input() {
    let fixture = small();
    let pack = ["pack", "genome", "-g", "genome.fa", "-o", "x.cbg"];
    assert_eq!(assert_no_output_is_read(&fixture, &pack, "-g"), 1);
    let nonpeaks = [
        "prep",
        "nonpeaks",
        "-g",
        "genome.fa",
        "-p",
        "peaks.bed",
        "-c",
        "chrom.sizes",
        "-fl",
        "folds.json",
        "-il",
        "200",
        "-st",
        "100",
        "-o",
        "n",
        "--force",
    ];
    assert!(assert_no_output_is_read(&fixture, &nonpeaks, "-p") >= 8);
    fs::copy(fixture.path("chrom.sizes"), fixture.path("s_0.json")).unwrap();
    let text =
        fixture.fail(&["prep", "splits", "-c", "s_0.json", "-op", "s", "--k", "3", "--force"]);
    assert!(text.contains("output is the input file"), "{text}");
    // A hard link and a symbolic link.
    fs::hard_link(fixture.path("genome.fa"), fixture.path("hard.cbg")).unwrap();
    std::os::unix::fs::symlink("genome.fa", fixture.path("soft.cbg")).unwrap();
    for name in ["hard.cbg", "soft.cbg"] {
        let text = fixture.fail(&["pack", "genome", "-g", "genome.fa", "-o", name, "--force"]);
        assert!(text.contains("output is the input file"), "{text}");
    }
}

#[test]
fn no_output_of_a_run_is_an_input() {
    let fixture = small();
    let mut pipeline = fixture.bias_train("bias", &["-e", "1", "--num-interpret", "2"]);
    pipeline[1] = "pipeline".into();
    assert!(assert_no_output_is_read(&fixture, &strs(&pipeline), "-p") >= 40);
    assert!(
        assert_no_output_is_read(&fixture, &strs(&fixture.train("main", &["-e", "1"])), "-n") >= 18
    );
}

#[test]
fn two_outputs_of_one_name_are_refused() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let model = "bias/models/bias.h5";
    let command = ["predict", "-m", model, "-r", "peaks.bed", "-g", "genome.fa", "-o", "p"];
    let text = fixture.fail(&[&command[..], &["-os", "./p.bw"]].concat());
    assert!(text.contains("two outputs have one name") && !fixture.path("p.bw").exists(), "{text}");
}

#[test]
fn a_prefix_that_is_a_folder_hides_nothing() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    fs::create_dir(fixture.path("out")).unwrap();
    let with = ["-m", "bias/models/bias.h5", "-r", "peaks.bed", "-g", "genome.fa", "-d", "chr3"];
    let run = |command: &[&str]| fixture.succeed(&[command, &with].concat());
    run(&["predict", "-o", "out/"]);
    run(&["contribs", "-o", "out/.", "-c", "chrom.sizes", "-pc", "counts"]);
    let left = tree(&fixture.path("out"));
    assert!(left.iter().all(|name| name.starts_with("_bias")), "{left:?}");
    for name in ["_bias.bw", "_bias_predicted_counts.tsv", "_bias.counts_scores.h5"] {
        assert!(left.iter().any(|f| f == name), "{name} in {left:?}");
    }
    // A folder without / is a prefix beside it, as officially.
    run(&["predict", "-o", "out"]);
    assert!(fixture.path("out.bw").exists());
    let text = fixture.fail(&[&["predict", "-o", "nowhere/"], &with[..]].concat());
    assert!(text.contains("there is no such folder"), "{text}");
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_one_counts() {
    let fixture = small();
    let command = fixture.bias_train("first", &["-e", "1"]);
    let again: Vec<&str> =
        strs(&command).into_iter().chain(["-o", "last", "-e", "2", "-q", "-q"]).collect();
    fixture.succeed(&again);
    assert!(!fixture.path("first").exists());
    assert_eq!(fixture.read("last/logs/bias.log").lines().count(), 3, "a header and two epochs");
    let contribs = [
        "contribs",
        "-m",
        "last/models/bias.h5",
        "-r",
        "peaks.bed",
        "-g",
        "genome.fa",
        "-c",
        "chrom.sizes",
        "-d",
        "chr1",
        "-d",
        "chr3",
        "-pc",
        "profile",
        "-pc",
        "counts",
        "-o",
        "c",
    ];
    fixture.succeed(&contribs);
    assert!(
        fixture.path("c.counts_scores.h5").exists()
            && !fixture.path("c.profile_scores.h5").exists()
    );
    let rows = fixture.read("c.interpreted_regions.bed");
    assert!(rows.lines().all(|row| row.starts_with("chr3\t")), "{rows}");
}

#[test]
fn a_run_that_starts_over_leaves_nothing_of_the_other_beside_it() {
    let fixture = small();
    let mut first = fixture.bias_train("out", &["-e", "1", "--num-interpret", "2"]);
    first[1] = "pipeline".into();
    fixture.succeed(&strs(&first));
    let over =
        [fixture.bias_train("out", &[&LONG[..], &["-s", "9"]].concat()), vec!["--force".into()]]
            .concat();
    let mut run = start(&fixture, &over);
    wait_until("the old model is gone", || !fixture.path("out/models/bias.h5").exists());
    wait_for(&fixture.path("out/logs/bias.log"));
    run.kill().unwrap();
    run.wait().unwrap();
    let left = tree(&fixture.path("out"));
    let old = [
        "bias.h5",
        "_metrics.json",
        "_predictions.h5",
        "verdicts.json",
        ".html",
        "_scores.h5",
        "stages.json",
        "_footprints.h5",
    ];
    let found: Vec<&String> = left.iter().filter(|f| old.iter().any(|o| f.ends_with(o))).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_report_is_made_again_when_what_it_shows_has_changed() {
    let fixture = small();
    let command = fixture.bias_train("out", &["-e", "1"]);
    fixture.succeed(&strs(&command));
    let page = "out/evaluation/overall_report.html";
    let bytes = fs::read(fixture.path(page)).unwrap();
    fixture.succeed(&strs(&command));
    assert!(fs::read(fixture.path(page)).unwrap() == bytes, "nothing has changed");
    // A page or a figure that is not as it was written.
    let figure = "out/evaluation/epoch_loss.png";
    for (name, change) in [(page, "cut"), (figure, "cut"), (figure, "gone")] {
        let path = fixture.path(name);
        let own = fs::read(&path).unwrap();
        match change {
            "cut" => fs::write(&path, &own[..own.len() / 2]).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        fixture.succeed(&strs(&command));
        assert!(fs::read(&path).is_ok_and(|now| now.len() > own.len() / 2), "{name} {change}");
    }
    // As after a kill between the end of training and the report.
    let earlier = page_of(&fixture, page);
    let log = fixture.read("out/logs/bias.log");
    fixture.write("out/logs/bias.log", &format!("{log}{}\n", log.lines().last().unwrap()));
    fixture.succeed(&strs(&command));
    assert_ne!(page_of(&fixture, page), earlier);
}

#[test]
fn a_model_that_is_not_the_runs_own_is_told() {
    let fixture = small();
    let command = fixture.bias_train("out", &["-e", "1"]);
    fixture.succeed(&strs(&command));
    fixture.succeed(&strs(&fixture.bias_train("other", &["-e", "1", "-s", "2"])));
    let model = fixture.path("out/models/bias.h5");
    let own = fs::read(&model).unwrap();
    fs::copy(fixture.path("other/models/bias.h5"), &model).unwrap();
    let text = fixture.fail(&strs(&command));
    assert!(
        text.contains("not the file that the run left here") && text.contains("--force"),
        "{text}"
    );
    fs::write(&model, own).unwrap();
    let output = fixture.succeed(&strs(&command));
    assert!(stderr(&output).contains("is complete already"));
}

#[test]
fn a_report_shows_no_other_counts_and_no_other_model() {
    let fixture = small();
    fixture.succeed(&strs(&fixture.bias_train("out", &["-e", "1"])));
    let inputs = ["-g", "genome.fa", "-bw", "signal.bw", "-p", "peaks.bed", "-n", "nonpeaks.bed"];
    let predict =
        ["predict", "-m", "out/models/bias.h5", "-o", "out/evaluation/bias", "-fl", "folds.json"];
    fixture.succeed(&[&predict[..], &inputs].concat());
    let report = ["report", "-o", "out"];
    let warnings = |when: &str| {
        let text = stderr(&fixture.succeed(&report));
        println!("{when}: {text}");
        text
    };
    assert!(!warnings("as it was").contains("warning"));
    // args.json names it.
    let signal = fixture.path("signal.bw");
    let own = fs::read(&signal).unwrap();
    fs::remove_file(&signal).unwrap();
    let fragments = fixture.path("other.tsv");
    fs::write(&fragments, "chr1\t100\t300\tA\t1\nchr3\t1000\t1200\tA\t1\n").unwrap();
    let pack = ["pack", "signal", "-ifrag", "other.tsv", "-c", "chrom.sizes", "-d", "ATAC"];
    let more = ["--shift", "0/0", "--bigwig-out", "signal.bw", "-o", "other.cbs"];
    fixture.succeed(&[&pack[..], &more].concat());
    assert!(warnings("another bigWig").contains("not the counts that the run was made with"));
    fs::write(&signal, own).unwrap();
    fs::copy(fixture.path("out/models/bias.h5"), fixture.path("own.h5")).unwrap();
    fixture.succeed(&strs(&fixture.bias_train("other", &["-e", "1", "-s", "2"])));
    fs::copy(fixture.path("other/models/bias.h5"), fixture.path("out/models/bias.h5")).unwrap();
    assert!(warnings("another model").contains("not the model that the run left here"));
    fs::copy(fixture.path("own.h5"), fixture.path("out/models/bias.h5")).unwrap();
    assert!(!warnings("as it was again").contains("warning"));
}

#[test]
fn a_stage_whose_files_were_changed_is_done_again() {
    let fixture = small();
    let mut command = fixture.bias_train("out", &["-e", "1", "--num-interpret", "2"]);
    command[1] = "pipeline".into();
    fixture.succeed(&strs(&command));
    let names =
        ["evaluation/bias_metrics.json", "auxiliary/interpret_subsample/bias.profile_scores.h5"];
    let path = |name: &str| fixture.path(&format!("out/{name}"));
    let whole: Vec<Vec<u8>> = names.iter().map(|name| fs::read(path(name)).unwrap()).collect();
    for name in names {
        let mut bytes = fs::read(path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path(name), bytes).unwrap();
    }
    let text = stderr(&fixture.succeed(&strs(&command)));
    assert!(text.contains("footprints: complete already"), "{text}");
    for (name, whole) in names.iter().zip(whole) {
        assert!(fs::read(path(name)).unwrap() == whole, "{name}\n{text}");
    }
}
