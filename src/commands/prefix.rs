//! Output prefixes, FOLDER/NAME: every file of a command is called after one.

use std::path::Path;

use crate::error::Problem;
use crate::files::atomic;

/// Where the files of a prefix lie.
pub fn folder(prefix: &Path) -> &Path {
    match prefix.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Errors when the folder of a prefix or file, given as `flag`, is missing or cannot be written to:
/// before the long work.
pub fn check(prefix: &Path, flag: &str) -> Result<(), Problem> {
    let folder = folder(prefix);
    let Err(error) = atomic::probe(folder) else { return Ok(()) };
    // The error's own text may name a temporary file, which is nothing to a user.
    let (reason, fix) = match folder.is_dir() {
        true => (error.kind().to_string(), "free space and permissions there"),
        false => ("there is no such folder".to_string(), "make the folder"),
    };
    Err(Problem::new(format!("cannot write to the output folder: {reason}"))
        .at(folder.display())
        .fix(format!("{fix}, or choose another {flag}")))
}
