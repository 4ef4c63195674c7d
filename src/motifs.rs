//! Motifs: hands a run's contributions to tfmodisco-lite, where that is installed, with the arguments
//! of the official pipelines, and puts what it makes where they put it.
//!
//! ```text
//! auxiliary/interpret_subsample/<model>.<head>_scores.h5
//!    -> modisco motifs -> auxiliary/interpret_subsample/modisco_results_<head>_scores.h5
//!    -> modisco report -> evaluation/modisco_<head>/motifs.html
//! ```
//!
//! Nothing else depends on it. Its output goes to `logs/modisco_<head>.log`; what motifs were made from,
//! to `logs/modisco_<head>.run.json`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::console::{Console, duration};
use crate::error::Problem;
use crate::files::atomic;
use crate::files::leftovers::Temporary;
use crate::interpret::Head;
use crate::report::folder::Folder;
use crate::run::prints::Print;
use crate::run::stop::StopFlag;
use crate::signals;

/// The version that this was tested with.
pub const TESTED: &str = "2.4.0";

/// How often a signal is looked for while modisco runs.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What to look for, and where.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    pub file_prefix: Option<&'a str>,
    /// Heads [default when empty: those whose contributions are there].
    pub heads: &'a [Head],
    /// At most this many seqlets of each sign; official pipelines: 50,000.
    pub max_seqlets: u64,
    /// bp around the centre that are searched; official pipelines: 500.
    pub window: usize,
    /// Motifs to name what is found by (MEME format).
    pub meme_db: Option<&'a Path>,
    /// The program [default: `modisco` on PATH].
    pub modisco: Option<&'a Path>,
    /// Do again what is there.
    pub force: bool,
}

impl<'a> Request<'a> {
    /// The settings of the official pipelines.
    pub fn official(folder: &'a Path, file_prefix: Option<&'a str>) -> Self {
        Self {
            folder,
            file_prefix,
            heads: &[],
            max_seqlets: 50_000,
            window: 500,
            meme_db: None,
            modisco: None,
            force: false,
        }
    }
}

/// Errors for a database that is not there.
pub fn check_database(meme_db: Option<&Path>) -> Result<(), Problem> {
    match meme_db.filter(|db| !db.is_file()) {
        None => Ok(()),
        Some(db) => Err(Problem::new("there is no such motif database")
            .at(db.display())
            .fix("pass a file in MEME format, for example from the JASPAR or HOCOMOCO downloads")),
    }
}

/// Where `modisco` is.
///
/// Errors: it is not there; says what to install.
pub fn find(modisco: Option<&Path>) -> Result<PathBuf, Problem> {
    let install = format!(
        "pip install modisco-lite=={TESTED} (Python 3.9 to 3.12), then pass --modisco PATH or put it on PATH"
    );
    match modisco {
        Some(path) if is_program(path) => Ok(path.to_path_buf()),
        Some(path) => Err(Problem::new("this is no program").at(path.display()).fix(install)),
        None => on_path("modisco")
            .ok_or_else(|| Problem::new("tfmodisco-lite (modisco) is not on PATH").fix(install)),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    let Ok(metadata) = fs::metadata(path) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    metadata.is_file()
}

/// Finds motifs; returns the report of each head.
///
/// Errors: no modisco, no run, no contributions, a modisco that fails. What was there before stays.
pub fn run(request: &Request, console: &Console) -> Result<Vec<PathBuf>> {
    let folder = Folder::open(request.folder, request.file_prefix)?;
    let modisco = find(request.modisco)?;
    let heads = heads(&folder, request.heads)?;
    let stop = StopFlag::on_signals()?;
    let mut reports = Vec::new();
    for head in heads {
        let job = Job { request, folder: &folder, modisco: &modisco, head, console, stop: &stop };
        reports.push(job.run()?);
    }
    Ok(reports)
}

fn scores(folder: &Folder, head: Head) -> PathBuf {
    let model = folder.kind.explained();
    folder.interpreted(&format!("{model}.{}_scores.h5", head.name()))
}

fn heads(folder: &Folder, wanted: &[Head]) -> Result<Vec<Head>, Problem> {
    let of = if wanted.is_empty() { &Head::ALL[..] } else { wanted };
    let there: Vec<Head> = of.iter().copied().filter(|&h| scores(folder, h).exists()).collect();
    let missing = of.iter().find(|h| !there.contains(h));
    match missing {
        Some(&head) if there.is_empty() || !wanted.is_empty() => {
            Err(Problem::new(format!("there are no contributions to the {}", head.name()))
                .at(scores(folder, head).display())
                .fix("make them with cbp-fast contribs"))
        }
        _ => Ok(there),
    }
}

/// What motifs were made from, and what they are: kept in `logs/modisco_<head>.run.json`, so that they
/// are used again only while all of it is so.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Made {
    scores: Print,
    max_seqlets: u64,
    window: usize,
    results: Print,
    #[serde(default)]
    page: Option<Page>,
}

