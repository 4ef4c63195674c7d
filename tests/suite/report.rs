//! `report` on folders as training and prediction leave them, as the official tool leaves them, and as
//! accidents do.

use std::fs;
use std::path::{Path, PathBuf};

use cbp_fast::console::Console;
use cbp_fast::files::predictions_h5::{PredictionRows, PredictionsOptions, PredictionsWriter};
use cbp_fast::footprint::{self, Footprint};
use cbp_fast::report::{self, Request, Written};
use hdf5_metno::File;
use ndarray::{Array2, Array3};

use crate::fixture::{Fixture, stderr, strs};
use crate::html::{check, section};
use crate::shared;

const SECTIONS: [&str; 11] = [
    "verdicts",
    "training",
    "counts",
    "profiles",
    "examples",
    "enzyme",
    "footprints",
    "contributions",
    "motifs",
    "settings",
    "provenance",
];

fn request(folder: &Path) -> Request<'_> {
    Request { folder, file_prefix: None, signal: None, html: None, force: false }
}

fn write(request: &Request) -> (String, Written) {
    let written = report::write(request, &Console::new(true, false)).unwrap();
    let page = fs::read_to_string(&written.html).unwrap();
    check(&page);
    (page, written)
}

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn is_png(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n"))
}

/// Contributions of `n` regions with one strong base each, as `contribs` writes them.
fn contributions(path: &Path, n: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut scores = Array3::<f32>::zeros((n, 4, 306));
    for i in 0..n {
        scores[[i, i % 4, 150]] = 1.0 + i as f32;
        scores[[i, 2, 155]] = -0.5;
    }
    let file = File::create(path).unwrap();
    let group = file.create_group("projected_shap").unwrap();
    group.new_dataset_builder().with_data(&scores).create("seq").unwrap();
    file.close().unwrap();
}

/// Results of tfmodisco-lite: one pattern of each sign.
fn motifs(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    for sign in ["pos_patterns", "neg_patterns"] {
        let pattern = file.create_group(sign).unwrap().create_group("pattern_0").unwrap();
        let mut scores = Array2::<f64>::zeros((30, 4));
        for i in 8..20 {
            scores[[i, i % 4]] = if sign == "pos_patterns" { 0.2 } else { -0.2 };
        }
        pattern.new_dataset_builder().with_data(&scores).create("contrib_scores").unwrap();
        let seqlets = pattern.create_group("seqlets").unwrap();
        seqlets.new_dataset_builder().with_data(&[1234i64]).create("n_seqlets").unwrap();
    }
    file.close().unwrap();
}

