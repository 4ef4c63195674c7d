//! The models of a command: one, or several of one kind (folds), opened on one device.
//!
//! Their mean is the field's: mean of the logits, whose softmax is the profile, and mean of the log
//! counts. Source: ENCODE's averaging of fold predictions.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::batch::Example;
use crate::console::Console;
use crate::engine::{self, Device, Engine, Explain, Predict, Predictions};
use crate::error::Problem;
use crate::files::keras_h5::{self, KerasModel, Role};
use crate::model::{Architecture, Branches};
use crate::store::Tracks;

/// A model file that has been read.
pub struct ModelFile {
    pub path: PathBuf,
    pub model: KerasModel,
}

impl ModelFile {
    /// Reads a model file and says what it is.
    pub fn read(path: &Path, console: &Console) -> Result<Self> {
        Ok(Self::of(path, keras_h5::read(path)?, console))
    }

    fn of(path: &Path, model: KerasModel, console: &Console) -> Self {
        let arch = model.arch();
        console.info(format!(
            "{}: {} model, {} bp in, {} bp out",
            path.display(),
            model.role(),
            arch.inputlen,
            arch.outputlen
        ));
        Self { path: path.to_path_buf(), model }
    }
}

/// Models of one role and of the same input and output length, in the order given.
pub struct Models {
    files: Vec<ModelFile>,
}

impl Models {
    /// Reads model files and says what they are.
    ///
    /// Errors: no path, a file that is no model, models of different roles or lengths.
    pub fn read(paths: &[PathBuf], console: &Console) -> Result<Self> {
        Self::of(paths.iter().map(|path| ModelFile::read(path, console)).collect::<Result<_>>()?)
    }

    /// Reads the models of one role, from model files or from archives; `flag` is how they were given.
    ///
    /// Errors: as above, and a model of another role.
    pub fn read_role(paths: &[PathBuf], role: Role, flag: &str, console: &Console) -> Result<Self> {
        let read = |path: &PathBuf| {
            Ok(ModelFile::of(path, keras_h5::read_role(path, role, flag)?, console))
        };
        Self::of(paths.iter().map(read).collect::<Result<_>>()?)
    }

    /// The models of files that are read already.
    pub fn of(files: Vec<ModelFile>) -> Result<Self> {
        let Some((first, others)) = files.split_first() else {
            return Err(Problem::new("no model given").fix("pass a .h5 model").into());
        };
        let lengths = |f: &ModelFile| (f.model.arch().inputlen, f.model.arch().outputlen);
        for other in others {
            let place = || format!("{} and {}", first.path.display(), other.path.display());
            if other.model.role() != first.model.role() {
                return Err(Problem::new(format!(
                    "a {} and a {} model have no common mean",
                    first.model.role(),
                    other.model.role()
                ))
                .at(place())
                .fix("give models of one kind, the folds of one experiment")
                .into());
            }
            if lengths(other) != lengths(first) {
                let (found, wanted) = (lengths(other), lengths(first));
                return Err(Problem::new(format!(
                    "the models have different lengths: {} bp in and {} out, {} in and {} out",
                    wanted.0, wanted.1, found.0, found.1
                ))
                .at(place())
                .fix("give models of one --inputlen and --outputlen")
                .into());
            }
        }
        Ok(Self { files })
    }

    /// Shape of the first model's main branch; inputlen and outputlen are those of all.
    pub fn arch(&self) -> &Architecture {
        self.files[0].model.arch()
    }

    /// (inputlen, outputlen) of all.
    pub fn lengths(&self) -> (usize, usize) {
        (self.arch().inputlen, self.arch().outputlen)
    }

    /// `bias`, `chrombpnet` or `chrombpnet_nobias`.
    pub fn role(&self) -> &'static str {
        self.files[0].model.role()
    }

    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    /// Opens every model for windows of a genome.
    pub fn open(self, device: &Device, tracks: &Tracks) -> Result<Ensemble<dyn Predict>> {
        self.open_with(|branches| engine::open_predict(device, branches, tracks))
    }

    /// Opens every model for sequences.
    pub fn open_for_sequences(self, device: &Device) -> Result<Ensemble<dyn Explain>> {
        self.open_with(|branches| engine::open_explain(device, branches))
    }

    fn open_with<E: ?Sized>(
        self,
        open: impl Fn(Branches) -> Result<Box<E>>,
    ) -> Result<Ensemble<E>> {
        let arch = *self.arch();
        let role = self.role();
        let mut members = Vec::with_capacity(self.files.len());
        for ModelFile { path, model } in self.files {
            members.push(Member { path, engine: open(model.into_branches())? });
        }
        Ok(Ensemble { arch, role, members })
    }
}

/// A model that can be asked.
pub struct Member<E: ?Sized> {
    pub path: PathBuf,
    pub engine: Box<E>,
}

/// Models that are asked together.
pub struct Ensemble<E: ?Sized> {
    arch: Architecture,
    role: &'static str,
    pub members: Vec<Member<E>>,
}

/// What every model says, and their mean, for the same examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnsemblePredictions {
    /// One a model, in the order given.
    pub models: Vec<Predictions>,
    /// Means of logits and of logcounts; with one model, what it says.
    pub mean: Predictions,
}

impl<E: Engine + ?Sized> Ensemble<E> {
    pub fn arch(&self) -> &Architecture {
        &self.arch
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Predictions of sequences that are in no pack: `codes` is [n, inputlen] of 0..=3 = ACGT, 4 = N.
    pub fn predict_sequences(&mut self, codes: &[u8]) -> Result<EnsemblePredictions> {
        self.ask(|engine, out| engine.predict_sequences(codes, out))
    }

    fn ask(
        &mut self,
        mut predict: impl FnMut(&mut E, &mut Predictions) -> Result<()>,
    ) -> Result<EnsemblePredictions> {
        let mut models = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let mut predicted = Predictions::default();
            predict(member.engine.as_mut(), &mut predicted)?;
            models.push(predicted);
        }
        let mean = mean_of(&models);
        Ok(EnsemblePredictions { models, mean })
    }
}

impl<E: Predict + ?Sized> Ensemble<E> {
    /// Predictions of one batch of windows.
    pub fn predict(&mut self, plan: &[Example]) -> Result<EnsemblePredictions> {
        self.ask(|engine, out| engine.predict(plan, out))
    }
}

/// The mean of what several models say of the same examples: of logits and of log counts.
pub fn mean_of(models: &[Predictions]) -> Predictions {
    let of = |list: fn(&Predictions) -> &[f32]| mean(&models.iter().map(list).collect::<Vec<_>>());
    Predictions { logits: of(|p| &p.logits), logcounts: of(|p| &p.logcounts) }
}

/// Element by element, summed in f64; of one list, the list itself.
pub fn mean(lists: &[&[f32]]) -> Vec<f32> {
    let Some((first, others)) = lists.split_first() else { return Vec::new() };
    let n = lists.len() as f64;
    let sum = |i: usize| others.iter().fold(f64::from(first[i]), |sum, l| sum + f64::from(l[i]));
    (0..first.len()).map(|i| (sum(i) / n) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::mean;

    #[test]
    fn means() {
        assert_eq!(mean(&[&[1.0, -2.0], &[2.0, 4.0], &[6.0, 1.0]]), [3.0, 1.0]);
        assert_eq!(mean(&[&[0.1, 1e-30]]), [0.1, 1e-30]);
        assert!(mean(&[]).is_empty());
    }
}