/// The page of motifs, and the database that named them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Page {
    meme_db: Option<Print>,
    page: Print,
}

impl Made {
    /// What `path` remembers; nothing where it is missing or damaged.
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        atomic::write(path, |out| Ok(out.write_all(text.as_bytes())?))
    }

    fn is_of(&self, request: &Request, scores: &Path, results: &Path) -> bool {
        (self.max_seqlets, self.window) == (request.max_seqlets, request.window)
            && self.scores.is_of(scores)
            && self.results.is_of(results)
    }
}

impl Page {
    fn is_of(&self, meme_db: Option<&Path>, page: &Path) -> bool {
        let same_names = match (&self.meme_db, meme_db) {
            (None, None) => true,
            (Some(print), Some(path)) => print.is_of(path),
            _ => false,
        };
        same_names && self.page.is_of(page)
    }
}

/// One head.
struct Job<'a> {
    request: &'a Request<'a>,
    folder: &'a Folder,
    modisco: &'a Path,
    head: Head,
    console: &'a Console,
    stop: &'a StopFlag,
}

impl Job<'_> {
    fn run(&self) -> Result<PathBuf> {
        let name = self.head.name();
        let scores = scores(self.folder, self.head);
        let results = self.folder.interpreted(&format!("modisco_results_{name}_scores.h5"));
        let evaluation = self.folder.tree.root().join("evaluation");
        let report = evaluation.join(format!("modisco_{name}"));
        let page = report.join("motifs.html");
        let log = self.folder.tree.logs(&format!("modisco_{name}.log"));
        let memory = self.folder.tree.logs(&format!("modisco_{name}.run.json"));
        let Request { max_seqlets, window, meme_db, force, .. } = *self.request;
        for parent in [&evaluation, &self.folder.tree.root().join("logs")] {
            fs::create_dir_all(parent).map_err(|e| atomic::unwritable(parent, e.into()))?;
        }
        let start = Instant::now();
        if results.exists() && !memory.exists() && !force {
            return Err(Problem::new(
                "there are motifs already, and no record of what they were made from",
            )
            .at(results.display())
            .fix("move them elsewhere, or pass --force to make them again")
            .into());
        }
        let earlier =
            Made::read(&memory).filter(|made| made.is_of(self.request, &scores, &results));
        let mut made = if let Some(made) = earlier.filter(|_| !force) {
            if made.page.as_ref().is_some_and(|made| made.is_of(meme_db, &page)) {
                self.console
                    .info(format!("{} is there already; --force makes it again", page.display()));
                return Ok(page);
            }
            made
        } else {
            let explained = Print::of(&scores)?;
            let (n, bp) = (max_seqlets.to_string(), window.to_string());
            self.console.info(format!(
                "modisco motifs on {}; its output: {}",
                scores.display(),
                log.display()
            ));
            // A folder: a temporary file of ours is locked, and HDF5 in modisco locks it again.
            let unwritable = |error| atomic::unwritable(&results, error);
            let beside = atomic::folder_of(&results);
            let fresh = Temporary::folder_in(beside).map_err(|e| unwritable(e.into()))?;
            let path = fresh.path().join("results.h5");
            let arguments: [&OsStr; 9] = [
                "motifs".as_ref(),
                "-i".as_ref(),
                scores.as_os_str(),
                "-n".as_ref(),
                n.as_ref(),
                "-o".as_ref(),
                path.as_os_str(),
                "-w".as_ref(),
                bp.as_ref(),
            ];
            self.modisco(&arguments, &log, false)?;
            if fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0 {
                return Err(Problem::new("modisco motifs ended well but wrote nothing")
                    .at(log.display())
                    .into());
            }
            let found = Print::of(&path)?;
            let made = Made { scores: explained, max_seqlets, window, results: found, page: None };
            // Before the results: until they are there, it is a record of others.
            made.write(&memory)?;
            let place = || -> io::Result<()> {
                fs::File::open(&path)?.sync_all()?;
                fs::rename(&path, &results)?;
                atomic::sync_folder(beside)
            };
            place().map_err(|e| unwritable(e.into()))?;
            made
        };
        let meme_db = meme_db.map(Print::of).transpose()?;
        self.report(&results, &report, &log)?;
        made.page = Some(Page { meme_db, page: Print::of(&page)? });
        made.write(&memory)?;
        self.console.info(format!(
            "wrote {} and {} in {}",
            results.display(),
            page.display(),
            duration(start.elapsed().as_secs_f64())
        ));
        Ok(page)
    }

    /// `modisco report`, in a folder of its own that then takes the place of the old one.
    fn report(&self, results: &Path, report: &Path, log: &Path) -> Result<()> {
        let beside = report.parent().unwrap_or(Path::new("."));
        let fresh =
            Temporary::folder_in(beside).map_err(|e| atomic::unwritable(report, e.into()))?;
        // modisco joins folder and file names as text in places.
        let folder = fresh.path().join("");
        let mut arguments: Vec<&OsStr> = vec![
            "report".as_ref(),
            "-i".as_ref(),
            results.as_os_str(),
            "-o".as_ref(),
            folder.as_os_str(),
        ];
        if let Some(db) = self.request.meme_db {
            arguments.extend::<[&OsStr; 2]>(["-m".as_ref(), db.as_os_str()]);
            // Without the MEME suite, its own search for matches.
            if on_path("tomtom").is_none() {
                arguments.push("-l".as_ref());
            }
        }
        self.modisco(&arguments, log, true)?;
        let page = fresh.path().join("motifs.html");
        // tfmodisco-lite 3 calls its page report.html; workflows look for the older name.
        let renamed = page.exists() || fs::rename(fresh.path().join("report.html"), &page).is_ok();
        if !renamed {
            return Err(Problem::new("modisco report ended well but wrote no page of motifs")
                .at(log.display())
                .into());
        }
        let swap = || -> Result<()> {
            if report.exists() {
                fs::remove_dir_all(report)?;
            }
            fresh.persist(report)?;
            Ok(atomic::sync_folder(beside)?)
        };
        swap().map_err(|error| atomic::unwritable(report, error))
    }

    fn modisco(&self, arguments: &[&OsStr], log: &Path, append: bool) -> Result<()> {
        let output = open_log(log, append).map_err(|e| atomic::unwritable(log, e.into()))?;
        let mut child = Command::new(self.modisco)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", self.modisco.display()))?;
        let at_signal = signals::terminate_at_end(&child);
        let status = loop {
            let ended = child.try_wait()?;
            // A Ctrl-C may have ended modisco itself.
            if self.stop.is_requested() && !ended.is_some_and(|status| status.success()) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Problem::new("interrupted while modisco ran")
                    .at(log.display())
                    .fix("run the same command again to go on")
                    .into());
            }
            if let Some(status) = ended {
                break status;
            }
            std::thread::sleep(ASK_EVERY);
        };
        drop(at_signal);
        if status.success() {
            return Ok(());
        }
        let what = arguments[0].to_string_lossy();
        let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(4)..].join("\n    ");
        Err(Problem::new(format!("modisco {what} failed ({status}):\n    {last}"))
            .at(log.display())
            .fix(format!(
                "few regions or weak contributions give no seqlets; tested with modisco-lite {TESTED}"
            ))
            .into())
    }
}

/// A new log in place of an old one, or the same one to append to; never through a symbolic link.
fn open_log(log: &Path, append: bool) -> io::Result<fs::File> {
    if !append {
        match fs::remove_file(log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    fs::OpenOptions::new().create(true).append(true).custom_flags(flags).open(log)
}
