//! The facts: versions, CPU, driver, GPUs, the kernels in this binary.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::engine::cpu::Isa;
use crate::engine::cuda::binaries::{self, Resources};
use crate::engine::cuda::driver;
use crate::engine::cuda::ops::hopper::Core;

/// The commit of the source, where the build was told (the Makefile does).
const COMMIT: Option<&str> = option_env!("CBP_COMMIT");

/// Everything, as one JSON object.
pub fn facts() -> Value {
    let isas: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    let (driver, gpus) = match driver::gpus() {
        Ok(gpus) => (json!({"cuda": version(gpus[0].driver)}), gpus),
        Err(reason) => match driver::version() {
            Ok(v) => (json!({"cuda": version(v), "problem": reason}), Vec::new()),
            Err(reason) => (json!({"problem": reason}), Vec::new()),
        },
    };
    let gpus: Vec<Value> = gpus
        .iter()
        .map(|gpu| {
            json!({
                "ordinal": gpu.ordinal,
                "name": gpu.name,
                "compute_capability": version(gpu.capability),
                "core": Core::of(gpu.capability, gpu.multiprocessors).name(),
                "memory_bytes": gpu.memory,
                "multiprocessors": gpu.multiprocessors,
                "l2_bytes": gpu.l2,
                "usable": gpu.refusal().is_none(),
                "reason": gpu.refusal(),
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": COMMIT.filter(|commit| !commit.is_empty()),
        "cpu": {
            "threads": std::thread::available_parallelism().map_or(0, usize::from),
            "instruction_sets": isas,
        },
        "kernels": kernels(),
        "driver": driver,
        "gpus": gpus,
    })
}

fn version((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

fn kernels() -> Value {
    let Some(release) = binaries::RELEASE else {
        return json!({"problem": "this binary was built without CUDA kernels (no nvcc was found)"});
    };
    let mut kernels = Vec::new();
    for (file, report) in binaries::REPORTS {
        let compiled = binaries::resources(report);
        let mut names: Vec<&str> = compiled.iter().map(|r| r.kernel.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of = |r: &&Resources| r.kernel == name;
            let registers: serde_json::Map<String, Value> = compiled
                .iter()
                .filter(of)
                .map(|r| (r.target.clone(), json!(r.registers)))
                .collect();
            kernels.push(json!({"name": name, "file": file, "registers": registers}));
        }
    }
    json!({
        "compiled_with": release,
        "targets": binaries::TARGETS,
        "ptx": binaries::PTX,
        "bytes": binaries::FATBINS.iter().map(|(_, image)| image.len()).sum::<usize>(),
        "list": kernels,
    })
}

/// The facts as lines of text for people.
pub fn text(facts: &Value) -> String {
    let mut out = String::new();
    let words = |value: &Value| -> String {
        let list = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        list.collect::<Vec<_>>().join(" ")
    };
    let string = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let commit = facts["commit"].as_str().map_or(String::new(), |c| format!(", commit {c}"));
    let _ = writeln!(out, "cbp-fast {}{commit}", string(&facts["version"]));
    let cpu = &facts["cpu"];
    let _ =
        writeln!(out, "cpu      {} threads, {}", cpu["threads"], words(&cpu["instruction_sets"]));
    let kernels = &facts["kernels"];
    let _ = match kernels["problem"].as_str() {
        Some(problem) => writeln!(out, "kernels  none: {problem}"),
        None => writeln!(
            out,
            "kernels  {} kernels, {:.1} MB, compiled with CUDA {} for {} and PTX {}",
            kernels["list"].as_array().map_or(0, Vec::len),
            kernels["bytes"].as_f64().unwrap_or(0.0) / 1e6,
            string(&kernels["compiled_with"]),
            words(&kernels["targets"]),
            string(&kernels["ptx"]),
        ),
    };
    let driver = &facts["driver"];
    let _ = match (driver["cuda"].as_str(), driver["problem"].as_str()) {
        (Some(version), None) => writeln!(out, "driver   CUDA {version}"),
        (Some(version), Some(problem)) => writeln!(out, "driver   CUDA {version}, but {problem}"),
        (None, problem) => writeln!(out, "driver   none: {}", problem.unwrap_or_default()),
    };
    for gpu in facts["gpus"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "GPU {}    {}, compute capability {} ({} core in 16 bits), {:.0} GiB, {} multiprocessors: {}",
            gpu["ordinal"],
            string(&gpu["name"]),
            string(&gpu["compute_capability"]),
            string(&gpu["core"]),
            gpu["memory_bytes"].as_f64().unwrap_or(0.0) / f64::from(1u32 << 30),
            gpu["multiprocessors"],
            gpu["reason"].as_str().unwrap_or("usable"),
        );
    }
    out
}

/// A line a kernel: its file, and registers a thread for each target.
pub fn kernel_table(facts: &Value) -> String {
    let mut out = String::new();
    for kernel in facts["kernels"]["list"].as_array().into_iter().flatten() {
        let registers = kernel["registers"].as_object().into_iter().flatten();
        let registers: Vec<String> = registers.map(|(gpu, n)| format!("{gpu}: {n}")).collect();
        let [name, file] = ["name", "file"].map(|key| kernel[key].as_str().unwrap_or_default());
        let _ = writeln!(out, "{name:<34} {file:<18} {}", registers.join("  "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_the_facts_say() {
        let facts = facts();
        let text = text(&facts);
        assert!(text.starts_with("cbp-fast ") && text.contains("portable"), "{text}");
        match facts["driver"]["problem"].as_str() {
            Some(problem) => assert!(text.contains(problem), "{text}"),
            None => assert!(text.contains("GPU 0"), "{text}"),
        }
        match binaries::RELEASE {
            Some(release) => assert!(text.contains(&format!("CUDA {release}")), "{text}"),
            None => assert!(text.contains("without CUDA kernels"), "{text}"),
        }
        let listed = facts["kernels"]["list"].as_array().map_or(0, Vec::len);
        assert_eq!(kernel_table(&facts).lines().count(), listed);
    }
}
