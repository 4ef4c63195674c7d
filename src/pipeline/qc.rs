//! A look at any model with its own inputs: the stages after training.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::subject::{Models, Subject};
use super::{Explain, evaluate, predictions, shift, stages};
use crate::console::Console;
use crate::engine::Chosen;
use crate::error::Problem;
use crate::files::keras_h5::{self, Role};
use crate::input::{chrom_sizes, folds, regions};
use crate::pack::inputs;
use crate::pack::shift::DataType;
use crate::preflight::Inputs;
use crate::run::claim::Claim;
use crate::run::kind::Kind;
use crate::run::record::{QC_RECORD, RunRecord, Settings};
use crate::run::tree::OutputTree;
use crate::run_files;

/// The model that is looked at.
#[derive(Clone, Debug)]
pub enum Looked {
    Bias {
        model: PathBuf,
    },
    Chrombpnet {
        /// The model with bias.
        model: PathBuf,
        /// The model without bias, of the same run.
        nobias: PathBuf,
    },
}

/// An evaluation of a model.
#[derive(Clone, Debug)]
pub struct Job {
    pub looked: Looked,
    /// Their test chromosomes are predicted; motifs are inserted into nonpeaks.
    pub inputs: Inputs,
    /// Observed cut sites, a bigWig or a signal pack.
    pub bigwig: PathBuf,
    pub data_type: DataType,
    pub output_dir: PathBuf,
    /// Prefix of every file's name.
    pub file_prefix: Option<String>,
    pub batch_size: usize,
    pub explain: Explain,
    /// A failed verdict is an error.
    pub strict: bool,
    /// Do every stage again.
    pub force: bool,
    pub device: Chosen,
    /// How the run was asked for, for its record.
    pub command_line: Vec<String>,
}

/// A file of a model that is looked at.
struct ModelFile<'a> {
    /// The file's name in the record.
    name: &'static str,
    flag: &'static str,
    role: Role,
    path: &'a PathBuf,
}

impl Looked {
    fn kind(&self) -> Kind {
        match self {
            Self::Bias { .. } => Kind::Bias,
            Self::Chrombpnet { .. } => Kind::Chrombpnet,
        }
    }

    /// The model that is evaluated, and where it is another one, that which is explained.
    fn files(&self) -> Vec<ModelFile<'_>> {
        let file = |name, flag, role, path| ModelFile { name, flag, role, path };
        match self {
            Self::Bias { model } => vec![file("bias_model", "-bm", Role::Bias, model)],
            Self::Chrombpnet { model, nobias } => vec![
                file("chrombpnet_model", "-cm", Role::Full, model),
                file("chrombpnet_model_nb", "-cmb", Role::WithoutBias, nobias),
            ],
        }
    }

    fn models(&self) -> Models {
        let (Self::Bias { model: evaluated } | Self::Chrombpnet { model: evaluated, .. }) = self;
        let (Self::Bias { model: explained } | Self::Chrombpnet { nobias: explained, .. }) = self;
        Models { evaluated: evaluated.clone(), explained: explained.clone() }
    }

    /// Errors: a file of another role, models that cannot be of one run.
    fn check(&self) -> Result<()> {
        let mut read = Vec::new();
        for ModelFile { flag, role, path, .. } in self.files() {
            let arch = *keras_h5::read_role(path, role, flag)?.arch();
            read.push((path, arch.inputlen, arch.outputlen));
        }
        match read[..] {
            [(full, input, output), (nobias, input_of_nobias, output_of_nobias)]
                if (input, output) != (input_of_nobias, output_of_nobias) =>
            {
                Err(Problem::new(format!(
                    "the models have different lengths: {input} bp in and {output} out, {input_of_nobias} in and {output_of_nobias} out"
                ))
                .at(format!("{} and {}", full.display(), nobias.display()))
                .fix("pass both models of one run")
                .into())
            }
            _ => Ok(()),
        }
    }
}

impl Job {
    /// What the job reads and writes.
    fn claim(&self, tree: &OutputTree) -> Claim {
        let kind = self.looked.kind();
        let mut claim = Claim::new(if kind == Kind::Bias { "bias qc" } else { "qc" });
        for model in self.looked.files() {
            claim = claim.reads(model.flag, [model.path]);
        }
        claim
            .reads("-bw", [&self.bigwig])
            .reads("-g", [&self.inputs.genome])
            .reads("-c", [&self.inputs.chrom_sizes])
            .reads("-p", [&self.inputs.peaks])
            .reads("-n", [&self.inputs.nonpeaks])
            .reads("-fl", [&self.inputs.folds])
            .reads("--meme-db", &self.explain.meme_db)
            .writes("-o", run_files::of_evaluation(tree, kind, self.data_type))
            .folder("-o", &self.output_dir)
    }

