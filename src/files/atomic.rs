//! Nothing half-written: a file appears under its name only when it is complete.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

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
        let folder = match path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let temporary = NamedTempFile::with_prefix_in(".cbp-fast-", folder)?;
        fill(temporary.path())?;
        fs::File::open(temporary.path())?.sync_all()?;
        #[cfg(unix)]
        {
            // NamedTempFile makes 0600 files; what we leave behind follows the usual 0644.
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o644))?;
        }
        temporary.persist(path)?;
        Ok(())
    };
    run().map_err(|error| match error.is::<Problem>() {
        // A problem of the input names its own place; the output is not to blame.
        true => error,
        false => error.context(format!("cannot write {}", path.display())),
    })
}
