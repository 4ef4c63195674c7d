//! Writes bigWigs of per-base values, for people and other tools.
//!
//! In: contigs and one dense track each, or a signal pack. Out: a bigWig with runs of equal
//! non-zero values; bases without a run are 0 to every reader. Written beside its name and renamed.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::atomic::{self, Pending};
use super::bigwig_stream::{BigWigStream, ValueRun};
use crate::error::Problem;
use crate::input::assembly::{Assembly, Contig};
use crate::store::SignalPack;

/// Writes `dense[i]`, one value a base, as the track of `contigs[i]`.
///
/// A contig without a non-zero value is written as one run of 0, since a bigWig only lists contigs
/// that have data and a reader would take it for missing.
///
/// Errors: a track of another length than its contig, a value that is not finite, no contigs, a
/// contig of 2^32 bp or more, anything the disk says.
pub fn write(path: &Path, contigs: &[(String, u64)], dense: &[Vec<f32>]) -> Result<()> {
    check(path, contigs, dense)?;
    stream(path, &contigs.iter().cloned().collect(), |out| {
        for (track, id) in dense.iter().zip(0..) {
            let mut runs = Runs::new(track).peekable();
            if runs.peek().is_none() {
                out.push_contig(id, track.len() as u32, 0.0)?;
            }
            while runs.peek().is_some() {
                out.push_runs(id, runs.by_ref().take(WINDOW).collect())?;
            }
        }
        Ok(())
    })
}

/// Writes the counts of a signal pack, a window at a time: memory does not grow with the genome.
/// Contigs without a count are written as in `write`; those of 0 bp are left out.
///
/// Errors: a contig of 2^32 bp or more, anything the disk says.
pub fn write_pack(path: &Path, pack: &SignalPack) -> Result<()> {
    let listed: Vec<(u32, &Contig)> =
        (0..).zip(pack.contigs().iter()).filter(|(_, contig)| contig.length > 0).collect();
    let contigs: Assembly = listed.iter().map(|(_, c)| (c.name.as_str(), c.length)).collect();
    stream(path, &contigs, |out| {
        let mut counts = vec![0.0; WINDOW];
        for ((in_pack, contig), id) in listed.iter().zip(0..) {
            if pack.sum(*in_pack, 0, contig.length as i64) == 0.0 {
                out.push_contig(id, contig.length as u32, 0.0)?;
                continue;
            }
            for start in (0..contig.length).step_by(WINDOW) {
                let counts = &mut counts[..WINDOW.min((contig.length - start) as usize)];
                pack.counts(*in_pack, start as i64, false, counts);
                let shifted = |run: ValueRun| ValueRun {
                    start: run.start + start as u32,
                    end: run.end + start as u32,
                    value: run.value,
                };
                out.push_runs(id, Runs::new(counts).map(shifted).collect())?;
            }
        }
        Ok(())
    })
}

/// Runs that are handed on at once, and bp of a pack that are unpacked at once.
const WINDOW: usize = 1 << 16;

fn stream(
    path: &Path,
    contigs: &Assembly,
    fill: impl FnOnce(&mut BigWigStream) -> Result<()>,
) -> Result<()> {
    let run = || -> Result<()> {
        let pending = Pending::create(path)?;
        let folder = atomic::folder_of(path);
        let mut out = BigWigStream::create(pending.file(), folder, contigs)?;
        fill(&mut out)?;
        out.finish()?;
        pending.finish()
    };
    run().map_err(|error| atomic::unwritable(path, error))
}

pub(super) fn length_in_bigwig(length: u64, place: impl Fn() -> String) -> Result<u32, Problem> {
    u32::try_from(length).map_err(|_| {
        Problem::new(format!("contig has {length} bp, a bigWig holds fewer than 2^32")).at(place())
    })
}

fn check(path: &Path, contigs: &[(String, u64)], dense: &[Vec<f32>]) -> Result<(), Problem> {
    if contigs.is_empty() || contigs.len() != dense.len() {
        return Err(Problem::new(format!(
            "a bigWig needs one track a contig, found {} contigs and {} tracks",
            contigs.len(),
            dense.len()
        ))
        .at(path.display()));
    }
    let mut names = HashSet::new();
    for ((name, length), track) in contigs.iter().zip(dense) {
        let place = || format!("{} contig {name}", path.display());
        if track.len() as u64 != *length || track.is_empty() {
            return Err(Problem::new(format!(
                "track has {} values, its contig {length} bp",
                track.len()
            ))
            .at(place()));
        }
        if let Some(at) = track.iter().position(|v| !v.is_finite()) {
            return Err(Problem::new(format!("value at base {at} is {}", track[at])).at(place()));
        }
        length_in_bigwig(*length, place)?;
        if !names.insert(name) {
            return Err(Problem::new("contig is listed twice").at(place()));
        }
    }
    Ok(())
}

/// Runs of equal non-zero values.
struct Runs<'a> {
    track: &'a [f32],
    at: usize,
}

impl<'a> Runs<'a> {
    fn new(track: &'a [f32]) -> Self {
        Self { track, at: 0 }
    }
}

impl Iterator for Runs<'_> {
    type Item = ValueRun;

    fn next(&mut self) -> Option<ValueRun> {
        let rest = self.track.get(self.at..)?;
        let skip = rest.iter().position(|&v| v != 0.0)?;
        let rest = &rest[skip..];
        let value = rest[0];
        let run = rest.iter().position(|&v| v != value).unwrap_or(rest.len());
        let start = self.at + skip;
        self.at = start + run;
        Some(ValueRun { start: start as u32, end: self.at as u32, value })
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
        assert_eq!(runs(&[0.0, 0.0]), []);
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
        // A contig without data is no missing one.
        let none: Vec<_> = read.get_interval("chr10", 0, 3).unwrap().map(Result::unwrap).collect();
        assert_eq!(none, [bigtools::Value { start: 0, end: 3, value: 0.0 }]);
    }

    #[test]
    fn a_disk_that_fails_anywhere_is_an_error() {
        let track: Vec<f32> = (0..40_000).map(|i| ((i * 7919) % 97) as f32).collect();
        let contigs = [("chr1".to_string(), 40_000), ("chr2".to_string(), 9)];
        let dense = [track, vec![0.0; 9]];
        let steps =
            crate::files::atomic::faults::every_step("x.bw", |path| write(path, &contigs, &dense));
        assert!(steps > 8, "{steps}");
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
