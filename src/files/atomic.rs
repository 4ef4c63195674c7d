//! Nothing half-written: a file appears under its name only when it is complete.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::NamedTempFile;

use crate::error::Problem;

/// Writes `path` through a temporary file in the same folder: `write` fills it, then it is
/// fsynced and renamed. On any error the old `path`, if there was one, is untouched.
pub fn write(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&fs::File>) -> Result<()>,
) -> Result<()> {
    write_with(path, |temporary| {
        let file = fs::OpenOptions::new().write(true).truncate(true).open(temporary)?;
        let mut buffered = BufWriter::new(&file);
        write(&mut buffered)?;
        buffered.flush()?;
        Ok(())
    })
}

/// Like `write`, for writers that want a path of their own (HDF5, bigWig).
pub fn write_with(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let run = || -> Result<()> {
        let pending = Pending::create(path)?;
        fill(pending.temporary())?;
        pending.finish()
    };
    run().map_err(|error| unwritable(path, error))
}

/// Errors when nothing can be written in `folder`; tries room, not permissions alone.
pub fn probe(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder)?.write_all(&[0; 4096])
}

/// A file that is being written under a temporary name beside its own; gone when dropped.
pub struct Pending {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Pending {
    pub fn create(path: &Path) -> Result<Self> {
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let temporary = NamedTempFile::with_prefix_in(".cbp-fast-", folder)?;
        Ok(Self { temporary, path: path.to_path_buf() })
    }

    /// Where to write.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Like `finish`, with an error that names the file.
    pub fn publish(self) -> Result<()> {
        let path = self.path.clone();
        self.finish().map_err(|error| unwritable(&path, error))
    }

    /// Like `publish`, under a name of the same folder that was not known when the file was begun.
    pub fn publish_as(mut self, path: &Path) -> Result<()> {
        self.path = path.to_path_buf();
        self.publish()
    }

    /// Fsyncs and gives the file its name.
    pub fn finish(self) -> Result<()> {
        fs::File::open(self.temporary.path())?.sync_all()?;
        #[cfg(unix)]
        {
            // NamedTempFile makes 0600 files; what we leave behind follows the usual 0644.
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(self.temporary.path(), fs::Permissions::from_mode(0o644))?;
        }
        self.temporary.persist(&self.path)?;
        Ok(())
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
