//! libFuzzer on one reader: the one that the variable `CBP_FUZZ_READER` names.
//!
//! One program for all readers, since linking takes longer than fuzzing does. Inputs go through a
//! file, as readers take paths; it lies in memory where there is /dev/shm. Where `CBP_FUZZ_SEEDS`
//! names a folder, the program writes the seeds of all readers there and ends.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

#[path = "../readers.rs"]
mod readers;
#[path = "../seeds.rs"]
mod seeds;

struct Target {
    read: readers::Read,
    file: PathBuf,
    /// Removes the file at the end.
    _folder: tempfile::TempDir,
}

static TARGET: OnceLock<Target> = OnceLock::new();

fn target() -> &'static Target {
    TARGET.get_or_init(|| {
        // libFuzzer's hook aborts where a panic begins. Ours lets it unwind: one that the program
        // turns into an error is none, and one that leaves the reader aborts all the same.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let name = std::env::var("CBP_FUZZ_READER").unwrap_or_default();
        let Some(read) = readers::reader(&name) else {
            eprintln!("error: CBP_FUZZ_READER is {name:?}, expected one of {:?}", readers::names());
            std::process::exit(2);
        };
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        }
        .expect("a folder for the input");
        Target { read, file: folder.path().join("input"), _folder: folder }
    })
}

/// Where seeds are asked for, writes them and ends.
fn seeds_only() {
    let Some(folder) = std::env::var_os("CBP_FUZZ_SEEDS") else { return };
    if let Err(error) = write_seeds(Path::new(&folder)) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Each seed as `to/READER/NAME`.
fn write_seeds(to: &Path) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    for seed in seeds::all(scratch.path())? {
        let folder = to.join(seed.reader);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(seed.name), seed.bytes)?;
    }
    Ok(())
}

fuzz_target!(init: seeds_only(), |data: &[u8]| {
    let target = target();
    std::fs::write(&target.file, data).expect("room for the input");
    // An error is an answer.
    (target.read)(&target.file).ok();
});
