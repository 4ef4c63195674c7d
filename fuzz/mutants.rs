//! Random mutants of valid inputs through every reader, and the seeds of the fuzz target.
//!
//! ```text
//! mutants run ROUNDS SEED [READER..]   ROUNDS mutants of each seed; exit 1 where one is a failure
//! mutants seeds FOLDER                 writes FOLDER/<reader>/<name>
//! mutants replay READER FILE..         what the reader says of files that failed
//! ```
//!
//! A failure is a panic, a crash, an answer that takes more than 10 s, or memory above 2 GB. Readers
//! run in processes of their own, which a crash takes with it; the mutant that was read last is
//! then found in the folder `mutants-failed`, with the reader's name in front.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

mod readers;
mod seeds;

const PATIENCE: Duration = Duration::from_secs(10);
/// bytes
const MEMORY: u64 = 2 << 30;
const FAILED: &str = "mutants-failed";

/// A small deterministic generator, so that a round can be told by its numbers.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        rng.below(2);
        rng
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

/// What upsets parsers of text, put in place of a field or between two bytes.
const HOSTILE: [&[u8]; 18] = [
    b"-1",
    b"0",
    b"18446744073709551615",
    b"9223372036854775807",
    b"4294967296",
    b"1e400",
    b"nan",
    b"inf",
    b"-0.0",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"\t\t\t\t\t\t\t\t",
    b"\n\n",
    b"[[[[[[",
    b"\xf0\x9f\xa7\xac",
];

/// Sizes and counts as binary headers hold them.
const SIZES: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Flips, cuts, repeats, removes, or puts a hostile value somewhere; one change to four.
fn mutate(rng: &mut Rng, whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + rng.below(4) {
        let end = bytes.len();
        if end == 0 {
            break;
        }
        // Half of the changes in the first bytes, where the structure is.
        let reach = if rng.below(2) == 0 { end.min(300) } else { end };
        let at = rng.below(reach);
        match rng.below(9) {
            0 => bytes.truncate(at),
            1 => {
                let piece = bytes[at..(at + 1 + rng.below(60)).min(end)].to_vec();
                let to = rng.below(end);
                bytes.splice(to..to, piece);
            }
            2 => drop(bytes.drain(at..(at + 1 + rng.below(20)).min(end))),
            3 => drop(bytes.splice(at..at, HOSTILE[rng.below(HOSTILE.len())].iter().copied())),
            4 => {
                // The whole field of a text.
                let is_end = |b: &u8| matches!(b, b'\t' | b'\n' | b',' | b' ' | b':');
                let from = bytes[..at].iter().rposition(is_end).map_or(0, |i| i + 1);
                let to = bytes[at..].iter().position(is_end).map_or(end, |i| at + i);
                if from <= to {
                    bytes.splice(from..to, HOSTILE[rng.below(HOSTILE.len())].iter().copied());
                }
            }
            5 => {
                let size = SIZES[rng.below(SIZES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][rng.below(4)].min(end - at);
                bytes[at..at + width].copy_from_slice(&size[..width]);
            }
            6 => bytes[at] = rng.below(256) as u8,
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
    bytes
}

/// Peak resident memory of this process, bytes; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?)
}

/// All mutants of one reader, in this process. `input` is where each lies while it is read.
fn one_reader(name: &str, rounds: u64, seed: u64, input: &Path) -> Result<()> {
    let read = readers::reader(name).with_context(|| format!("no reader is called {name}"))?;
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let folder = scratch()?;
    let (mut mutants, mut refused, mut failures) = (0u64, 0u64, 0u64);
    let mut keep = |what: String, mutant: u64, bytes: &[u8]| -> Result<()> {
        failures += 1;
        let file = PathBuf::from(FAILED).join(format!("{name}-{seed}-{mutant}"));
        fs::create_dir_all(FAILED)?;
        fs::write(&file, bytes)?;
        eprintln!("FAILED {name}: {what}, {}", file.display());
        Ok(())
    };
    for (index, one) in seeds::all(folder.path())?.iter().filter(|s| s.reader == name).enumerate() {
        for round in 0..rounds {
            let mut rng = Rng::new(seed ^ round << 20 ^ (index as u64) << 56);
            let bytes = mutate(&mut rng, &one.bytes);
            fs::write(input, &bytes)?;
            let (before, start) = (peak_memory(), Instant::now());
            let answer = catch_unwind(AssertUnwindSafe(|| read(input)));
            mutants += 1;
            let time = start.elapsed();
            if answer.is_err() {
                keep("panic".into(), mutants, &bytes)?;
            } else if time > PATIENCE {
                keep(format!("{:.0} s", time.as_secs_f64()), mutants, &bytes)?;
            } else if before < MEMORY && peak_memory() > MEMORY {
                keep(format!("{} MB", peak_memory() >> 20), mutants, &bytes)?;
            }
            refused += u64::from(matches!(answer, Ok(Err(_))));
        }
    }
    println!("{name}\t{mutants} mutants\t{refused} refused\t{failures} failures");
    if failures > 0 {
        bail!("{failures} failures");
    }
    Ok(())
}

/// Every reader in a process of its own, under limits of memory and time.
fn run(rounds: u64, seed: u64, wanted: &[String]) -> Result<()> {
    let folder = scratch()?;
    let own = std::env::current_exe()?;
    let mut failed = Vec::new();
    for name in readers::names() {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        let input = folder.path().join(name);
        // 6 GB of addresses: threads and maps take some, hostile sizes take more.
        let status = Command::new("sh")
            .args(["-c", "ulimit -v 6000000; exec timeout 1800 \"$@\"", "sh"])
            .arg(&own)
            .args(["one", name, &rounds.to_string(), &seed.to_string()])
            .arg(&input)
            .status()?;
        if status.code() == Some(0) {
            continue;
        }
        failed.push(name);
        if status.code() != Some(1) {
            let file = PathBuf::from(FAILED).join(format!("{name}-crash"));
            fs::create_dir_all(FAILED)?;
            fs::copy(&input, &file)?;
            eprintln!("FAILED {name}: {status}, {}", file.display());
        }
    }
    if !failed.is_empty() {
        bail!("failures of {}", failed.join(", "));
    }
    Ok(())
}

fn replay(name: &str, files: &[String]) -> Result<()> {
    let read = readers::reader(name).with_context(|| format!("no reader is called {name}"))?;
    let folder = scratch()?;
    let input = folder.path().join("input");
    for file in files {
        // Some readers mend what they read.
        fs::copy(file, &input)?;
        match read(&input) {
            Ok(()) => println!("{file}: read"),
            Err(error) => println!("{file}: {error:#}"),
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or(1);
    let result = match words.as_slice() {
        ["run", rounds, seed, ..] => run(number(rounds), number(seed), &arguments[3..]),
        ["one", name, rounds, seed, input] => {
            one_reader(name, number(rounds), number(seed), Path::new(input))
        }
        ["replay", name, ..] => replay(name, &arguments[2..]),
        _ => {
            eprintln!("usage: mutants run ROUNDS SEED [READER..] | replay READER FILE..");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
