//! The kernels as C++ for the host: every `kernels/*.cu` twice, with and without checks, and the runtime around
//! them, into one static library.
//!
//! Each file is its own translation unit and is compiled again only when it or a header it includes has changed,
//! so that editing one kernel costs one compilation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;
use std::{env, fs, thread};

/// One call of the compiler.
struct Unit {
    source: PathBuf,
    /// The kernel file that `unit.cpp` includes, or none for a file of the runtime.
    kernel: Option<PathBuf>,
    checked: bool,
    object: PathBuf,
}

pub fn build() {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("emulate");
    fs::create_dir_all(&out).expect("create the folder of the emulator's objects");

    let units = units(&out);
    let jobs = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let queue = Mutex::new(units.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let Some(unit) = queue.lock().unwrap().next() else { break };
                    if let Err(text) = compile(unit) {
                        failures.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if !failures.is_empty() {
        eprintln!("{}", failures.join("\n"));
        panic!(
            "{} of {} files of the emulated kernels did not compile",
            failures.len(),
            units.len()
        );
    }

    // Kernels register themselves before main; without whole-archive the linker would leave them out.
    cc::Build::new()
        .cpp(true)
        .objects(units.iter().map(|unit| &unit.object))
        .link_lib_modifier("+whole-archive")
        .compile("cbp_emulate");
}

fn units(out: &Path) -> Vec<Unit> {
    let host = Path::new("kernels/host");
    let unit = host.join("unit.cpp");
    let mut units = Vec::new();
    for source in files(host, "cpp").into_iter().filter(|source| *source != unit) {
        let object = out.join(source.file_stem().unwrap()).with_extension("o");
        units.push(Unit { source, kernel: None, checked: false, object });
    }
    for folder in [Path::new("kernels"), &host.join("planted")] {
        for kernel in files(folder, "cu") {
            for (checked, build) in [(false, "fast"), (true, "checked")] {
                let stem = kernel.file_stem().unwrap().to_str().unwrap();
                let object = out.join(format!("kernel_{stem}_{build}.o"));
                units.push(Unit {
                    source: unit.clone(),
                    kernel: Some(kernel.clone()),
                    checked,
                    object,
                });
            }
        }
    }
    units
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn command(unit: &Unit) -> Command {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .debug(false)
        .pic(true)
        .cargo_metadata(false)
        .warnings(true);
    let mut command = build.get_compiler().to_command();
    // Kernels look at the same bytes as floats and as words.
    command.args(["-fno-strict-aliasing", "-Wno-unknown-pragmas", "-ftls-model=initial-exec"]);
    if let Some(kernel) = &unit.kernel {
        command.arg("-I.").arg(format!("-DCBP_KERNEL_FILE=\"{}\"", kernel.display()));
        command.args(["-Wno-unused-function", "-Wno-unused-parameter"]);
        if unit.checked {
            command.arg("-DCBP_CHECKED");
        }
        // The emulator is for tests, which run where they are built; the runtime refuses to elsewhere.
        #[cfg(target_arch = "x86_64")]
        if env::var_os("HOST") == env::var_os("TARGET")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
        {
            command.args(["-mavx2", "-mfma", "-mf16c"]);
        }
    }
    command.arg("-MMD").arg("-MF").arg(unit.object.with_extension("d"));
    command.arg("-c").arg(&unit.source).arg("-o").arg(&unit.object);
    command
}

fn compile(unit: &Unit) -> Result<(), String> {
    let mut command = command(unit);
    // Without the environment, which differs between calls of cargo.
    let words = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<_>>());
    let record = unit.object.with_extension("command");
    if fs::read_to_string(&record).is_ok_and(|old| old == words) && is_fresh(&unit.object) {
        return Ok(());
    }
    let output = command.output().map_err(|e| format!("{words}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{words}\n{text}"));
    }
    for line in text.lines().filter(|line| line.contains("warning:")) {
        println!("cargo::warning={line}");
    }
    fs::write(&record, words).map_err(|e| format!("{}: {e}", record.display()))
}

/// Whether the object is newer than everything its dependency file lists.
fn is_fresh(object: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let (Some(built), Ok(rule)) = (changed(object), fs::read_to_string(object.with_extension("d")))
    else {
        return false;
    };
    let Some((_, inputs)) = rule.split_once(':') else { return false };
    inputs
        .split_whitespace()
        .filter(|word| *word != "\\")
        .all(|input| changed(Path::new(input)).is_some_and(|at: SystemTime| at <= built))
}
