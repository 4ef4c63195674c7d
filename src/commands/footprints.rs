//! `footprints`: what models predict around motifs that stand in background sequences.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs, DataType, DeviceArgs};
use crate::error::Problem;
use crate::footprint::job::{Job, Motifs};

/// Marginal footprints: each motif is put into the middle of the background regions on the test
/// chromosomes, and the predicted profiles of both strands are averaged.
///
/// Writes PREFIX_footprints.h5 and, for the background itself (control) and every motif,
/// PREFIX.MOTIF.footprint.png and .svg. Motifs with tn5 or dnase in their name also give
/// PREFIX_max_bias_response.txt: corrected when none of their footprints reaches 0.003, else
/// uncorrected. A PREFIX that ends in / is a folder, in which names begin with _ and the model's kind.
/// Several models (folds) give the profile of their mean logits and mean log counts.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct FootprintsArgs {
    /// Keras .h5 model, or its folds; usually chrombpnet_nobias.h5
    #[arg(short = 'm', long, alias = "model-h5", num_args = 1.., required = true)]
    pub model: Vec<PathBuf>,

    /// Background regions (nonpeaks), 10 columns
    #[arg(short = 'r', long)]
    pub regions: PathBuf,

    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long)]
    pub genome: PathBuf,

    /// Fold JSON; only regions on its test chromosomes are used (-fl)
    #[arg(long)]
    pub chr_fold_path: PathBuf,

    /// Motifs to insert (-pwm_f): lines of name, tab, sequence
    #[arg(long, value_name = "TSV", help_heading = "Explanation")]
    pub motifs_to_pwm: Option<PathBuf>,

    /// Insert the motifs that this assay's enzyme likes to cut, instead of a file's
    #[arg(
        short = 'd',
        long,
        value_enum,
        conflicts_with = "motifs_to_pwm",
        help_heading = "Explanation"
    )]
    pub data_type: Option<DataType>,

    /// Regions per step (-bs)
    #[arg(long, default_value_t = 64, help_heading = "Device")]
    pub batch_size: usize,

    /// Output prefix (-op)
    #[arg(short = 'o', long, help_heading = "Output")]
    pub output_prefix: PathBuf,

    /// Range of the figures' y axis, e.g. 0,0.01 [default: fits each footprint]
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, allow_hyphen_values = true,
          help_heading = "Output")]
    pub ylim: Option<(f64, f64)>,

    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// `0,0.8`, with or without brackets.
fn range(text: &str) -> Result<(f64, f64), String> {
    let inner = text.trim().trim_start_matches('(').trim_end_matches(')');
    let numbers = inner.split_once(',').and_then(|(low, high)| {
        Some((low.trim().parse::<f64>().ok()?, high.trim().parse::<f64>().ok()?))
    });
    match numbers {
        Some((low, high)) if low < high && low.is_finite() && high.is_finite() => Ok((low, high)),
        _ => Err("expected two numbers, the lower one first, e.g. 0,0.01".into()),
    }
}

impl FootprintsArgs {
    /// What will happen.
    fn job(self) -> Result<Job> {
        let motifs = match (self.motifs_to_pwm, self.data_type) {
            (Some(path), _) => Motifs::File(path),
            (None, Some(data_type)) => Motifs::Enzyme(data_type),
            (None, None) => {
                return Err(Problem::new("no motifs given")
                    .fix("pass -pwm_f with a file of motifs, or -d for those of the assay's enzyme")
                    .into());
            }
        };
        Ok(Job {
            models: self.model,
            regions: self.regions,
            genome: self.genome,
            folds: self.chr_fold_path,
            motifs,
            batch_size: self.batch_size,
            output_prefix: self.output_prefix,
            ylim: self.ylim,
            cache_dir: self.cache.cache_dir,
            device: self.device.choose()?,
        })
    }
}

pub fn run(args: FootprintsArgs) -> Result<()> {
    let console = args.console.console();
    args.job()?.run(&console)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges() {
        assert_eq!(range("0,0.8"), Ok((0.0, 0.8)));
        assert_eq!(range("(-0.1, 0.8)"), Ok((-0.1, 0.8)));
        for wrong in ["", "0", "1,0", "a,b", "0,inf", "0,1,2"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
