//! `prep splits`: fold files.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgGroup, Args};

use crate::cli::args::ConsoleArgs;
use crate::error::Problem;
use crate::files::folds_json;
use crate::input::assembly::Assembly;
use crate::input::chrom_sizes;
use crate::input::folds::{Folds, Split};
use crate::prep::splits::{self, Published};
use crate::run::claim::Claim;
use crate::run::prefix;

/// Choose the chromosomes that train, validate and test.
///
/// With -tcr and -vcr one fold, PREFIX.json, in which all other chromosomes of the sizes file train.
/// With --k or --published several: PREFIX_0.json, PREFIX_1.json, ...
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("how").required(true).args(["test_chroms", "k", "published"]))]
#[command(next_help_heading = "Folds")]
pub struct SplitsArgs {
    /// Chromosome sizes, 2 columns; every chromosome in it is used
    #[arg(short = 'c', long, help_heading = "Inputs")]
    chrom_sizes: PathBuf,

    /// Chromosomes to test on (-tcr)
    #[arg(long, alias = "test_chroms", num_args = 0.., requires = "valid_chroms",
          overrides_with = "test_chroms")]
    test_chroms: Option<Vec<String>>,

    /// Chromosomes to validate on (-vcr)
    #[arg(long, alias = "valid_chroms", num_args = 0.., requires = "test_chroms",
          overrides_with = "valid_chroms")]
    valid_chroms: Option<Vec<String>>,

    /// This many folds with test sets of about equal length; each chromosome is tested once
    #[arg(long, value_name = "FOLDS")]
    k: Option<usize>,

    /// The published folds of a species
    #[arg(long, value_enum)]
    published: Option<Published>,

    /// Prefix of the output (-op); one that ends in / stands for FOLDER/fold
    #[arg(long, alias = "output_prefix", help_heading = "Output")]
    output_prefix: PathBuf,

    /// Replace what is there
    #[arg(long, help_heading = "Output")]
    force: bool,

    #[command(flatten)]
    console: ConsoleArgs,
}

pub fn run(args: &SplitsArgs) -> Result<()> {
    let console = args.console.console();
    let sizes = chrom_sizes::read(&args.chrom_sizes)?;
    let at_sizes = |p: Problem| p.at(args.chrom_sizes.display());
    let made = if let Some(k) = args.k {
        numbered(splits::balanced(&sizes, k).map_err(at_sizes)?)
    } else if let Some(which) = args.published {
        let (folds, missing) = splits::published(which, &sizes).map_err(at_sizes)?;
        if let Some(first) = missing.first() {
            console.warning(format!(
                "{} of the published chromosomes are not in {} and were left out, e.g. {first}",
                missing.len(),
                args.chrom_sizes.display()
            ));
        }
        numbered(folds)
    } else {
        let list = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
        let (test, valid) = (list(&args.test_chroms), list(&args.valid_chroms));
        vec![(String::new(), splits::by_hand(&sizes, &test, &valid).map_err(at_sizes)?)]
    };
    let made: Vec<(PathBuf, Folds)> = made
        .into_iter()
        .map(|(suffix, folds)| {
            let mut path = prefix::named(&args.output_prefix, "fold").into_os_string();
            path.push(format!("{suffix}.json"));
            (path.into(), folds)
        })
        .collect();
    let outputs = made.iter().map(|(path, _)| path.clone());
    let _claimed = Claim::new("prep splits")
        .reads("-c", [&args.chrom_sizes])
        .writes("-op", outputs)
        .prefix("-op", &prefix::named(&args.output_prefix, "fold"))
        .take(&console)?;
    // All or none: nothing is written while one of them is in the way.
    if let Some((path, _)) = made.iter().find(|(path, _)| path.exists() && !args.force) {
        return Err(Problem::new("output is there already and was kept")
            .at(path.display())
            .fix("pass --force to replace it, or another -op")
            .into());
    }
    for (path, folds) in &made {
        folds_json::write(path, folds)?;
        console.info(format!("wrote {}: {}", path.display(), shares(folds, &sizes)));
    }
    Ok(())
}

fn numbered(folds: Vec<Folds>) -> Vec<(String, Folds)> {
    folds.into_iter().enumerate().map(|(i, folds)| (format!("_{i}"), folds)).collect()
}

/// `train 70 % of 3,088 Mb, valid ...`
fn shares(folds: &Folds, sizes: &Assembly) -> String {
    let bp =
        |split| -> u64 { folds.names(split).iter().filter_map(|name| sizes.length(name)).sum() };
    let total: u64 = Split::ALL.iter().map(|&split| bp(split)).sum();
    let parts = Split::ALL.map(|split| {
        let percent = 100.0 * bp(split) as f64 / total.max(1) as f64;
        format!("{split} {} chromosomes ({percent:.0} % of the bases)", folds.names(split).len())
    });
    parts.join(", ")
}
