//! `bias train`, `train` and resuming, on the built binary.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use cbp_fast::batch::Example;
use cbp_fast::batch::sampler::{Sampler, Site};
use cbp_fast::console::Console;
use cbp_fast::engine::cpu::{CpuEngine, CpuTrainer};
use cbp_fast::engine::cuda::precision::Precision;
use cbp_fast::engine::{CountsHead, Optimizer, Predict, Predictions, TrainSpec};
use cbp_fast::files::{keras_h5, train_state};
use cbp_fast::model::{Architecture, Network, ParameterSet};
use cbp_fast::run::record::RunRecord;
use cbp_fast::store::{GenomePack, SignalPack, Tracks};
use cbp_fast::train::fit::{Ended, FitConfig, fit};

use crate::fixture::{Fixture, stderr, strs, tree};

fn parameters(fixture: &Fixture, model: &str) -> ParameterSet {
    keras_h5::read(&fixture.path(model)).unwrap().main().parameters.clone()
}

#[test]
fn a_bias_run_and_a_main_run_leave_the_official_tree() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &[])));
    assert_eq!(
        tree(&fixture.path("bias")),
        [
            "auxiliary/dropped.tsv",
            "auxiliary/filtered.bias_nonpeaks.bed",
            "auxiliary/filtered.bias_peaks.bed",
            "evaluation/bw_shift_qc.png",
            "evaluation/bw_shift_qc.svg",
            "evaluation/bw_shift_qc.tsv",
            "evaluation/epoch_loss.png",
            "evaluation/overall_report.html",
            "logs/bias.args.json",
            "logs/bias.log",
            "logs/bias.log.batch",
            "logs/bias.run.json",
            "logs/bias_data_params.tsv",
            "logs/bias_model_params.tsv",
            "models/bias.h5",
        ]
    );
    fixture.succeed(&strs(&fixture.train("main", &["-fp", "x"])));
    assert_eq!(
        tree(&fixture.path("main")),
        [
            "auxiliary/x_dropped.tsv",
            "auxiliary/x_filtered.nonpeaks.bed",
            "auxiliary/x_filtered.peaks.bed",
            "evaluation/x_bias_metrics.json",
            "evaluation/x_bias_only_peaks.counts_pearsonr.png",
            "evaluation/x_bias_only_peaks.profile_jsd.png",
            "evaluation/x_bias_predictions.h5",
            "evaluation/x_bw_shift_qc.png",
            "evaluation/x_bw_shift_qc.svg",
            "evaluation/x_bw_shift_qc.tsv",
            "evaluation/x_epoch_loss.png",
            "evaluation/x_overall_report.html",
            "logs/x_chrombpnet.args.json",
            "logs/x_chrombpnet.log",
            "logs/x_chrombpnet.log.batch",
            "logs/x_chrombpnet.run.json",
            "logs/x_chrombpnet_data_params.tsv",
            "logs/x_chrombpnet_model_params.tsv",
            "models/x_bias_model_scaled.h5",
            "models/x_chrombpnet.h5",
            "models/x_chrombpnet_nobias.h5",
        ]
    );
    let log = fixture.read("main/logs/x_chrombpnet.log");
    assert_eq!(log.lines().count(), 4, "{log}");
    let first: f64 = log.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    let last: f64 = log.lines().last().unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!(last < first, "val_loss should fall: {log}");
    // the full model holds both branches as they stand in their own files
    let full = keras_h5::read(&fixture.path("main/models/x_chrombpnet.h5")).unwrap();
    assert_eq!(full.main().parameters, parameters(&fixture, "main/models/x_chrombpnet_nobias.h5"));
    let scaled = parameters(&fixture, "main/models/x_bias_model_scaled.h5");
    assert_eq!(full.bias().unwrap().parameters, scaled);
}

#[test]
fn an_interrupted_run_goes_on_as_if_it_never_stopped() {
    let fixture = Fixture::new();
    let arguments = fixture.bias_train("whole", &["-e", "60", "-es", "60"]);
    fixture.succeed(&strs(&arguments));

    // Stopped again and again, wherever the signal happens to fall, then left to finish.
    let arguments = fixture.bias_train("stopped", &["-e", "60", "-es", "60"]);
    let mut interruptions = 0;
    for after_epochs in [1, 2, 7] {
        let mut child = fixture.command(&strs(&arguments)).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut epochs = 0;
        let mut said = String::new();
        for line in lines.map_while(Result::ok) {
            epochs += usize::from(line.starts_with("epoch "));
            said.push_str(&line);
            said.push('\n');
            if epochs == after_epochs {
                epochs += 1_000;
                terminate(child.id());
            }
        }
        let status = child.wait().unwrap();
        if status.code() == Some(1) {
            assert!(said.contains("run the same command again"), "{said}");
            interruptions += 1;
        }
    }
    assert!(interruptions > 0, "no run was interrupted in time");
    let output = fixture.succeed(&strs(&arguments));
    assert!(stderr(&output).contains("resuming"), "{}", stderr(&output));

    for name in ["bias.log", "bias.log.batch"] {
        assert_eq!(
            fixture.read(&format!("whole/logs/{name}")),
            fixture.read(&format!("stopped/logs/{name}")),
            "{name}"
        );
    }
    assert_eq!(
        parameters(&fixture, "whole/models/bias.h5"),
        parameters(&fixture, "stopped/models/bias.h5")
    );
}

