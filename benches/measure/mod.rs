//! Runs programs for the benches: seconds and peak memory of each step, as one JSON line. Linux only:
//! memory is read from /proc.

#![allow(dead_code)] // each bench uses its part

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

/// hg38's chr1..chr22, chrX, chrY. Source: UCSC hg38.chrom.sizes.
pub const HG38: [u64; 24] = [
    248_956_422,
    242_193_529,
    198_295_559,
    190_214_555,
    181_538_259,
    170_805_979,
    159_345_973,
    145_138_636,
    138_394_717,
    133_797_422,
    135_086_622,
    133_275_309,
    114_364_328,
    107_043_718,
    101_991_189,
    90_338_345,
    83_257_441,
    80_373_285,
    58_617_616,
    64_444_167,
    46_709_983,
    50_818_468,
    156_040_895,
    57_227_415,
];
/// Names and lengths, bp.
pub fn hg38() -> Vec<(String, u64)> {
    let name = |i| match i {
        22 => "chrX".to_string(),
        23 => "chrY".to_string(),
        _ => format!("chr{}", i + 1),
    };
    HG38.iter().enumerate().map(|(i, &length)| (name(i), length)).collect()
}

/// Peak resident memory of this process, MB.
pub fn own_peak_mb() -> Result<f64> {
    Ok(field_mb(&fs::read_to_string("/proc/self/status")?, "VmHWM:"))
}

/// Runs `fill` unless an earlier run of this bench has made the file.
pub fn make(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    eprintln!("making {}", path.display());
    let partial = path.with_extension("partial");
    fill(&partial)?;
    fs::rename(&partial, path)?;
    Ok(())
}

/// What a step took.
pub struct Measured {
    pub seconds: f64,
    /// Peak resident memory, MB: all of it, files that are mapped included.
    pub peak_rss_mb: f64,
    /// Highest anonymous memory seen at a sample, MB: what cannot be given back.
    pub peak_anonymous_mb: f64,
    pub stopped: bool,
}

pub fn report(step: &str, run: &Measured, more: serde_json::Value) {
    println!(
        "{}",
        json!({"step": step, "seconds": run.seconds, "peak_rss_mb": run.peak_rss_mb,
               "peak_anonymous_mb": run.peak_anonymous_mb, "stopped": run.stopped, "more": more})
    );
}

/// Runs the release binary; after `limit`, asks it to stop and expects exit code 1.
pub fn measure(step: &str, arguments: &[&str], limit: Option<Duration>) -> Result<Measured> {
    eprintln!("\n$ cbp-fast {}", arguments.join(" "));
    let mut command = Command::new(env!("CARGO_BIN_EXE_cbp-fast"));
    command.args(arguments);
    watch(step, &mut command, limit)
}

/// Runs any program; memory is that of its own process, not of those that it starts.
pub fn watch(step: &str, command: &mut Command, limit: Option<Duration>) -> Result<Measured> {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let status_file = format!("/proc/{}/status", child.id());
    let (mut peak_rss_mb, mut peak_anonymous_mb) = (0.0f64, 0.0f64);
    let mut stopped = false;
    let status = loop {
        // Sampled: the file is gone when the process is. VmHWM is itself a running maximum.
        if let Ok(text) = fs::read_to_string(&status_file) {
            peak_rss_mb = peak_rss_mb.max(field_mb(&text, "VmHWM:"));
            peak_anonymous_mb = peak_anonymous_mb.max(field_mb(&text, "RssAnon:"));
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if !stopped && limit.is_some_and(|limit| start.elapsed() > limit) {
            stopped = true;
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let left_when_asked = stopped && status.code() == Some(1);
    if !(status.success() || left_when_asked) {
        bail!("{step} failed: {status}");
    }
    Ok(Measured { seconds: start.elapsed().as_secs_f64(), peak_rss_mb, peak_anonymous_mb, stopped })
}

fn field_mb(status: &str, field: &str) -> f64 {
    let kb = status.lines().find_map(|line| line.strip_prefix(field));
    kb.and_then(|kb| kb.trim().split(' ').next()?.parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}
