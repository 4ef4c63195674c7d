//! `footprints`: what models predict around motifs that stand in background sequences.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::prefix;
use crate::batch::sampler::fixed_plan;
use crate::cli::args::{CacheArgs, ConsoleArgs, DataType, DeviceArgs};
use crate::error::Problem;
use crate::footprint::made::Made;
use crate::footprint::{Motif, figure, motifs};
use crate::input::folds::{self, Split};
use crate::pack::inputs;
use crate::plot::canvas::with_extension;
use crate::predict::models::Models;
use crate::predict::outputs::suffixed;
use crate::predict::regions::{self, RegionFilter};
use crate::run::claim::Claim;

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

pub fn run(mut args: FootprintsArgs) -> Result<()> {
    let console = args.console.console();
    if args.batch_size == 0 {
        return Err(Problem::new("--batch-size must be at least 1").into());
    }
    prefix::check(&args.output_prefix, "-op")?;
    let device = args.device.apply_to_predict(&console)?.device;
    let motifs = match (&args.motifs_to_pwm, args.data_type) {
        (Some(path), _) => motifs::read(path)?,
        (None, Some(data_type)) => motifs::enzyme(data_type),
        (None, None) => {
            return Err(Problem::new("no motifs given")
                .fix("pass -pwm_f with a file of motifs, or -d for those of the assay's enzyme")
                .into());
        }
    };
    let models = Models::read(&args.model, &console)?;
    args.output_prefix = prefix::of_role(&args.output_prefix, models.role());
    let claimed = claim(&args, &motifs).take(&console)?;
    let inputlen = models.arch().inputlen;
    let tracks = inputs::open_tracks(&args.genome, None, &args.cache.cache_dir, &console)?;
    let folds = folds::read(&args.chr_fold_path)?;
    inputs::check_folds(&folds, &args.chr_fold_path, &tracks.genome, &console)?;
    let filter = RegionFilter {
        width: inputlen,
        folds: Some(&folds),
        chroms: None,
        prefix: &args.output_prefix,
    };
    let background = regions::open(&args.regions, "regions", 0, &tracks, &filter, &console)?;
    if background.rows.is_empty() {
        return Err(Problem::new("no region is left on the test chromosomes")
            .at(format!("{} with {}", args.regions.display(), args.chr_fold_path.display()))
            .fix(format!(
                "give background regions on {}, whose windows of {inputlen} bp fit",
                folds.names(Split::Test).join(", ")
            ))
            .into());
    }
    let plan = fixed_plan(inputlen, &[], &background.sites);
    let mut ensemble = models.open_for_sequences(&device)?;
    let made = Made::new(&mut ensemble, &tracks, &plan, &motifs, args.batch_size, &console)?;
    made.write(&args.output_prefix, &suffixed(&args.output_prefix, "_footprints.h5"))?;
    figure::write_all(&args.output_prefix, &made.footprints, args.ylim)?;
    // A verdict on other motifs, regions dropped of another file.
    claimed.remove_stale();
    console.info(format!(
        "wrote {} and the figures of {} footprints",
        suffixed(&args.output_prefix, "_footprints.h5").display(),
        made.footprints.len()
    ));
    Ok(())
}

/// What the command reads and writes.
fn claim(args: &FootprintsArgs, motifs: &[Motif]) -> Claim {
    let names = ["_footprints.h5", "_max_bias_response.txt", "_dropped_regions.tsv"];
    let figures = [motifs::CONTROL].into_iter().chain(motifs.iter().map(|m| &m.name[..]));
    let figures = figures.flat_map(|motif| {
        let figure = figure::prefix(&args.output_prefix, motif);
        ["png", "svg"].map(|extension| with_extension(&figure, extension))
    });
    Claim::new("footprints")
        .reads("-m", &args.model)
        .reads("-r", [&args.regions])
        .reads("-g", [&args.genome])
        .reads("-fl", [&args.chr_fold_path])
        .reads("-pwm_f", &args.motifs_to_pwm)
        .writes("-op", names.map(|name| suffixed(&args.output_prefix, name)))
        .writes("-op", figures)
        .prefix("-op", &args.output_prefix)
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
