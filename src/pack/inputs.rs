//! Opens what a command was given and checks every name against every other, before long work starts.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::console::Console;
use crate::error::Problem;
use crate::input::assembly::{Assembly, Contig, some_names};
use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::pack::cache;
use crate::store::tracks::Disputed;
use crate::store::{GenomePack, Tracks};

/// Opens genome and signal (packing them into `cache_dir` where needed) and matches their contigs.
pub fn open_tracks(
    genome: &Path,
    signal: Option<&Path>,
    cache_dir: &Path,
    console: &Console,
) -> Result<Tracks> {
    let genome_pack = open_genome(genome, cache_dir, console)?;
    match signal {
        Some(signal) => {
            let tracks = with_signal(genome_pack, genome, signal, cache_dir, console)?;
            warn_of(&tracks.disputed, console);
            Ok(tracks)
        }
        None => Ok(Tracks::new(genome_pack, None)),
    }
}

pub fn open_genome(genome: &Path, cache_dir: &Path, console: &Console) -> Result<Arc<GenomePack>> {
    Ok(Arc::new(cache::open_genome(genome, cache_dir, &mut |line| console.info(line))?))
}

/// Adds a signal to a genome that is open already; `genome` is its path, for messages. Contigs that
/// differ in length are left to the caller: they matter where something lies on them.
pub fn with_signal(
    genome_pack: Arc<GenomePack>,
    genome: &Path,
    signal: &Path,
    cache_dir: &Path,
    console: &Console,
) -> Result<Tracks> {
    let mut report = |line: &str| console.info(line);
    let signal_pack = Arc::new(cache::open_signal(signal, cache_dir, &mut report)?);
    let disputed = same_assembly(genome_pack.contigs(), genome, signal_pack.contigs(), signal)?;
    Ok(Tracks::new(genome_pack, Some(signal_pack)).dispute(disputed))
}

/// Contigs that genome and `other` know with different lengths, with the problem of whatever lies
/// on one. There must be a shared name.
fn same_assembly(
    genome: &Assembly,
    genome_path: &Path,
    other: &Assembly,
    other_path: &Path,
) -> Result<Disputed, Problem> {
    let place = format!("{} and {}", genome_path.display(), other_path.display());
    let mut shared = 0;
    let mut disputed = Disputed::new();
    for Contig { name, length } in other.iter() {
        let Some(known) = genome.length(name) else { continue };
        shared += 1;
        if known != *length {
            let what = format!(
                "{name} is {known} bp long in the genome but {length} bp here: another assembly?"
            );
            let problem = Problem::new(what).at(&place).fix("use files made from one assembly");
            disputed.insert(name.clone(), problem);
        }
    }
    if shared == 0 {
        return Err(different_names("the files share no contig name", names(genome), names(other))
            .at(place));
    }
    Ok(disputed)
}

/// chrom.sizes against the genome: there must be a shared name, and contigs of another length are
/// returned.
pub fn check_sizes(
    sizes: &Assembly,
    path: &Path,
    genome: &GenomePack,
    console: &Console,
) -> Result<Disputed, Problem> {
    let disputed = same_assembly(genome.contigs(), Path::new("the genome"), sizes, path)?;
    warn_of(&disputed, console);
    Ok(disputed)
}

/// Refuses what lies on a contig whose length is disputed.
pub fn refuse_disputed<'a>(
    disputed: &Disputed,
    used: impl IntoIterator<Item = &'a str>,
) -> Result<(), Problem> {
    if disputed.is_empty() {
        return Ok(());
    }
    match used.into_iter().find_map(|name| disputed.get(name)) {
        Some(problem) => Err(problem.clone()),
        None => Ok(()),
    }
}

fn warn_of(disputed: &Disputed, console: &Console) {
    // The same example in every run.
    if let Some(first) = disputed.values().min_by_key(|p| p.what()) {
        console.warning(format!(
            "{} contigs differ in length and must not be used, e.g. {first}",
            disputed.len()
        ));
    }
}

/// Every part of the fold must exist in the genome; single missing names are a warning.
pub fn check_folds(
    folds: &Folds,
    path: &Path,
    genome: &GenomePack,
    console: &Console,
) -> Result<(), Problem> {
    for split in Split::ALL {
        let wanted = folds.names(split);
        let missing: Vec<&String> =
            wanted.iter().filter(|name| genome.contig_id(name).is_none()).collect();
        if !wanted.is_empty() && missing.len() == wanted.len() {
            return Err(different_names(
                &format!("no chromosome of the fold's `{split}` list is in the genome"),
                names(genome.contigs()),
                wanted.to_vec(),
            )
            .at(path.display()));
        }
        if let Some(first) = missing.first() {
            console.warning(format!(
                "{} of {} `{split}` chromosomes of {} are not in the genome, e.g. {first}",
                missing.len(),
                wanted.len(),
                path.display()
            ));
        }
    }
    Ok(())
}

/// Regions must name at least one contig of the genome; the filters report the others one by one.
pub fn check_regions(regions: &[Region], path: &Path, genome: &GenomePack) -> Result<(), Problem> {
    if regions.iter().any(|r| genome.contig_id(&r.chrom).is_some()) {
        return Ok(());
    }
    let found = regions.iter().take(1).map(|r| r.chrom.clone()).collect();
    Err(different_names("no region lies on a contig of the genome", names(genome.contigs()), found)
        .at(path.display()))
}

pub fn names(contigs: &[Contig]) -> Vec<String> {
    contigs.iter().map(|c| c.name.clone()).collect()
}

/// Names that have nothing in common, shown side by side.
pub fn different_names(what: &str, genome: Vec<String>, other: Vec<String>) -> Problem {
    let some = |names: &[String]| some_names(names.iter().map(String::as_str));
    Problem::new(format!("{what} (genome: {}; here: {})", some(&genome), some(&other)))
        .fix("name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_assembly_and_other_names_are_told_apart() {
        let check = |other: &[(&str, u64)]| {
            let genome = [("chr1", 100)].into_iter().collect();
            let other = other.iter().copied().collect();
            same_assembly(&genome, Path::new("a"), &other, Path::new("b"))
        };
        assert!(check(&[("chr1", 100), ("chrUn", 5)]).unwrap().is_empty());
        let disputed = check(&[("chr1", 99), ("chrUn", 5)]).unwrap();
        assert!(refuse_disputed(&disputed, ["chr2", "chrUn"]).is_ok());
        let text = refuse_disputed(&disputed, ["chr2", "chr1"]).unwrap_err().to_string();
        assert!(text.contains("100 bp long in the genome but 99 bp"), "{text}");
        let text = check(&[("1", 100)]).unwrap_err().to_string();
        assert!(text.contains("share no contig name (genome: chr1; here: 1)"), "{text}");
    }
}
