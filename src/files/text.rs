//! Small text files that a run leaves.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::Problem;

/// The text of a small file; `None` where there is no such file.
///
/// Errors: a file that is there and cannot be read.
pub fn read(path: &Path) -> Result<Option<String>, Problem> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::new(format!("cannot read: {error}")).at(path.display())),
    }
}
