//! What this machine has and a run takes: memory, disk, time an epoch.
//!
//! Limits of a container or a batch job count (cgroups), not only what the machine has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Finding, grouped};
use crate::batch::Example;
use crate::console::duration;
use crate::engine::{self, CountsHead, Device, Optimizer, TrainSpec};
use crate::error::Problem;
use crate::model::{Architecture, Branches, Network, ParameterSet};
use crate::store::{GenomePack, SignalPack, Tracks};

/// Bytes that this process may still take, by the tightest of the machine and its cgroups; `None`
/// where /proc does not tell.
pub fn memory_left() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine: u64 = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = cgroup_left(&cgroups, Path::new("/sys/fs/cgroup"));
    Some(limits.into_iter().chain([machine]).min().unwrap_or(machine))
}

/// Largest resident size of this process so far, in bytes; `None` where /proc does not tell.
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// What each cgroup that holds this process leaves of its limit. `listing` is /proc/self/cgroup;
/// `root` is where cgroups are mounted, v2 or v1.
fn cgroup_left(listing: &str, root: &Path) -> Vec<u64> {
    let mut left = Vec::new();
    for line in listing.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (base, limit, used) = match controllers {
            "" => (root.to_path_buf(), "memory.max", "memory.current"),
            c if c.split(',').any(|c| c == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        // A limit further up binds as well; inside a container the path may not exist at all, and
        // the limit lies at the root.
        let own = PathBuf::from(path.trim_start_matches('/'));
        for folder in own.ancestors().map(|part| base.join(part)) {
            let number = |file: &str| -> Option<u64> {
                std::fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
            };
            let Some(limit) = number(limit) else { continue }; // "max", or no such file
            let cached = inactive_file(&folder);
            left.push(limit.saturating_sub(number(used).unwrap_or(0).saturating_sub(cached)));
        }
    }
    left
}

/// Page cache that the kernel takes back before it runs out.
fn inactive_file(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("total_inactive_file ").or(l.strip_prefix("inactive_file ")));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

/// Bytes free for us on the disk that `path`, or the nearest folder above it that exists, lies on.
pub fn disk_left(path: &Path) -> Option<u64> {
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find(|p| p.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    if disk.f_blocks == 0 {
        // No disk at all (sysfs, proc): writing there fails by itself and says why.
        return None;
    }
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Bytes a run leaves in its output folder, upper estimate.
pub fn output_size(parameters: usize, regions: usize) -> u64 {
    // f32 tensors of models (twice for the full one) and state (weights, best, two moments); a row
    // of a region in three tables; logs and test predictions are small beside them.
    (4 * parameters as u64) * 7 + 300 * regions as u64 + (10 << 20)
}

/// Bytes of memory a run takes, upper estimate without the engine: rows of the region tables, in
/// memory up to three times while they are selected.
pub fn table_size(regions: usize) -> u64 {
    3 * 150 * regions as u64 + (100 << 20)
}

/// Is there enough of `what`?
pub fn enough(
    check: &'static str,
    needed: u64,
    left: Option<u64>,
    what: &str,
    fix: &str,
) -> Finding {
    let Some(left) = left else {
        return Finding::pass(check, format!("about {} needed {what}", size(needed)));
    };
    let text = format!("about {} needed {what}, {} there", size(needed), size(left));
    if needed > left {
        return Finding::fail(check, Problem::new(format!("not enough: {text}")).fix(fix));
    }
    if needed > left / 10 * 9 {
        return Finding::warn(check, Problem::new(format!("tight: {text}")).fix(fix));
    }
    Finding::pass(check, text)
}

/// `1.5 GB`, `320 MB`
pub fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000_000 if bytes >= 1_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        1_000_000_000.. => format!("{} GB", grouped(bytes / 1_000_000_000)),
        _ => format!("{} MB", bytes.div_ceil(1_000_000)),
    }
}

/// What a few training steps of the engine took.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Training examples a second, input off.
    pub examples_per_s: f64,
    pub steps: usize,
    pub batch: usize,
    /// Measured on one thread, and taken times the threads.
    pub one_thread: bool,
    /// Bytes by which the process grew: engine, weights, feature maps of the threads.
    pub memory: u64,
    /// Bytes of GPU memory beside the packs; `None` on the CPU.
    pub gpu_memory: Option<u64>,
}

