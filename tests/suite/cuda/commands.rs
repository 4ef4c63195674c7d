//! The built binary with `--device emulated`, on tiny data.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cbp_fast::files::contributions_h5::ContributionsReader;
use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::footprint::h5;
use serde_json::Value;

use crate::fixture::{Fixture, stderr, strs};
use crate::training::terminate;

/// Small enough for an emulated GPU: 2 epochs, 3 + 5 filters, one dilated layer.
const SMALL: [&str; 12] =
    ["-il", "140", "-ol", "40", "-dil", "1", "-fil", "3", "-e", "2", "--device", "emulated"];

#[test]
fn training_and_prediction_twice_the_same_bytes() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    let precision = [&SMALL[..], &["--precision", "fp16"]].concat();
    for run in ["one", "two"] {
        let output = fixture.succeed(&strs(&fixture.bias_train(run, &precision)));
        let text = stderr(&output);
        assert!(text.contains("device: emulated, fp16"), "{text}");
    }
    let model = |run: &str| {
        let path = fixture.path(&format!("{run}/models/bias.h5"));
        keras_h5::read(&path).unwrap().main().parameters.clone()
    };
    assert_eq!(model("one"), model("two"));
    for name in ["bias.log", "bias.log.batch"] {
        let read = |run: &str| fixture.read(&format!("{run}/logs/{name}"));
        assert_eq!(read("one"), read("two"));
    }

    // The same run on the CPU has the same losses, to the precision.
    fixture
        .succeed(&strs(&fixture.bias_train("cpu", &[&SMALL[..10], &["--device", "cpu"]].concat())));
    let last = |run: &str| -> f64 {
        let log = fixture.read(&format!("{run}/logs/bias.log"));
        log.lines().last().unwrap().rsplit(',').next().unwrap().parse().unwrap()
    };
    assert!(
        (last("one") - last("cpu")).abs() < 5e-3 * last("cpu"),
        "{} {}",
        last("one"),
        last("cpu")
    );

    fs::rename(fixture.path("one"), fixture.path("bias")).unwrap();
    let text = stderr(&fixture.succeed(&strs(&fixture.train("main", &SMALL))));
    assert!(text.contains("bias model's outputs of all peaks kept on the GPU"), "{text}");
    let full = fixture.path("main/models/chrombpnet.h5");
    assert_eq!(keras_h5::read(&full).unwrap().bias().unwrap().parameters.tensors.len(), 8);
}

/// Starts a run and ends it in its second epoch or soon after.
fn interrupt(fixture: &Fixture, arguments: &[String]) {
    let mut child = fixture.command(&strs(arguments)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("epoch 2/")));
    terminate(child.id());
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "not interrupted in time: {said:?}");
}

/// The two folders hold the same losses and the same model.
fn assert_same_run(fixture: &Fixture, runs: [&str; 2], stem: &str, model: &str) {
    for name in [format!("{stem}.log"), format!("{stem}.log.batch")] {
        let [one, two] = runs.map(|run| fixture.read(&format!("{run}/logs/{name}")));
        assert_eq!(one, two, "{name}");
    }
    let [one, two] = runs.map(|run| {
        let path = fixture.path(&format!("{run}/models/{model}"));
        keras_h5::read(&path).unwrap().main().parameters.clone()
    });
    assert_eq!(one, two);
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_bits() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    let more =
        [&SMALL[..8], &["-e", "12", "-es", "12", "--precision", "fp16"], &SMALL[10..]].concat();
    fixture.succeed(&strs(&fixture.bias_train("whole", &more)));
    let arguments = fixture.bias_train("stopped", &more);
    interrupt(&fixture, &arguments);
    let output = fixture.succeed(&strs(&arguments));
    assert!(stderr(&output).contains("resuming at epoch"), "{}", stderr(&output));
    assert_same_run(&fixture, ["whole", "stopped"], "bias", "bias.h5");
}

