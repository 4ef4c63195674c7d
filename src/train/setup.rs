//! What the trainings of both models start from: data, shape, options, device, place. Plain values,
//! to be filled from a command line or by hand.

use std::path::{Path, PathBuf};

use crate::engine::{Chosen, Optimizer};
use crate::error::Problem;
use crate::files::train_log::{self as log, TRACKABLES};
use crate::model::Architecture;
use crate::pack::reads::SignalInput;
use crate::pack::shift::DataType;
use crate::preflight::Inputs;
use crate::run::claim::Claim;
use crate::run::kind::Kind;
use crate::run::record::Settings;
use crate::run::tree::OutputTree;
use crate::run_files;

/// Sequence length, bp. Source: official default.
pub const INPUTLEN: usize = 2114;
/// Profile length, bp. Source: official default.
pub const OUTPUTLEN: usize = 1000;

/// How a model is trained, whichever of the two it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Quantile of total counts beyond which regions are outliers, used at both ends.
    pub outlier_threshold: f64,
    /// Seed of weights, sampling and thresholds.
    pub seed: u64,
    /// Epochs at most.
    pub epochs: usize,
    /// Epochs without a better validation loss before stopping.
    pub early_stop: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Examples per step.
    pub batch_size: usize,
}

impl Options {
    /// The official defaults.
    pub const OFFICIAL: Self = Self {
        outlier_threshold: 0.9999,
        seed: 1234,
        epochs: 50,
        early_stop: 5,
        learning_rate: 0.001,
        batch_size: 64,
    };

    /// How parameters are updated.
    pub fn optimizer(&self) -> Optimizer {
        Optimizer::adam(self.learning_rate)
    }

    /// Errors: a value that nothing can be trained with.
    pub fn check(&self) -> Result<(), Problem> {
        if self.batch_size == 0 || self.epochs == 0 {
            return Err(Problem::new("--batch-size and --epochs must be at least 1"));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Problem::new(format!(
                "--learning-rate {} is not a positive number",
                self.learning_rate
            )));
        }
        if !(self.outlier_threshold > 0.5 && self.outlier_threshold <= 1.0) {
            return Err(Problem::new(format!(
                "--outlier-threshold {} is not between 0.5 and 1",
                self.outlier_threshold
            )));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::OFFICIAL
    }
}

/// What a training starts from, whichever of the two models it makes.
#[derive(Clone, Debug)]
pub struct Setup {
    pub inputs: Inputs,
    /// The counts: a bigWig, a signal pack, or reads.
    pub signal: SignalInput,
    pub data_type: DataType,
    /// Motifs that the figure of the shift compares with; `None`: the official ones.
    pub reference_motifs: Option<PathBuf>,
    /// Shape of the branch that is trained.
    pub arch: Architecture,
    pub options: Options,
    /// Folder of all that the run leaves.
    pub output_dir: PathBuf,
    /// Prefix of every file's name.
    pub file_prefix: Option<String>,
    /// Columns of the batch log, some of `log::TRACKABLES`.
    pub trackables: Vec<String>,
    /// Replace what an earlier run left in the output folder.
    pub force: bool,
    pub device: Chosen,
    /// How the run was asked for, for its record.
    pub command_line: Vec<String>,
}

impl Setup {
    /// The official options, and a new run in `output_dir`.
    pub fn new(
        inputs: Inputs,
        signal: SignalInput,
        data_type: DataType,
        arch: Architecture,
        output_dir: &Path,
        device: Chosen,
    ) -> Self {
        Self {
            inputs,
            signal,
            data_type,
            reference_motifs: None,
            arch,
            options: Options::OFFICIAL,
            output_dir: output_dir.to_path_buf(),
            file_prefix: None,
            trackables: TRACKABLES.map(String::from).into(),
            force: false,
            device,
            command_line: Vec::new(),
        }
    }

