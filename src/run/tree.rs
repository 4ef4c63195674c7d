//! The official output tree: `models/`, `logs/`, `auxiliary/`, `evaluation/`, names with an optional
//! prefix.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::Problem;
use crate::files::atomic;

/// Paths of one run.
#[derive(Clone, Debug)]
pub struct OutputTree {
    root: PathBuf,
    prefix: String,
}

impl OutputTree {
    /// `file_prefix` P turns `bias.h5` into `P_bias.h5`.
    pub fn new(root: &Path, file_prefix: Option<&str>) -> Self {
        let prefix = file_prefix.map(|p| format!("{p}_")).unwrap_or_default();
        Self { root: root.to_path_buf(), prefix }
    }

    /// Errors when a prefix of file names (-fp) would lead out of the folders that a run has.
    pub fn check_prefix(prefix: Option<&str>) -> Result<(), Problem> {
        match prefix {
            Some(prefix) if prefix.contains('/') => Err(Problem::new(format!(
                "--file-prefix {prefix:?} holds a /, expected part of a name"
            ))
            .fix("name the folder with -o, and leave the / out of -fp")),
            _ => Ok(()),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders and checks that they can be written to, before the long work starts.
    pub fn create(&self) -> Result<()> {
        self.create_only(&["models", "logs", "auxiliary", "evaluation"])
    }

    /// Makes some of the folders, for a command that needs no more of them.
    pub fn create_only(&self, folders: &[&str]) -> Result<()> {
        for folder in folders {
            let path = self.root.join(folder);
            if let Err(error) = fs::create_dir_all(&path).and_then(|()| atomic::probe(&path)) {
                return Err(Problem::new(format!("cannot write to the output folder: {error}"))
                    .at(path.display())
                    .fix("choose another -o, or free space and permissions there")
                    .into());
            }
        }
        Ok(())
    }

    pub fn models(&self, name: &str) -> PathBuf {
        self.file("models", name)
    }

    pub fn logs(&self, name: &str) -> PathBuf {
        self.file("logs", name)
    }

    pub fn auxiliary(&self, name: &str) -> PathBuf {
        self.file("auxiliary", name)
    }

    pub fn evaluation(&self, name: &str) -> PathBuf {
        self.file("evaluation", name)
    }

    /// A file in `auxiliary/interpret_subsample/`.
    pub fn interpreted(&self, name: &str) -> PathBuf {
        self.file("auxiliary/interpret_subsample", name)
    }

    fn file(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join(folder).join(format!("{}{name}", self.prefix))
    }
}
