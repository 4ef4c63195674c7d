//! Output prefixes, FOLDER/NAME: every file of a command is called after one.
//!
//! A prefix that ends in / (or is `.` or `..`) names a folder and no name. The official commands glue
//! what follows on, so that their files in it begin with the model's role: `out/_chrombpnet_nobias.bw`.
//! Here all commands do that, also where the official ones leave files that are hidden (`out/.bw`).

use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::files::atomic;

/// True for a prefix that names a folder and no name in it.
pub fn is_folder(prefix: &Path) -> bool {
    let text = prefix.as_os_str().as_encoded_bytes();
    let last = text.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    matches!(last, b"" | b"." | b"..")
}

/// The prefix, with a name where it has none.
pub fn named(prefix: &Path, name: &str) -> PathBuf {
    match is_folder(prefix) {
        true => prefix.join(name),
        false => prefix.to_path_buf(),
    }
}

/// The prefix of a command that uses models of one role.
pub fn of_role(prefix: &Path, role: &str) -> PathBuf {
    named(prefix, &format!("_{role}"))
}

/// `PREFIX` with `suffix` glued on: prefixes are not folders.
pub fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Where the files of a prefix lie.
pub fn folder(prefix: &Path) -> &Path {
    match is_folder(prefix) {
        true => prefix,
        false => atomic::folder_of(prefix),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_name() {
        for prefix in ["out/", ".", "..", "out/.", "out/.."] {
            let wanted = Path::new(prefix).join("_bias");
            assert_eq!(of_role(Path::new(prefix), "bias"), wanted);
            assert_eq!(folder(Path::new(prefix)), Path::new(prefix));
        }
        for (prefix, in_folder) in [("out", "."), ("out/x", "out"), ("x.y", "."), ("/x", "/")] {
            assert_eq!(of_role(Path::new(prefix), "bias"), Path::new(prefix));
            assert_eq!(folder(Path::new(prefix)), Path::new(in_folder));
        }
    }
}
