//! Nothing half-written: a file appears under its name only when it is complete.
//!
//! Everything that is written goes to a temporary file beside its name ([`Pending`]) through one kind
//! of handle ([`OutFile`]), is brought to the disk, takes the name, and then the folder is brought to
//! the disk. Every step that fails is an error, and then nothing has the name that had not before. A
//! symbolic link of that name is replaced, never followed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::leftovers::Temporary;
use crate::error::Problem;

/// Writes `path` through a temporary file in the same folder: `write` fills it, then it is
/// fsynced and renamed. On any error the old `path`, if there was one, is untouched.
pub fn write(path: &Path, write: impl FnOnce(&mut BufWriter<OutFile>) -> Result<()>) -> Result<()> {
    let run = || -> Result<()> {
        let pending = Pending::create(path)?;
        let mut buffered = BufWriter::new(pending.file());
        write(&mut buffered)?;
        buffered.flush()?;
        pending.finish()
    };
    run().map_err(|error| unwritable(path, error))
}

/// Writes a file as `write` does, for writers that want a path of their own.
pub fn write_with(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let run = || -> Result<()> {
        let pending = Pending::create(path)?;
        fill(pending.temporary())?;
        pending.finish()
    };
    run().map_err(|error| unwritable(path, error))
}

/// Errors when nothing can be written in `folder`; tries room, not permissions alone.
pub fn probe(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder)?.write_all(&[0; 4096])
}

/// The folder that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file that is being written under a temporary name beside its own; gone when dropped.
pub struct Pending {
    temporary: Temporary,
    file: OutFile,
    path: PathBuf,
}

impl Pending {
    /// Errors: a folder that cannot be written; a name that a folder, pipe or device has.
    pub fn create(path: &Path) -> Result<Self> {
        replaceable(path)?;
        let temporary = Temporary::file_in(folder_of(path))?;
        let file = OutFile::new(temporary.file().try_clone()?, folder_of(path));
        Ok(Self { temporary, file, path: path.to_path_buf() })
    }

    /// Another handle on the file; all of them share one position.
    pub fn file(&self) -> OutFile {
        self.file.clone()
    }

    /// Where to write.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes the file, with an error that names the file.
    pub fn publish(self) -> Result<()> {
        let path = self.path.clone();
        self.finish().map_err(|error| unwritable(&path, error))
    }

    /// Publishes the file under a name of the same folder that was not known when the file was begun.
    pub fn publish_as(mut self, path: &Path) -> Result<()> {
        self.path = path.to_path_buf();
        self.publish()
    }

    /// Fsyncs, gives the file its name, and fsyncs the folder.
    pub fn finish(self) -> Result<()> {
        let Self { temporary, file, path } = self;
        // Errors of writes that the system put off are told to handles that were open then.
        file.sync()?;
        let inode = |m: fs::Metadata| (m.dev(), m.ino());
        if inode(fs::metadata(temporary.path())?) != inode(temporary.file().metadata()?) {
            // Some programs that are given a path put another file there.
            File::open(temporary.path())?.sync_all()?;
        }
        file.step()?;
        temporary.persist(&path)?;
        file.step()?;
        sync_folder(folder_of(&path))?;
        Ok(())
    }
}

/// Errors for a name whose owner is neither a file nor a link.
fn replaceable(path: &Path) -> Result<(), Problem> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() || kind.is_socket() => "a pipe",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () => return Ok(()),
    };
    Err(Problem::new(format!("cannot write: this is {what}, and outputs are files"))
        .at(path.display())
        .fix("choose another place for the output"))
}

/// Brings new names in `folder` to the disk, where its file system can.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // A folder that may be written but not listed cannot be opened.
    let Ok(folder) = File::open(folder) else { return Ok(()) };
    match folder.sync_all() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// An unnamed file in `folder`, for what is read back before the end.
pub fn scratch(folder: &Path) -> io::Result<OutFile> {
    Ok(OutFile::new(tempfile::tempfile_in(folder)?, folder))
}

/// A handle on a file that is being written. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct OutFile {
    file: Arc<File>,
    #[cfg(test)]
    faults: Option<Arc<faults::Faults>>,
}

impl OutFile {
    #[cfg_attr(not(test), allow(unused_variables))]
    fn new(file: File, folder: &Path) -> Self {
        Self {
            file: Arc::new(file),
            #[cfg(test)]
            faults: faults::of(folder),
        }
    }

