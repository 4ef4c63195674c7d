//! The built binary with `--device emulated`, on tiny data.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use cbp_fast::files::keras_h5;

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
    fixture.succeed(&strs(&fixture.train("main", &SMALL)));
    let full = fixture.path("main/models/chrombpnet.h5");
    assert_eq!(keras_h5::read(&full).unwrap().bias().unwrap().parameters.tensors.len(), 8);
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_bits() {
    let fixture = Fixture::new();
    fixture.keep_regions(12);
    let more =
        [&SMALL[..8], &["-e", "12", "-es", "12", "--precision", "fp16"], &SMALL[10..]].concat();
    fixture.succeed(&strs(&fixture.bias_train("whole", &more)));

    let arguments = fixture.bias_train("stopped", &more);
    let mut child = fixture.command(&strs(&arguments)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("epoch 2/")));
    terminate(child.id());
    let said: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "not interrupted in time: {said:?}");
    let output = fixture.succeed(&strs(&arguments));
    assert!(stderr(&output).contains("resuming at epoch"), "{}", stderr(&output));
    for name in ["bias.log", "bias.log.batch"] {
        let read = |run: &str| fixture.read(&format!("{run}/logs/{name}"));
        assert_eq!(read("whole"), read("stopped"), "{name}");
    }
    let model = |run: &str| {
        let path = fixture.path(&format!("{run}/models/bias.h5"));
        keras_h5::read(&path).unwrap().main().parameters.clone()
    };
    assert_eq!(model("whole"), model("stopped"));
}

#[test]
fn an_emulated_gpu_stays_out_of_the_help() {
    let fixture = Fixture::new();
    let help = fixture.succeed(&["train", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("--precision") && text.contains("cuda[:N]"), "{text}");
    assert!(!text.contains("emulated"), "{text}");
}

#[test]
fn the_selftest_passes_on_an_emulated_gpu_and_refuses_a_cpu() {
    let fixture = Fixture::new();
    let output =
        fixture.succeed(&["doctor", "--selftest", "--device", "emulated", "--precision", "fp16"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("all 5 cases passed") && text.contains("worst element"), "{text}");
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