    /// What is looked at, and with what, for the report. Hashes models and data.
    fn record(&self) -> Result<RunRecord> {
        let settings = Settings::default()
            .with("model", self.looked.kind().stem())
            .with("data_type", self.data_type.to_string())
            .with("batch_size", self.batch_size)
            .with("num_interpret", self.explain.num_interpret)
            // Whole, so that `report` finds it from any folder.
            .with("bigwig", std::path::absolute(&self.bigwig)?.to_string_lossy());
        let data = [
            ("genome", &self.inputs.genome),
            ("signal", &self.bigwig),
            ("chrom_sizes", &self.inputs.chrom_sizes),
            ("peaks", &self.inputs.peaks),
            ("nonpeaks", &self.inputs.nonpeaks),
            ("chr_fold_path", &self.inputs.folds),
        ];
        let models = self.looked.files().into_iter().map(|model| (model.name, model.path));
        let inputs = models.chain(data).map(|(role, path)| (role.to_string(), path.as_path()));
        let command_line = self.command_line.clone();
        let mut record = RunRecord::new(command_line, settings, inputs, &self.inputs.cache_dir)?;
        record.outcome = json!({ "engine": self.device.device.to_string() });
        Ok(record)
    }

    /// Evaluates the model; keeps what is complete.
    ///
    /// Errors: inputs that do not fit, a folder that holds another evaluation, a signal to stop.
    pub fn run(&self, console: &Console) -> Result<()> {
        self.looked.check()?;
        if self.batch_size == 0 {
            return Err(Problem::new("--batch-size must be at least 1").into());
        }
        self.explain.check()?;
        OutputTree::check_prefix(self.file_prefix.as_deref())?;
        let tree = OutputTree::new(&self.output_dir, self.file_prefix.as_deref());
        let _claimed = self.claim(&tree).take(console)?;
        self.device.begin(console)?;
        // Everything small is read before anything is packed, made or predicted.
        let paths = &self.inputs;
        let sizes = chrom_sizes::read(&paths.chrom_sizes)?;
        let folds = folds::read(&paths.folds)?;
        let peaks = regions::read(&paths.peaks)?;
        let nonpeaks = regions::read(&paths.nonpeaks)?;
        let tracks =
            inputs::open_tracks(&paths.genome, Some(&self.bigwig), &paths.cache_dir, console)?;
        let disputed = inputs::check_sizes(&sizes, &paths.chrom_sizes, &tracks.genome, console)?;
        let tracks = tracks.dispute(disputed);
        inputs::check_folds(&folds, &paths.folds, &tracks.genome, console)?;
        inputs::check_regions(&peaks, &paths.peaks, &tracks.genome)?;
        inputs::check_regions(&nonpeaks, &paths.nonpeaks, &tracks.genome)?;
        let used = peaks.iter().chain(&nonpeaks).map(|r| r.chrom.as_str());
        inputs::refuse_disputed(&tracks.disputed, used)?;
        let (path, mut record) = (tree.logs(QC_RECORD), self.record()?);
        tree.create_only(&["logs", "auxiliary", "evaluation"])?;
        let hashes: Vec<&str> = record.inputs.values().map(|f| f.xxh3.as_str()).collect();
        let subject = Subject {
            kind: self.looked.kind(),
            key: format!("{} {}", hashes.join(" "), self.data_type),
            tree,
            models: self.looked.models(),
            tracks,
            inputs: paths.clone(),
            signal: Some(self.bigwig.clone()),
            folds,
            peaks: paths.peaks.clone(),
            nonpeaks: matches!(self.looked, Looked::Bias { .. }).then(|| paths.nonpeaks.clone()),
            data_type: self.data_type,
            batch_size: self.batch_size,
            file_prefix: self.file_prefix.clone(),
            device: self.device.device.clone(),
            console: *console,
            command_line: self.command_line.clone(),
        };
        let mut stages = stages(&subject, self.force)?;
        stages.refuse_others(&predictions::files(&subject))?;
        record.begin(&path, self.force)?;
        let key = subject.stage_key(&[]);
        stages.attempt("shift figure", &key, &shift::files(&subject), || shift::run(&subject))?;
        let verdicts = evaluate(&subject, &self.explain, stages)?;
        record.complete = true;
        record.write(&path)?;
        if self.strict {
            verdicts.refuse_failed()?;
        }
        Ok(())
    }
}
