//! Writes bigWigs of per-base values, for people and other tools.
//!
//! In: contigs and one dense track each. Out: a bigWig with runs of equal non-zero values; bases
//! without a run are 0 to every reader. Written beside its name and renamed.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use bigtools::beddata::BedParserStreamingIterator;
use bigtools::{BigWigWrite, Value};

use super::atomic;
use crate::error::Problem;

/// Writes `dense[i]`, one value a base, as the track of `contigs[i]`.
///
/// A contig without a non-zero value is written as one run of 0, since a bigWig only lists contigs
/// that have data and a reader would take it for missing.
///
/// Errors: a track of another length than its contig, a value that is not finite, no contigs, a
/// contig of 2^32 bp or more, anything the disk says.
pub fn write(path: &Path, contigs: &[(String, u64)], dense: &[Vec<f32>]) -> Result<()> {
    let sizes = check(path, contigs, dense)?;
    // bigtools wants a runtime of its own to compress on; two threads keep up with any disk.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .context("cannot start the threads that compress the bigWig")?;
    atomic::write_with(path, |temporary| {
        let values = contigs
            .iter()
            .zip(dense)
            .flat_map(|((name, _), track)| Runs::new(track).map(move |run| (name.as_str(), run)));
        let values = BedParserStreamingIterator::wrap_infallible_iter(values, true);
        BigWigWrite::create_file(temporary, sizes)?.write(values, runtime)?;
        Ok(())
    })
}

fn check(
    path: &Path,
    contigs: &[(String, u64)],
    dense: &[Vec<f32>],
) -> Result<HashMap<String, u32>> {
    if contigs.is_empty() || contigs.len() != dense.len() {
        return Err(Problem::new(format!(
            "a bigWig needs one track a contig, found {} contigs and {} tracks",
            contigs.len(),
            dense.len()
        ))
        .at(path.display())
        .into());
    }
    let mut sizes = HashMap::new();
    for ((name, length), track) in contigs.iter().zip(dense) {
        let place = || format!("{} contig {name}", path.display());
        if track.len() as u64 != *length || track.is_empty() {
            return Err(Problem::new(format!(
                "track has {} values, its contig {length} bp",
                track.len()
            ))
            .at(place())
            .into());
        }
        if let Some(at) = track.iter().position(|v| !v.is_finite()) {
            return Err(Problem::new(format!("value at base {at} is {}", track[at]))
                .at(place())
                .into());
        }
        let length = u32::try_from(*length).map_err(|_| {
            Problem::new(format!("contig has {length} bp, a bigWig holds fewer than 2^32"))
                .at(place())
        })?;
        if sizes.insert(name.clone(), length).is_some() {
            return Err(Problem::new("contig is listed twice").at(place()).into());
        }
    }
    Ok(sizes)
}

/// Runs of equal non-zero values; a track of zeros is one run of 0.
struct Runs<'a> {
    track: &'a [f32],
    at: usize,
    any: bool,
}

impl<'a> Runs<'a> {
    fn new(track: &'a [f32]) -> Self {
        Self { track, at: 0, any: false }
    }
}

impl Iterator for Runs<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let rest = self.track.get(self.at..)?;
        let Some(skip) = rest.iter().position(|&v| v != 0.0) else {
            self.at = self.track.len();
            let all = !std::mem::replace(&mut self.any, true) && !rest.is_empty();
            return all.then_some(Value { start: 0, end: self.track.len() as u32, value: 0.0 });
        };
        let rest = &rest[skip..];
        let value = rest[0];
        let run = rest.iter().position(|&v| v != value).unwrap_or(rest.len());
        let start = self.at + skip;
        self.at = start + run;
        self.any = true;
        Some(Value { start: start as u32, end: self.at as u32, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(track: &[f32]) -> Vec<(u32, u32, f32)> {
        Runs::new(track).map(|v| (v.start, v.end, v.value)).collect()
    }

    #[test]
    fn runs_of_equal_values() {
        assert_eq!(runs(&[0.0, 2.0, 2.0, 1.0, 0.0, 3.0]), [(1, 3, 2.0), (3, 4, 1.0), (5, 6, 3.0)]);
        assert_eq!(runs(&[1.0, 0.0]), [(0, 1, 1.0)]);
        assert_eq!(runs(&[0.0, 0.0]), [(0, 2, 0.0)]);
    }

    #[test]
    fn reads_back_with_its_contigs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let contigs = [("chr2".to_string(), 5), ("chr10".to_string(), 3), ("chr1".to_string(), 2)];
        let dense = [vec![0.0, 1.0, 1.0, 0.0, 2.5], vec![0.0; 3], vec![7.0, 0.0]];
        write(&path, &contigs, &dense).unwrap();
        let mut read = bigtools::BigWigRead::open_file(&path).unwrap();
        for ((name, length), track) in contigs.iter().zip(&dense) {
            assert!(
                read.chroms().iter().any(|c| c.name == *name && u64::from(c.length) == *length)
            );
            let values = read.values(name, 0, *length as u32).unwrap();
            let values: Vec<f32> =
                values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
            assert_eq!(&values, track);
        }
    }

    #[test]
    fn refuses_what_a_bigwig_cannot_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let one = |length| [("chr1".to_string(), length)];
        for (contigs, dense, wanted) in [
            (one(2), vec![vec![1.0]], "track has 1 values"),
            (one(1), vec![vec![f32::NAN]], "value at base 0 is NaN"),
            (one(1), vec![], "1 contigs and 0 tracks"),
        ] {
            let message = write(&path, &contigs, &dense).unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
            assert!(!path.exists());
        }
    }
}
