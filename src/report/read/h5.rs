//! Opens HDF5 files that somebody else may have made or damaged.

use std::path::Path;

use anyhow::Result;
use hdf5_metno::{Dataset, File};

use crate::error::Problem;
use crate::files::h5_input;

/// Opens `path`; `None` where there is no such file.
pub fn open(path: &Path) -> Result<Option<File>> {
    match path.exists() {
        true => Ok(Some(h5_input::open(path).map_err(|p| p.within(path.display()))?)),
        false => Ok(None),
    }
}

/// What a read that failed is called.
pub fn damaged(path: &Path, error: &hdf5_metno::Error) -> Problem {
    h5_input::unreadable(error).at(path.display())
}

/// A dataset that must be there, with the number of axes it must have.
///
/// Errors: values that are not all stored in this file.
pub fn dataset(file: &File, path: &Path, name: &str, axes: usize) -> Result<Dataset> {
    let found = h5_input::dataset(file, name).map_err(|p| p.within(path.display()))?;
    let dataset = found
        .ok_or_else(|| Problem::new(format!("there is no dataset {name}")).at(path.display()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_another_file_are_not_reported() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["x_predictions.h5", "other.bin"].map(|name| folder.path().join(name));
        std::fs::write(&other, [0; 16]).unwrap();
        let file = File::create(&path).unwrap();
        let group = file.create_group("predictions").unwrap();
        let outside = group.new_dataset::<f32>().external(other.to_str().unwrap(), 0, 16);
        outside.shape([4]).create("logcounts").unwrap();
        group.new_dataset::<f32>().shape([4, 2]).create("profs").unwrap();
        drop(group);
        file.close().unwrap();
        let file = open(&path).unwrap().unwrap();
        let error = |name, axes| dataset(&file, &path, name, axes).unwrap_err().to_string();
        let outside = error("predictions/logcounts", 1);
        assert!(outside.contains("lie in another file") && outside.contains("x_pred"), "{outside}");
        let unstored = error("predictions/profs", 2);
        assert!(unstored.contains("only 0 of 32 bytes"), "{unstored}");
        assert!(error("predictions/none", 1).contains("there is no dataset"));
    }
}
