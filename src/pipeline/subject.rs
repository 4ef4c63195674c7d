//! A trained model and the data it is looked at on: what every stage after training starts from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::console::Console;
use crate::engine::Device;
use crate::files::keras_h5::Role;
use crate::input::folds::{self, Folds};
use crate::pack::shift::DataType;
use crate::predict::models;
use crate::preflight::Inputs;
use crate::run::kind::Kind;
use crate::run::prints::Print;
use crate::run::tree::OutputTree;
use crate::store::Tracks;
use crate::train::{Trained, TrainingRun};

/// Which model of the run a stage looks at.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The model that is evaluated on the test set.
    Evaluated,
    /// The model that footprints and contributions are made of.
    Explained,
}

/// The files of the two models, which may be one.
#[derive(Clone, Debug)]
pub struct Models {
    pub evaluated: PathBuf,
    pub explained: PathBuf,
}

/// What the stages look at.
pub struct Subject {
    pub kind: Kind,
    pub tree: OutputTree,
    pub models: Models,
    /// Genome and counts.
    pub tracks: Tracks,
    /// The files behind them; motifs are inserted into their nonpeaks.
    pub inputs: Inputs,
    /// The counts as a file that can be opened again; `None` where they came from reads and lie in
    /// the output folder.
    pub signal: Option<PathBuf>,
    pub folds: Folds,
    /// Their test chromosomes are the test set.
    pub peaks: PathBuf,
    /// The test set beside the peaks; of the bias model only, as officially.
    pub nonpeaks: Option<PathBuf>,
    pub data_type: DataType,
    pub batch_size: usize,
    pub file_prefix: Option<String>,
    pub device: Device,
    pub console: Console,
    /// Hash of models and data.
    pub key: String,
    /// How the run was asked for, for records.
    pub command_line: Vec<String>,
}

impl Subject {
    /// Reads one of the two models, which may lie in an archive.
    pub fn read(&self, which: Which) -> Result<models::Models> {
        let path = match which {
            Which::Evaluated => &self.models.evaluated,
            Which::Explained => &self.models.explained,
        };
        let (role, flag) = match (which, self.kind) {
            (_, Kind::Bias) => (Role::Bias, "-bm"),
            (Which::Evaluated, Kind::Chrombpnet) => (Role::Full, "-cm"),
            (Which::Explained, Kind::Chrombpnet) => (Role::WithoutBias, "-cmb"),
        };
        models::Models::read_role(std::slice::from_ref(path), role, flag, &self.console)
    }

    /// The models and regions that a training run left.
    pub fn of_run(trained: &Trained) -> Result<Self> {
        let TrainingRun { setup, kind, tree, console, .. } = &trained.run;
        let (peaks, nonpeaks) = match kind {
            Kind::Bias => ("filtered.bias_peaks.bed", Some("filtered.bias_nonpeaks.bed")),
            Kind::Chrombpnet => ("filtered.peaks.bed", None),
        };
        let (peaks, nonpeaks) = (tree.auxiliary(peaks), nonpeaks.map(|name| tree.auxiliary(name)));
        let model = |stem: &str| tree.models(&format!("{stem}.h5"));
        let models = Models { evaluated: model(kind.stem()), explained: model(kind.explained()) };
        // Of the files themselves: any of them may be another one than the run left.
        let made = [&models.evaluated, &models.explained, &peaks].into_iter().chain(&nonpeaks);
        let mut key = format!("{} {}", trained.run.key(), setup.data_type);
        for path in made {
            let print =
                Print::of(path).with_context(|| format!("cannot read {}", path.display()))?;
            key = format!("{key} {}", print.xxh3);
        }
        let inputs = &setup.inputs;
        Ok(Self {
            kind: *kind,
            tree: tree.clone(),
            models,
            tracks: trained.tracks()?,
            inputs: inputs.clone(),
            signal: setup.signal.track().map(Path::to_path_buf),
            folds: folds::read(&inputs.folds)?,
            peaks,
            nonpeaks,
            data_type: setup.data_type,
            batch_size: setup.options.batch_size,
            file_prefix: setup.file_prefix.clone(),
            device: setup.device.device.clone(),
            console: *console,
            key,
            command_line: setup.command_line.clone(),
        })
    }

    /// The key of a stage: what its files depend on beside models and data.
    pub fn stage_key(&self, settings: &[(&str, String)]) -> String {
        let text = format!("{} {settings:?}", self.key);
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }

    /// `evaluation/<stem>`: what names of files start with.
    pub fn evaluation_prefix(&self, stem: &str) -> PathBuf {
        self.tree.evaluation(stem)
    }
}
