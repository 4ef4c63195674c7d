//! One writer at a time: a lock on an output folder, or on an output prefix in a folder.
//!
//! ```text
//! FOLDER/.cbp-fast.lock         a run's folder, with all that the run leaves below it
//! FOLDER/.NAME.cbp-fast.lock    the files of the prefix FOLDER/NAME, or the file of that name
//! ```
//!
//! The file lies in the folder itself, so that every spelling of the folder and every symbolic link
//! to it meets the same file. It says who holds it. What holds it is a lock of the operating system
//! (`flock`, which NFS passes on to its server): that ends with its process, however it ends, so a
//! lock file that is left over from a killed run is taken over. Where the file system has no locks,
//! or keeps them from other hosts, the file itself is the lock: it is made exclusively, and taken over
//! when its process is gone from this host; of another host's nothing can be known.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::clock;
use crate::console::Console;
use crate::error::Problem;
use crate::files::atomic::folder_of;
use crate::signals::{self, RemoveAtEnd};

const ENDING: &str = ".cbp-fast.lock";
/// Longer names of prefixes are cut, and a hash is added: file systems take 255 bytes.
const LONGEST_NAME: usize = 150;
/// Folders of a run, in which prefixes belong to the run while it goes on.
const RUN_FOLDERS: [&str; 5] =
    ["models", "logs", "auxiliary", "auxiliary/interpret_subsample", "evaluation"];
/// Looks at a lock that is held: its holder may be about to write who it is, or only looking itself.
const TRIES: u32 = 6;
const BETWEEN_TRIES: Duration = Duration::from_millis(15);
/// Mount options that keep locks on this host. Source: nfs(5), mount.lustre(8).
const LOCAL_LOCKS: [&str; 4] = ["nolock", "local_lock=all", "local_lock=flock", "localflock"];

/// A lock that this process holds; it ends, and its file goes, when this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// `None` on a file system that nobody can write to.
    held: Option<Held>,
    /// Folders that were made for it, outermost first.
    made: Vec<PathBuf>,
}

#[derive(Debug)]
struct Held {
    file: File,
    path: PathBuf,
    /// A signal that ends the process leaves no lock file either.
    _at_signal: RemoveAtEnd,
}

/// Who holds a lock: the contents of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    command: String,
    pid: u32,
    /// When the process began, in ticks since the system did: tells it from a later one of its number.
    started: Option<u64>,
    host: String,
    since: String,
    /// Names of files that it may write, of a prefix: two prefixes may have some in common.
    #[serde(default)]
    files: Vec<String>,
}

impl Lock {
    /// Locks `folder`, which is made where it is missing, for `command`. `flag` chooses another.
    ///
    /// Errors: another run that writes there, a folder that cannot be written.
    pub fn folder(
        folder: &Path,
        flag: &str,
        command: &str,
        console: &Console,
    ) -> Result<Self, Problem> {
        let made = make(folder).map_err(|error| unwritable(folder, flag, &error))?;
        let mut lock = Self { held: None, made };
        let holder = Holder::this(command);
        lock.held = take(folder, ENDING.into(), folder, flag, &holder, console)?;
        for below in RUN_FOLDERS.map(|name| folder.join(name)) {
            for entry in fs::read_dir(below).into_iter().flatten().flatten() {
                let is_lock = entry.file_name().to_string_lossy().ends_with(ENDING);
                if let Some(holder) = is_lock.then(|| holder_of(&entry.path())).flatten() {
                    return Err(refused(&holder, &entry.path(), folder, flag));
                }
            }
        }
        Ok(lock)
    }

