//! Folders that cannot be written to, and disks that fill up while we write: an error that names the
//! place, and no output that looks complete. Unix only; the rest of the suite covers other systems.
#![cfg(unix)]

use std::path::Path;
use std::process::Output;

use crate::fixture::{Fixture, stderr, strs, tree};

/// Runs the binary where no file may grow beyond `blocks` of 512 or 1024 bytes (the shell's unit),
/// which a write meets as it meets a full disk: it fails.
pub fn run_with_room(fixture: &Fixture, blocks: u32, arguments: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let binary = env!("CARGO_BIN_EXE_cbp-fast");
    std::process::Command::new("sh")
        .current_dir(fixture.folder.path())
        .args(["-c", &script, "sh", binary])
        .args(arguments)
        .output()
        .unwrap()
}

fn assert_refused(output: &Output, wanted: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for wanted in wanted.iter().chain(&["error: ", "cannot write", "where: ", "fix: "]) {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_is_refused_before_any_work() {
    let fixture = Fixture::new();
    // Read-only for root too, which tests may run as.
    for folder in ["/sys/out", "/proc/out"] {
        let output = fixture.run(&strs(&fixture.bias_train(folder, &[])));
        assert_refused(&output, &["cannot write to the output folder", folder]);
    }
    let packs = tree(fixture.folder.path()).into_iter().filter(|f| f.contains(".cb")).count();
    assert_eq!(packs, 0, "packing came before the check");
}

#[test]
fn a_disk_that_fills_up_leaves_nothing_that_looks_complete() {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    let packed = genome_pack(&fixture);
    // The report is no part of what makes a run complete.
    let tree = |folder: &Path| -> Vec<String> {
        // Without any room there is no folder.
        let left = if folder.exists() { tree(folder) } else { Vec::new() };
        left.into_iter().filter(|f| !f.starts_with("evaluation/")).collect()
    };
    let complete = tree(&fixture.path("bias"));

    // From no room at all to room for everything but the largest file; each stage meets the limit.
    let mut refused = 0;
    for blocks in [0, 1, 4, 8, 16, 32] {
        let output =
            run_with_room(&fixture, blocks, &strs(&fixture.bias_train("full", &["-e", "1"])));
        if output.status.success() {
            assert_eq!(tree(&fixture.path("full")), complete, "{blocks} blocks");
            break;
        }
        refused += 1;
        assert_refused(&output, &["full"]);
        let left = tree(&fixture.path("full"));
        assert!(!left.iter().any(|f| f.contains(".cbp-fast-")), "{blocks} blocks: {left:?}");
        assert!(!left.iter().any(|f| f == "models/bias.h5"), "{blocks} blocks: {left:?}");
    }
    assert!(refused >= 2, "the limit was never met");

    // The same command goes on once there is room again.
    fixture.succeed(&strs(&fixture.bias_train("full", &["-e", "1"])));
    assert_eq!(tree(&fixture.path("full")), complete);

    let model = "bias/models/bias.h5";
    let predict = ["predict", "-m", model, "-g", &packed, "-p", "peaks.bed", "-o", "p"];
    assert_refused(&run_with_room(&fixture, 8, &predict), &["p_predictions.h5"]);
    // The bigWig alone, in the order of the track and out of it.
    let rows: Vec<String> = fixture.read("peaks.bed").lines().map(String::from).rev().collect();
    fixture.write("reversed.bed", &rows.join("\n"));
    for regions in ["peaks.bed", "reversed.bed"] {
        let predict = ["pred_bw", "-bm", model, "-g", &packed, "-r", regions, "-op", "p"];
        assert_refused(&run_with_room(&fixture, 8, &predict), &["p_bias.bw"]);
    }
    let pack = ["pack", "genome", "-g", "genome.fa", "-o", "x.cbg"];
    assert_refused(&run_with_room(&fixture, 4, &pack), &["x.cbg"]);
    let left = tree(fixture.folder.path());
    let half: Vec<_> = left
        .iter()
        .filter(|f| f.starts_with("p_") || f.starts_with("x.cbg") || f.contains(".cbp-fast-"))
        .filter(|f| !f.starts_with(".cbp-fast-cache"))
        .collect();
    assert!(half.is_empty(), "{half:?}");
}

/// The genome pack that training made.
fn genome_pack(fixture: &Fixture) -> String {
    let packs = tree(fixture.folder.path());
    packs.into_iter().find(|f| f.ends_with(".cbg")).expect("training packs the genome")
}
