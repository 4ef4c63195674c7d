//! What files were when something was made from them or left behind, so that it is known later
//! whether they still are that.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// A file's content, and what the file system said of it then: while that is so, the content need not
/// be read to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    pub xxh3: String,
    pub size: u64,
    inode: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl Print {
    /// Reads the file once.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let print = Self::without_content(&file.metadata()?);
        let mut hash = Xxh3::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        Ok(Self { xxh3: format!("{:016x}", hash.digest()), ..print })
    }

    fn without_content(metadata: &fs::Metadata) -> Self {
        let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            xxh3: String::new(),
            size: metadata.len(),
            inode: metadata.ino(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True when the file has this content; it is read unless the file system says that it was not
    /// touched.
    pub fn is_of(&self, path: &Path) -> bool {
        let Ok(metadata) = fs::metadata(path) else { return false };
        let now = Self { xxh3: self.xxh3.clone(), ..Self::without_content(&metadata) };
        now == *self || (now.size == self.size && Self::of(path).is_ok_and(|p| p.xxh3 == self.xxh3))
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
            false => format!("{} {}", metadata.len(), Print::without_content(&metadata).mtime_ns),
        };
        let name = path.strip_prefix(root).unwrap_or(path);
        hash.update(name.as_os_str().as_encoded_bytes());
        hash.update(&[0]);
        hash.update(content.as_bytes());
        hash.update(&[0]);
    }
    format!("{:016x}", hash.digest())
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