/// The bias model's outputs are kept in both sessions, or it says that the bits will be others.
#[test]
fn an_interrupted_main_run_goes_on_with_the_same_bits() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    fs::create_dir_all(fixture.path("bias/models")).unwrap();
    let bias = super::network((140, 40, 3, 1), 3);
    keras_h5::write_single(&fixture.path("bias/models/bias.h5"), &bias, Naming::Bias).unwrap();
    let more = [&SMALL[..8], &["-e", "12", "-es", "12"], &SMALL[10..]].concat();
    let kept = "bias model's outputs of all peaks kept on the GPU";
    let text = stderr(&fixture.succeed(&strs(&fixture.train("whole", &more))));
    assert!(text.contains(kept) && text.contains("bias outputs kept"), "{text}");
    let arguments = fixture.train("stopped", &more);
    interrupt(&fixture, &arguments);
    let copied = std::process::Command::new("cp")
        .args(["-r", "stopped", "other"])
        .current_dir(fixture.folder.path())
        .status();
    assert!(copied.unwrap().success());

    let text = stderr(&fixture.succeed(&strs(&arguments)));
    assert!(text.contains("resuming at epoch") && !text.contains("the same bits"), "{text}");
    assert_same_run(&fixture, ["whole", "stopped"], "chrombpnet", "chrombpnet_nobias.h5");

    let in_step = |value: &str| {
        let mut command = fixture.command(&strs(&fixture.train("other", &more)));
        command.env("CBP_BIAS", value).output().unwrap()
    };
    let text = stderr(&in_step("never"));
    assert!(text.contains("CBP_BIAS=never is not a choice"), "{text}");
    let output = in_step("step");
    let text = stderr(&output);
    assert!(output.status.success() && !text.contains(kept), "{text}");
    assert!(text.contains("bias outputs in each step (CBP_BIAS=step)"), "{text}");
    assert!(text.contains("outputs kept and goes on with them computed in each step"), "{text}");
}

/// Largest difference, relative to the largest of `wanted`.
fn off(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    assert!(largest > 0.0);
    let worst = found.iter().zip(wanted).map(|(f, w)| (f - w).abs());
    worst.fold(0.0f32, |worst, d| if d.is_nan() { f32::NAN } else { worst.max(d) }) / largest
}

/// Cells of a table that are numbers, and those that are not.
fn cells(table: &str) -> (Vec<f32>, Vec<&str>) {
    let mut numbers = Vec::new();
    let mut names = Vec::new();
    for cell in table.split(['\t', '\n']) {
        match cell.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => names.push(cell),
        }
    }
    (numbers, names)
}

