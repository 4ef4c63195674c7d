//! What `train` and `bias train` share: settle the run, prepare the data, fit, leave the files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::reads::{self, Reads};
use super::{check, inputs, prefix, shift_qc};
use crate::batch::sampler::{Sampler, Site};
use crate::cli::args::{Chosen, TrainingArgs};
use crate::cli::reads_args::SignalInput;
use crate::console::Console;
use crate::engine::{Device, Train};
use crate::error::Problem;
use crate::files::{atomic, bigwig, params_tsv};
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds, Split};
use crate::input::regions::{self, Region};
use crate::model::{Architecture, ParameterSet};
use crate::pack::cache::{self, Watched};
use crate::preflight::Training;
use crate::report;
use crate::report::folder::Kind;
use crate::run::claim::{Claim, Claimed};
use crate::run::outputs;
use crate::select::SelectedRegions;
use crate::store::{GenomePack, Tracks};
use crate::train::fit::{FitConfig, Outcome, fit};
use crate::train::output::OutputTree;
use crate::train::record::RunRecord;
use crate::train::stop::StopFlag;

/// One training run, settled: where it writes, what it is, whether it is already done.
pub struct Run {
    pub tree: OutputTree,
    pub arch: Architecture,
    pub console: Console,
    pub device: Device,
    /// Why the device is the CPU although nobody asked for it.
    fallback: Option<String>,
    /// `bias` or `chrombpnet`: the stem of every file name.
    pub stem: &'static str,
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
    pub run: Run,
    /// What was opened for it; `None` where nothing had to be done.
    pub data: Option<Data>,
}

impl Trained {
    /// The page about the run, with which official training ends too; kept while it shows what is there.
    /// The models are no worse without it.
    pub fn report(&self, args: &TrainingArgs) {
        let run = &self.run;
        let request = report::Request {
            folder: run.tree.root(),
            file_prefix: args.file_prefix.as_deref(),
            signal: args.bigwig.as_deref(),
            html: None,
            // The folder is this run's: `Run::settle` has seen to that.
            force: true,
        };
        if self.data.is_none() && report::is_current(&request) {
            return;
        }
        if let Err(error) = report::write(&request, &run.console) {
            run.console.warning(format!("no report: {error:#}"));
        }
    }

    /// Genome and signal of the run.
    pub fn tracks(&self, args: &TrainingArgs) -> Result<Tracks> {
        match &self.data {
            Some(data) => Ok(data.tracks.clone()),
            None => {
                let run = &self.run;
                let genome =
                    inputs::open_genome(&args.genome, &args.cache.cache_dir, &run.console)?;
                run.open_signal(args, genome)
            }
        }
    }
}

/// Everything that was read from the inputs.
pub struct Data {
    pub tracks: Tracks,
    pub peaks: Vec<Region>,
    pub nonpeaks: Vec<Region>,
    pub folds: Folds,
}

