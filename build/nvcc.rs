//! kernels/*.cu -> one fatbin each, listed in `kernels.rs`.
//!
//! Find nvcc, ask it which GPUs it knows, compile what has changed, write `kernels.rs`. Without nvcc
//! the list is empty and the program has its CPU engine only.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Machine code for these, where nvcc knows them; a cubin also runs on later minor versions of its
/// major one (8.6 on 8.7, 10.0 on 10.3, 12.0 on 12.1).
const GPUS: [&str; 6] = ["80", "86", "89", "90", "100", "120"];
/// Files `hopper_*.cu` are for this one alone, whose instructions no other GPU has.
const HOPPER: &str = "90a";
/// nvcc must know these.
const GPUS_NEEDED: [&str; 4] = ["80", "86", "89", "90"];
/// The driver compiles this for any GPU that is newer than all of `GPUS`.
const PTX: &str = "80";
const FLAGS: [&str; 11] = [
    "-std=c++17",
    "-O3",
    "-lineinfo",
    "--fatbin",
    // A quarter of the size; the driver unpacks what it loads.
    "-Xfatbin=-compress-all",
    "--Werror=all-warnings",
    // A spill or a local array in a kernel is a defect, not a remark.
    "-Xptxas=-v",
    "-Xptxas=--warn-on-spills",
    "-Xptxas=--warn-on-local-memory-usage",
    "-Xptxas=--warning-as-error",
    "-Ikernels",
];

/// What is wrong, and how to fix it.
struct Failure {
    what: String,
    fix: String,
}

pub fn build() {
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "CBP_REQUIRE_KERNELS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let required = env::var_os("CBP_REQUIRE_KERNELS").is_some_and(|v| v == "1");
    let text = match compile_all() {
        Ok(text) => text,
        Err(Failure { what, fix }) if required => {
            println!("cargo::error={what} (CBP_REQUIRE_KERNELS=1); {fix}");
            String::new()
        }
        Err(Failure { what, fix }) => {
            println!("cargo::warning=no CUDA kernels in this build, CPU only: {what}; {fix}");
            listing(&[], &[], None)
        }
    };
    let out = PathBuf::from(variable("OUT_DIR")).join("kernels.rs");
    fs::write(&out, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", out.display()));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn compile_all() -> Result<String, Failure> {
    let nvcc = Nvcc::find()?;
    // Shared by debug and release builds: target/PROFILE/build/PACKAGE/out -> target/kernels
    let out = PathBuf::from(variable("OUT_DIR"));
    let folder = out.ancestors().nth(4).unwrap_or(&out).join("kernels");
    fs::create_dir_all(&folder).map_err(|e| Failure {
        what: format!("cannot create {}: {e}", folder.display()),
        fix: "make the target folder writable".into(),
    })?;

    let sources = Sources::read();
    let mut fatbins = Vec::new();
    for name in &sources.names {
        fatbins.push((name.clone(), nvcc.compile(name, &sources, &folder)?));
    }
    Ok(listing(&fatbins, &nvcc.gpus, Some(&nvcc.release)))
}

/// The kernels and everything they may include.
struct Sources {
    /// file stems of kernels/*.cu, sorted
    names: Vec<String>,
    /// of the contents of all headers, and of each .cu
    headers: u64,
}

impl Sources {
    fn read() -> Self {
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::from("kernels")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                // kernels/host is the emulation, which nvcc does not see.
                if path.is_dir() && !path.ends_with("host") {
                    folders.push(path);
                } else if path.is_file() {
                    files.push(path);
                }
            }
        }
        files.sort();
        let is_kernel = |path: &Path| {
            path.extension().is_some_and(|e| e == "cu")
                && path.parent() == Some(Path::new("kernels"))
        };
        let mut headers = DefaultHasher::new();
        let mut names = Vec::new();
        for path in &files {
            if is_kernel(path) {
                names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
            } else {
                path.hash(&mut headers);
                fs::read(path).unwrap_or_default().hash(&mut headers);
            }
        }
        Self { names, headers: headers.finish() }
    }
}

struct Nvcc {
    path: PathBuf,
    /// `13.0`, `V13.0.88` as it prints them
    release: String,
    gpus: Vec<&'static str>,
}

impl Nvcc {
    /// The first of: `NVCC`, `CUDA_HOME`, `CUDA_PATH`, PATH, `.tools`, /usr/local/cuda.
    fn find() -> Result<Self, Failure> {
        let fix = "set NVCC or CUDA_HOME, or run `make kernels`, which needs no root and no GPU";
        let no = |what: String| Failure { what, fix: fix.into() };
        if let Some(path) = env::var_os("NVCC") {
            // Asked for by name: another one would be a surprise.
            return Self::ask(Path::new(&path)).map_err(|e| no(format!("NVCC: {e}")));
        }
        let homes = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(env::var_os);
        let mut places: Vec<PathBuf> = homes.map(|h| PathBuf::from(h).join("bin")).collect();
        places.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        places.push(PathBuf::from(variable("CARGO_MANIFEST_DIR")).join(".tools/cuda/bin"));
        places.push(PathBuf::from("/usr/local/cuda/bin"));
        match places.iter().map(|place| place.join("nvcc")).find(|path| path.is_file()) {
            Some(path) => Self::ask(&path).map_err(no),
            None => Err(no(
                "no nvcc in NVCC, CUDA_HOME, CUDA_PATH, PATH, .tools/cuda or /usr/local/cuda"
                    .into(),
            )),
        }
    }

