//! What the files of a run are called.

use std::path::{Path, PathBuf};

use crate::predict::outputs::suffixed;

/// `PREFIX.SUFFIX`, with `.fold_K` in between where there are several models.
pub struct Names {
    prefix: PathBuf,
    models: usize,
}

impl Names {
    pub fn new(prefix: &Path, models: usize) -> Self {
        Self { prefix: prefix.to_path_buf(), models }
    }

    /// A file that the whole run has once.
    pub fn of_all(&self, suffix: &str) -> PathBuf {
        suffixed(&self.prefix, &format!(".{suffix}"))
    }

    /// A file that each model has.
    pub fn of_model(&self, model: usize, suffix: &str) -> PathBuf {
        match self.models {
            1 => self.of_all(suffix),
            _ => suffixed(&self.prefix, &format!(".fold_{model}.{suffix}")),
        }
    }

    /// A file of means over models, where there are several.
    pub fn of_mean(&self, suffix: &str) -> PathBuf {
        match self.models {
            1 => self.of_all(suffix),
            _ => self.of_all(&format!("mean.{suffix}")),
        }
    }
}
