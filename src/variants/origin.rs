//! What a table of shuffled scores was made from: a small record beside it, so that p-values are never
//! taken from the scores of another model, genome or set of peaks.
//!
//! The list of variants, its seed and the number of shuffles are no part of it: scores of one list are
//! meant to serve another. A table without a record is one of variant-scorer's, or was moved alone.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Problem;
use crate::files::atomic;
use crate::input::peak_list::Peak;
use crate::pack::cache;
use crate::store::GenomePack;

/// What shuffled scores depend on beside the list. Hashes are of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// xxh3 of the model's file.
    pub model: String,
    /// Contigs and bases.
    pub genome: String,
    /// Predictions are the mean of both strands.
    pub both_strands: bool,
    /// The peaks whose counts give quantiles, and their genome; none where there are no quantiles.
    pub peaks: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Version of this program that made the table.
    version: String,
    /// xxh3 of the table.
    table: String,
    made_from: Origin,
}

/// Hash of a genome's contigs and bases.
pub fn genome(genome: &GenomePack) -> String {
    format!("{:016x}", genome.checksum())
}

/// Hash of peaks, in any order, on their genome.
pub fn peaks(peaks: &[Peak], on: &GenomePack) -> String {
    let mut places: Vec<_> = peaks.iter().map(|p| (&p.chrom, p.start, p.summit)).collect();
    places.sort_unstable();
    let mut hash = Xxh3::new();
    hash.update(genome(on).as_bytes());
    for (chrom, start, summit) in places {
        hash.update(format!("\n{chrom}\t{start}\t{summit}").as_bytes());
    }
    format!("{:016x}", hash.digest())
}

/// `x.variant_scores.shuffled.tsv` -> `x.variant_scores.shuffled.run.json`
pub fn record_of(table: &Path) -> PathBuf {
    table.with_extension("run.json")
}

/// Says beside `table`, which is complete, what it was made from.
pub fn write(table: &Path, made_from: Origin) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION").to_string();
    let record = Record { version, table: cache::fingerprint(table)?.xxh3, made_from };
    let text = serde_json::to_string_pretty(&record)?;
    atomic::write(&record_of(table), |out| Ok(out.write_all(text.as_bytes())?))
}

/// False where nothing says what `table` was made from.
///
/// Errors: a table that is not the one its record is about, or was made from something else than
/// `wanted`.
pub fn check(table: &Path, wanted: &Origin) -> Result<bool> {
    let path = record_of(table);
    if !path.exists() {
        return Ok(false);
    }
    let text = std::fs::read(&path).map_err(|e| crate::input::lines::unreadable(&path, &e))?;
    let record: Record = serde_json::from_slice(&text).map_err(|error| {
        Problem::new(format!("not a record of shuffled scores: {error}"))
            .at(path.display())
            .fix("remove it if you know that the table beside it is of this model")
    })?;
    if record.table != cache::fingerprint(table)?.xxh3 {
        return Err(Problem::new("shuffled scores are not those that the record beside them is about")
            .at(format!("{} and {}", table.display(), path.display()))
            .fix("make them again (leave --shuffled-scores out), or remove the record if you know the table")
            .into());
    }
    let found = record.made_from;
    let strands = |both| if both { "both strands" } else { "the forward strand" }.to_string();
    let mut others = Vec::new();
    let mut compare = |what: &str, found: String, wanted: String| {
        if found != wanted {
            others.push(format!("{what}: {found}, here {wanted}"));
        }
    };
    compare("model", found.model, wanted.model.clone());
    compare("genome", found.genome, wanted.genome.clone());
    compare("predicted on", strands(found.both_strands), strands(wanted.both_strands));
    // Without peaks the other columns serve as well.
    if let Some(peaks) = &wanted.peaks {
        compare("peaks", found.peaks.unwrap_or_else(|| "none".to_string()), peaks.clone());
    }
    if !others.is_empty() {
        return Err(Problem::new(format!(
            "shuffled scores were made from something else:\n    {}",
            others.join("\n    ")
        ))
        .at(table.display())
        .fix("name those of this model, genome and peaks, one for each -m in its order, or leave --shuffled-scores out")
        .into());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_taken_for_what_it_was_made_from_alone() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("x.variant_scores.shuffled.tsv");
        std::fs::write(&table, "logfc\n1\n").unwrap();
        let origin = Origin {
            model: "m".into(),
            genome: "g".into(),
            both_strands: true,
            peaks: Some("p".into()),
        };
        assert!(!check(&table, &origin).unwrap());
        write(&table, origin.clone()).unwrap();
        assert!(check(&table, &origin).unwrap());
        assert!(check(&table, &Origin { peaks: None, ..origin.clone() }).unwrap());
        let refusal = |origin: &Origin| check(&table, origin).unwrap_err().to_string();
        for (other, wanted) in [
            (Origin { model: "n".into(), ..origin.clone() }, "model: m, here n"),
            (Origin { genome: "h".into(), ..origin.clone() }, "genome: g, here h"),
            (
                Origin { both_strands: false, ..origin.clone() },
                "on: both strands, here the forward",
            ),
            (Origin { peaks: Some("q".into()), ..origin.clone() }, "peaks: p, here q"),
        ] {
            let text = refusal(&other);
            assert!(text.contains(wanted) && text.contains("shuffled.tsv"), "{text}");
        }
        std::fs::write(&table, "logfc\n2\n").unwrap();
        assert!(refusal(&origin).contains("not those that the record"), "{}", refusal(&origin));
        std::fs::write(record_of(&table), "{}").unwrap();
        assert!(refusal(&origin).contains("not a record of shuffled scores"));
    }

    #[test]
    fn peaks_in_any_order_are_the_same() {
        let peak = |chrom: &str, start| Peak {
            chrom: chrom.into(),
            start,
            end: start + 10,
            summit: 5,
            rest: Default::default(),
        };
        let on = GenomePack::from_sequences([("a", &b"ACGT"[..])]);
        let other = GenomePack::from_sequences([("a", &b"ACGA"[..])]);
        let (one, two) = (peak("a", 1), peak("b", 2));
        let hash = peaks(&[one.clone(), two.clone()], &on);
        assert_eq!(hash, peaks(&[two.clone(), one.clone()], &on));
        assert_ne!(hash, peaks(&[one.clone(), two.clone()], &other));
        assert_ne!(hash, peaks(&[one, peak("b", 3)], &on));
    }
}
