//! The one way to claim outputs: every path that a command may write, every file that it reads, the
//! lock on the place. No output may be one of the inputs, by any spelling, symbolic or hard link, and
//! no two outputs may be one file; then the place is locked until the claim is dropped.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use crate::console::Console;
use crate::error::Problem;
use crate::files::atomic::folder_of;
use crate::store::stat::Stat;

/// What a command is about to read and write.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    command: &'static str,
    /// What is given with each flag.
    inputs: Vec<(String, PathBuf)>,
    outputs: Vec<(String, PathBuf)>,
    places: Vec<(Place, &'static str, PathBuf)>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Folder,
    Prefix,
}

/// A claim that holds until it is dropped.
#[derive(Debug)]
pub struct Claimed {
    _locks: Vec<Lock>,
    /// Claimed files that were there before, as they were.
    earlier: Vec<(PathBuf, Stat)>,
}

impl Claimed {
    /// Removes what an earlier command left under the claimed names and this one did not write, so
    /// that it does not stand beside what is new. Called at the end, when all is written.
    pub fn remove_stale(&self) {
        for (path, earlier) in &self.earlier {
            if stat(path) == Some(*earlier) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// What the file system says of a file, or of a symbolic link itself.
fn stat(path: &Path) -> Option<Stat> {
    let metadata = fs::symlink_metadata(path).ok().filter(|metadata| !metadata.is_dir())?;
    Some(Stat::from(&metadata))
}

impl Claim {
    /// `command` is the one that others are told of.
    pub fn new(command: &'static str) -> Self {
        Self { command, ..Self::default() }
    }

    /// Files that are read, given with `flag`.
    pub fn reads<'a>(
        mut self,
        flag: &str,
        paths: impl IntoIterator<Item = impl Into<Option<&'a PathBuf>>>,
    ) -> Self {
        let paths = paths.into_iter().filter_map(Into::into);
        self.inputs.extend(paths.map(|path| (flag.to_string(), path.clone())));
        self
    }

    /// Files that may be written, chosen with `flag`.
    pub fn writes(mut self, flag: &str, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.outputs.extend(paths.into_iter().map(|path| (flag.to_string(), path)));
        self
    }

    /// The folder of a run, chosen with `flag`: no other run writes in it.
    pub fn folder(mut self, flag: &'static str, folder: &Path) -> Self {
        self.places.push((Place::Folder, flag, folder.to_path_buf()));
        self
    }

    /// The prefix of files, or a file, chosen with `flag`: no other run writes to it.
    pub fn prefix(mut self, flag: &'static str, prefix: &Path) -> Self {
        self.places.push((Place::Prefix, flag, prefix.to_path_buf()));
        self
    }

    /// Errors: an output that is an input or another output, a place where another run writes or
    /// where nothing can be written.
    pub fn take(self, console: &Console) -> Result<Claimed, Problem> {
        self.check()?;
        let mut locks = Vec::with_capacity(self.places.len());
        let mut named = HashSet::new();
        for (place, flag, path) in &self.places {
            locks.push(match place {
                Place::Folder => Lock::folder(path, flag, self.command, console)?,
                Place::Prefix => {
                    // Once a folder: a second prefix of this command would meet its own names.
                    let folder = real_folder(folder_of(path));
                    let files = match named.insert(folder.clone()) {
                        true => self.names_in(&folder),
                        false => Vec::new(),
                    };
                    Lock::prefix(path, files, flag, self.command, console)?
                }
            });
        }
        let there = |path: &PathBuf| Some((path.clone(), stat(path)?));
        let earlier = self.outputs.iter().filter_map(|(_, path)| there(path)).collect();
        Ok(Claimed { _locks: locks, earlier })
    }

    /// Names of the outputs that lie in `folder`, spelt as `real_folder` does.
    fn names_in(&self, folder: &Path) -> Vec<String> {
        let in_folder = |path: &&PathBuf| real_folder(folder_of(path)) == folder;
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        self.outputs.iter().map(|(_, path)| path).filter(in_folder).filter_map(name).collect()
    }

    /// No output is an input, nor another output. Touches nothing.
    pub fn check(&self) -> Result<(), Problem> {
        let mut inputs: HashMap<(u64, u64), &(String, PathBuf)> = HashMap::new();
        for input in &self.inputs {
            if let Some(inode) = inode(&input.1) {
                inputs.entry(inode).or_insert(input);
            }
        }
        let mut names: HashMap<PathBuf, &str> = HashMap::new();
        for (flag, path) in &self.outputs {
            if let Some((given, input)) = inode(path).and_then(|inode| inputs.get(&inode)) {
                return Err(Problem::new(format!(
                    "output is the input file: {flag} would replace what {given} names, {}",
                    input.display()
                ))
                .at(path.display())
                .fix(format!("choose another {flag}")));
            }
            if let Some(other) = names.insert(real(path), flag) {
                return Err(Problem::new(format!(
                    "two outputs have one name, one of {other} and one of {flag}"
                ))
                .at(path.display())
                .fix(format!("choose another {flag}")));
            }
        }
        Ok(())
    }
}

/// Device and inode of a file; `None` for what is no file (a pipe, a device) or not there.
fn inode(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((metadata.dev(), metadata.ino()))
}

/// The one spelling of a path: its folder without symbolic links, as far as there are folders, and
/// its own name.
pub fn real(path: &Path) -> PathBuf {
    match (fs::canonicalize(folder_of(path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// The one spelling of an output folder, which need not be there yet.
pub fn real_folder(folder: &Path) -> PathBuf {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    for above in whole.ancestors() {
        if let Ok(real) = fs::canonicalize(above) {
            let path = plain(&real, whole.strip_prefix(above).unwrap_or(Path::new("")));
            return fs::canonicalize(&path).unwrap_or(path);
        }
    }
    whole
}

/// `rest` below `folder`, where nothing is yet: `..` goes up.
fn plain(folder: &Path, rest: &Path) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in rest.components() {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reads: &Path, writes: &Path) -> Option<String> {
        let claim = Claim::new("predict")
            .reads("-r", [&reads.to_path_buf()])
            .writes("-op", [writes.to_path_buf()]);
        claim.check().err().map(|problem| problem.to_string())
    }

    #[test]
    fn an_output_is_no_input_by_any_name() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("in"), "x").unwrap();
        fs::write(at("same"), "x").unwrap();
        fs::create_dir(at("folder")).unwrap();
        fs::hard_link(at("in"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("soft")).unwrap();
        for (reads, writes) in
            [("in", "in"), ("in", "folder/../in"), ("in", "hard"), ("in", "soft"), ("soft", "hard")]
        {
            let text = refused(&at(reads), &at(writes)).unwrap();
            let wanted = "output is the input file: -op would replace what -r names";
            assert!(text.contains(wanted), "{reads} {writes}: {text}");
        }
        for (reads, writes) in [("in", "same"), ("in", "new"), ("none", "none"), ("in", "folder")] {
            assert_eq!(refused(&at(reads), &at(writes)), None, "{reads} {writes}");
        }
        assert_eq!(refused(Path::new("/dev/null"), Path::new("/dev/null")), None);
    }

    #[test]
    fn two_outputs_are_two_files() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let claim = |stats: PathBuf| {
            let claim = Claim::new("predict").writes("-op", [at("x.bw"), at("x_preds.bed")]);
            claim.writes("-os", [stats]).check()
        };
        claim(at("x.stats")).unwrap();
        let text = claim(at("./x.bw")).unwrap_err().to_string();
        assert!(text.contains("two outputs have one name, one of -op and one of -os"), "{text}");
    }

    #[test]
    fn a_folder_has_one_spelling_before_it_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("there")).unwrap();
        std::os::unix::fs::symlink(at("there"), at("link")).unwrap();
        let wanted = fs::canonicalize(at("there")).unwrap().join("new");
        for spelling in ["there/new", "link/new/", "there/./new", "link/x/../new"] {
            assert_eq!(real_folder(&at(spelling)), wanted, "{spelling}");
        }
    }
}
