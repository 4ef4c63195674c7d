//! What files were when something was made from them or left behind, so that it is known later
//! whether they still are that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::pack::content;
use crate::store::stat::Stat;

/// A file's content, and what the file system said of it then: while that is so, the content need not
/// be read to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    pub xxh3: String,
    #[serde(flatten)]
    stat: Stat,
}

impl Print {
    /// Reads the file once.
    pub fn of(path: &Path) -> Result<Self> {
        let stat = Stat::from(&fs::metadata(path)?);
        Ok(Self { xxh3: content::hex(content::hash(path, u64::MAX)?), stat })
    }

    /// True when the file has this content; it is read unless the file system says that it was not
    /// touched.
    pub fn is_of(&self, path: &Path) -> bool {
        let Ok(metadata) = fs::metadata(path) else { return false };
        let now = Stat::from(&metadata);
        now == self.stat
            || (now.size == self.stat.size && Self::of(path).is_ok_and(|p| p.xxh3 == self.xxh3))
    }
}

/// Larger files (scores of contributions) are known by size and time: reading them takes longer than
/// drawing the page that shows them.
const READ_UP_TO: u64 = 64 << 20;

/// One hash of many files below `root`, of their names and contents.
pub fn identity(root: &Path, mut files: Vec<PathBuf>) -> String {
    files.sort();
    let mut hash = Xxh3::new();
    for path in &files {
        let Ok(metadata) = fs::metadata(path) else { continue };
        let content = match metadata.len() <= READ_UP_TO {
            true => Print::of(path).map_or_else(|error| error.to_string(), |print| print.xxh3),
            false => format!("{} {}", metadata.len(), Stat::from(&metadata).mtime_ns),
        };
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
