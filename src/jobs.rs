//! Trainings as plain values: what will happen, filled by hand or from a command line, and run.
//!
//! ```no_run
//! use cbp_fast::jobs::{
//!     Architecture, ChosenDevice, Console, DataType, Inputs, Setup, SignalInput, TrainBias,
//! };
//! use cbp_fast::Device;
//! use std::path::Path;
//!
//! let inputs = Inputs {
//!     genome: "hg38.cbg".into(),
//!     chrom_sizes: "hg38.chrom.sizes".into(),
//!     peaks: "peaks.bed".into(),
//!     nonpeaks: "nonpeaks.bed".into(),
//!     folds: "fold_0.json".into(),
//!     cache_dir: cbp_fast::CACHE_FOLDER.into(),
//! };
//! let signal = SignalInput::Track("counts.cbs".into());
//! let arch = Architecture::new(2114, 1000, 128, 4)?;
//! let device = ChosenDevice::asked(Device::auto()?);
//! let setup = Setup::new(inputs, signal, DataType::Atac, arch, Path::new("bias-run"), device);
//! TrainBias::new(setup).run(&Console::new(false, false))?;
//! # Ok::<(), anyhow::Error>(())
//! ```

pub use crate::console::Console;
pub use crate::engine::Chosen as ChosenDevice;
pub use crate::engine::CountsHead;
pub use crate::model::Architecture;
pub use crate::pack::reads::SignalInput;
pub use crate::pack::shift::DataType;
pub use crate::preflight::Inputs;
pub use crate::train::bias::Job as TrainBias;
pub use crate::train::chrombpnet::Job as TrainChrombpnet;
pub use crate::train::run::Trained;
pub use crate::train::setup::{Options, Setup};
