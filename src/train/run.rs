//! One training run, from its settled place to the files it leaves; both models share it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::fit::{Ended, FitConfig, fit};
use super::setup::Setup;
use crate::batch::Example;
use crate::batch::sampler::{Sampler, Site};
use crate::console::Console;
use crate::engine::Train;
use crate::error::Problem;
use crate::files::params_tsv::{self, ModelParams};
use crate::files::{atomic, bigwig};
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds, Split};
use crate::input::regions::{self, Region};
use crate::model::ParameterSet;
use crate::pack::cache::Watched;
use crate::pack::inputs;
use crate::pack::reads::{self, SignalInput};
use crate::pack::shift::qc::{self, ShiftQc};
use crate::preflight::{self, Data, Training};
use crate::report;
use crate::run::claim::Claimed;
use crate::run::kind::Kind;
use crate::run::record::{RunRecord, Settings};
use crate::run::settle::{Place, Standing};
use crate::run::stop::StopFlag;
use crate::run::tree::OutputTree;
use crate::run_files;
use crate::select::SelectedRegions;
use crate::store::{GenomePack, Tracks};

/// A training run, settled: where it writes, what it is, whether it is already done.
pub struct TrainingRun {
    pub setup: Setup,
    /// The model; its stem starts the name of every file.
    pub kind: Kind,
    pub tree: OutputTree,
    pub console: Console,
    record: RunRecord,
    record_path: PathBuf,
    /// The inputs as they were when they were recorded.
    watched: Vec<Watched>,
    /// An earlier run of the same settings and inputs is complete.
    done: bool,
    /// Nothing of an earlier run is continued.
    starts_over: bool,
    /// Holds the output folder.
    _claimed: Claimed,
    /// What took how long.
    times: RefCell<Vec<(&'static str, Duration)>>,
}

/// A run that is complete, now or since earlier.
pub struct Trained {
    pub run: TrainingRun,
    /// What was opened for it; `None` where nothing had to be done.
    pub data: Option<Data>,
}

impl Trained {
    /// Writes the page about the run, with which official training ends too; it is kept while it shows
    /// what is there. The models are no worse without it.
    pub fn report(&self) {
        let TrainingRun { setup, console, .. } = &self.run;
        let request = report::Request {
            folder: &setup.output_dir,
            file_prefix: setup.file_prefix.as_deref(),
            signal: setup.signal.track(),
            html: None,
            // The folder is this run's: `TrainingRun::settle` has seen to that.
            force: true,
        };
        if self.data.is_none() && report::is_current(&request) {
            return;
        }
        if let Err(error) = report::write(&request, console) {
            console.warning(format!("no report: {error:#}"));
        }
    }

    /// Genome and signal of the run.
    pub fn tracks(&self) -> Result<Tracks> {
        match &self.data {
            Some(data) => Ok(data.tracks.clone()),
            None => self.run.open_tracks(),
        }
    }
}

/// What training left.
pub(super) struct Fitted {
    pub best: ParameterSet,
    /// For the run record.
    pub outcome: Value,
}

impl TrainingRun {
    /// Settles a run in its output folder; it may be done already. `settings` and `bias_model` are
    /// those that `setup` does not hold.
    ///
    /// Errors when the folder holds a run of other settings or inputs (listing what changed), unless
    /// it starts over by force.
    pub(super) fn settle(
        setup: &Setup,
        kind: Kind,
        settings: Settings,
        bias_model: Option<&PathBuf>,
        console: &Console,
    ) -> Result<Self> {
        setup.check()?;
        let claimed = setup.claim(kind, bias_model).take(console)?;
        setup.device.begin(console)?;
        preflight::before_packing(&setup.inputs, &setup.signal, &setup.output_dir, setup.arch)?;
        let mut inputs = setup.inputs();
        inputs.extend(bias_model.map(|path| ("bias_model".to_string(), path.as_path())));
        let watched = inputs.iter().map(|(_, path)| Watched::begin(path)).collect::<Result<_>>()?;
        let command_line = setup.command_line.clone();
        let record = RunRecord::new(command_line, settings, inputs, &setup.inputs.cache_dir)?;
        let tree = setup.tree();
        let mut run = Self {
            record_path: tree.logs(&format!("{kind}.run.json")),
            setup: setup.clone(),
            kind,
            tree,
            console: *console,
            record,
            watched,
            done: false,
            starts_over: setup.force,
            _claimed: claimed,
            times: RefCell::default(),
        };
        if !setup.force {
            run.done = run.is_done_before()?;
        }
        if run.done {
            return Ok(run);
        }
        run.tree.create()?;
        // Without a state, what an earlier run of this folder left is of other weights.
        run.starts_over |= run.record_path.exists() && !run.state_path().exists();
        if run.starts_over {
            run.clear();
        }
        run.record.write(&run.record_path)?;
        Ok(run)
    }

