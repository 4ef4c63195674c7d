//! `pipeline`, `bias pipeline`, `qc` and `bias qc` on the built binary.

use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use crate::fixture::{Fixture, command, stderr, strs, tree};
use crate::html::section;
use crate::shared;

/// A training command line as a pipeline's.
fn pipeline(mut train: Vec<String>, more: &[&str]) -> Vec<String> {
    let at = train.iter().position(|a| a == "train").unwrap();
    train[at] = "pipeline".into();
    train.extend(["--num-interpret", "3", "--device", "cpu"].map(String::from));
    train.extend(more.iter().map(|s| s.to_string()));
    train
}

fn qc<'a>(command: &[&'a str], output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let inputs = [
        "-bw",
        "signal.bw",
        "-g",
        "genome.fa",
        "-c",
        "chrom.sizes",
        "-d",
        "ATAC",
        "-p",
        "peaks.bed",
        "-n",
        "nonpeaks.bed",
        "-fl",
        "folds.json",
        "-bs",
        "8",
        "-hp",
        "./",
        "--num-interpret",
        "3",
    ];
    [command, &inputs, &["-o", output], more].concat()
}

fn modified(fixture: &Fixture, name: &str) -> SystemTime {
    std::fs::metadata(fixture.path(name)).unwrap().modified().unwrap()
}