impl Run {
    /// Settles a run in its output folder; it may be done already. `settings` are those that `TrainingArgs` does not hold; `inputs` likewise.
    ///
    /// Errors when the folder holds a run of other settings or inputs (listing what changed), unless
    /// `--force`.
    pub fn settle(
        args: &TrainingArgs,
        stem: &'static str,
        arch: Architecture,
        settings: &[(&str, Value)],
        more_inputs: &[(&str, &Path)],
    ) -> Result<Self> {
        let console = args.console.console();
        args.refuse_unsupported()?;
        prefix::check_of_files(args.file_prefix.as_deref())?;
        let claimed = claim(args, stem, more_inputs).take(&console)?;
        let Chosen { device, fallback } = args.device.apply(&console)?;
        check::before_packing(args, arch)?;
        let tree = OutputTree::new(&args.output_dir, args.file_prefix.as_deref());

        let mut roles: Vec<(String, &Path)> = vec![
            ("genome".into(), &args.genome),
            ("chrom_sizes".into(), &args.chrom_sizes),
            ("peaks".into(), &args.peaks),
            ("nonpeaks".into(), &args.nonpeaks),
            ("chr_fold_path".into(), &args.chr_fold_path),
        ];
        let signal = args.signal()?;
        match &signal {
            SignalInput::Track(path) => roles.push(("signal".into(), path)),
            SignalInput::Reads(sources) => {
                let files = sources.files.iter().enumerate();
                roles.extend(files.map(|(i, path)| (format!("reads_{}", i + 1), path.as_path())));
                roles.extend(args.reads.barcodes.iter().map(|p| ("barcodes".into(), p.as_path())));
                // They decide a shift that is detected.
                let motifs = args.reads.reference_motifs(args.data_type);
                let motifs = motifs.filter(|_| args.reads.shift.is_none());
                roles.extend(motifs.map(|path| ("reference_motifs".into(), path)));
            }
        }
        roles.extend(more_inputs.iter().map(|(role, path)| ((*role).to_string(), *path)));
        let mut inputs = BTreeMap::new();
        let mut watched = Vec::with_capacity(roles.len());
        for (role, path) in roles {
            watched.push(Watched::begin(path)?);
            inputs.insert(role, cache::fingerprint_in(path, &args.cache.cache_dir)?);
        }
        let record = RunRecord {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line: args.command_line(),
            settings: common_settings(args, stem)
                .into_iter()
                .chain(reads_settings(args, &signal))
                .chain(settings.iter().cloned())
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
            inputs,
            complete: false,
            outcome: Value::Null,
            left: BTreeMap::new(),
        };
        let record_path = tree.logs(&format!("{stem}.run.json"));
        let times = RefCell::default();
        let mut run = Self {
            tree,
            arch,
            console,
            device,
            fallback,
            stem,
            record,
            record_path,
            watched,
            done: false,
            starts_over: args.force,
            _claimed: claimed,
            times,
        };
        run.done = run.is_done_before(args.force)?;
        if run.done {
            return Ok(run);
        }
        run.tree.create()?;
        // Without a state, what an earlier run of this folder left is of other weights.
        run.starts_over |= run.record_path.exists() && !run.state_path().exists();
        if run.starts_over {
            run.clear(args);
        }
        run.record.write(&run.record_path)?;
        Ok(run)
    }

    /// An earlier run left all there is to make.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Short hash of all that the models depend on.
    pub fn key(&self) -> String {
        self.record.key()
    }

    /// Does a part of the run, and remembers how long it took.
    pub fn timed<T>(&self, part: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let done = work()?;
        self.times.borrow_mut().push((part, start.elapsed()));
        Ok(done)
    }