    /// True when an earlier run left all there is to make.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Short hash of all that the models depend on.
    pub fn key(&self) -> String {
        self.record.key()
    }

    /// The trained model of `Kind::stem`.
    pub fn model(&self) -> PathBuf {
        self.tree.models(&format!("{}.h5", self.kind))
    }

    /// Does a part of the run, and remembers how long it took.
    pub(super) fn timed<T>(
        &self,
        part: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let done = work()?;
        self.times.borrow_mut().push((part, start.elapsed()));
        Ok(done)
    }

    /// The parts done so far, in order.
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        self.times.borrow().clone()
    }

    fn is_done_before(&mut self) -> Result<bool> {
        let other = self.kind.other();
        let of_other = self.tree.logs(&format!("{other}.run.json"));
        if of_other.exists() {
            // Several files of both have one name.
            return Err(Problem::new(format!("the output folder holds a {other} run"))
                .at(of_other.display())
                .fix("choose another -o, or a --file-prefix of its own")
                .into());
        }
        let (model, state) = (self.model(), self.state_path());
        let standing = self.record.settle(&Place {
            name: "output folder",
            flag: "-o",
            path: self.tree.root(),
            record: &self.record_path,
            partial: &state,
            results: vec![model.clone()],
            folder: &self.tree.root().join("models"),
            foreign: "the output folder already holds a model of another run",
        })?;
        match standing {
            // The counts of other reads must not be taken for those of this run.
            Standing::Free { of_other: true } => drop(std::fs::remove_file(self.reads_bigwig())),
            Standing::Free { of_other: false } | Standing::GoesOn => {}
            Standing::Done => self.console.info(format!(
                "{} is complete already; pass --force to train again",
                model.display()
            )),
        }
        Ok(standing == Standing::Done)
    }