fn verdicts(fixture: &Fixture, name: &str) -> Vec<(String, String)> {
    let file: Value = serde_json::from_str(&fixture.read(name)).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_string();
    file["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (text(&v["name"]), text(&v["grade"])))
        .collect()
}

fn assert_has(tree: &[String], names: &[&str]) {
    for name in names {
        assert!(tree.iter().any(|f| f == name), "{name} is missing in {tree:#?}");
    }
}

#[test]
fn both_pipelines_leave_the_official_tree_and_go_on() {
    let fixture = Fixture::new();
    // ---- bias
    let bias = pipeline(fixture.bias_train("bias", &["-e", "1"]), &[]);
    let output = fixture.succeed(&strs(&bias));
    let said = stderr(&output);
    assert!(said.contains("stages:\n") && said.contains("training"), "{said}");
    let made = tree(&fixture.path("bias"));
    assert_has(
        &made,
        &[
            "auxiliary/30K_subsample_peaks.bed",
            "auxiliary/bias_footprints.h5",
            "auxiliary/interpret_subsample/bias.counts_scores.h5",
            "auxiliary/interpret_subsample/bias.interpreted_regions.bed",
            "auxiliary/interpret_subsample/bias.profile_scores.h5",
            "auxiliary/motif_to_pwm.tsv",
            "evaluation/bias.control.footprint.png",
            "evaluation/bias.tn5_5.footprint.png",
            "evaluation/bias_max_bias_response.txt",
            "evaluation/bias_metrics.json",
            "evaluation/bias_predictions.h5",
            "evaluation/bw_shift_qc.png",
            "evaluation/overall_report.html",
            "evaluation/verdicts.json",
            "models/bias.h5",
        ],
    );
    let page = fixture.read("bias/evaluation/overall_report.html");
    assert!(section(&page, "footprints").contains("tn5_5: highest"), "{page}");
    assert_eq!(fixture.read("bias/auxiliary/30K_subsample_peaks.bed").lines().count(), 3);
    let graded: Vec<String> =
        verdicts(&fixture, "bias/evaluation/verdicts.json").into_iter().map(|v| v.0).collect();
    assert_eq!(
        graded,
        [
            "bias_counts_pearsonr_in_peaks",
            "bias_counts_pearsonr_in_nonpeaks",
            "bias_enzyme_response"
        ]
    );

    // ---- the model, with a prefix
    let main = pipeline(fixture.train("main", &["-e", "1"]), &["-fp", "k"]);
    fixture.succeed(&strs(&main));
    let made = tree(&fixture.path("main"));
    assert_has(
        &made,
        &[
            "auxiliary/interpret_subsample/k_chrombpnet_nobias.interpreted_regions.bed",
            "auxiliary/interpret_subsample/k_chrombpnet_nobias.profile_scores.h5",
            "auxiliary/k_30K_subsample_peaks.bed",
            "auxiliary/k_chrombpnet_nobias_footprints.h5",
            "auxiliary/motif_to_pwm.tsv",
            "evaluation/k_bias_metrics.json",
            "evaluation/k_chrombpnet_metrics.json",
            "evaluation/k_chrombpnet_nobias.tn5_1.footprint.svg",
            "evaluation/k_chrombpnet_nobias_max_bias_response.txt",
            "evaluation/k_chrombpnet_predictions.h5",
            "evaluation/k_overall_report.html",
            "evaluation/k_verdicts.json",
            "models/k_chrombpnet_nobias.h5",
        ],
    );
    // Officially the nobias model is explained for its profile only.
    assert!(!made.iter().any(|f| f.contains("nobias.counts_scores")), "{made:#?}");
    let metrics = fixture.read("main/evaluation/k_chrombpnet_metrics.json");
    assert!(metrics.contains("\"peaks\"") && !metrics.contains("nonpeaks"), "{metrics}");
    // An epoch does not make a model, but the grades are there.
    assert_eq!(verdicts(&fixture, "main/evaluation/k_verdicts.json").len(), 3);

    // ---- again: nothing is done twice
    let report = "main/evaluation/k_overall_report.html";
    let kept = ["main/evaluation/k_chrombpnet_predictions.h5", report];
    let before = kept.map(|f| modified(&fixture, f));
    let said = stderr(&fixture.succeed(&strs(&main)));
    assert_eq!(before, kept.map(|f| modified(&fixture, f)), "{said}");
    for stage in ["predictions", "footprints", "contributions", "report"] {
        assert!(said.contains(&format!("{stage}: complete already")), "{stage}: {said}");
    }

    // ---- what is gone is made again, and the report with it; the rest is kept
    std::fs::remove_file(fixture.path("main/auxiliary/k_chrombpnet_nobias_footprints.h5")).unwrap();
    let said = stderr(&fixture.succeed(&strs(&main)));
    assert!(said.contains("predictions: complete already"), "{said}");
    assert!(!said.contains("footprints: complete already"), "{said}");
    assert_ne!(before[1], modified(&fixture, report));
    assert_eq!(before[0], modified(&fixture, kept[0]));

    // ---- --strict: the verdicts decide, after all is written
    let failed = verdicts(&fixture, "main/evaluation/k_verdicts.json")
        .iter()
        .any(|(_, grade)| grade == "fail");
    let output = fixture
        .run(&strs(&pipeline(fixture.train("main", &["-e", "1"]), &["-fp", "k", "--strict"])));
    assert_eq!(output.status.success(), !failed, "{}", stderr(&output));
    assert!(!failed || stderr(&output).contains("--strict: "), "{}", stderr(&output));

    // ---- qc on the same models, elsewhere
    let models =
        ["qc", "-cm", "main/models/k_chrombpnet.h5", "-cmb", "main/models/k_chrombpnet_nobias.h5"];
    fixture.succeed(&qc(&models, "qc", &[]));
    let made = tree(&fixture.path("qc"));
    assert_has(
        &made,
        &[
            "auxiliary/30K_subsample_peaks.bed",
            "auxiliary/chrombpnet_nobias_footprints.h5",
            "auxiliary/interpret_subsample/chrombpnet_nobias.profile_scores.h5",
            "evaluation/bw_shift_qc.tsv",
            "evaluation/chrombpnet_metrics.json",
            "evaluation/overall_report.html",
            "evaluation/verdicts.json",
            "logs/qc.run.json",
        ],
    );
    assert!(!made.iter().any(|f| f.starts_with("models")), "{made:#?}");
    // The same test set and model, the same metrics and response as those of the pipeline.
    for name in ["chrombpnet_metrics.json", "chrombpnet_nobias_max_bias_response.txt"] {
        let of_pipeline = fixture.read(&format!("main/evaluation/k_{name}"));
        assert_eq!(fixture.read(&format!("qc/evaluation/{name}")), of_pipeline, "{name}");
    }
    fixture.succeed(&qc(&["bias", "qc", "-bm", "bias/models/bias.h5"], "bqc", &["-fp", "b"]));
    assert_has(
        &tree(&fixture.path("bqc")),
        &["evaluation/b_bias_metrics.json", "evaluation/b_overall_report.html"],
    );
    // The page says what was looked at, and what it does not know it does not claim.
    let name = "bqc/evaluation/b_overall_report.html";
    let page = fixture.read(name);
    let provenance = section(&page, "provenance");
    let record: Value = serde_json::from_str(&fixture.read("bqc/logs/b_qc.run.json")).unwrap();
    for input in ["bias_model", "genome", "signal", "peaks", "nonpeaks", "chr_fold_path"] {
        let hash = record["inputs"][input]["xxh3"].as_str().unwrap();
        assert!(provenance.contains(hash), "{input}: {provenance}");
    }
    assert_eq!(record["complete"], true);
    for words in ["cbp-fast bias qc", "cpu, f32", "num_interpret"] {
        assert!(provenance.contains(words), "{words}: {provenance}");
    }
    assert!(!provenance.contains("not trained by") && !provenance.contains("There is no"));
    assert!(section(&page, "footprints").contains("tn5_5: highest"), "{page}");
    assert!(section(&page, "enzyme").contains("<img"), "{page}");
    // `report` on it finds the same counts, from any folder, and draws as much.
    let figures = page.matches("<figure").count();
    let folder = fixture.path("bqc").display().to_string();
    let output = command(&fixture.path("bias"), &["report", "-o", &folder]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    assert_eq!(fixture.read(name).matches("<figure").count(), figures);
    // Other peaks: nothing is replaced unasked; then what hangs on them is made again.
    let peaks: String = fixture.read("peaks.bed").lines().skip(1).flat_map(|l| [l, "\n"]).collect();
    fixture.write("peaks.bed", &peaks);
    let text = fixture.fail(&qc(&models, "qc", &[]));
    assert!(text.contains("holds an evaluation of other models or data"), "{text}");
    let said = stderr(&fixture.succeed(&qc(&models, "qc", &["--force"])));
    assert!(!said.contains("predictions: complete already"), "{said}");
    // A folder of somebody else's: bias_predictions.h5 of training.
    let text =
        fixture.fail(&qc(&["bias", "qc", "-bm", "bias/models/bias.h5"], "main", &["-fp", "k"]));
    assert!(text.contains("other models or data"), "{text}");

    // ---- bad inputs, told before any folder is made
    fixture.write("empty.bed", "");
    fixture.write("elsewhere.bed", "chrX9\t0\t500\t.\t0\t.\t0\t0\t0\t250\n");
    for (command, more, wanted) in [
        (&models[..], &["-n", "none.bed"][..], "file does not exist\n  where: none.bed"),
        (&models, &["-p", "chrom.sizes"], "2 columns, expected 10"),
        (&models, &["-n", "empty.bed"], "file has no regions\n  where: empty.bed"),
        (&models, &["-p", "empty.bed"], "file has no regions\n  where: empty.bed"),
        (&models, &["-n", "elsewhere.bed"], "no region lies on a contig of the genome"),
        (
            &["qc", "-cm", "bias/models/bias.h5", "-cmb", "bias/models/bias.h5"],
            &[],
            "-cm takes a chrombpnet model, but this is a bias model\n  where: bias/models/bias.h5",
        ),
        (
            &["bias", "qc", "-bm", "main/models/k_chrombpnet.h5"],
            &[],
            "-bm takes a bias model, but this is a chrombpnet model",
        ),
        (&models, &["-o", "peaks.bed/x"], "cannot write to the output folder"),
        (&models, &["-bw", "peaks.bed"], "peaks.bed"),
    ] {
        let mut arguments = qc(command, "bad", &[]);
        for pair in more.chunks(2) {
            let at = arguments.iter().position(|a| *a == pair[0]).unwrap();
            arguments[at + 1] = pair[1];
        }
        let text = fixture.fail(&arguments);
        assert!(text.contains(wanted), "{more:?}: {text}");
        assert!(!fixture.path("bad").exists(), "{more:?}");
    }
}

#[test]
fn a_report_that_fails_is_told_and_changes_no_exit_code() {
    let fixture = Fixture::new();
    let bias = pipeline(fixture.bias_train("bias", &["-e", "1"]), &["--num-interpret", "0"]);
    // A folder where the report wants to be.
    std::fs::create_dir_all(fixture.path("bias/evaluation/overall_report.html/x")).unwrap();
    let mut bias = bias;
    let at = bias.iter().position(|a| a == "--num-interpret").unwrap();
    bias.drain(at..at + 2);
    let said = stderr(&fixture.succeed(&strs(&bias)));
    assert!(said.contains("warning: report failed: "), "{said}");
    assert!(!fixture.path("bias/auxiliary/interpret_subsample").exists());
    // Once it can be written, only it is.
    std::fs::remove_dir_all(fixture.path("bias/evaluation/overall_report.html")).unwrap();
    let said = stderr(&fixture.succeed(&strs(&bias)));
    assert!(said.contains("footprints: complete already"), "{said}");
    assert!(fixture.path("bias/evaluation/overall_report.html").is_file());
}

#[test]
fn official_command_lines_are_understood() {
    let program = env!("CARGO_BIN_EXE_cbp-fast");
    for (line, missing) in [
        (
            "pipeline -ibam x.bam -d ATAC -g g.fa -c c.sizes -p p.bed -n n.bed -fl f.json -b b.h5 -o out/ -oth 0.9999 --num-samples 10000 -il 2114 -ol 1000 -s 1234 -e 50 -es 5 -l 0.001 -track loss val_loss -fp x -hp ./ --bsort --tmpdir . --no-st -sr 0.1 -fil 512 -dil 8 -j 500 -bs 64",
            "",
        ),
        (
            "bias pipeline -ifrag x.tsv -d DNASE -g g.fa -c c.sizes -p p.bed -n n.bed -fl f.json -b 0.8 -o out/ -fil 128 -dil 4 -j 0 -bs 64 --ATAC-ref-path a --DNASE-ref-path d",
            "",
        ),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = Command::new(program);
        let folder = tempfile::tempdir().unwrap();
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        // Understood, and then stopped by the files that are not there.
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(missing), "{}", stderr(&output));
        assert!(stderr(&output).contains("file does not exist"), "{}", stderr(&output));
    }
}

#[test]
fn a_bam_becomes_a_report_in_one_command() {
    let Some(goldens) = shared::goldens() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = goldens.join("data");
    let path = |name: &str| data.join(name).display().to_string();
    let run = |output: &str| {
        let arguments = [
            "bias",
            "pipeline",
            "-ibam",
            &path("inputs/atac.bam"),
            "-g",
            &path("inputs/genome.fa"),
            "-c",
            &path("inputs/chrom.sizes"),
            "-p",
            &path("inputs/peaks.bed"),
            "-n",
            &path("expected/nonpeaks_default_negatives.bed"),
            "-fl",
            &path("expected/fold_0.json"),
            "-d",
            "ATAC",
            "-b",
            "1000",
            "-fil",
            "2",
            "-dil",
            "1",
            "-e",
            "1",
            "--num-interpret",
            "2",
            "--device",
            "cpu",
            "-o",
            output,
        ];
        let output = command(folder.path(), &arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    run("out");
    let made = tree(&folder.path().join("out"));
    assert_has(
        &made,
        &[
            "auxiliary/data_unstranded.bw",
            "auxiliary/interpret_subsample/bias.counts_scores.h5",
            "auxiliary/interpret_subsample/bias.profile_scores.h5",
            "evaluation/bias.tn5_1.footprint.png",
            "evaluation/bias_metrics.json",
            "evaluation/bw_shift_qc.png",
            "evaluation/overall_report.html",
            "models/bias.h5",
        ],
    );
    // Again: nothing is left to do.
    let said = run("out");
    for stage in ["predictions", "footprints", "subsample", "contributions", "report"] {
        assert!(said.contains(&format!("{stage}: complete already")), "{stage}: {said}");
    }
}