    /// What the system calls are made on.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.step()?;
        self.file.write_all_at(bytes, offset)
    }

    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.step()?;
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.step()?;
        self.file.sync_all()
    }

    /// In tests, the place where a step fails.
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            return faults.step();
        }
        Ok(())
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.step()?;
        (&*self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for OutFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.file).read(bytes)
    }
}

impl Seek for OutFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self.file).seek(to)
    }
}

/// What a failed write is called. A problem of the input names its own place; the output is not
/// to blame.
pub fn unwritable(path: &Path, error: anyhow::Error) -> anyhow::Error {
    match error.is::<Problem>() {
        true => error,
        false => Problem::new(format!("cannot write: {error:#}"))
            .at(path.display())
            .fix("free space and permissions there, or choose another place for the output")
            .into(),
    }
}

/// Disks that fail at a chosen step, for the tests of every writer.
#[cfg(test)]
pub mod faults {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Counts down to the step that fails.
    #[derive(Debug)]
    pub struct Faults {
        left: AtomicI64,
        /// All later steps fail too.
        for_good: bool,
    }

    static FOLDERS: Mutex<Vec<(PathBuf, Arc<Faults>)>> = Mutex::new(Vec::new());

    pub(super) fn of(folder: &Path) -> Option<Arc<Faults>> {
        let folders = FOLDERS.lock().unwrap();
        folders.iter().find(|(path, _)| path == folder).map(|(_, faults)| Arc::clone(faults))
    }

    impl Faults {
        pub(super) fn step(&self) -> io::Result<()> {
            let left = self.left.fetch_sub(1, Ordering::Relaxed) - 1;
            match left == 0 || left < 0 && self.for_good {
                true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                false => Ok(()),
            }
        }
    }

    /// Runs `write` on a path, with each of its steps (write, truncation, fsync, rename, fsync of the
    /// folder) failing once, and once from then on: it must say so, and leave no file at all, or after
    /// the rename a whole one. Returns how many steps there are.
    pub fn every_step(name: &str, write: impl Fn(&Path) -> Result<()>) -> usize {
        let whole = tempfile::tempdir().unwrap();
        write(&whole.path().join(name)).unwrap();
        let whole = fs::read(whole.path().join(name)).unwrap();
        for for_good in [false, true] {
            for step in 1.. {
                let folder = tempfile::tempdir().unwrap();
                let faults = Arc::new(Faults { left: AtomicI64::new(step), for_good });
                FOLDERS.lock().unwrap().push((folder.path().to_path_buf(), Arc::clone(&faults)));
                let path = folder.path().join(name);
                let result = write(&path);
                FOLDERS.lock().unwrap().retain(|(of, _)| of != folder.path());
                let there = fs::read_dir(folder.path()).unwrap().count();
                let left = faults.left.load(Ordering::Relaxed);
                if left > 0 {
                    result.unwrap();
                    assert_eq!(fs::read(&path).unwrap(), whole);
                    if for_good {
                        return step as usize - 1;
                    }
                    break;
                }
                let message = match result {
                    Ok(()) => panic!("step {step} failed, and nobody noticed"),
                    Err(error) => format!("{error:#}"),
                };
                assert!(message.contains("cannot write"), "step {step}: {message}");
                assert!(message.contains(name), "step {step}: {message}");
                match path.exists() {
                    // Only the fsync of the folder comes after the rename.
                    true => assert!(fs::read(&path).unwrap() == whole && left == 0, "step {step}"),
                    false => assert_eq!(there, 0, "step {step} leaves files"),
                }
            }
        }
        unreachable!()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_that_fails_is_told() {
        let text = vec![b'x'; 20_000];
        let steps =
            faults::every_step("x.txt", |path| write(path, |out| Ok(out.write_all(&text)?)));
        // write, fsync, rename, fsync of the folder
        assert_eq!(steps, 4);
    }

    #[test]
    fn a_link_is_replaced_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        std::os::unix::fs::symlink("victim", at("x")).unwrap();
        write(&at("x"), |out| Ok(out.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
        assert_eq!(fs::read(at("x")).unwrap(), b"new");
        assert!(fs::symlink_metadata(at("x")).unwrap().is_file());

        fs::create_dir(at("d")).unwrap();
        for (path, what) in [(at("d"), "a folder"), ("/dev/null".into(), "a device")] {
            let message = write(&path, |_| Ok(())).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn files_are_as_the_umask_has_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        File::create(folder.path().join("plain")).unwrap();
        write(&folder.path().join("ours"), |_| Ok(())).unwrap();
        assert_eq!(mode("ours"), mode("plain"));
    }
}
