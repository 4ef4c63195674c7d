//! What the files of a run are called.

use std::path::{Path, PathBuf};

use super::Job;
use crate::run::prefix::suffixed;
use crate::variants::origin;

/// `PREFIX.SUFFIX`, with `.fold_K` in between where there are several models.
pub struct Names {
    prefix: PathBuf,
    models: usize,
}

impl Names {
    pub fn new(prefix: &Path, models: usize) -> Self {
        Self { prefix: prefix.to_path_buf(), models }
    }

    /// Every file that the command may leave.
    pub fn all(&self, job: &Job) -> Vec<PathBuf> {
        let mut files = vec![self.of_all("skipped.tsv"), self.of_mean("variant_scores.tsv")];
        for head in ["counts", "profile"] {
            files.push(self.of_mean(&format!("variant_shap.{head}.h5")));
        }
        for model in 0..self.models {
            // Shuffled scores of an earlier run are read, and none are made.
            if job.shuffled_scores.is_empty() {
                let shuffled = self.of_model(model, "variant_scores.shuffled.tsv");
                files.push(origin::record_of(&shuffled));
                files.push(shuffled);
            }
            files.push(self.of_model(model, "peak_scores.tsv"));
            files.push(self.of_model(model, "variant_predictions.h5"));
            if self.models > 1 {
                files.push(self.of_model(model, "variant_scores.tsv"));
            }
        }
        files
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