    /// Locks the files of `prefix`, or the file of that name. `files` are the names of all that may be
    /// written beside it.
    ///
    /// Errors: another run that writes there, or one of these files, or in whose folder it lies; a
    /// folder that cannot be written.
    pub fn prefix(
        prefix: &Path,
        files: Vec<String>,
        flag: &str,
        command: &str,
        console: &Console,
    ) -> Result<Self, Problem> {
        let folder = folder_of(prefix);
        let holder = Holder { files, ..Holder::this(command) };
        let held = take(folder, lock_name(prefix), prefix, flag, &holder, console)?;
        // Given back where another run is in the way.
        let lock = Self { held, made: Vec::new() };
        let own = folder.join(lock_name(prefix));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_name().to_string_lossy().ends_with(ENDING) || path == own {
                continue;
            }
            let Some(other) = holder_of(&path) else { continue };
            if other.files.iter().any(|file| holder.files.contains(file)) {
                return Err(refused(&other, &path, prefix, flag));
            }
        }
        if let Ok(real) = fs::canonicalize(folder) {
            for below in RUN_FOLDERS {
                if !real.ends_with(below) {
                    continue;
                }
                let up = Path::new(below).components().count();
                let run = real.ancestors().nth(up).map(|root| root.join(ENDING));
                if let Some((path, holder)) = run.and_then(|p| holder_of(&p).map(|h| (p, h))) {
                    return Err(refused(&holder, &path, prefix, flag));
                }
            }
        }
        Ok(lock)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            // Removed while it is held: whoever waits for it then finds that it has no name.
            if is_at(&held.file, &held.path) {
                let _ = fs::remove_file(&held.path);
            }
        }
        // Only what is empty goes: a run that was refused leaves no folder.
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn lock_name(prefix: &Path) -> OsString {
    let name = prefix.file_name().unwrap_or_default();
    let mut lock = OsString::from(".");
    match name.len() <= LONGEST_NAME {
        true => lock.push(name),
        false => lock.push(format!("{:016x}", xxh3_64(name.as_encoded_bytes()))),
    }
    lock.push(ENDING);
    lock
}

/// Makes a folder and those above it; returns those that were missing, outermost first.
fn make(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err())
        .map(Path::to_path_buf)
        .collect();
    missing.reverse();
    fs::create_dir_all(folder)?;
    Ok(missing)
}

/// Takes the lock file `name` in `folder`. `place` and `flag` are what the user gave.
fn take(
    folder: &Path,
    name: OsString,
    place: &Path,
    flag: &str,
    now: &Holder,
    console: &Console,
) -> Result<Option<Held>, Problem> {
    let path = folder.join(name);
    let failed = |error: io::Error| unwritable(folder, flag, &error);
    let mut tries = 0;
    loop {
        let (file, is_new) = match open(&path) {
            // Nobody writes there, this command neither.
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let locked = file.try_lock();
        if let Err(TryLockError::WouldBlock) = locked {
            tries += 1;
            let holder = read_holder(&file);
            if tries < TRIES {
                thread::sleep(BETWEEN_TRIES);
                continue;
            }
            return Err(refused(&holder.unwrap_or_else(Holder::unknown), &path, place, flag));
        }
        // Its holder may have removed it since it was opened.
        if !is_at(&file, &path) {
            continue;
        }
        let reaches_all = locked.is_ok() && !locks_are_local(folder);
        let earlier = read_holder(&file);
        if !is_new {
            let is_held = match &earlier {
                _ if reaches_all => false,
                // On this host a lock is a lock everywhere.
                Some(holder) if locked.is_ok() && holder.host == host() => false,
                Some(holder) => holder.may_live(),
                // Made by someone who has not written yet, here or elsewhere.
                None => true,
            };
            if is_held {
                let holder = earlier.unwrap_or_else(Holder::unknown);
                return Err(refused(&holder, &path, place, flag));
            }
        }
        if let Some(holder) = &earlier {
            console.warning(format!(
                "{}: taken over from a run that ended without cleaning up ({holder})",
                place.display()
            ));
        }
        return match write_holder(&file, now) {
            Ok(()) => {
                let at_signal = signals::remove_at_end(&path);
                Ok(Some(Held { file, path, _at_signal: at_signal }))
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(failed(error))
            }
        };
    }
}

/// Opens a lock file; true when it was made now. Never through a symbolic link.
fn open(path: &Path) -> io::Result<(File, bool)> {
    // NFS locks only what is open for writing.
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    loop {
        match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (file, true)),
        }
        match options.open(path) {
            // Its holder has just removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.map(|file| (file, false)),
        }
    }
}