    /// The parts done so far, in order.
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        self.times.borrow().clone()
    }

    fn is_done_before(&self, force: bool) -> Result<bool> {
        if force {
            return Ok(false);
        }
        let other = if self.stem == "bias" { "chrombpnet" } else { "bias" };
        let of_other = self.tree.logs(&format!("{other}.run.json"));
        if of_other.exists() {
            // Several files of both have one name.
            return Err(Problem::new(format!("the output folder holds a {other} run"))
                .at(of_other.display())
                .fix("choose another -o: each run has a folder of its own")
                .into());
        }
        let model = self.tree.models(&format!("{}.h5", self.stem));
        let models = self.tree.root().join("models");
        let Some(earlier) = RunRecord::read(&self.record_path)? else {
            if model.exists() {
                return Err(Problem::new("the output folder already holds a model of another run")
                    .at(model.display())
                    .fix("choose another -o, or pass --force to replace it")
                    .into());
            }
            return Ok(false);
        };
        let changes = earlier.changes(&self.record);
        // A run that stopped before its first epoch left nothing that could be lost.
        let holds_work = model.exists() || self.state_path().exists();
        if !changes.is_empty() && holds_work {
            return Err(Problem::new(format!(
                "the output folder holds a run with other settings or inputs:\n    {}",
                changes.join("\n    ")
            ))
            .at(self.tree.root().display())
            .fix("choose another -o, or pass --force to start over")
            .into());
        }
        if !changes.is_empty() {
            // The counts of other reads must not be taken for those of this run.
            let _ = std::fs::remove_file(self.reads_bigwig());
        }
        if earlier.complete && earlier.is_whole(&models, "-o")? && model.exists() {
            self.console.info(format!(
                "{} is complete already; pass --force to train again",
                model.display()
            ));
            return Ok(true);
        }
        Ok(false)
    }

    /// Removes the state of an earlier run and all that was made of its models: a state must not be
    /// continued, the rest must not stand beside other weights. The models stay until the inputs of
    /// those that replace them are known to be good.
    fn clear(&self, args: &TrainingArgs) {
        let kind = kind(self.stem);
        let mut files = outputs::of_evaluation(&self.tree, kind, args.data_type);
        files.extend(outputs::of_reads(&self.tree));
        files.extend(outputs::of_training(&self.tree, kind));
        for path in files.iter().filter(|path| !self.is_model(path)) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn clear_models(&self) {
        for path in outputs::of_training(&self.tree, kind(self.stem)) {
            if self.is_model(&path) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn is_model(&self, path: &Path) -> bool {
        path.starts_with(self.tree.root().join("models"))
    }

    fn state_path(&self) -> PathBuf {
        self.tree.logs(&format!("{}.state.safetensors", self.stem))
    }

    /// Reads and cross-checks the inputs.
    pub fn open(&self, args: &TrainingArgs, training: &Training) -> Result<Data> {
        let console = &self.console;
        let peaks = regions::read(&args.peaks)?;
        let nonpeaks = regions::read(&args.nonpeaks)?;
        let folds = folds::read(&args.chr_fold_path)?;
        let sizes = chrom_sizes::read(&args.chrom_sizes)?;
        let tracks = self.timed("counts", || {
            let genome = inputs::open_genome(&args.genome, &args.cache.cache_dir, console)?;
            self.open_signal(args, genome)
        })?;
        // What was read is what the record names.
        self.watched.iter().try_for_each(Watched::check)?;
        let data = Data { tracks, peaks, nonpeaks, folds };
        check::opened(args, training, &sizes, &data, console)?;
        if self.starts_over {
            self.clear_models();
        }
        self.timed("shift figure", || {
            self.shift_qc(args, &data.tracks, &data.folds);
            Ok(())
        })?;
        Ok(data)
    }

    /// Opens the counts. Those of reads are packed into the cache, where other folds and the other
    /// model of this data find them, and left as the official bigWig.
    fn open_signal(&self, args: &TrainingArgs, genome: Arc<GenomePack>) -> Result<Tracks> {
        let (cache_dir, console) = (&args.cache.cache_dir, &self.console);
        let sources = match args.signal()? {
            SignalInput::Track(path) => {
                return inputs::with_signal(genome, &args.genome, &path, cache_dir, console);
            }
            SignalInput::Reads(sources) => sources,
        };
        let contigs = reads::contigs(genome.contigs());
        let reads = Reads::new(
            sources,
            &args.reads,
            args.data_type,
            Some(&genome),
            contigs,
            self.tree.evaluation("shift"),
            console,
        )?;
        let signal = Arc::new(reads.open_cached(cache_dir)?);
        let track = self.reads_bigwig();
        // What lies there may have been made of other reads; of a run that is done it was not.
        if !self.done || !track.exists() {
            bigwig::write_pack(&track, &signal)?;
            console.info(format!("wrote {}", track.display()));
        }
        Ok(Tracks::new(genome, Some(signal)))
    }

    /// The bases around the cut sites, of reads or of a bigWig. It is there to be looked at: without
    /// it a run goes on.
    fn shift_qc(&self, args: &TrainingArgs, tracks: &Tracks, folds: &Folds) {
        let data_type = args.data_type;
        let reference = args.reads.reference_motifs(data_type);
        let prefix = self.tree.evaluation(shift_qc::STEM);
        match shift_qc::of_fold(tracks, folds, data_type, reference, &prefix) {
            Ok(Some(qc)) => shift_qc::say(&qc, &self.console),
            Ok(None) => {}
            Err(error) => self.console.warning(format!("no figure of the shift: {error}")),
        }
    }

    /// Where the official tool leaves the counts that it made from reads.
    fn reads_bigwig(&self) -> PathBuf {
        self.tree.auxiliary("data_unstranded.bw")
    }

    /// Says what the filters did, and leaves `dropped.tsv`.
    pub fn report_selection(&self, selected: &SelectedRegions) -> Result<()> {
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
        Ok(())
    }

    /// Fits and returns the best parameters; an error when interrupted.
    pub fn fit(
        &self,
        args: &TrainingArgs,
        engine: &mut dyn Train,
        sampler: &Sampler,
        valid: &[crate::batch::Example],
        settle_counts: Option<Tracks>,
    ) -> Result<Fitted> {
        self.console.info(format!(
            "{}: {} examples an epoch, {} for validation, batch {}; {}",
            self.stem,
            sampler.examples_per_epoch(),
            valid.len(),
            args.batch_size,
            engine.describe()
        ));
        let stop = StopFlag::on_signals()?;
        let cfg = FitConfig {
            epochs: args.epochs,
            early_stop: args.early_stop,
            batch_size: args.batch_size,
            trackables: args.trackables.clone(),
            log: self.tree.logs(&format!("{}.log", self.stem)),
            batch_log: self.tree.logs(&format!("{}.log.batch", self.stem)),
            state: self.state_path(),
            run_key: self.record.key(),
            arch: self.arch,
            fallback: self.fallback.clone(),
            precision: self.device.precision(),
            settle_counts,
        };
        let outcome = self.timed("training", || {
            fit(engine, sampler, valid, &cfg, &self.console, &mut || stop.is_requested())
        })?;
        match outcome {
            Outcome::Interrupted { epoch, batches_done } => Err(Problem::new(format!(
                "interrupted in epoch {} after {batches_done} batches; the state is saved",
                epoch + 1
            ))
            .at(cfg.state.display())
            .fix("run the same command again to go on")
            .into()),
            Outcome::Finished { best, best_epoch, val, epochs_run, seconds } => {
                let examples = sampler.examples_per_epoch() * epochs_run;
                let outcome = json!({"best_epoch": best_epoch, "epochs_run": epochs_run,
                                     "val_loss": val, "engine": engine.describe(),
                                     "seconds": seconds,
                                     "examples_per_s": examples as f64 / seconds.max(1e-9)});
                Ok(Fitted { best, outcome })
            }
        }
    }

    /// `*.args.json`, as the official tool leaves it: the arguments of its inner training step.
    pub fn write_args(
        &self,
        args: &TrainingArgs,
        peaks: Option<&Path>,
        nonpeaks: &Path,
    ) -> Result<()> {
        let signal = match args.signal()? {
            SignalInput::Track(path) => path,
            SignalInput::Reads(_) => self.reads_bigwig(),
        };
        // JSON holds UTF-8 only, a path any bytes.
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let official = json!({
            "genome": text(&args.genome), "bigwig": text(&signal),
            "peaks": peaks.map_or("None".into(), text), "nonpeaks": text(nonpeaks),
            "output_prefix": text(&self.tree.models(self.stem)),
            "chr_fold_path": text(&args.chr_fold_path),
            "epochs": args.epochs, "early_stop": args.early_stop, "batch_size": args.batch_size,
            "learning_rate": args.learning_rate,
            "params": text(&self.tree.logs(&format!("{}_model_params.tsv", self.stem))),
            "seed": args.seed, "trackables": args.trackables,
        });
        let path = self.tree.logs(&format!("{}.args.json", self.stem));
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        serde::Serialize::serialize(
            &official,
            &mut serde_json::Serializer::with_formatter(&mut text, indent),
        )?;
        atomic::write(&path, |out| Ok(std::io::Write::write_all(out, &text)?))
    }

    /// Marks the run as done and removes the state that is no longer needed.
    pub fn complete(&mut self, outcome: Value) -> Result<()> {
        let files = outputs::of_training(&self.tree, kind(self.stem));
        let models: Vec<PathBuf> = files.into_iter().filter(|path| self.is_model(path)).collect();
        self.record.remember(models)?;
        self.record.complete = true;
        self.record.outcome = outcome;
        self.record.write(&self.record_path)?;
        let _ = std::fs::remove_file(self.state_path());
        Ok(())
    }
}

/// What training left.
pub struct Fitted {
    pub best: ParameterSet,
    /// For the run record.
    pub outcome: Value,
}

fn kind(stem: &str) -> Kind {
    match stem {
        "bias" => Kind::Bias,
        _ => Kind::Chrombpnet,
    }
}

/// What a training, and the pipeline around it, reads and writes.
fn claim(args: &TrainingArgs, stem: &str, more_inputs: &[(&str, &Path)]) -> Claim {
    let (tree, kind) = (OutputTree::new(&args.output_dir, args.file_prefix.as_deref()), kind(stem));
    let reads = &args.reads;
    let mut claim = Claim::new(if stem == "bias" { "bias train" } else { "train" })
        .reads("-g", [&args.genome])
        .reads("-c", [&args.chrom_sizes])
        .reads("-p", [&args.peaks])
        .reads("-n", [&args.nonpeaks])
        .reads("-fl", [&args.chr_fold_path])
        .reads("-bw", &args.bigwig)
        .reads("-ibam", &reads.input_bam_file)
        .reads("-ifrag", &reads.input_fragment_file)
        .reads("-itag", &reads.input_tagalign_file)
        .reads("--barcodes", &reads.barcodes)
        .reads("--ATAC-ref-path", &reads.atac_ref_path)
        .reads("--DNASE-ref-path", &reads.dnase_ref_path);
    for (_, path) in more_inputs {
        claim = claim.reads("-b", [&path.to_path_buf()]);
    }
    claim
        .writes("-o", outputs::of_training(&tree, kind))
        .writes("-o", outputs::of_reads(&tree))
        .writes("-o", outputs::of_evaluation(&tree, kind, args.data_type))
        .folder("-o", &args.output_dir)
}

/// Errors when a file that is given with `flag`, beside the inputs of training, is one that the run
/// writes.
pub fn refuse_as_input(
    args: &TrainingArgs,
    stem: &str,
    flag: &str,
    path: Option<&PathBuf>,
) -> Result<(), Problem> {
    claim(args, stem, &[]).reads(flag, path).check()
}

/// Every flag that the weights depend on.
fn common_settings(args: &TrainingArgs, stem: &'static str) -> Vec<(&'static str, Value)> {
    vec![
        ("model", json!(stem)),
        ("outlier_threshold", json!(args.outlier_threshold)),
        ("inputlen", json!(args.inputlen)),
        ("outputlen", json!(args.outputlen)),
        ("seed", json!(args.seed)),
        ("epochs", json!(args.epochs)),
        ("early_stop", json!(args.early_stop)),
        ("learning_rate", json!(args.learning_rate)),
        ("batch_size", json!(args.batch_size)),
    ]
}

/// What the counts depend on when they come from reads.
fn reads_settings(args: &TrainingArgs, signal: &SignalInput) -> Vec<(&'static str, Value)> {
    match signal {
        SignalInput::Track(_) => vec![],
        SignalInput::Reads(sources) => vec![
            ("data_type", json!(format!("{:?}", args.data_type))),
            ("reads_format", json!(sources.format.name())),
            ("reads", args.reads.settings()),
        ],
    }
}

/// Regions of one split as sites; rows count within `regions`. Their contigs are in the genome:
/// the edge filter has seen to that.
pub fn sites(regions: &[Region], folds: &Folds, split: Split, genome: &GenomePack) -> Vec<Site> {
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
