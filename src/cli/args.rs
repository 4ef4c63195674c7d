//! Argument groups that several commands share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::reads_args::ReadsArgs;
use crate::console::Console;
use crate::engine::cuda::driver;
use crate::engine::cuda::precision::Precision;
use crate::engine::{Chosen, Device};
use crate::error::Problem;
use crate::files::train_log as log;
use crate::model::Architecture;
use crate::pack::cache;
use crate::pack::reads::SignalInput;
pub use crate::pack::shift::DataType;
use crate::preflight::Inputs;
use crate::train::setup::{INPUTLEN, OUTPUTLEN};
use crate::train::{Options, Setup};

/// Where the numbers are computed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// auto, cpu, cuda or cuda:N
    ///
    /// `auto` takes the first GPU that can be used, else the CPU, and says why; a training run that
    /// would then take more than an hour stops and asks for `--device cpu`. `cuda` without a usable
    /// GPU is an error.
    #[arg(long, default_value = "auto")]
    pub device: String,

    /// Numbers of the large layers on a GPU: fp16, bf16, tf32, f32, or int8 for predictions
    ///
    /// Loss, weights and optimizer are f32 in all of them. tf32, the default, is what
    /// TensorFlow uses on the same GPUs. int8 multiplies 8-bit numbers and is refused wherever more
    /// than predictions is computed. The CPU computes in f32.
    #[arg(long)]
    pub precision: Option<Precision>,

    /// Threads; 0 takes every core. The result does not depend on it
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

impl DeviceArgs {
    /// Finds the device, says which it is, and sets the thread pool up. Call once, first thing in a
    /// command: a GPU or a precision that cannot be used is an error before anything is read.
    pub fn apply(&self, console: &Console) -> Result<Chosen> {
        let chosen = self.choose_whole()?;
        chosen.begin(console)?;
        Ok(chosen)
    }

    /// Begins the chosen device in a command that computes nothing but predictions.
    pub fn apply_to_predict(&self, console: &Console) -> Result<Chosen> {
        let chosen = self.choose()?;
        chosen.begin(console)?;
        Ok(chosen)
    }

    /// The flags that say the same on another command line; nothing for defaults.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if self.device != "auto" {
            flags.extend(["--device".into(), self.device.clone()]);
        }
        if let Some(precision) = self.precision {
            flags.extend(["--precision".into(), precision.to_string()]);
        }
        if self.threads > 0 {
            flags.extend(["--threads".into(), self.threads.to_string()]);
        }
        flags
    }

    /// True of `cuda` and `cuda:N`.
    pub fn names_gpu(&self) -> bool {
        let number = self.device.strip_prefix("cuda:").map(str::parse::<usize>);
        self.device == "cuda" || matches!(number, Some(Ok(_)))
    }

    /// Finds a device for more than predictions, and says nothing.
    pub fn choose_whole(&self) -> Result<Chosen> {
        self.precision.unwrap_or(Precision::DEFAULT).check_whole()?;
        self.choose()
    }

    /// Finds the device and says nothing.
    pub fn choose(&self) -> Result<Chosen> {
        let (precision, threads) = (self.precision.unwrap_or(Precision::DEFAULT), self.threads);
        let asked = |device| Ok(Chosen { device, fallback: None, threads });
        match self.device.as_str() {
            "cpu" => asked(self.cpu()?),
            "auto" => match driver::choose(None) {
                Ok(gpu) => asked(Device::Cuda { gpu, precision }),
                Err(reason) => Ok(Chosen { device: self.cpu()?, fallback: Some(reason), threads }),
            },
            #[cfg(feature = "emulate")]
            "emulated" => asked(Device::Emulated { precision }),
            other => {
                let ordinal = match other.strip_prefix("cuda") {
                    Some("") => None,
                    Some(number) => Some(
                        number
                            .strip_prefix(':')
                            .and_then(|n| n.parse().ok())
                            .ok_or_else(|| not_a_device(other))?,
                    ),
                    None => return Err(not_a_device(other).into()),
                };
                let gpu = driver::choose(ordinal).map_err(|reason| {
                    Problem::new(format!("--device {other}: {reason}"))
                        .fix("see `cbp-fast doctor`, or pass --device cpu")
                })?;
                asked(Device::Cuda { gpu, precision })
            }
        }
    }

    fn cpu(&self) -> Result<Device, Problem> {
        match self.precision {
            None | Some(Precision::F32) => Ok(Device::Cpu),
            Some(other) => {
                Err(Problem::new(format!("--precision {other}: the CPU computes in f32"))
                    .fix("leave --precision out, or pass --device cuda"))
            }
        }
    }
}

