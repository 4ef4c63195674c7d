//! Trains a bias model, and then a ChromBPNet model, from a genome pack and a signal pack.
//!
//! ```text
//! cbp-fast pack genome -g genome.fa -o genome.cbg
//! cbp-fast pack signal -ibam reads.bam -c chrom.sizes -d ATAC -o counts.cbs
//! cargo run --release --example train -- genome.cbg counts.cbs chrom.sizes peaks.bed nonpeaks.bed fold.json OUT
//! ```

use std::path::Path;

use anyhow::Result;
use cbp_fast::Device;
use cbp_fast::jobs::{
    Architecture, ChosenDevice, Console, DataType, Inputs, Options, Setup, SignalInput, TrainBias,
    TrainChrombpnet, Trained,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [genome, counts, chrom_sizes, peaks, nonpeaks, folds, out] = &arguments[..] else {
        eprintln!("usage: train GENOME.cbg COUNTS.cbs CHROM_SIZES PEAKS NONPEAKS FOLD.json OUT");
        std::process::exit(2);
    };
    let inputs = Inputs {
        genome: genome.into(),
        chrom_sizes: chrom_sizes.into(),
        peaks: peaks.into(),
        nonpeaks: nonpeaks.into(),
        folds: folds.into(),
        cache_dir: cbp_fast::CACHE_FOLDER.into(),
    };
    let models = [Architecture::new(2114, 1000, 128, 4)?, Architecture::new(2114, 1000, 512, 8)?];
    let console = Console::new(false, false);
    train(&inputs, counts, models, Options::OFFICIAL, Path::new(out), &console)?;
    Ok(())
}

/// Leaves two runs, `out/bias` and `out/chrombpnet`; returns the second. `models`: shapes of the bias model and of the
/// main branch.
pub fn train(
    inputs: &Inputs,
    counts: &str,
    models: [Architecture; 2],
    options: Options,
    out: &Path,
    console: &Console,
) -> Result<Trained> {
    let setup = |arch, folder: &str| -> Result<Setup> {
        let signal = SignalInput::Track(counts.into());
        let device = ChosenDevice::asked(Device::auto()?);
        let folder = out.join(folder);
        let mut setup = Setup::new(inputs.clone(), signal, DataType::Atac, arch, &folder, device);
        setup.options = options;
        Ok(setup)
    };
    let [bias, main] = models;
    TrainBias::new(setup(bias, "bias")?).run(console)?;
    let bias_model = out.join("bias/models/bias.h5");
    TrainChrombpnet::new(setup(main, "chrombpnet")?, &bias_model).run(console)
}