/// A version that does not know a setting leaves neither it in the record nor the hash of it in the
/// state.
#[test]
fn a_run_begun_before_a_setting_was_known_goes_on() {
    let fixture = Fixture::new();
    let long = ["-e", "24", "-es", "24"];
    fixture.succeed(&strs(&fixture.bias_train("whole", &long)));
    let arguments = fixture.bias_train("older", &long);
    let mut child = fixture.command(&strs(&arguments)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("epoch ")));
    terminate(child.id());
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(1), "it was over before the signal came");

    let path = fixture.path("older/logs/bias.run.json");
    let mut record = RunRecord::read(&path).unwrap().unwrap();
    assert!(record.settings.remove("outlier_threshold").is_some());
    record.write(&path).unwrap();
    let state_path = fixture.path("older/logs/bias.state.safetensors");
    let arch = *keras_h5::read(&fixture.path("whole/models/bias.h5")).unwrap().arch();
    let mut state = train_state::load(&state_path, &arch).unwrap();
    assert_ne!(state.meta["run_key"], record.key());
    state.meta["run_key"] = record.key().into();
    train_state::save(&state_path, &state).unwrap();

    let given = [&long[..], &["-oth", "0.99"]].concat();
    let text = fixture.fail(&strs(&fixture.bias_train("older", &given)));
    assert!(text.contains("outlier_threshold: unset now 0.99"), "{text}");
    let output = fixture.succeed(&strs(&arguments));
    assert!(stderr(&output).contains("resuming"), "{}", stderr(&output));
    let model = |run: &str| parameters(&fixture, &format!("{run}/models/bias.h5"));
    assert_eq!(model("older"), model("whole"));
    let output = fixture.succeed(&strs(&arguments));
    assert!(stderr(&output).contains("complete already"), "{}", stderr(&output));
}

pub fn terminate(process: u32) {
    let status = std::process::Command::new("kill").arg(process.to_string()).status().unwrap();
    assert!(status.success());
}

#[test]
fn the_result_does_not_depend_on_threads_and_a_seed_gives_the_same_model_twice() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("one", &["--threads", "1"])));
    fixture.succeed(&strs(&fixture.bias_train("three", &["--threads", "3"])));
    fixture.succeed(&strs(&fixture.bias_train("other", &["-s", "9"])));
    let one = parameters(&fixture, "one/models/bias.h5");
    assert_eq!(one, parameters(&fixture, "three/models/bias.h5"));
    assert_ne!(one, parameters(&fixture, "other/models/bias.h5"));
}

#[test]
fn a_complete_run_is_left_alone_and_changes_are_refused() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let output = fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    assert!(stderr(&output).contains("complete already"), "{}", stderr(&output));

    let text = fixture.fail(&strs(&fixture.bias_train("bias", &["-e", "2"])));
    assert!(text.contains("epochs: 1 now 2"), "{text}");

    let peaks = fixture.read("peaks.bed");
    fixture.write("peaks.bed", peaks.lines().next().unwrap());
    let text = fixture.fail(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    assert!(text.contains("peaks: peaks.bed") && text.contains("--force"), "{text}");

    fixture.write("peaks.bed", &peaks);
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "2", "--force"])));
    assert_eq!(fixture.read("bias/logs/bias.log").lines().count(), 3);
}

const SITES: u32 = 12;
const FIRST_SITE: u32 = 300;

/// A contig to train on and one to validate on, with a count that is `bad` in the site `broken` (contig, site).
fn counts_with(broken: Option<(usize, u32)>) -> Tracks {
    let bases: Vec<u8> = (0..6_000).map(|i: usize| b"ACGT"[i * i / 7 % 4]).collect();
    let mut counts = [vec![1.0f32; bases.len()], vec![2.0f32; bases.len()]];
    if let Some((contig, site)) = broken {
        counts[contig][(FIRST_SITE + 400 * site) as usize] = f32::NAN;
    }
    Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..]), ("chr2", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([
            ("chr1", &counts[0][..]),
            ("chr2", &counts[1][..]),
        ]))),
    )
}