/// True when `path` names this very file.
fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => inode(open) == inode(named),
        _ => false,
    }
}

/// Who holds the lock file at `path`, if anyone does.
fn holder_of(path: &Path) -> Option<Holder> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    // Shared: those who only look do not stand in each other's way.
    let locked = file.try_lock_shared();
    let holder = read_holder(&file);
    match locked {
        Err(TryLockError::WouldBlock) => Some(holder.unwrap_or_else(Holder::unknown)),
        Ok(()) if !locks_are_local(folder_of(path)) => None,
        Ok(()) if holder.as_ref().is_some_and(|h| h.host == host()) => None,
        _ => holder.filter(Holder::may_live),
    }
}

fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(1 << 20).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(mut file: &File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(serde_json::to_string(holder)?.as_bytes())
}

/// True when other hosts that use this file system do not see its locks.
fn locks_are_local(folder: &Path) -> bool {
    let Ok(metadata) = fs::metadata(folder) else { return false };
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    is_local(&mounts, &format!("{major}:{minor}"))
}

fn is_local(mounts: &str, device: &str) -> bool {
    let of_device = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(device));
    of_device.flat_map(|line| line.split([' ', ','])).any(|option| LOCAL_LOCKS.contains(&option))
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "an unnamed host".to_string(),
        name => name.to_string(),
    }
}

/// When a process began; `None` when there is none of that number, or the system does not tell.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; field 22 of proc(5) is the 20th after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

impl Holder {
    fn this(command: &str) -> Self {
        let pid = std::process::id();
        let (started, host) = (started(pid), host());
        let (command, since) = (command.to_string(), clock::now());
        Self { command, pid, started, host, since, files: Vec::new() }
    }

    fn unknown() -> Self {
        let (command, host, since) = ("a run".into(), String::new(), String::new());
        Self { command, pid: 0, started: None, host, since, files: Vec::new() }
    }

    /// False only when it is known that its process is gone.
    fn may_live(&self) -> bool {
        self.host != host() || self.started.is_none() || started(self.pid) == self.started
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, pid, host, since, .. } = self;
        match host.is_empty() {
            true => write!(f, "{command} that has just begun"),
            false => write!(f, "cbp-fast {command}, process {pid} on {host}, since {since}"),
        }
    }
}

/// `place` is what the user gave, `lock` the file that is held.
fn refused(holder: &Holder, lock: &Path, place: &Path, flag: &str) -> Problem {
    let elsewhere = match holder.host.is_empty() || holder.host == host() {
        true => String::new(),
        false => format!("; if it is gone from {}, remove {}", holder.host, lock.display()),
    };
    Problem::new(format!("another run writes there: {holder}"))
        .at(place.display())
        .fix(format!("wait until it is done, or choose another {flag}{elsewhere}"))
}

