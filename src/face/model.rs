//! Models, read from files and put on a device.

use std::fmt;
use std::path::{Path, PathBuf};

use super::contributions::{Contributions, Method};
use super::error::Result;
use super::predictions::Predictions;
use super::sequence::Sequence;
use crate::engine::{self, Device, Explain, Heads};
use crate::error::Problem;
use crate::files::keras_h5;
use crate::interpret::{self, Explainer, References};
use crate::model::Architecture;
use crate::predict::models::{self, ModelFile, Models};
use crate::threads;
use crate::variants::predict::{Predictor, StrandMeans};
use crate::variants::scores::{Metric, Scores};

/// A model as its file holds it; of several folds, all of them.
///
/// ```no_run
/// use cbp_fast::{Device, Model, Sequence};
///
/// let mut model = Model::open("chrombpnet_nobias.h5")?.on(Device::auto()?)?;
/// let sequence: Sequence = "ACGT".repeat(529)[..2114].parse()?;
/// let predictions = model.predict(&[sequence])?;
/// println!("{:.1} insertions", predictions.counts(0));
/// # Ok::<(), cbp_fast::Error>(())
/// ```
pub struct Model(Models);

impl Model {
    /// Reads a Keras `.h5` file of any kind: a bias model, a full ChromBPNet model, or one without bias; ours, those
    /// of the official tool and of Keras 3.
    ///
    /// Errors: a file that holds no such model, or weights that do not fit their layers.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_folds([path])
    }

    /// Reads the folds of one experiment, which answer by their mean: that of the logits and that of the log counts.
    ///
    /// Errors: no path, models of different kinds or lengths, and those of [`open`](Self::open).
    pub fn open_folds<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        let files: anyhow::Result<Vec<ModelFile>> = paths
            .into_iter()
            .map(|path| {
                let path = PathBuf::from(path.as_ref());
                Ok(ModelFile { model: keras_h5::read(&path)?, path })
            })
            .collect();
        Ok(Self(Models::of(files?)?))
    }

    /// `bias`, `chrombpnet` or `chrombpnet_nobias`, by the model's layers.
    pub fn kind(&self) -> &'static str {
        self.0.role()
    }

    /// Bases that the model reads.
    pub fn input_length(&self) -> usize {
        self.0.arch().inputlen
    }

    /// Bases of the profile that it predicts, in the middle of those it reads.
    pub fn output_length(&self) -> usize {
        self.0.arch().outputlen
    }

    /// Puts the model on a device, where it can be asked.
    ///
    /// Errors: a device that cannot be used, no room for the weights.
    pub fn on(self, device: Device) -> Result<LoadedModel> {
        threads::pool(0)?;
        let arch = *self.0.arch();
        let ensemble = self.0.open_for_sequences(&device)?;
        let engines = ensemble.members.into_iter().map(|member| member.engine).collect();
        Ok(LoadedModel { engines, arch })
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inputlen, outputlen) = self.0.lengths();
        write!(f, "Model({}, {inputlen} bp in, {outputlen} bp out)", self.kind())
    }
}

/// A model on a device. The same calls give the same bits, for any number of threads.
pub struct LoadedModel {
    /// A fold each.
    engines: Vec<Box<dyn Explain>>,
    arch: Architecture,
}

/// Sequences that are predicted at a time.
const BATCH: usize = 64;

/// What a variant changes, as variant-scorer defines it: means over both strands, and over the scores of several folds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariantEffect {
    /// log2 of the alternative's counts over those of the reference, where counts are `exp(log_counts)`.
    pub logfc: f32,
    /// Jensen-Shannon distance of the two profiles.
    pub jsd: f32,
}

impl LoadedModel {
    /// Bases that the model reads.
    pub fn input_length(&self) -> usize {
        self.arch.inputlen
    }

    /// Bases of the profile that it predicts, in the middle of those it reads.
    pub fn output_length(&self) -> usize {
        self.arch.outputlen
    }

