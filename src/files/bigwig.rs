//! Writes bigWigs of per-base values, for people and other tools.
//!
//! In: contigs and one dense track each, or a signal pack. Out: a bigWig with runs of equal
//! non-zero values; bases without a run are 0 to every reader. Written beside its name and renamed.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use bigtools::beddata::BedParserStreamingIterator;
use bigtools::{BigWigWrite, Value};

use super::atomic;
use crate::error::Problem;
use crate::store::SignalPack;

/// Writes `dense[i]`, one value a base, as the track of `contigs[i]`.
///
/// A contig without a non-zero value is written as one run of 0, since a bigWig only lists contigs
/// that have data and a reader would take it for missing.
///
/// Errors: a track of another length than its contig, a value that is not finite, no contigs, a
/// contig of 2^32 bp or more, anything the disk says.
pub fn write(path: &Path, contigs: &[(String, u64)], dense: &[Vec<f32>]) -> Result<()> {
    let sizes = check(path, contigs, dense)?;
    let values = contigs
        .iter()
        .zip(dense)
        .flat_map(|((name, _), track)| Runs::new(track).map(move |run| (name.as_str(), run)));
    write_values(path, sizes, values)
}

/// Writes the counts of a signal pack, a window at a time: memory does not grow with the genome.
/// Contigs without a count are written as in `write`; those of 0 bp are left out.
///
/// Errors: a contig of 2^32 bp or more, anything the disk says.
pub fn write_pack(path: &Path, pack: &SignalPack) -> Result<()> {
    let mut sizes = HashMap::new();
    for contig in pack.contigs().iter().filter(|c| c.length > 0) {
        let place = || format!("{} contig {}", path.display(), contig.name);
        sizes.insert(contig.name.clone(), length_in_bigwig(contig.length, place)?);
    }
    let values = pack.contigs().iter().enumerate().flat_map(|(id, contig)| {
        let length = contig.length;
        let id = id as u32;
        let empty = pack.sum(id, 0, length as i64) == 0.0;
        let zero = Value { start: 0, end: length as u32, value: 0.0 };
        let windows = (0..length).step_by(WINDOW).filter(move |_| !empty);
        let runs = windows.flat_map(move |start| {
            let mut track = vec![0.0; WINDOW.min((length - start) as usize)];
            pack.counts(id, start as i64, false, &mut track);
            let runs: Vec<Value> = Runs::new(&track).filter(|run| run.value != 0.0).collect();
            runs.into_iter().map(move |run| Value {
                start: run.start + start as u32,
                end: run.end + start as u32,
                value: run.value,
            })
        });
        let zero = (empty && length > 0).then_some(zero);
        zero.into_iter().chain(runs).map(move |run| (contig.name.as_str(), run))
    });
    write_values(path, sizes, values)
}

/// bp of a pack that are unpacked at once.
const WINDOW: usize = 1 << 16;

fn write_values<'a>(
    path: &Path,
    sizes: HashMap<String, u32>,
    values: impl Iterator<Item = (&'a str, Value)> + Send,
) -> Result<()> {
    // bigtools wants a runtime of its own to compress on; two threads keep up with any disk.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .context("cannot start the threads that compress the bigWig")?;
    atomic::write_with(path, |temporary| {
        let values = BedParserStreamingIterator::wrap_infallible_iter(values, true);
        BigWigWrite::create_file(temporary, sizes)?.write(values, runtime)?;
        Ok(())
    })
}

pub(super) fn length_in_bigwig(length: u64, place: impl Fn() -> String) -> Result<u32, Problem> {
    u32::try_from(length).map_err(|_| {
        Problem::new(format!("contig has {length} bp, a bigWig holds fewer than 2^32")).at(place())
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
        let length = length_in_bigwig(*length, place)?;
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
    fn a_pack_and_its_dense_tracks_make_the_same_bigwig() {
        let folder = tempfile::tempdir().unwrap();
        let mut long = vec![0.0; 2 * WINDOW + 100];
        for at in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 99] {
            long[at] = 2.0;
        }
        let dense = [long, vec![0.0; 7], vec![3.0]];
        let contigs: Vec<(String, u64)> = dense
            .iter()
            .zip(["b", "a", "c"])
            .map(|(t, n)| (n.to_string(), t.len() as u64))
            .collect();
        let tracks = contigs.iter().zip(&dense).map(|((name, _), t)| (name.as_str(), &t[..]));
        let pack = SignalPack::from_dense(tracks.chain([("nothing", &[][..])]));
        let path = folder.path().join("x.bw");
        write_pack(&path, &pack).unwrap();
        let mut read = bigtools::BigWigRead::open_file(&path).unwrap();
        assert_eq!(read.chroms().len(), 3);
        for ((name, length), track) in contigs.iter().zip(&dense) {
            let values = read.values(name, 0, *length as u32).unwrap();
            let values: Vec<f32> =
                values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
            assert_eq!(&values, track, "{name}");
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
