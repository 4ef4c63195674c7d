//! The regions of a command that uses a model: read, checked against the genome, cut down to the
//! rows whose window fits, with a table of the rows that do not.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::batch::sampler::Site;
use crate::console::Console;
use crate::error::Problem;
use crate::files::params_tsv;
use crate::input::folds::{Folds, Split};
use crate::input::regions::{self, Region};
use crate::pack::inputs;
use crate::select::edges;
use crate::store::Tracks;

/// Which rows of a file are wanted, and where the rows that are left out are listed.
pub struct RegionFilter<'a> {
    /// bp that must fit into the contig around the summit.
    pub width: usize,
    /// Test chromosomes only.
    pub folds: Option<&'a Folds>,
    /// These chromosomes only.
    pub chroms: Option<&'a [String]>,
    /// `PREFIX_dropped_KIND.tsv`
    pub prefix: &'a Path,
}

/// The regions that stay, in file order.
#[derive(Default)]
pub struct RegionSet {
    pub rows: Vec<Region>,
    /// Where each row lies; `Site::row` counts from the `first_row` of `open`.
    pub sites: Vec<Site>,
    /// Rows whose window does not fit.
    pub dropped: usize,
}

/// Opens a regions file. `kind` (`peaks`, `nonpeaks`, `regions`) names it in messages and in the
/// table of dropped rows, which is written when there are some.
///
/// Chromosomes asked for that have no region are told; with none of them there is an empty set.
///
/// Errors: a file without regions, one that names no contig of the genome.
pub fn open(
    path: &Path,
    kind: &str,
    first_row: usize,
    tracks: &Tracks,
    filter: &RegionFilter,
    console: &Console,
) -> Result<RegionSet> {
    let mut wanted = regions::read(path)?;
    inputs::check_regions(&wanted, path, &tracks.genome)?;
    if let Some(folds) = filter.folds {
        let splits = folds.splits();
        wanted.retain(|r| splits.of(&r.chrom) == Some(Split::Test));
    }
    if let Some(chroms) = filter.chroms {
        warn_of_missing(chroms, &wanted, path, console);
        let chroms: HashSet<&String> = chroms.iter().collect();
        wanted.retain(|r| chroms.contains(&r.chrom));
    }
    inputs::refuse_disputed(&tracks.disputed, wanted.iter().map(|r| r.chrom.as_str()))?;
    let found = wanted.len();
    let (kept, dropped) = edges::filter(&wanted, tracks, filter.width, kind);
    if let Some(first) = dropped.first() {
        let mut name = filter.prefix.as_os_str().to_os_string();
        name.push(format!("_dropped_{kind}.tsv"));
        let name = PathBuf::from(name);
        params_tsv::write_dropped(&name, &dropped)?;
        console.warning(format!(
            "{}: kept {} of {found} regions, e.g. not line {}: {} (see {})",
            path.display(),
            kept.len(),
            first.line,
            first.reason,
            name.display()
        ));
    }
    let mut set = RegionSet { dropped: dropped.len(), ..RegionSet::default() };
    for region in kept {
        if let Some(contig) = tracks.genome.contig_id(&region.chrom) {
            let row = (first_row + set.rows.len()) as u32;
            set.sites.push(Site { contig, center: region.center() as u32, row });
            set.rows.push(region);
        }
    }
    Ok(set)
}

fn warn_of_missing(chroms: &[String], regions: &[Region], path: &Path, console: &Console) {
    let there: HashSet<&str> = regions.iter().map(|r| r.chrom.as_str()).collect();
    let missing: Vec<&str> =
        chroms.iter().filter(|name| !there.contains(name.as_str())).map(String::as_str).collect();
    if !missing.is_empty() {
        console.warning(format!("{}: no region lies on {}", path.display(), missing.join(", ")));
    }
}

/// Nothing is left to `what` (predict, explain) of the regions in `paths`.
pub fn nothing_left(what: &str, paths: &[&Path], chroms: &[String]) -> Problem {
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    let problem = Problem::new(format!("no region is left to {what}")).at(names.join(" and "));
    match chroms {
        [] => problem.fix("give regions whose windows fit into their contigs"),
        _ => problem.fix("name chromosomes in -d as the regions do"),
    }
}