fn unwritable(folder: &Path, flag: &str, error: &io::Error) -> Problem {
    Problem::new(format!("cannot write to the output folder: {error}"))
        .at(folder.display())
        .fix(format!("choose another {flag}, or free space and permissions there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: fn() -> Console = || Console::new(true, false);

    fn folder(path: &Path) -> Result<Lock, String> {
        Lock::folder(path, "-o", "train", &QUIET()).map_err(|p| p.to_string())
    }

    fn prefix(path: &Path) -> Result<Lock, String> {
        with_files(path, &[])
    }

    fn with_files(path: &Path, files: &[&str]) -> Result<Lock, String> {
        let files = files.iter().map(|name| name.to_string()).collect();
        Lock::prefix(path, files, "-op", "predict", &QUIET()).map_err(|p| p.to_string())
    }

    #[test]
    fn every_spelling_of_a_folder_is_one_and_nothing_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("a/out");
        let lock = folder(&out).unwrap();
        std::os::unix::fs::symlink(&out, scratch.path().join("link")).unwrap();
        for spelling in ["a/./out", "a/out/", "link", "a/out/../out"] {
            let error = folder(&scratch.path().join(spelling)).unwrap_err();
            let pid = format!("process {}", std::process::id());
            assert!(error.contains("another run writes there") && error.contains(&pid), "{error}");
            assert!(error.contains(" UTC") && error.contains("another -o"), "{error}");
        }
        assert!(folder(&scratch.path().join("a/other")).is_ok());
        drop(lock);
        assert!(!scratch.path().join("a").exists(), "a run that made nothing leaves no folder");
        drop(folder(scratch.path()).unwrap());
    }

    #[test]
    fn prefixes_of_one_folder_are_apart_and_those_of_a_run_belong_to_it() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("run/evaluation")).unwrap();
        let (one, two) = (prefix(&at("x")).unwrap(), prefix(&at("xy")).unwrap());
        assert!(prefix(&at("./x")).is_err());
        drop((one, two));
        let run = folder(&at("run")).unwrap();
        assert!(prefix(&at("run/evaluation/mine")).unwrap_err().contains("cbp-fast train"));
        assert_eq!(fs::read_dir(at("run/evaluation")).unwrap().count(), 0);
        assert!(prefix(&at("run/mine")).is_ok(), "a run leaves no files there");
        drop(run);
        let mine = prefix(&at("run/evaluation/mine")).unwrap();
        assert!(folder(&at("run")).unwrap_err().contains("cbp-fast predict"));
        drop(mine);
        assert!(folder(&at("run")).is_ok());
        assert_eq!(fs::read_dir(at("run")).unwrap().count(), 1);
        let long = at(&"n".repeat(240));
        let lock = prefix(&long).unwrap();
        assert!(prefix(&long).is_err());
        drop(lock);
    }

    #[test]
    fn prefixes_with_a_file_in_common_are_not_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let folds = with_files(&at("x"), &["x_fold_0.bw", "x_mean.bw"]).unwrap();
        let text = with_files(&at("x_mean"), &["x_mean.bw", "x_mean.h5"]).unwrap_err();
        assert!(
            text.contains("another run writes there") && text.contains("another -op"),
            "{text}"
        );
        assert!(with_files(&at("x_m"), &["x_m.bw"]).is_ok());
        drop(folds);
        assert!(with_files(&at("x_mean"), &["x_mean.bw", "x_mean.h5"]).is_ok());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }

    fn left_over(path: &Path, host: &str, pid: u32) {
        let holder = Holder { pid, host: host.into(), started: Some(1), ..Holder::this("train") };
        fs::write(path, serde_json::to_string(&holder).unwrap()).unwrap();
    }

    #[test]
    fn what_a_killed_run_left_is_taken_over() {
        let scratch = tempfile::tempdir().unwrap();
        let lock = scratch.path().join(ENDING);
        for contents in ["", "no JSON", "{}"] {
            fs::write(&lock, contents).unwrap();
            drop(folder(scratch.path()).unwrap());
        }
        // The system has ended its lock, on whichever host it was.
        for host in [host(), "elsewhere".to_string()] {
            left_over(&lock, &host, 1);
            drop(folder(scratch.path()).unwrap());
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        std::os::unix::fs::symlink(scratch.path().join("target"), &lock).unwrap();
        assert!(folder(scratch.path()).unwrap_err().contains("cannot write"));
        assert!(!scratch.path().join("target").exists());
    }

    #[test]
    fn without_locks_of_the_system_a_process_that_is_gone_holds_nothing() {
        let now = Holder::this("train");
        assert!(now.may_live());
        assert!(!Holder { started: Some(1), ..now.clone() }.may_live(), "a later process");
        assert!(!Holder { pid: u32::MAX, ..now.clone() }.may_live());
        assert!(Holder { pid: u32::MAX, host: "elsewhere".into(), ..now }.may_live());
        let mounts = "36 35 0:40 / /data rw,relatime shared:1 - nfs4 srv:/x rw,local_lock=none\n\
                      37 35 0:41 / /old rw shared:2 - nfs srv:/y rw,nolock,vers=3\n";
        assert!(!is_local(mounts, "0:40") && is_local(mounts, "0:41") && !is_local("", "0:41"));
    }
}