/// Times training steps of `main` beside `bias` on random sequence, for about `patience`.
///
/// A step has two examples for each thread, which loads them as a whole batch does (fewer where the
/// batch has fewer). Where one example on one thread takes too long for that, it stands for all.
pub fn measure(
    device: &Device,
    main: Architecture,
    bias: Option<Architecture>,
    batch_size: usize,
    patience: Duration,
) -> Result<Speed> {
    let before = peak_rss().unwrap_or(0);
    let network = |arch: Architecture, seed| Network {
        arch,
        parameters: ParameterSet::glorot_uniform(&arch, seed),
    };
    let spec = TrainSpec {
        branches: Branches { main: network(main, 1), bias: bias.map(|arch| network(arch, 2)) },
        optimizer: Optimizer::adam(1e-3),
        counts_loss_weight: 10.0,
        counts_head: CountsHead::Centered,
    };
    let length = 2 * main.inputlen;
    let bases: Vec<u8> = (0..length).map(|i| b"ACGT"[i * i / 3 % 4]).collect();
    let signal: Vec<f32> = (0..length).map(|i| (i % 5 == 0) as u8 as f32).collect();
    let tracks = Tracks::new(
        Arc::new(GenomePack::from_sequences([("chr1", &bases[..])])),
        Some(Arc::new(SignalPack::from_dense([("chr1", &signal[..])]))),
    );
    let mut engine = engine::open_train(device, spec, &tracks)?;
    let grown = |since: u64| peak_rss().unwrap_or(0).saturating_sub(since);
    let weights = grown(before);
    let threads = rayon::current_num_threads();
    let batch = match device {
        Device::Cpu => batch_size.min(2 * threads).max(1),
        // A GPU takes a batch at once.
        _ => batch_size,
    };
    let plan: Vec<Example> = (0..batch as u32)
        .map(|row| Example {
            contig: 0,
            start: row % main.inputlen as u32,
            flags: Example::PEAK,
            row,
        })
        .collect();
    let start = Instant::now();
    engine.train_step(&plan[..1])?;
    let single = start.elapsed();
    if 3 * single > patience {
        // Two examples share a thread.
        let busy = batch.div_ceil(2);
        let examples_per_s = busy as f64 / single.as_secs_f64();
        // Each thread will take as much for its feature maps and gradients as this one did.
        let memory = weights + busy as u64 * grown(before + weights);
        let gpu_memory = engine.memory_bytes();
        return Ok(Speed {
            examples_per_s,
            steps: 1,
            batch: 1,
            one_thread: true,
            memory,
            gpu_memory,
        });
    }
    let (mut steps, mut best) = (0, f64::INFINITY);
    while steps == 0 || (steps < 20 && start.elapsed() + Duration::from_secs_f64(best) < patience) {
        let step = Instant::now();
        engine.train_step(&plan)?;
        best = best.min(step.elapsed().as_secs_f64());
        steps += 1;
    }
    let examples_per_s = batch as f64 / best;
    let (memory, gpu_memory) = (grown(before), engine.memory_bytes());
    Ok(Speed { examples_per_s, steps, batch, one_thread: false, memory, gpu_memory })
}

/// Time of an epoch of `train` examples and a validation of `valid`, which goes forward only: a
/// third of the work.
pub fn epoch_seconds(speed: &Speed, train: usize, valid: usize) -> f64 {
    (train as f64 + valid as f64 / 3.0) / speed.examples_per_s
}

pub fn time(speed: &Speed, train: usize, valid: usize, epochs: usize) -> Finding {
    let seconds = epoch_seconds(speed, train, valid);
    let threads = rayon::current_num_threads();
    let how = match speed.one_thread {
        true => format!("one example on one of {threads} threads, taken times the threads"),
        false => {
            format!("{} steps of {} examples on {threads} threads", speed.steps, speed.batch)
        }
    };
    Finding::pass(
        "time",
        format!(
            "at most {} an epoch ({} training examples before the count filters, {:.1}/s measured over {how}), {} for {epochs} epochs",
            duration(seconds),
            grouped(train as u64),
            speed.examples_per_s,
            duration(seconds * epochs as f64),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn cgroup_limits_of_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "job/step/memory.max", "max\n");
        write(root, "job/memory.max", "1000\n");
        write(root, "job/memory.current", "700\n");
        write(root, "job/memory.stat", "anon 1\ninactive_file 200\n");
        assert_eq!(cgroup_left("0::/job/step\n", root), [500]);
        // inside a container: the path is the host's, the limit lies at the root
        write(root, "memory.max", "5000");
        assert_eq!(cgroup_left("0::/elsewhere/x\n", root), [5000]);
        write(root, "memory/slurm/memory.limit_in_bytes", "900\n");
        write(root, "memory/slurm/memory.usage_in_bytes", "1000\n");
        let v1 = "5:cpu,cpuacct:/slurm\n4:memory:/slurm\n";
        assert_eq!(cgroup_left(v1, root), [0]);
        assert!(cgroup_left("", root).is_empty() && cgroup_left("nonsense", root).is_empty());
    }

    #[test]
    fn this_machine_has_something_left() {
        if Path::new("/proc/meminfo").exists() {
            assert!(memory_left().unwrap() > 1 << 20);
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(disk_left(&folder.path().join("not/yet/there")).unwrap() > 0);
    }

    #[test]
    fn verdicts_on_what_is_needed() {
        let verdict = |needed, left| enough("disk", needed, left, "in out", "free some").verdict;
        assert_eq!(verdict(100, Some(1000)), Verdict::Pass);
        assert_eq!(verdict(950, Some(1000)), Verdict::Warn);
        assert_eq!(verdict(1001, Some(1000)), Verdict::Fail);
        assert_eq!(verdict(u64::MAX, None), Verdict::Pass);
        assert_eq!(
            [size(12_300_000), size(1_550_000_000), size(64_000_000_000)],
            ["13 MB", "1.6 GB", "64 GB"]
        );
    }

    #[test]
    fn a_small_engine_is_timed() {
        let arch = Architecture::new(306, 100, 4, 2).unwrap();
        let speed = measure(&Device::Cpu, arch, None, 8, Duration::from_secs(5)).unwrap();
        assert!(speed.examples_per_s > 0.0 && speed.steps >= 1);
        let slow = measure(&Device::Cpu, arch, None, 8, Duration::ZERO).unwrap();
        assert_eq!((slow.batch, slow.steps), (1, 1));
        let text = time(&slow, 1000, 300, 5).problem.to_string();
        assert!(text.contains("one example on one of"), "{text}");
        let finding = time(&speed, 1000, 300, 5);
        assert!(finding.problem.what().contains("measured over"), "{finding:?}");
        assert!((epoch_seconds(&speed, 1000, 300) * speed.examples_per_s - 1100.0).abs() < 1e-6);
    }
}
