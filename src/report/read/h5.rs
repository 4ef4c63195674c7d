//! Opens HDF5 files that somebody else may have made or damaged.

use std::fs;
use std::path::Path;

use anyhow::Result;
use hdf5_metno::{Dataset, File};

use crate::error::Problem;
use crate::files::h5_file;
use crate::files::keras_h5::heaps;

/// Opens `path`; `None` where there is no such file.
pub fn open(path: &Path) -> Result<Option<File>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::File::open(path)?;
    // SAFETY: read only, and only to look for what the HDF5 library would never return from; a
    // file that changes meanwhile is found to be damaged, here or by the library.
    let bytes = unsafe { memmap2::Mmap::map(&bytes)? };
    if heaps::first_endless(&bytes).is_some() {
        return Err(broken(path, "a list inside never ends").into());
    }
    Ok(Some(h5_file::open(path).map_err(|error| broken(path, &error.to_string()))?))
}

/// What a read that failed is called. Blosc, which official files use, needs a plug-in.
pub fn damaged(path: &Path, reason: &str) -> Problem {
    let reason = reason.lines().next().unwrap_or_default();
    if reason.contains("required filter") || reason.contains("plugin") {
        return Problem::new("the file is compressed in a way that needs a plug-in of HDF5")
            .at(path.display())
            .fix("official files use blosc: make the file with cbp-fast, or repack it with gzip");
    }
    broken(path, reason)
}

/// What a file that cannot be opened is called.
fn broken(path: &Path, reason: &str) -> Problem {
    Problem::new(format!("HDF5 cannot read the file: {reason}"))
        .at(path.display())
        .fix("the file is damaged or truncated: make it again")
}

/// A dataset that must be there, with the number of axes it must have.
pub fn dataset(file: &File, path: &Path, name: &str, axes: usize) -> Result<Dataset> {
    let dataset = file
        .dataset(name)
        .map_err(|_| Problem::new(format!("there is no dataset {name}")).at(path.display()))?;
    match dataset.ndim() == axes {
        true => Ok(dataset),
        false => Err(Problem::new(format!("{name} has {} axes, expected {axes}", dataset.ndim()))
            .at(path.display())
            .into()),
    }
}

/// Rows to read at a time: whole chunks, about `bytes` of f32.
pub fn rows_at_once(dataset: &Dataset, bytes: usize) -> usize {
    let shape = dataset.shape();
    let width: usize = shape[1..].iter().product::<usize>().max(1);
    let chunk = dataset.chunk().and_then(|c| c.first().copied()).unwrap_or(1).max(1);
    (bytes / (4 * width)).max(1).div_ceil(chunk) * chunk
}