fn short_sampler() -> Sampler {
    let site = |row| Site { contig: 0, center: FIRST_SITE + 400 * row, row };
    Sampler::new(1, 200, 0, 0.0, (0..SITES).map(site).collect(), Vec::new()).unwrap()
}

/// Two epochs of three batches of four.
fn short_run(folder: &Path, tracks: Tracks) -> anyhow::Result<(ParameterSet, String)> {
    let arch = Architecture::new(200, 40, 4, 1)?;
    let network = Network { arch, parameters: ParameterSet::glorot_uniform(&arch, 1) };
    let spec = TrainSpec {
        branches: network.into(),
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight: 1.0,
        counts_head: CountsHead::Centered,
    };
    let sampler = short_sampler();
    let valid: Vec<Example> = (0..4)
        .map(|row| Example { contig: 1, start: FIRST_SITE - 100 + 400 * row, flags: 0, row })
        .collect();
    let config = FitConfig {
        epochs: 2,
        early_stop: 5,
        batch_size: 4,
        trackables: vec!["loss".into()],
        log: folder.join("log"),
        batch_log: folder.join("log.batch"),
        state: folder.join("state.safetensors"),
        run_key: "short".into(),
        arch,
        fallback: None,
        precision: Precision::F32,
        settle_counts: Some(tracks.clone()),
    };
    let mut engine = CpuTrainer::new(spec, tracks)?;
    let console = Console::new(true, false);
    match fit(&mut engine, &sampler, &valid, &config, &console, &mut || false)? {
        Ended::Finished { best, .. } => Ok((best, std::fs::read_to_string(&config.log)?)),
        interrupted => anyhow::bail!("{interrupted:?}"),
    }
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_state_before_it() {
    let whole = tempfile::tempdir().unwrap();
    let wanted = short_run(whole.path(), counts_with(None)).unwrap();
    let arch = Architecture::new(200, 40, 4, 1).unwrap();
    // Every training site, so every batch of the first epoch; then one that only validation reads.
    let mut batches = Vec::new();
    for broken in (0..SITES).map(|site| (0, site)).chain([(1, 2)]) {
        let folder = tempfile::tempdir().unwrap();
        let error = short_run(folder.path(), counts_with(Some(broken))).unwrap_err();
        let said = format!("{error:#}");
        let state = folder.path().join("state.safetensors");
        let kept = train_state::load(&state, &arch).unwrap();
        let done = kept.meta["batches_done"].as_u64().unwrap();
        assert_eq!((kept.meta["epoch"].as_u64(), kept.optimizer.step), (Some(0), done));
        let place = match broken.0 {
            0 => format!("epoch 1, batch {}: ", done + 1),
            _ => "validation after epoch 1: ".into(),
        };
        let contig = ["chr1:", "chr2:"][broken.0];
        let keeps =
            format!("{} keeps the last good state: epoch 1, {done} batches", state.display());
        for part in [&place, contig, "not a finite number", &keeps] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        batches.push(done);

        // With the count put right, it goes on from there to the same bits.
        assert_eq!(short_run(folder.path(), counts_with(None)).unwrap(), wanted, "{broken:?}");
    }
    assert_eq!(batches.pop(), Some(3), "validation comes after all batches");
    batches.sort();
    assert_eq!(batches, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
}

/// Without a bias branch the bias takes up all of the mean error, so none is left before validation.
#[test]
fn a_centered_counts_head_is_settled_after_each_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = counts_with(None);
    let (best, log) = short_run(folder.path(), tracks.clone()).unwrap();
    let val_loss = |row: &str| row.rsplit(',').next().unwrap().parse::<f64>().unwrap();
    let losses: Vec<f64> = log.lines().skip(1).map(val_loss).collect();
    let best_epoch = u64::from(losses[1] < losses[0]);

    let arch = Architecture::new(200, 40, 4, 1).unwrap();
    let network = Network { arch, parameters: best };
    let mut engine = CpuEngine::new(network, tracks.clone()).unwrap();
    let plan = short_sampler().epoch(best_epoch);
    let mut predicted = Predictions::default();
    engine.predict(&plan, &mut predicted).unwrap();
    let mut error = 0.0;
    for (example, &logcounts) in plan.iter().zip(&predicted.logcounts) {
        let mut counts = [0.0; 40];
        tracks.fill_counts(example, 200, &mut counts);
        error += f64::from(logcounts) - f64::from(counts.iter().sum::<f32>()).ln_1p();
    }
    assert!(error.abs() < 1e-5 * plan.len() as f64, "mean error {}", error / plan.len() as f64);
}
