//! A trained model and the data it is looked at on: what every stage after training starts from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::cli::args::{CacheArgs, ConsoleArgs, DataType, DeviceArgs, TrainingArgs};
use crate::commands::models::Models;
use crate::commands::training::Trained;
use crate::console::Console;
use crate::engine::Device;
use crate::files::keras_h5::Role;
use crate::input::folds::{self, Folds};
use crate::run::prints::Print;
use crate::store::Tracks;
use crate::train::output::OutputTree;

/// Which of the two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bias,
    Chrombpnet,
}

impl Kind {
    /// Stem of the model that is evaluated on the test set.
    pub fn evaluated(self) -> &'static str {
        match self {
            Kind::Bias => "bias",
            Kind::Chrombpnet => "chrombpnet",
        }
    }

    /// Stem of the model that footprints and contributions are made of.
    pub fn explained(self) -> &'static str {
        match self {
            Kind::Bias => "bias",
            Kind::Chrombpnet => "chrombpnet_nobias",
        }
    }
}

/// Which model of the run a stage looks at.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The model that is evaluated on the test set.
    Evaluated,
    /// The model that footprints and contributions are made of.
    Explained,
}

pub struct Subject {
    pub kind: Kind,
    pub tree: OutputTree,
    /// The model of `Kind::evaluated`, and that of `Kind::explained`.
    pub model: PathBuf,
    pub explained: PathBuf,
    /// Genome and counts.
    pub tracks: Tracks,
    /// The file behind `tracks.genome`.
    pub genome: PathBuf,
    pub chrom_sizes: PathBuf,
    /// The counts as a file that can be opened again; `None` where they came from reads and lie in
    /// the output folder.
    pub signal: Option<PathBuf>,
    pub folds: Folds,
    /// Their test chromosomes are the test set.
    pub peaks: PathBuf,
    /// Likewise, beside the peaks; the bias model only, as officially.
    pub nonpeaks: Option<PathBuf>,
    /// Where motifs are inserted.
    pub background: PathBuf,
    pub data_type: DataType,
    pub batch_size: usize,
    pub file_prefix: Option<String>,
    pub device: Device,
    pub console: Console,
    /// What `device` and `console` were made from, and where packs are.
    pub device_args: DeviceArgs,
    pub console_args: ConsoleArgs,
    pub cache: CacheArgs,
    /// Hash of models and data.
    pub key: String,
}

impl Subject {
    /// Reads one of the two models, which may lie in an archive.
    pub fn read(&self, which: Which) -> Result<Models> {
        let (path, role, flag) = match (which, self.kind) {
            (Which::Evaluated, Kind::Bias) => (&self.model, Role::Bias, "-bm"),
            (Which::Explained, Kind::Bias) => (&self.explained, Role::Bias, "-bm"),
            (Which::Evaluated, Kind::Chrombpnet) => (&self.model, Role::Full, "-cm"),
            (Which::Explained, Kind::Chrombpnet) => (&self.explained, Role::WithoutBias, "-cmb"),
        };
        Models::read_role(std::slice::from_ref(path), role, flag, &self.console)
    }

    /// The models and regions that a training run left.
    pub fn of_run(kind: Kind, trained: &Trained, args: &TrainingArgs) -> Result<Self> {
        let run = &trained.run;
        let (peaks, nonpeaks) = match kind {
            Kind::Bias => ("filtered.bias_peaks.bed", Some("filtered.bias_nonpeaks.bed")),
            Kind::Chrombpnet => ("filtered.peaks.bed", None),
        };
        let model = |stem: &str| run.tree.models(&format!("{stem}.h5"));
        let regions =
            [Some(peaks), nonpeaks].into_iter().flatten().map(|name| run.tree.auxiliary(name));
        // Of the files themselves: any of them may be another one than the run left.
        let made = [model(kind.evaluated()), model(kind.explained())].into_iter().chain(regions);
        let mut key = format!("{} {}", run.key(), args.data_type);
        for path in made {
            let print =
                Print::of(&path).with_context(|| format!("cannot read {}", path.display()))?;
            key = format!("{key} {}", print.xxh3);
        }
        Ok(Self {
            kind,
            tree: run.tree.clone(),
            model: model(kind.evaluated()),
            explained: model(kind.explained()),
            tracks: trained.tracks(args)?,
            genome: args.genome.clone(),
            chrom_sizes: args.chrom_sizes.clone(),
            signal: args.signal()?.track().map(Path::to_path_buf),
            folds: folds::read(&args.chr_fold_path)?,
            peaks: run.tree.auxiliary(peaks),
            nonpeaks: nonpeaks.map(|name| run.tree.auxiliary(name)),
            background: args.nonpeaks.clone(),
            data_type: args.data_type,
            batch_size: args.batch_size,
            file_prefix: args.file_prefix.clone(),
            device: run.device.clone(),
            console: run.console,
            device_args: args.device.clone(),
            console_args: args.console,
            cache: args.cache.clone(),
            key,
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
