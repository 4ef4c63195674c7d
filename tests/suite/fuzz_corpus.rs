//! The seeds of the fuzz target are valid, and what once upset a reader (tests/corpus) no longer does.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../fuzz/readers.rs"]
mod readers;
#[path = "../../fuzz/seeds.rs"]
mod seeds;

/// Sizes from headers that are believed cost a minute; what is refused costs none.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_reader_reads_its_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let all = seeds::all(folder.path()).unwrap();
    for name in readers::names() {
        assert!(all.iter().any(|seed| seed.reader == name), "no seed of {name}");
    }
    for seed in all {
        fs::write(&path, seed.bytes).unwrap();
        let read = readers::reader(seed.reader).unwrap();
        read(&path).unwrap_or_else(|error| panic!("{} {}: {error:#}", seed.reader, seed.name));
    }
}

#[test]
fn what_once_upset_a_reader_does_not_again() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut replayed = 0;
    for reader in fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()) {
        if !reader.is_dir() {
            continue;
        }
        let name = reader.file_name().unwrap().to_str().unwrap();
        let read = readers::reader(name).unwrap_or_else(|| panic!("no reader is called {name}"));
        for file in fs::read_dir(&reader).unwrap().map(|entry| entry.unwrap().path()) {
            // Some readers mend what they read.
            fs::copy(&file, &input).unwrap();
            let start = Instant::now();
            // An error is an answer.
            read(&input).ok();
            assert!(start.elapsed() < PATIENCE, "{}: {:?}", file.display(), start.elapsed());
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}