fn not_a_device(text: &str) -> Problem {
    Problem::new(format!("--device {text} is not a device")).fix("pass auto, cpu, cuda or cuda:N")
}

/// How much is said.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Messages")]
pub struct ConsoleArgs {
    /// Say nothing but warnings and errors
    #[arg(long, short = 'q')]
    pub quiet: bool,

    /// One JSON object per line on stderr instead of text
    #[arg(long)]
    pub log_json: bool,

    /// What messages of this run begin with, where a process has several
    #[arg(skip)]
    pub label: Option<&'static str>,
}

impl ConsoleArgs {
    pub fn console(self) -> Console {
        Console::new(self.quiet, self.log_json).labelled(self.label)
    }
}

/// Where packs made on the fly are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct CacheArgs {
    /// Folder for packs made from FASTA, bigWig and reads
    ///
    /// A pack is reused as long as its source is unchanged, so all commands that are run from one
    /// working folder, for any fold, share one genome pack and one signal pack.
    #[arg(long, default_value = cache::FOLDER)]
    pub cache_dir: PathBuf,
}

/// What `train` and `bias train` have in common: the official flags and ours.
#[derive(Args, Clone, Debug)]
pub struct TrainingArgs {
    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long, help_heading = "Inputs")]
    pub genome: PathBuf,

    /// Chromosome sizes, 2 columns
    #[arg(short = 'c', long, help_heading = "Inputs")]
    pub chrom_sizes: PathBuf,

    /// bigWig of shifted cut sites (-bw), or a signal pack; instead of reads
    #[arg(long, help_heading = "Inputs")]
    pub bigwig: Option<PathBuf>,

    #[command(flatten)]
    pub reads: ReadsArgs,

    /// Assay
    #[arg(short = 'd', long, value_enum, help_heading = "Inputs")]
    pub data_type: DataType,

    /// Peaks, 10-column narrowPeak; windows are centred on start + column 10
    #[arg(short = 'p', long, help_heading = "Inputs")]
    pub peaks: PathBuf,

    /// Background regions, 10 columns
    #[arg(short = 'n', long, help_heading = "Inputs")]
    pub nonpeaks: PathBuf,

    /// Fold JSON with train, valid and test lists of chromosomes (-fl)
    #[arg(long, help_heading = "Inputs")]
    pub chr_fold_path: PathBuf,

    /// Sequence length, bp (-il)
    #[arg(long, default_value_t = INPUTLEN, help_heading = "Model")]
    pub inputlen: usize,

    /// Profile length, bp (-ol)
    #[arg(long, default_value_t = OUTPUTLEN, help_heading = "Model")]
    pub outputlen: usize,

    /// Quantile of total counts beyond which regions are outliers, used at both ends (-oth)
    #[arg(long, default_value_t = Options::OFFICIAL.outlier_threshold, help_heading = "Training")]
    pub outlier_threshold: f64,

    /// Seed of weights, sampling and thresholds
    #[arg(short = 's', long, default_value_t = Options::OFFICIAL.seed, help_heading = "Training")]
    pub seed: u64,

    /// Epochs at most
    #[arg(short = 'e', long, default_value_t = Options::OFFICIAL.epochs, help_heading = "Training")]
    pub epochs: usize,

    /// Epochs without a better val_loss before stopping (-es)
    #[arg(long, default_value_t = Options::OFFICIAL.early_stop, help_heading = "Training")]
    pub early_stop: usize,

    /// Adam's step size
    #[arg(short = 'l', long, default_value_t = Options::OFFICIAL.learning_rate, help_heading = "Training")]
    pub learning_rate: f64,

    /// Examples per step (-bs)
    #[arg(long, default_value_t = Options::OFFICIAL.batch_size, help_heading = "Training")]
    pub batch_size: usize,

    /// Output folder
    #[arg(short = 'o', long, help_heading = "Output")]
    pub output_dir: PathBuf,

    /// Columns of the batch log (-track)
    #[arg(long, num_args = 0.., value_delimiter = ' ', overrides_with = "trackables",
          default_values_t = log::TRACKABLES.map(String::from),
          help_heading = "Output")]
    pub trackables: Vec<String>,

    /// Prefix of every output file name (-fp)
    #[arg(long, help_heading = "Output")]
    pub file_prefix: Option<String>,

    /// Start over: replace what an earlier run left in the output folder
    #[arg(long, help_heading = "Output")]
    pub force: bool,

    // Accepted so that official command lines run unedited; they steer the report or the cleanup,
    // or name a Python file.
    #[arg(short = 'a', long, hide = true, help_heading = "Model")]
    pub architecture_from_file: Option<PathBuf>,
    #[arg(long, hide = true, help_heading = "Output")]
    pub html_prefix: Option<String>,
    #[arg(long = "no-st", hide = true, help_heading = "Output")]
    pub no_st: bool,

    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,

    /// For the run record; `None`: that of the process
    #[arg(skip)]
    pub command_line: Option<Vec<String>>,
}

