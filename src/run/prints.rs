//! What files were when something was made from them or left behind, so that it is known later
//! whether they still are that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::files::content;

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    pub xxh3: String,
    /// bytes
    size: u64,
}

impl Print {
    /// Reads the file, unless this process did and it was not touched since.
    pub fn of(path: &Path) -> Result<Self> {
        let now = content::fingerprint(path, None)?;
        Ok(Self { xxh3: now.xxh3, size: now.size })
    }

    /// True when the file has this content. Its times prove nothing here: it was looked at when it had
    /// just been written.
    pub fn is_of(&self, path: &Path) -> bool {
        let has_size = fs::metadata(path).is_ok_and(|metadata| metadata.len() == self.size);
        has_size && Self::of(path).is_ok_and(|now| now == *self)
    }
}

/// One hash of many files below `root`, of their names and contents.
pub fn identity(root: &Path, mut files: Vec<PathBuf>) -> String {
    files.sort();
    let mut hash = Xxh3::new();
    for path in files.iter().filter(|path| path.exists()) {
        let content = Print::of(path).map_or_else(|error| error.to_string(), |print| print.xxh3);
        let name = path.strip_prefix(root).unwrap_or(path);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update(&[0]);
        hash.update(content.as_bytes());
        hash.update(&[0]);
    }
    content::hex(hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_not_when_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "abc").unwrap();
        let print = Print::of(&path).unwrap();
        assert!(print.is_of(&path));
        let whole = || identity(folder.path(), vec![path.clone()]);
        let before = whole();
        fs::write(&path, "abc").unwrap();
        assert!(print.is_of(&path) && whole() == before, "the same bytes, written again");
        fs::write(&path, "abd").unwrap();
        assert!(!print.is_of(&path) && whole() != before);
        fs::remove_file(&path).unwrap();
        assert!(!print.is_of(&path));
    }
}