    /// Predicts the profile and the counts of sequences. Any number; working memory does not grow with it.
    ///
    /// Errors: a sequence of another length than [`input_length`](Self::input_length).
    pub fn predict(&mut self, sequences: &[Sequence]) -> Result<Predictions> {
        let codes = self.codes(sequences)?;
        let mut all = vec![engine::Predictions::default(); self.engines.len()];
        for (engine, out) in self.engines.iter_mut().zip(&mut all) {
            engine.predict_sequences(&codes, out)?;
        }
        Ok(Predictions { outputlen: self.arch.outputlen, raw: models::mean_of(&all) })
    }

    /// Contribution scores of sequences for counts and profile; of several folds, their mean.
    ///
    /// Errors: a sequence of another length than [`input_length`](Self::input_length); a full ChromBPNet model, of
    /// which the part without bias is explained, from its own file.
    pub fn contributions(
        &mut self,
        sequences: &[Sequence],
        method: Method,
    ) -> Result<Contributions> {
        let codes = self.codes(sequences)?;
        let method = match method {
            Method::DeepShap { references: n, seed } => {
                interpret::Method::DeepShap(References::Shuffled { seed, n })
            }
            Method::Ism => interpret::Method::Ism,
            Method::Gradient => interpret::Method::Gradient,
        };
        let Architecture { inputlen, outputlen, .. } = self.arch;
        let engines = std::mem::take(&mut self.engines);
        let mut explainer = Explainer { engines, method, heads: Heads::BOTH, inputlen, outputlen };
        let explained = explainer.explain(0, &codes, &|| false);
        self.engines = explainer.engines;
        // Nobody asks it to stop.
        let raw = explained?.unwrap_or_default();
        Ok(Contributions { inputlen, codes, raw })
    }

    /// Effects of substitutions: `alternatives[i]` against `references[i]`.
    ///
    /// Errors: lists of different lengths, and those of [`predict`](Self::predict).
    pub fn effects(
        &mut self,
        references: &[Sequence],
        alternatives: &[Sequence],
    ) -> Result<Vec<VariantEffect>> {
        if references.len() != alternatives.len() {
            return Err(Problem::new(format!(
                "{} references and {} alternatives do not make pairs",
                references.len(),
                alternatives.len()
            ))
            .into());
        }
        let codes = [self.codes(references)?, self.codes(alternatives)?];
        let engines = std::mem::take(&mut self.engines);
        let (arch, batch_size) = (self.arch, BATCH);
        let mut predictor = Predictor { engines, arch, batch_size, both_strands: true };
        let predicted = codes.map(|codes| predictor.predict(&codes));
        self.engines = predictor.engines;
        let [references_said, alternatives_said] = predicted;
        let models: Vec<_> = references_said?.into_iter().zip(alternatives_said?).collect();
        let effect = |i: usize| {
            let pair = |(one, two): &(StrandMeans, StrandMeans)| {
                Scores::of([one, two].map(|said| said.allele(i, self.arch.outputlen)), None)
            };
            let scores: Vec<Scores> = models.iter().map(pair).collect();
            let mean = |metric| {
                let sum: f64 = scores.iter().map(|s| f64::from(s.get(metric))).sum();
                (sum / scores.len() as f64) as f32
            };
            VariantEffect { logfc: mean(Metric::Logfc), jsd: mean(Metric::Jsd) }
        };
        Ok((0..references.len()).map(effect).collect())
    }

    /// Codes `[n, inputlen]`.
    fn codes(&self, sequences: &[Sequence]) -> Result<Vec<u8>, Problem> {
        if let Some((i, other)) =
            sequences.iter().enumerate().find(|(_, sequence)| sequence.len() != self.arch.inputlen)
        {
            return Err(Problem::new(format!(
                "the sequence is {} bp long, but the model reads {} bp",
                other.len(),
                self.arch.inputlen
            ))
            .at(format!("sequence {i}, counted from 0"))
            .fix("cut or pad (with N) every sequence to the model's input length"));
        }
        Ok(sequences.iter().flat_map(Sequence::codes).copied().collect())
    }
}