#[test]
fn every_command_that_uses_a_model_says_what_the_cpu_says() {
    let fixture = Fixture::new();
    fixture.keep_regions(2);
    let network = |filters, seed| super::network((140, 40, filters, 1), seed);
    keras_h5::write_single(&fixture.path("nobias.h5"), &network(3, 1), Naming::WithoutBias)
        .unwrap();
    keras_h5::write_full(&fixture.path("full.h5"), &network(3, 1), &network(2, 2)).unwrap();
    fixture.write("motifs.tsv", "tn5_a\tGCACAGTACAGAGCTG\n");
    let variants: String = (1..4)
        .flat_map(|i| ["A", "C", "GT"].map(|a| format!("chr1\t{}\tA\t{a}\tv\n", 5_000 + 7 * i)))
        .collect();
    fixture.write("list.tsv", &variants);

    for device in ["--device emulated --precision f32", "--device cpu"] {
        let folder = device.split(' ').nth(1).unwrap();
        fs::create_dir(fixture.path(folder)).unwrap();
        let inputs = "-g genome.fa -m nobias.h5";
        for line in [
            format!(
                "contribs {inputs} -r peaks.bed -c chrom.sizes -op {folder}/x --n-references 3"
            ),
            format!(
                "footprints {inputs} -r nonpeaks.bed -fl folds.json -pwm_f motifs.tsv -op {folder}/x"
            ),
            format!("variants {inputs} -l list.tsv --allow-ref-mismatch -n 2 -o {folder}/x"),
            format!(
                "qc -cm full.h5 -cmb nobias.h5 -bw signal.bw -g genome.fa -c chrom.sizes -d ATAC \
                 -p peaks.bed -n nonpeaks.bed -fl folds.json --num-interpret 1 -o {folder}/qc"
            ),
        ] {
            let line = format!("{line} {device}");
            fixture.succeed(&line.split(' ').collect::<Vec<_>>());
        }
    }

    let on = |device: &str, name: &str| fixture.path(&format!("{device}/{name}"));
    for name in [
        "x.counts_scores.h5",
        "x.profile_scores.h5",
        "qc/auxiliary/interpret_subsample/chrombpnet_nobias.profile_scores.h5",
    ] {
        let [found, wanted] = ["emulated", "cpu"].map(|device| {
            let reader = ContributionsReader::open(&on(device, name)).unwrap();
            reader.rows(0..reader.n).unwrap()
        });
        assert_eq!(found.codes, wanted.codes);
        // The files hold 16-bit floats.
        let off = off(&found.hypothetical, &wanted.hypothetical);
        assert!(off < 1e-3, "{name}: off by {off:.1e}");
    }
    for name in ["x_footprints.h5", "qc/auxiliary/chrombpnet_nobias_footprints.h5"] {
        let [found, wanted] =
            ["emulated", "cpu"].map(|device| h5::read(&on(device, name)).unwrap());
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(&wanted) {
            assert_eq!(found.name, wanted.name);
            let off = off(&found.profile, &wanted.profile)
                .max((found.counts - wanted.counts).abs() / wanted.counts);
            assert!(off < 1e-5, "{name} {}: off by {off:.1e}", found.name);
        }
    }
    for name in ["x.variant_scores.tsv", "x.variant_scores.shuffled.tsv"] {
        let [found, wanted] =
            ["emulated", "cpu"].map(|device| fixture.read(&format!("{device}/{name}")));
        let (found, wanted) = (cells(&found), cells(&wanted));
        assert_eq!(found.1, wanted.1);
        for (found, wanted) in found.0.iter().zip(&wanted.0) {
            // Scores are differences of nearly equal numbers.
            let off = (found - wanted).abs() / wanted.abs().max(1.0);
            assert!(off < 1e-4, "{name}: {found}, on the CPU {wanted}");
        }
    }
    let name = "qc/evaluation/chrombpnet_metrics.json";
    let [found, wanted] = ["emulated", "cpu"].map(|device| -> Value {
        serde_json::from_str(&fixture.read(&format!("{device}/{name}"))).unwrap()
    });
    for path in ["/counts_metrics/peaks/mse", "/profile_metrics/peaks/median_jsd"] {
        let [found, wanted] = [&found, &wanted].map(|m| m.pointer(path).unwrap().as_f64().unwrap());
        assert!((found - wanted).abs() <= 1e-5 * wanted, "{path}: {found}, on the CPU {wanted}");
    }
    let name = "qc/evaluation/chrombpnet_nobias_max_bias_response.txt";
    assert_eq!(fixture.read(&format!("emulated/{name}")), fixture.read(&format!("cpu/{name}")));
}