#[test]
fn both_kinds_of_run_have_their_report_and_figures() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &[])));
    fixture.succeed(&strs(&fixture.train("main", &["-fp", "x"])));
    for (model, prefix) in [
        ("bias/models/bias.h5", "bias/evaluation/bias"),
        ("main/models/x_chrombpnet.h5", "main/evaluation/x_chrombpnet"),
    ] {
        let inputs =
            ["-g", "genome.fa", "-bw", "signal.bw", "-p", "peaks.bed", "-n", "nonpeaks.bed"];
        let own = ["predict", "-m", model, "-o", prefix, "-fl", "folds.json"];
        fixture.succeed(&[&own[..], &inputs].concat());
    }
    let sample = fixture.path("main/auxiliary/interpret_subsample");
    contributions(&sample.join("x_chrombpnet_nobias.profile_scores.h5"), 3);
    motifs(&sample.join("x_modisco_results_profile_scores.h5"));
    put(
        sample.join("x_chrombpnet_nobias.interpreted_regions.bed"),
        "chr3\t1000\t1200\t.\t.\t.\t.\t.\t.\t100\n".repeat(3),
    );
    let footprint = |name: &str, top: f32| Footprint {
        name: name.into(),
        profile: (0..100).map(|i| if i == 50 { top } else { 0.001 }).collect(),
        counts: 3.0,
    };
    let footprints = [footprint("control", 0.001), footprint("tn5_1", 0.002)];
    let path = fixture.path("main/auxiliary/x_chrombpnet_nobias_footprints.h5");
    footprint::h5::write(&path, &footprints).unwrap();
    put(
        fixture.path("main/evaluation/x_chrombpnet_nobias_max_bias_response.txt"),
        "corrected_0.002_0.002",
    );

    let output = fixture.succeed(&["report", "-o", "main"]);
    assert!(!stderr(&output).contains("warning"), "{}", stderr(&output));
    let page = fixture.read("main/evaluation/x_overall_report.html");
    check(&page);
    for id in SECTIONS {
        let body = section(&page, id);
        let is_missing = body.contains("class=\"missing\"");
        // counts were not explained here
        assert_eq!(is_missing, id == "contributions", "{id}: {body}");
        assert!(!body.contains("class=\"problem\""), "{id}: {body}");
    }
    assert!(section(&page, "counts").contains("chrombpnet in test peaks: counts, n = "), "{page}");
    assert!(section(&page, "examples").contains("without bias"));
    assert!(section(&page, "footprints").contains("tn5_1: highest 0.0020"));
    assert!(section(&page, "contributions").contains("chr3:1,"), "coordinates of the region");
    assert!(section(&page, "motifs").contains("1,234"));
    let provenance = section(&page, "provenance");
    assert!(provenance.contains("examples/s") && provenance.contains("peaks.bed"), "{provenance}");
    assert!(section(&page, "verdicts").contains("passes above 0.5"));
    for name in [
        "x_epoch_loss",
        "x_chrombpnet_only_peaks.counts_pearsonr",
        "x_chrombpnet_only_peaks.profile_jsd",
        "x_chrombpnet_only_nonpeaks.counts_pearsonr",
        "x_chrombpnet_peaks_and_nonpeaks.profile_jsd",
        "x_bias_only_peaks.counts_pearsonr",
    ] {
        assert!(is_png(&fixture.path(&format!("main/evaluation/{name}.png"))), "{name}");
    }

    let bias = fixture.path("bias");
    // args.json names the bigWig from where training ran
    let signal = fixture.path("signal.bw");
    let (page, written) = write(&Request { signal: Some(&signal), ..request(&bias) });
    assert!(written.notes.is_empty(), "{:?}", written.notes);
    assert!(page.contains("<h1>Bias model"));
    // Training leaves no footprints; `bias qc` and the pipeline do, and are asked for them.
    assert!(section(&page, "footprints").contains("<code>cbp-fast bias qc</code>"), "{page}");
    let path = bias.join("auxiliary/bias_footprints.h5");
    footprint::h5::write(&path, &[footprint("control", 0.001), footprint("tn5_1", 0.02)]).unwrap();
    let (page, _) = write(&Request { signal: Some(&signal), ..request(&bias) });
    let footprints = section(&page, "footprints");
    assert!(footprints.contains("tn5_1: highest 0.0200"), "{footprints}");
    assert!(footprints.contains("the official tool sets no limit here"), "{footprints}");
    assert!(section(&page, "verdicts").contains("in nonpeaks"));
    assert!(is_png(&bias.join("evaluation/bias_only_nonpeaks.counts_pearsonr.png")));
    // Again: our own report is replaced.
    write(&Request { signal: Some(&signal), ..request(&bias) });
}

#[test]
fn an_almost_empty_folder_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("models/chrombpnet.h5"), "");
    let (page, written) = write(&request(folder.path()));
    for id in SECTIONS.iter().filter(|id| **id != "provenance") {
        let body = section(&page, id);
        assert!(body.contains("class=\"missing\""), "{id}: {body}");
    }
    let provenance = section(&page, "provenance");
    assert!(provenance.contains("There is no logs/chrombpnet.run.json"), "{provenance}");
    assert!(!provenance.contains("not trained by"), "nobody knows who trained it: {provenance}");
    assert!(written.notes.is_empty(), "what is not there is no surprise: {:?}", written.notes);
}