    fn ask(path: &Path) -> Result<Self, String> {
        let say = |argument: &str| {
            let output = Command::new(path).arg(argument).output();
            match output {
                Ok(output) if output.status.success() => {
                    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
                }
                Ok(output) => {
                    Err(format!("{} {argument} fails: {}", path.display(), output.status))
                }
                Err(error) => Err(format!("cannot run {}: {error}", path.display())),
            }
        };
        let version = say("--version")?;
        let release = version
            .lines()
            .find_map(|line| line.split_once("release ")?.1.split(',').next())
            .ok_or_else(|| format!("{} --version does not name a release", path.display()))?
            .to_string();
        let known = say("--list-gpu-code")?;
        let knows = |gpu: &str| known.lines().any(|line| line.trim() == format!("sm_{gpu}"));
        if let Some(gpu) = GPUS_NEEDED.into_iter().find(|gpu| !knows(gpu)) {
            return Err(format!(
                "{} is of CUDA {release} and does not know sm_{gpu} (12.4 or newer is wanted)",
                path.display()
            ));
        }
        let gpus = GPUS.into_iter().filter(|gpu| knows(gpu)).collect();
        Ok(Self { path: path.to_path_buf(), release, gpus })
    }

    /// Compiles kernels/`name`.cu unless what is in `folder` is of the same sources and flags. Leaves
    /// `name`.fatbin and `name`.ptxas (registers and spills as ptxas reports them).
    fn compile(&self, name: &str, sources: &Sources, folder: &Path) -> Result<PathBuf, Failure> {
        let source = format!("kernels/{name}.cu");
        let fatbin = folder.join(format!("{name}.fatbin"));
        let stamp = folder.join(format!("{name}.stamp"));
        let mut hash = DefaultHasher::new();
        (&self.release, &self.gpus, PTX, HOPPER, FLAGS, sources.headers).hash(&mut hash);
        fs::read(&source).unwrap_or_default().hash(&mut hash);
        let key = format!("{:016x}", hash.finish());
        if fatbin.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
            return Ok(fatbin);
        }

        let temporary = folder.join(format!("{name}.{}.fatbin", std::process::id()));
        let mut command = Command::new(&self.path);
        command.args(FLAGS).arg("--threads").arg(variable("NUM_JOBS"));
        if name.starts_with("hopper_") {
            command.arg(format!("-gencode=arch=compute_{HOPPER},code=sm_{HOPPER}"));
        } else {
            for gpu in &self.gpus {
                command.arg(format!("-gencode=arch=compute_{gpu},code=sm_{gpu}"));
            }
            command.arg(format!("-gencode=arch=compute_{PTX},code=compute_{PTX}"));
        }
        command.arg("-o").arg(&temporary).arg(&source);
        let fail =
            |what: String| Failure { what, fix: "check the disk and the target folder".into() };
        let output = command.output().map_err(|e| fail(format!("cannot run nvcc: {e}")))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            // Not a reason to leave the kernels out: this ends the build, required or not.
            eprintln!("{said}\n{command:?}");
            println!("cargo::error={source} does not compile with nvcc {}", self.release);
            for line in said.lines().filter(|l| l.contains("error") || l.contains("warning")) {
                println!("cargo::error={line}");
            }
            std::process::exit(1);
        }
        // Times would make equal builds differ.
        let report: Vec<&str> = said.lines().filter(|l| !l.contains("Compile time")).collect();
        let keep = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| e.to_string());
        fs::write(folder.join(format!("{name}.ptxas")), report.join("\n"))
            .map_err(|e| e.to_string())
            .and_then(|()| keep(&temporary, &fatbin))
            .and_then(|()| fs::write(&stamp, &key).map_err(|e| e.to_string()))
            .map_err(|e| fail(format!("cannot write into {}: {e}", folder.display())))?;
        Ok(fatbin)
    }
}

/// `kernels.rs`.
fn listing(fatbins: &[(String, PathBuf)], gpus: &[&str], release: Option<&str>) -> String {
    let mut text = String::from("/// File stem and fatbin of every kernels/*.cu.\n");
    text.push_str("pub const FATBINS: &[(&str, &[u8])] = &[\n");
    for (name, path) in fatbins {
        let _ = writeln!(text, "    ({name:?}, include_bytes!({path:?})),");
    }
    text.push_str(
        "];\n/// What ptxas said when it compiled them: registers, shared memory, spills.\n",
    );
    text.push_str("pub const REPORTS: &[(&str, &str)] = &[\n");
    for (name, path) in fatbins {
        let _ = writeln!(text, "    ({name:?}, include_str!({:?})),", path.with_extension("ptxas"));
    }
    let targets = gpus.iter().chain(gpus.first().map(|_| &HOPPER));
    let targets: Vec<String> = targets.map(|gpu| format!("sm_{gpu}")).collect();
    let _ = write!(
        text,
        "];\n/// GPUs with machine code; PTX for later ones.\npub const TARGETS: &[&str] = &{targets:?};\n\
         /// Virtual architecture of the PTX.\npub const PTX: &str = \"compute_{PTX}\";\n\
         /// CUDA release of the compiler; `None`: no kernels in this build.\n\
         pub const RELEASE: Option<&str> = {release:?};\n"
    );
    text
}
