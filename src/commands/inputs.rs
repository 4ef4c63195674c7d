//! Opens what a command was given and checks every name against every other, before long work starts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::console::Console;
use crate::error::Problem;
use crate::input::chrom_sizes::ChromSizes;
use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::pack::cache;
use crate::store::genome::Contig;
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
        Some(signal) => with_signal(genome_pack, genome, signal, cache_dir, console),
        None => Ok(Tracks::new(genome_pack, None)),
    }
}

pub fn open_genome(genome: &Path, cache_dir: &Path, console: &Console) -> Result<Arc<GenomePack>> {
    Ok(Arc::new(cache::open_genome(genome, cache_dir, &mut |line| console.info(line))?))
}

/// Adds a signal to a genome that is open already; `genome` is its path, for messages.
pub fn with_signal(
    genome_pack: Arc<GenomePack>,
    genome: &Path,
    signal: &Path,
    cache_dir: &Path,
    console: &Console,
) -> Result<Tracks> {
    let mut report = |line: &str| console.info(line);
    let signal_pack = Arc::new(cache::open_signal(signal, cache_dir, &mut report)?);
    same_assembly(genome_pack.contigs(), genome, signal_pack.contigs(), signal)?;
    Ok(Tracks::new(genome_pack, Some(signal_pack)))
}

/// Contigs that both know must have one length, and there must be some.
fn same_assembly(
    genome: &[Contig],
    genome_path: &Path,
    other: &[Contig],
    other_path: &Path,
) -> Result<(), Problem> {
    let place = format!("{} and {}", genome_path.display(), other_path.display());
    let by_name: HashMap<&str, &Contig> = genome.iter().map(|c| (c.name.as_str(), c)).collect();
    let mut shared = 0;
    for contig in other {
        let Some(known) = by_name.get(contig.name.as_str()) else { continue };
        shared += 1;
        if known.length != contig.length {
            return Err(Problem::new(format!(
                "{} is {} bp long in the genome but {} bp here: another assembly?",
                contig.name, known.length, contig.length
            ))
            .at(place)
            .fix("use files made from one assembly"));
        }
    }
    if shared == 0 {
        return Err(different_names(
            "the files share no contig name",
            names(genome),
            other.iter().map(|c| c.name.clone()).collect(),
        )
        .at(place));
    }
    Ok(())
}

/// chrom.sizes against the genome: lengths must agree, and there must be a shared name.
pub fn check_sizes(sizes: &ChromSizes, path: &Path, genome: &GenomePack) -> Result<(), Problem> {
    let contigs: Vec<Contig> = sizes
        .entries
        .iter()
        .map(|(name, length)| Contig { name: name.clone(), length: *length })
        .collect();
    same_assembly(genome.contigs(), Path::new("the genome"), &contigs, path)
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
    let some = |names: &[String]| {
        let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
        format!("{}{}", shown.join(", "), if names.len() > 3 { ", ..." } else { "" })
    };
    Problem::new(format!("{what} (genome: {}; here: {})", some(&genome), some(&other)))
        .fix("name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contig(name: &str, length: u64) -> Contig {
        Contig { name: name.into(), length }
    }

    #[test]
    fn another_assembly_and_other_names_are_told_apart() {
        let check = |other: &[Contig]| {
            same_assembly(&[contig("chr1", 100)], Path::new("a"), other, Path::new("b"))
        };
        assert!(check(&[contig("chr1", 100), contig("chrUn", 5)]).is_ok());
        let text = check(&[contig("chr1", 99)]).unwrap_err().to_string();
        assert!(text.contains("100 bp long in the genome but 99 bp"), "{text}");
        let text = check(&[contig("1", 100)]).unwrap_err().to_string();
        assert!(text.contains("share no contig name (genome: chr1; here: 1)"), "{text}");
    }
}