    /// Removes the state of an earlier run and all that was made of its models: a state must not be
    /// continued, the rest must not stand beside other weights. The models stay until the inputs of
    /// those that replace them are known to be good.
    fn clear(&self) {
        let mut files = run_files::of_evaluation(&self.tree, self.kind, self.setup.data_type);
        files.extend(run_files::of_reads(&self.tree));
        files.extend(run_files::of_training(&self.tree, self.kind));
        for path in files.iter().filter(|path| !self.is_model(path)) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The models that training leaves.
    fn models(&self) -> impl Iterator<Item = PathBuf> {
        let files = run_files::of_training(&self.tree, self.kind).into_iter();
        files.filter(|path| self.is_model(path))
    }

    fn is_model(&self, path: &Path) -> bool {
        path.starts_with(self.tree.root().join("models"))
    }

    fn state_path(&self) -> PathBuf {
        self.tree.logs(&format!("{}.state.safetensors", self.kind))
    }

    /// Reads and cross-checks the inputs.
    pub(super) fn open(&self, training: &Training) -> Result<Data> {
        let paths = &self.setup.inputs;
        let peaks = regions::read(&paths.peaks)?;
        let nonpeaks = regions::read(&paths.nonpeaks)?;
        let folds = folds::read(&paths.folds)?;
        let sizes = chrom_sizes::read(&paths.chrom_sizes)?;
        let tracks = self.timed("counts", || self.open_tracks())?;
        // What was read is what the record names.
        self.watched.iter().try_for_each(Watched::check)?;
        let data = Data { tracks, peaks, nonpeaks, folds };
        let signal = self.setup.signal.path();
        preflight::opened(paths, signal, training, &sizes, &data, &self.console)?;
        if self.starts_over {
            for path in self.models() {
                let _ = std::fs::remove_file(path);
            }
        }
        self.timed("shift figure", || {
            self.shift_qc(&data.tracks, &data.folds);
            Ok(())
        })?;
        Ok(data)
    }

    fn open_tracks(&self) -> Result<Tracks> {
        let (paths, console) = (&self.setup.inputs, &self.console);
        let genome = inputs::open_genome(&paths.genome, &paths.cache_dir, console)?;
        match &self.setup.signal {
            SignalInput::Track(path) => {
                inputs::with_signal(genome, &paths.genome, path, &paths.cache_dir, console)
            }
            SignalInput::Reads(reads) => self.count(reads, genome),
        }
    }

    /// Opens the counts of reads. They are packed into the cache, where other folds and the other
    /// model of this data find them, and left as the official bigWig.
    fn count(&self, reads: &reads::Reads, genome: Arc<GenomePack>) -> Result<Tracks> {
        let contigs = reads::contigs(genome.contigs());
        let figures = self.tree.evaluation("shift");
        let counting = reads.on(Some(&genome), contigs, figures, &self.console)?;
        let signal = Arc::new(counting.open_cached(&self.setup.inputs.cache_dir)?);
        let track = self.reads_bigwig();
        // What lies there may have been made of other reads; of a run that is done it was not.
        if !self.done || !track.exists() {
            bigwig::write_pack(&track, &signal)?;
            self.console.info(format!("wrote {}", track.display()));
        }
        Ok(Tracks::new(genome, Some(signal)))
    }

    /// Draws the bases around the cut sites, of reads or of a bigWig. It is there to be looked at:
    /// without it a run goes on.
    fn shift_qc(&self, tracks: &Tracks, folds: &Folds) {
        let Setup { data_type, reference_motifs, .. } = &self.setup;
        let prefix = self.tree.evaluation(qc::STEM);
        match ShiftQc::of_fold(tracks, folds, *data_type, reference_motifs.as_deref(), &prefix) {
            Ok(Some(found)) => found.say(&self.console),
            Ok(None) => {}
            Err(error) => self.console.warning(format!("no figure of the shift: {error}")),
        }
    }

    /// Where the official tool leaves the counts that it made from reads.
    fn reads_bigwig(&self) -> PathBuf {
        self.tree.auxiliary("data_unstranded.bw")
    }

    /// Says what the filters did, and leaves the official tables: `dropped.tsv`, the rows that stayed
    /// under the names `peaks` and `nonpeaks`, the parameters of data and model. `params` needs no
    /// more than what only one of the models knows.
    pub(super) fn write_tables(
        &self,
        selected: &SelectedRegions,
        [peaks, nonpeaks]: [&Path; 2],
        params: ModelParams,
    ) -> Result<()> {
        let path = self.tree.auxiliary("dropped.tsv");
        params_tsv::write_dropped(&path, &selected.dropped)?;
        for warning in &selected.warnings {
            self.console.warning(warning);
        }
        self.console.info(format!(
            "kept {} peaks and {} nonpeaks for training and validation, {} and {} for testing; {} dropped (see {}); counts_loss_weight {}",
            selected.test_peaks_from,
            selected.test_nonpeaks_from,
            selected.peaks.len() - selected.test_peaks_from,
            selected.nonpeaks.len() - selected.test_nonpeaks_from,
            selected.dropped.len(),
            path.display(),
            selected.counts_loss_weight
        ));
        params_tsv::write_filtered_bed(peaks, selected.all_peaks())?;
        params_tsv::write_filtered_bed(nonpeaks, selected.all_nonpeaks())?;
        let table = |name: &str| self.tree.logs(&format!("{}_{name}.tsv", self.kind));
        params_tsv::write_data_params(&table("data_params"), &selected.data_params())?;
        params_tsv::write_model_params(&table("model_params"), &params)
    }

    /// Fits and returns the best parameters; an error when interrupted.
    pub(super) fn fit(
        &self,
        engine: &mut dyn Train,
        sampler: &Sampler,
        valid: &[Example],
        settle_counts: Option<Tracks>,
    ) -> Result<Fitted> {
        let options = &self.setup.options;
        self.console.info(format!(
            "{}: {} examples an epoch, {} for validation, batch {}; {}",
            self.kind,
            sampler.examples_per_epoch(),
            valid.len(),
            options.batch_size,
            engine.describe()
        ));
        let stop = StopFlag::on_signals()?;
        let cfg = FitConfig {
            epochs: options.epochs,
            early_stop: options.early_stop,
            batch_size: options.batch_size,
            trackables: self.setup.trackables.clone(),
            log: self.tree.logs(&format!("{}.log", self.kind)),
            batch_log: self.tree.logs(&format!("{}.log.batch", self.kind)),
            state: self.state_path(),
            run_key: self.record.key(),
            arch: self.setup.arch,
            fallback: self.setup.device.fallback.clone(),
            precision: self.setup.device.device.precision(),
            settle_counts,
        };
        let ended = self.timed("training", || {
            fit(engine, sampler, valid, &cfg, &self.console, &mut || stop.is_requested())
        })?;
        match ended {
            Ended::Interrupted { epoch, batches_done } => Err(Problem::new(format!(
                "interrupted in epoch {} after {batches_done} batches; the state is saved",
                epoch + 1
            ))
            .at(cfg.state.display())
            .fix("run the same command again to go on")
            .into()),
            Ended::Finished { best, best_epoch, val, epochs_run, seconds } => {
                let examples = sampler.examples_per_epoch() * epochs_run;
                let outcome = json!({"best_epoch": best_epoch, "epochs_run": epochs_run,
                                     "val_loss": val, "engine": engine.describe(),
                                     "seconds": seconds,
                                     "examples_per_s": examples as f64 / seconds.max(1e-9)});
                Ok(Fitted { best, outcome })
            }
        }
    }

    /// Leaves `*.args.json` as the official tool does: the arguments of its inner training step.
    pub(super) fn write_args(&self, peaks: Option<&Path>, nonpeaks: &Path) -> Result<()> {
        let Setup { inputs, options, trackables, signal, .. } = &self.setup;
        let signal = signal.track().map_or_else(|| self.reads_bigwig(), Path::to_path_buf);
        // JSON holds UTF-8 only, a path any bytes.
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let official = json!({
            "genome": text(&inputs.genome), "bigwig": text(&signal),
            "peaks": peaks.map_or("None".into(), text), "nonpeaks": text(nonpeaks),
            "output_prefix": text(&self.tree.models(self.kind.stem())),
            "chr_fold_path": text(&inputs.folds),
            "epochs": options.epochs, "early_stop": options.early_stop,
            "batch_size": options.batch_size, "learning_rate": options.learning_rate,
            "params": text(&self.tree.logs(&format!("{}_model_params.tsv", self.kind))),
            "seed": options.seed, "trackables": trackables,
        });
        let path = self.tree.logs(&format!("{}.args.json", self.kind));
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        serde::Serialize::serialize(
            &official,
            &mut serde_json::Serializer::with_formatter(&mut text, indent),
        )?;
        atomic::write(&path, |out| Ok(std::io::Write::write_all(out, &text)?))
    }

    /// Marks the run as done and removes the state that is no longer needed.
    pub(super) fn complete(&mut self, outcome: Value) -> Result<()> {
        let models: Vec<PathBuf> = self.models().collect();
        self.record.complete(models, outcome, &self.record_path)?;
        let _ = std::fs::remove_file(self.state_path());
        Ok(())
    }
}

/// Regions of one split as sites; rows count within `regions`. Their contigs are in the genome:
/// the edge filter has seen to that.
pub(super) fn sites(
    regions: &[Region],
    folds: &Folds,
    split: Split,
    genome: &GenomePack,
) -> Vec<Site> {
    let splits = folds.splits();
    let mut sites = Vec::new();
    for (row, region) in regions.iter().enumerate() {
        if splits.of(&region.chrom) != Some(split) {
            continue;
        }
        if let Some(contig) = genome.contig_id(&region.chrom) {
            sites.push(Site { contig, center: region.center() as u32, row: row as u32 });
        }
    }
    sites
}
