//! Temporary files and folders that are never litter: they go with the process, whatever ends it.
//!
//! ```text
//! .cbp-fast-<machine, 8 hex digits>-<process id>-<8 hex digits>
//! ```
//!
//! A temporary lies beside what it will become. Dropped, or at a signal, it is removed. What SIGKILL
//! leaves, the next run that makes a temporary in that folder sweeps: the owner holds a lock on the
//! file (flock), which the system releases with the process, so a temporary that can be locked has
//! no owner. Locks of another machine need not be visible here (NFS), so what came from another
//! machine, or from before a restart of this one, must also have been left alone for a week.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use xxhash_rust::xxh3::xxh3_64;

use crate::signals::{self, RemoveAtEnd};

const PREFIX: &str = ".cbp-fast-";
/// After that a temporary of another machine has no owner.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Names this machine from its start to its end, containers on it included; the same for all
/// machines where the system has no such name.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{:08x}", xxh3_64(&boot) as u32)
});

/// A file or folder under a temporary name. Removed when dropped.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    /// Open, and locked where the file system has locks.
    file: File,
    kind: Kind,
    at_signal: Option<RemoveAtEnd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

impl Temporary {
    /// A new empty file in `folder`, with the permissions that the umask allows.
    pub fn file_in(folder: &Path) -> io::Result<Self> {
        Self::create(folder, Kind::File)
    }

    /// A new empty folder in `folder`. A signal leaves it to the next run.
    pub fn folder_in(folder: &Path) -> io::Result<Self> {
        Self::create(folder, Kind::Folder)
    }

    fn create(folder: &Path, kind: Kind) -> io::Result<Self> {
        sweep_once(folder);
        loop {
            let path = folder.join(new_name());
            let at_signal = (kind == Kind::File).then(|| signals::remove_at_end(&path));
            let made = match kind {
                Kind::File => {
                    OpenOptions::new().read(true).write(true).create_new(true).open(&path)
                }
                Kind::Folder => fs::create_dir(&path).and_then(|()| File::open(&path)),
            };
            let file = match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            // A sweep can come between making and locking: then the name is lost, and another is taken.
            let lost = matches!(file.try_lock(), Err(TryLockError::WouldBlock))
                || file.metadata()?.nlink() == 0;
            if !lost {
                return Ok(Self { path, file, kind, at_signal });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, in place of a file or symbolic link of that name. On an error it is gone.
    pub fn persist(mut self, name: &Path) -> io::Result<()> {
        fs::rename(&self.path, name)?;
        self.path = PathBuf::new();
        self.at_signal = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = remove(&self.path, self.kind);
        }
    }
}

fn remove(path: &Path, kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => fs::remove_file(path),
        Kind::Folder => fs::remove_dir_all(path),
    }
}

fn new_name() -> String {
    // Keys differ between processes and between calls.
    let random = RandomState::new().build_hasher().finish() as u32;
    format!("{PREFIX}{}-{}-{random:08x}", *MACHINE, std::process::id())
}

/// Sweeps a folder the first time it is met.
fn sweep_once(folder: &Path) {
    static SWEPT: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
    let new = SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_path_buf());
    if new {
        sweep(folder);
    }
}

/// Removes the temporaries in `folder` that have no owner. What cannot be removed stays.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if let Some(origin) = entry.file_name().to_str().and_then(Origin::of) {
            let _ = sweep_one(&entry.path(), origin);
        }
    }
}

/// Where a temporary comes from, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    ThisMachine,
    Elsewhere,
}

impl Origin {
    fn of(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let hex = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match rest.split('-').collect::<Vec<_>>()[..] {
            [machine, process, random]
                if hex(machine) && hex(random) && process.parse::<u32>().is_ok() =>
            {
                Some(if machine == *MACHINE { Self::ThisMachine } else { Self::Elsewhere })
            }
            // Versions before this naming.
            [random] if random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                Some(Self::Elsewhere)
            }
            _ => None,
        }
    }
}

fn sweep_one(path: &Path, origin: Origin) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path)?.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Folder,
        _ => return Ok(()),
    };
    // NFS locks only what is open for writing.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(kind == Kind::File)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.try_lock().is_err() {
        return Ok(());
    }
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    match origin == Origin::ThisMachine || age > ABANDONED {
        true => remove(path, kind),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_sweep_takes_what_has_no_owner_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let live = Temporary::file_in(folder.path()).unwrap();
        let live_folder = Temporary::folder_in(folder.path()).unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        let left = |name: &str, old_enough: bool| {
            let file = File::create(at(name)).unwrap();
            if old_enough {
                file.set_modified(old).unwrap();
            }
        };
        let dead = format!(".cbp-fast-{}-1-0123abcd", *MACHINE);
        left(&dead, false);
        let dead_folder = format!(".cbp-fast-{}-1-0123abce", *MACHINE);
        fs::create_dir(at(&dead_folder)).unwrap();
        left(&format!("{dead_folder}/inside"), false);
        let kept = [
            ".cbp-fast-00000000-1-0123abcd",
            ".cbp-fast-AbCdEf",
            ".cbp-fast-cache",
            ".cbp-fast-notes-on-runs",
            "x.partial",
        ];
        kept.iter().for_each(|name| left(name, name.starts_with(".cbp-fast-n")));
        left(".cbp-fast-00000000-1-0123abce", true);
        left(".cbp-fast-GhIjKl", true);
        let link = format!(".cbp-fast-{}-1-0123abcf", *MACHINE);
        std::os::unix::fs::symlink("x.partial", at(&link)).unwrap();

        sweep(folder.path());
        let mut wanted: Vec<String> = kept.iter().map(|name| name.to_string()).collect();
        wanted.push(link);
        for live in [&live, &live_folder] {
            wanted.push(live.path().file_name().unwrap().to_str().unwrap().to_string());
        }
        wanted.sort();
        assert_eq!(names(folder.path()), wanted);

        drop(live);
        live_folder.persist(&at("done")).unwrap();
        sweep(folder.path());
        assert_eq!(names(folder.path()).len(), kept.len() + 2);
    }
}