#[test]
fn damaged_files_are_told_in_their_place_and_change_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("logs/chrombpnet.log"), "epoch,loss\n0,x\n");
    put(at("logs/chrombpnet.run.json"), "{");
    put(at("logs/chrombpnet_model_params.tsv"), "filters 512");
    put(at("evaluation/chrombpnet_metrics.json"), b"\xff\xfe");
    put(at("evaluation/chrombpnet_predictions.h5"), "not HDF5");
    put(at("evaluation/verdicts.json"), "[]");
    put(at("auxiliary/chrombpnet_nobias_footprints.h5"), "not HDF5");
    let sample = "auxiliary/interpret_subsample";
    put(at(&format!("{sample}/chrombpnet_nobias.profile_scores.h5")), "not HDF5");
    put(at(&format!("{sample}/modisco_results_profile_scores.h5")), "not HDF5");
    let (page, written) = write(&request(folder.path()));
    for id in [
        "training",
        "counts",
        "profiles",
        "footprints",
        "contributions",
        "motifs",
        "settings",
        "provenance",
    ] {
        let body = section(&page, id);
        assert!(body.contains("class=\"problem\""), "{id}: {body}");
    }
    assert!(written.notes.len() >= 8, "{:?}", written.notes);
    assert!(written.notes.iter().all(|note| !note.contains('\n')));

    // The command ends well and warns.
    let output =
        crate::fixture::command(folder.path(), &["report", "-q", "-o", "."]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("warning: report: ") && text.contains("chrombpnet.log"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn truncated_hdf5_never_stops_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(at("models/chrombpnet.h5"), "");
    let scores = at("auxiliary/interpret_subsample/chrombpnet_nobias.counts_scores.h5");
    contributions(&scores, 4);
    let results = at("auxiliary/interpret_subsample/modisco_results_counts_scores.h5");
    motifs(&results);
    for path in [&scores, &results] {
        let whole = fs::read(path).unwrap();
        for share in [0, 1, 10, 50, 90, 99] {
            fs::write(path, &whole[..whole.len() * share / 100]).unwrap();
            let (page, written) = write(&request(folder.path()));
            assert!(!written.notes.is_empty(), "{share} %: {}", section(&page, "motifs"));
        }
        fs::write(path, whole).unwrap();
    }
    assert!(write(&request(folder.path())).1.notes.is_empty());
}

#[test]
fn hostile_names_are_text() {
    let hostile = "</td><script src=\"http://x/y\">&'";
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let row = "0,1,1,2,1,1,2\n";
    let header = "epoch,logcount_predictions_loss,logits_profile_predictions_loss,loss,\
                  val_logcount_predictions_loss,val_logits_profile_predictions_loss,val_loss\n";
    put(at("logs/chrombpnet.log"), format!("{header}{row}"));
    put(at("logs/chrombpnet_model_params.tsv"), format!("{hostile}\t{hostile}\u{0}\u{1b}"));
    put(at("logs/chrombpnet.args.json"), serde_json::json!({ hostile: hostile }).to_string());
    let verdict = serde_json::json!({"name": hostile, "grade": "warn", "value": null, "rule": hostile,
                                     "message": hostile, "advice": hostile});
    let verdicts = serde_json::json!({"model": hostile, "worst": "warn", "verdicts": [verdict]});
    put(at("evaluation/verdicts.json"), verdicts.to_string());
    put(at("evaluation/chrombpnet_nobias.<script>.footprint.png"), hostile);
    put(
        at("evaluation/bw_shift_qc.svg"),
        "<svg onload=\"alert(1)\"><script>alert(2)</script></svg>",
    );
    put(at("evaluation/chrombpnet_nobias_max_bias_response.txt"), hostile);
    motifs(&at("auxiliary/interpret_subsample/modisco_results_profile_scores.h5"));
    let table = "<tr><th>pattern</th><th>match0</th><th>qval0</th></tr><tr><td>pos_patterns.pattern_0</td>\
                 <td>&lt;script&gt;alert(1)</td><td>\" onclick=\"x</td></tr>";
    put(at("evaluation/modisco_profile/motifs.html"), table);
    contributions(&at("auxiliary/interpret_subsample/chrombpnet_nobias.profile_scores.h5"), 1);
    put(
        at("auxiliary/interpret_subsample/chrombpnet_nobias.interpreted_regions.bed"),
        format!("{hostile}\t1000\t1200\t.\t.\t.\t.\t.\t.\t100\n"),
    );
    predictions(&at("evaluation/chrombpnet_predictions.h5"), hostile);
    let (page, _) = write(&request(folder.path()));
    assert!(!page.contains("<script") && !page.contains("onload="), "{page}");
    assert!(section(&page, "settings").contains("&lt;script src=&quot;"));
    assert!(section(&page, "verdicts").contains("&lt;script"));
    assert!(section(&page, "motifs").contains("&lt;script&gt;alert(1)"));
    assert!(section(&page, "contributions").contains("&lt;script"));
}

fn predictions(path: &Path, chrom: &str) {
    let options = PredictionsOptions { peaks: true, logits: false };
    let mut writer = PredictionsWriter::create(path, 1, 4, options).unwrap();
    let rows = PredictionRows {
        chrom: &[chrom],
        center: &[1000],
        is_peak: &[true],
        logits: &[0.0; 4],
        logcounts: &[1.0],
    };
    writer.append(rows).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_report_of_another_program_stays_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path().join("models/bias.h5"), "");
    let official = folder.path().join("evaluation/overall_report.html");
    put(official.clone(), "<html><head><title>other</title></head></html>");
    let console = Console::new(true, false);
    let error = report::write(&request(folder.path()), &console).unwrap_err().to_string();
    assert!(error.contains("--html") && error.contains("overall_report.html"), "{error}");
    let elsewhere = folder.path().join("new/report.html");
    let (_, written) = write(&Request { html: Some(&elsewhere), ..request(folder.path()) });
    assert_eq!(written.html, elsewhere);
    assert!(fs::read_to_string(&official).unwrap().contains("other"));
    write(&Request { force: true, ..request(folder.path()) });
    assert!(fs::read_to_string(&official).unwrap().contains("cbp-fast"));

    let nowhere = tempfile::tempdir().unwrap();
    let output = crate::fixture::command(nowhere.path(), &["report", "-o", "."]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no run was found"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(nowhere.path()).unwrap().count(), 0);
}

/// The official tool's predictions and signal give the official tool's numbers.
#[test]
fn parity_with_the_official_evaluation() {
    let Some(goldens) = shared::goldens() else { return };
    let expected = goldens.join("data/expected");
    let folder = tempfile::tempdir().unwrap();
    for name in ["chrombpnet_predictions.h5", "chrombpnet_metrics.json"] {
        let from = expected.join("predict").join(name);
        put(folder.path().join("evaluation").join(name), fs::read(from).unwrap());
    }
    let signal = expected.join("bigwig/atac_bam_unstranded.bw");
    let (page, _) = write(&Request { signal: Some(&signal), ..request(folder.path()) });
    let metrics: serde_json::Value = serde_json::from_str(
        &fs::read_to_string(folder.path().join("evaluation/chrombpnet_metrics.json")).unwrap(),
    )
    .unwrap();
    for (group, what) in [("peaks", "peaks"), ("nonpeaks", "nonpeaks")] {
        let number = |kind: &str, name: &str| metrics[kind][group][name].as_f64().unwrap();
        let counts = format!(
            "Observed against predicted log counts, chrombpnet in test {what}, 12 regions. \
             Pearson r = {:.3}, Spearman r = {:.3}, MSE = {:.3}.",
            number("counts_metrics", "pearsonr"),
            number("counts_metrics", "spearmanr"),
            number("counts_metrics", "mse")
        );
        assert!(section(&page, "counts").contains(&counts), "{counts}");
        let jsd = format!("median distance {:.3};", number("profile_metrics", "median_jsd"));
        assert!(section(&page, "profiles").contains(&jsd), "{jsd}");
    }
}

/// Thousands of regions stay a small page.
#[test]
fn many_regions_are_a_small_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluation/chrombpnet_predictions.h5");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let n = 6_000;
    let options = PredictionsOptions { peaks: true, logits: false };
    let mut writer = PredictionsWriter::create(&path, n, 2, options).unwrap();
    let center: Vec<i64> = (0..n as i64).map(|i| 100 + i % 9_000).collect();
    let logcounts: Vec<f32> = (0..n).map(|i| (i * 7919 % 10_007) as f32 / 1500.0).collect();
    writer
        .append(PredictionRows {
            chrom: &vec!["chr1"; n],
            center: &center,
            is_peak: &vec![true; n],
            logits: &vec![0.5; 2 * n],
            logcounts: &logcounts,
        })
        .unwrap();
    writer.finish().unwrap();
    let signal = folder.path().join("signal.bw");
    let track: Vec<f32> = (0..10_000).map(|i| (i * 37 % 101) as f32).collect();
    cbp_fast::files::bigwig::write(&signal, &[("chr1".into(), 10_000)], &[track]).unwrap();
    let (page, written) = write(&Request { signal: Some(&signal), ..request(folder.path()) });
    assert!(written.notes.is_empty(), "{:?}", written.notes);
    assert!(page.contains("n = 6,000"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
    // PNGs are complete files, nothing is left beside them
    let hidden = fs::read_dir(folder.path().join("evaluation")).unwrap().flatten();
    assert!(hidden.map(|e| e.file_name()).all(|n| !n.to_string_lossy().starts_with('.')));
}

/// Official contributions are compressed with blosc, which takes a plug-in; the rest of the folder is
/// reported on all the same, footprints from their pictures.
#[test]
fn a_folder_of_the_official_tool() {
    let Some(goldens) = shared::goldens() else { return };
    let expected = goldens.join("data/expected");
    let folder = tempfile::tempdir().unwrap();
    let put_copy = |to: &str, from: &str| {
        put(folder.path().join(to), fs::read(expected.join(from)).unwrap());
    };
    put_copy("models/bias.h5", "train_run/bias.h5");
    put_copy("logs/bias.log", "train_run/bias.log");
    put_copy("logs/bias.args.json", "train_run/bias.args.json");
    put_copy("logs/bias_model_params.tsv", "train_run/bias_model_params.tsv");
    put_copy("evaluation/bias_predictions.h5", "predict/bias_predictions.h5");
    put_copy("evaluation/bias_metrics.json", "predict/bias_metrics.json");
    put_copy("auxiliary/data_unstranded.bw", "bigwig/atac_bam_unstranded.bw");
    let scores = "auxiliary/interpret_subsample/bias.counts_scores.h5";
    put_copy(scores, "contribs_format/random.counts_scores.h5");
    let (page, written) = write(&request(folder.path()));
    assert!(section(&page, "training").contains("bias: 3 epochs"));
    assert!(section(&page, "counts").contains("bias in test nonpeaks: counts, n = 12"));
    assert!(section(&page, "provenance").contains("expected/train_run/bias"), "its arguments");
    assert!(section(&page, "contributions").contains("official files use blosc"));
    assert_eq!(written.notes.len(), 1, "{:?}", written.notes);

    put(folder.path().join("models/chrombpnet.h5"), "");
    put(folder.path().join("evaluation/chrombpnet_nobias.tn5_1.footprint.png"), "PNG");
    let (page, _) = write(&request(folder.path()));
    assert!(
        section(&page, "footprints").contains("<img src=\"data:image/png;base64,UE5H\""),
        "{page}"
    );
}