    /// Errors: a value that nothing can be trained with, or named after.
    pub fn check(&self) -> Result<(), Problem> {
        log::check(&self.trackables)?;
        self.options.check()?;
        OutputTree::check_prefix(self.file_prefix.as_deref())
    }

    /// Where the run leaves its files.
    pub fn tree(&self) -> OutputTree {
        OutputTree::new(&self.output_dir, self.file_prefix.as_deref())
    }

    /// What a training, and the pipeline around it, reads and writes.
    pub fn claim(&self, kind: Kind, bias_model: Option<&PathBuf>) -> Claim {
        let tree = self.tree();
        let mut claim = Claim::new(if kind == Kind::Bias { "bias train" } else { "train" })
            .reads("-g", [&self.inputs.genome])
            .reads("-c", [&self.inputs.chrom_sizes])
            .reads("-p", [&self.inputs.peaks])
            .reads("-n", [&self.inputs.nonpeaks])
            .reads("-fl", [&self.inputs.folds])
            .reads("-b", bias_model)
            .reads(self.data_type.motifs_flag(), &self.reference_motifs);
        claim = match &self.signal {
            SignalInput::Track(path) => claim.reads("-bw", [path]),
            SignalInput::Reads(reads) => claim
                .reads(reads.sources.format.flag(), &reads.sources.files)
                .reads("--barcodes", &reads.barcodes),
        };
        claim
            .writes("-o", run_files::of_training(&tree, kind))
            .writes("-o", run_files::of_reads(&tree))
            .writes("-o", run_files::of_evaluation(&tree, kind, self.data_type))
            .folder("-o", &self.output_dir)
    }

    /// Every setting that the weights depend on, apart from those of one of the models.
    pub(super) fn settings(&self, kind: Kind) -> Settings {
        let (given, official) = (&self.options, Options::OFFICIAL);
        let settings = Settings::default()
            .with("model", kind.stem())
            .or("outlier_threshold", given.outlier_threshold, official.outlier_threshold)
            .or("inputlen", self.arch.inputlen, INPUTLEN)
            .or("outputlen", self.arch.outputlen, OUTPUTLEN)
            .or("seed", given.seed, official.seed)
            .or("epochs", given.epochs, official.epochs)
            .or("early_stop", given.early_stop, official.early_stop)
            .or("learning_rate", given.learning_rate, official.learning_rate)
            .or("batch_size", given.batch_size, official.batch_size);
        match &self.signal {
            SignalInput::Track(_) => settings,
            SignalInput::Reads(reads) => settings
                .with("data_type", format!("{:?}", self.data_type))
                .with("reads_format", reads.sources.format.name())
                .or("reads", reads.settings(), reads.default_settings()),
        }
    }

    /// The files that the weights depend on, by role, apart from those of one of the models.
    pub(super) fn inputs(&self) -> Vec<(String, &Path)> {
        let inputs = &self.inputs;
        let mut roles: Vec<(String, &Path)> = vec![
            ("genome".into(), &inputs.genome),
            ("chrom_sizes".into(), &inputs.chrom_sizes),
            ("peaks".into(), &inputs.peaks),
            ("nonpeaks".into(), &inputs.nonpeaks),
            ("chr_fold_path".into(), &inputs.folds),
        ];
        match &self.signal {
            SignalInput::Track(path) => roles.push(("signal".into(), path)),
            SignalInput::Reads(reads) => {
                let files = reads.sources.files.iter().enumerate();
                roles.extend(files.map(|(i, path)| (format!("reads_{}", i + 1), path.as_path())));
                roles.extend(reads.barcodes.iter().map(|p| ("barcodes".into(), p.as_path())));
                // They decide a shift that is detected.
                let motifs = reads.reference_motifs.iter().filter(|_| reads.shift.is_none());
                roles.extend(motifs.map(|path| ("reference_motifs".into(), path.as_path())));
            }
        }
        roles
    }
}