#[test]
fn int8_predicts_and_is_refused_wherever_more_is_wanted() {
    let fixture = Fixture::new();
    fixture.keep_regions(2);
    let network = super::network((140, 40, 3, 1), 1);
    keras_h5::write_single(&fixture.path("nobias.h5"), &network, Naming::WithoutBias).unwrap();
    fixture.write("list.tsv", "chr1\t5007\tA\tC\tv\nchr1\t5014\tA\tG\tv\n");

    let int8 = ["--device", "emulated", "--precision", "int8"];
    let variants = "variants -g genome.fa -m nobias.h5 -l list.tsv --allow-ref-mismatch -n 2 -o v";
    let variants: Vec<&str> = variants.split(' ').collect();
    let output = fixture.succeed(&[&variants[..], &int8].concat());
    assert!(stderr(&output).contains("device: emulated, int8"), "{}", stderr(&output));
    assert_eq!(fixture.read("v.variant_scores.tsv").lines().count(), 3);

    let training = strs(&fixture.bias_train("trained", &SMALL[..8])).join(" ");
    for line in [
        training.as_str(),
        "contribs -g genome.fa -m nobias.h5 -r peaks.bed -c chrom.sizes -op x",
        "bench train --steps 1",
        "bench contribs --regions 1",
    ] {
        let text = fixture.fail(&[&line.split(' ').collect::<Vec<_>>()[..], &int8].concat());
        for part in ["--precision int8 is for predictions alone", "fix: use it with predict"] {
            assert!(text.contains(part), "{line}: {text}");
        }
    }
    let text = fixture.fail(&[&variants[..], &int8, &["-st", "counts"]].concat());
    assert!(text.contains("--precision int8 is for predictions alone"), "{text}");
    let cpu = ["--device", "cpu", "--precision", "int8"];
    let text = fixture.fail(&[&variants[..], &cpu].concat());
    assert!(text.contains("--precision int8: the CPU computes in f32"), "{text}");
}

#[test]
fn an_emulated_gpu_stays_out_of_the_help() {
    let fixture = Fixture::new();
    let help = fixture.succeed(&["train", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("--precision") && text.contains("auto, cpu, cuda or cuda:N"), "{text}");
    assert!(!text.contains("emulated"), "{text}");
}

#[test]
fn the_selftest_passes_on_an_emulated_gpu_and_refuses_a_cpu() {
    let fixture = Fixture::new();
    let output =
        fixture.succeed(&["doctor", "--selftest", "--device", "emulated", "--precision", "fp16"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("all 5 cases passed") && text.contains("worst element"), "{text}");
    let output =
        fixture.succeed(&["doctor", "--selftest", "--device", "emulated", "--precision", "int8"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("all 5 cases passed") && text.contains("worst of 2"), "{text}");
    let text = fixture.fail(&["doctor", "--selftest", "--device", "cpu"]);
    assert!(text.contains("the selftest is for GPUs"), "{text}");
    let text = fixture.fail(&["bench", "kernels", "--device", "emulated"]);
    assert!(text.contains("times kernels on a GPU"), "{text}");
}

#[test]
fn doctor_says_what_there_is() {
    let fixture = Fixture::new();
    let output = fixture.succeed(&["doctor", "--json"]);
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["version", "cpu", "kernels", "driver", "gpus"] {
        assert!(!facts[key].is_null(), "{key}: {facts}");
    }
    // The fixture hides GPUs.
    assert_eq!(facts["gpus"].as_array().unwrap().len(), 0);
    assert!(facts["driver"]["problem"].is_string(), "{facts}");
}

#[test]
fn bench_train_prints_the_plan_of_the_memory() {
    let fixture = Fixture::new();
    let bench = |more: &[&str]| {
        let small = ["bench", "train", "--device", "emulated", "--steps", "1", "--batch-size", "2"];
        let model = ["--filters", "3", "--n-dilation-layers", "1", "--bias-filters", "0"];
        let sizes = ["--inputlen", "140", "--outputlen", "40"];
        let output = fixture.succeed(&[&small[..], &model, &sizes, more].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = bench(&["--memory"]);
    assert!(text.contains("main X_1") && text.contains("bytes in"), "{text}");
    let found: serde_json::Value = serde_json::from_str(&bench(&["--memory", "--json"])).unwrap();
    let plan = found["memory_plan"].as_array().unwrap();
    assert!(plan.iter().any(|line| line.as_str().unwrap().contains("step state")), "{found}");
    assert!(found["tflops"].as_f64().unwrap() > 0.0, "{found}");
    assert!(!bench(&[]).contains("bytes in"));
}
