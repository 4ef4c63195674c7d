//! A tiny data set with signal to learn from, and a way to run the built binary on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cbp_fast::files::bigwig;

/// bp of every contig.
pub const CONTIG: usize = 24_000;
/// Sequence and profile length that suit two dilated layers (106 bp of context).
pub const INPUTLEN: usize = 306;
pub const OUTPUTLEN: usize = 100;

/// Files of a small experiment on chr1 (train), chr2 (valid) and chr3 (test).
pub struct Fixture {
    pub folder: tempfile::TempDir,
}

/// A small deterministic generator, so that fixtures never move.
pub struct Lcg(u64);

impl Lcg {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        let mut rng = Lcg::new(7);
        let (mut fasta, mut peaks, mut nonpeaks) = (String::new(), String::new(), String::new());
        let mut tracks = Vec::new();
        let mut contigs = Vec::new();
        for name in ["chr1", "chr2", "chr3"] {
            let bases: Vec<u8> = (0..CONTIG).map(|_| b"ACGT"[rng.below(4) as usize]).collect();
            let mut track = vec![0.0f32; CONTIG];
            for start in (1_000..CONTIG - 1_000).step_by(500) {
                let is_peak = start % 1_000 == 0;
                let reads = if is_peak { 120 + rng.below(160) } else { 10 + rng.below(30) };
                for _ in 0..reads {
                    let at = start - 50 + rng.below(100) as usize;
                    // the enzyme cuts before G twice as often
                    let twice = u64::from(bases[at] == b'G');
                    track[at] += (1 + twice) as f32;
                }
                let file = if is_peak { &mut peaks } else { &mut nonpeaks };
                file.push_str(&format!(
                    "{name}\t{}\t{}\t.\t.\t.\t.\t.\t.\t100\n",
                    start - 100,
                    start + 100
                ));
            }
            fasta.push_str(&format!(">{name} made for tests\n"));
            for line in bases.chunks(60) {
                fasta.push_str(std::str::from_utf8(line).unwrap());
                fasta.push('\n');
            }
            contigs.push((name.to_string(), CONTIG as u64));
            tracks.push(track);
        }
        let sizes: String = contigs.iter().map(|(n, l)| format!("{n}\t{l}\n")).collect();
        fixture.write("genome.fa", &fasta);
        fixture.write("peaks.bed", &peaks);
        fixture.write("nonpeaks.bed", &nonpeaks);
        fixture.write("chrom.sizes", &sizes);
        fixture.write("folds.json", r#"{"train":["chr1"],"valid":["chr2"],"test":["chr3"]}"#);
        bigwig::write(&fixture.path("signal.bw"), &contigs, &tracks).unwrap();
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Leaves `n` peaks and `n` nonpeaks of each contig, for what is slow.
    pub fn keep_regions(&self, n: usize) {
        for name in ["peaks.bed", "nonpeaks.bed"] {
            let text = self.read(name);
            let mut seen = std::collections::HashMap::new();
            let kept: String = text
                .lines()
                .filter(|line| {
                    let count = seen.entry(line.split('\t').next()).or_insert(0);
                    *count += 1;
                    *count <= n
                })
                .flat_map(|line| [line, "\n"])
                .collect();
            self.write(name, &kept);
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.folder.path(), arguments)
    }

    /// Runs the binary in the fixture's folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it and insists on success.
    pub fn succeed(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", stderr(&output));
        output
    }

    /// Runs it, insists on exit code 1 and no panic, and returns stderr.
    pub fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}\n{text}");
        let is_defect = text.contains("panicked") || text.contains("a defect of this program");
        assert!(!is_defect, "{text}");
        text
    }

    /// `bias train` on these files; `more` goes last.
    pub fn bias_train(&self, output: &str, more: &[&str]) -> Vec<String> {
        self.training(&["bias", "train", "-b", "1.5", "-fil", "4", "-o", output], more)
    }

    /// `train` on these files with the bias model of `bias_train("bias", ..)`.
    pub fn train(&self, output: &str, more: &[&str]) -> Vec<String> {
        let own = [
            "train",
            "-b",
            "bias/models/bias.h5",
            "-fil",
            "6",
            "-j",
            "40",
            "-sr",
            "0.5",
            "-o",
            output,
        ];
        self.training(&own, more)
    }

    fn training(&self, own: &[&str], more: &[&str]) -> Vec<String> {
        let (inputlen, outputlen) = (INPUTLEN.to_string(), OUTPUTLEN.to_string());
        let shared = [
            "-g",
            "genome.fa",
            "-c",
            "chrom.sizes",
            "--bigwig",
            "signal.bw",
            "-d",
            "ATAC",
            "-p",
            "peaks.bed",
            "-n",
            "nonpeaks.bed",
            "-fl",
            "folds.json",
            "-il",
            &inputlen,
            "-ol",
            &outputlen,
            "-dil",
            "2",
            "-bs",
            "8",
            "-e",
            "3",
        ];
        // A later flag replaces an earlier one, so `more` can override.
        let mut arguments: Vec<String> = own.iter().chain(&shared).map(|s| s.to_string()).collect();
        for pair in more.chunks(2) {
            match arguments.iter().position(|a| a == pair[0]) {
                Some(at) if pair.len() == 2 => arguments[at + 1] = pair[1].to_string(),
                _ => arguments.extend(pair.iter().map(|s| s.to_string())),
            }
        }
        arguments
    }
}

/// The built binary in a folder.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cbp-fast"));
    command.current_dir(folder).args(arguments);
    // The same on machines with a GPU.
    command.env("CUDA_VISIBLE_DEVICES", "");
    command
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Borrowed arguments.
pub fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// Every file below `folder`, relative, sorted.
pub fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_path_buf()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