impl TrainingArgs {
    /// Where the counts come from: exactly one of --bigwig, -ibam, -ifrag and -itag.
    pub fn signal(&self) -> Result<SignalInput> {
        self.reads.signal(self.bigwig.as_deref(), Some(self.data_type))
    }

    pub fn inputs(&self) -> Inputs {
        Inputs {
            genome: self.genome.clone(),
            chrom_sizes: self.chrom_sizes.clone(),
            peaks: self.peaks.clone(),
            nonpeaks: self.nonpeaks.clone(),
            folds: self.chr_fold_path.clone(),
            cache_dir: self.cache.cache_dir.clone(),
        }
    }

    pub fn options(&self) -> Options {
        Options {
            outlier_threshold: self.outlier_threshold,
            seed: self.seed,
            epochs: self.epochs,
            early_stop: self.early_stop,
            learning_rate: self.learning_rate,
            batch_size: self.batch_size,
        }
    }

    /// The shape of the branch that is trained, of which each model has its own defaults.
    pub fn arch(&self, filters: usize, layers: usize) -> Result<Architecture, Problem> {
        Architecture::new(self.inputlen, self.outputlen, filters, layers)
    }

    /// What will happen, as far as both models share it.
    pub fn setup(&self, arch: Architecture) -> Result<Setup> {
        self.refuse_unsupported()?;
        Ok(Setup {
            inputs: self.inputs(),
            signal: self.signal()?,
            data_type: self.data_type,
            reference_motifs: self.reads.reference_motifs(self.data_type).map(Path::to_path_buf),
            arch,
            options: self.options(),
            output_dir: self.output_dir.clone(),
            file_prefix: self.file_prefix.clone(),
            trackables: self.trackables.clone(),
            force: self.force,
            device: self.device.choose_whole()?,
            command_line: self.command_line.clone().unwrap_or_else(super::command_line),
        })
    }

    /// Refuses what would change the result if it were ignored, or could not be trained with.
    pub fn refuse_unsupported(&self) -> Result<(), Problem> {
        if let Some(path) = &self.architecture_from_file {
            return Err(Problem::new("--architecture-from-file: a Python model cannot be run here")
                .at(path.display())
                .fix("leave the flag out: the official architecture is built in, sized by --filters and --n-dilation-layers"));
        }
        log::check(&self.trackables)?;
        self.options().check()
    }
}
