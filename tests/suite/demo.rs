//! `demo` on the built binary, up to where training starts; `make demo` runs the whole of it.

use std::fs;
use std::process::Command;

use cbp_fast::demo::experiment::Experiment;
use cbp_fast::demo::files;

use crate::fixture::stderr;

#[test]
fn a_folder_in_use_is_kept_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cbp-fast"))
        .args(["demo", "-o"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("not empty") && text.contains("--force"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_file_in_place_of_the_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demo-out");
    fs::write(&file, "").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cbp-fast"))
        .args(["demo", "--force", "-o"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("demo-out"), "{}", stderr(&output));
}

#[test]
fn files_are_the_same_bytes_for_the_same_seed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        files::write(&Experiment::simulate(8, 60_000..=70_000), folder.path()).unwrap();
    }
    for name in [
        "genome.fa",
        "chrom.sizes",
        "signal.bw",
        "peaks.narrowPeak",
        "nonpeaks.bed",
        "folds.json",
        "truth/enzyme.tsv",
        "truth/motifs.tsv",
        "truth/sites.bed",
    ] {
        let [a, b] = folders.each_ref().map(|f| fs::read(f.path().join(name)).unwrap());
        assert!(!a.is_empty() && a == b, "{name}");
    }
}
