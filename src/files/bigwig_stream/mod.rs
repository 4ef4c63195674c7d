//! A bigWig that takes a value a base as they come, in coordinate order.
//!
//! Beside `bigwig`, which hands runs of values to a library: here every contig is listed, in the
//! order given, with data or without, as the official tools do; a value takes 4 bytes before
//! compression instead of 12; and values are pushed. A thread compresses and writes, behind a short
//! queue, so that whoever pushes waits for the disk rather than for memory. Memory: 24 bytes for each
//! 1,024 bases, for the index.
//!
//! Format: Kent et al. 2010, "BigWig and BigBed", supplementary tables.

mod blocks;
mod writer;
mod zoom;

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use self::writer::Writer;
use crate::{defect, threads};

/// Slices of values that may wait.
const QUEUE: usize = 64;

struct Slice {
    contig: u32,
    start: u32,
    /// One a base.
    values: Vec<f32>,
}

/// Writes one bigWig.
pub struct BigWigStream {
    /// `None` once the thread has been told that nothing more comes.
    queue: Option<SyncSender<Slice>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl BigWigStream {
    /// Writes to `path` itself: the caller has made it a temporary name. `contigs`: names and
    /// lengths, in the order of the file's list.
    ///
    /// Errors: a contig of 2^32 bp or more, more than 65,535 contigs, a file that cannot be made.
    pub fn create(path: &Path, contigs: &[(String, u64)]) -> Result<Self> {
        let mut writer = Writer::create(path, contigs)?;
        let (queue, slices) = sync_channel::<Slice>(QUEUE);
        let thread = threads::spawn("bigwig", move || {
            for Slice { contig, start, values } in slices {
                writer.add(contig, start, &values)?;
            }
            writer.finish()
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// The values of `[start, start + values.len())`, which lie after all bases pushed before.
    pub fn push(&mut self, contig: u32, start: u32, values: &[f32]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let slice = Slice { contig, start, values: values.to_vec() };
        if self.queue.as_ref().is_some_and(|queue| queue.send(slice).is_ok()) {
            return Ok(());
        }
        // The thread hangs up early only when it cannot write.
        self.wait()?;
        Err(anyhow!("the thread that writes the bigWig ended early"))
    }

    /// Writes overviews and indices, and waits for them.
    pub fn finish(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        self.queue = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => Err(defect::of(&*panic).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bigtools::BigWigRead;

    use super::*;

    fn contigs() -> Vec<(String, u64)> {
        [("chr2", 300_000), ("none", 7), ("a longer name", 5_000)]
            .map(|(name, length)| (name.to_string(), length))
            .to_vec()
    }

    /// A value that no neighbour has.
    fn value(at: u32) -> f32 {
        (at % 977) as f32 - 400.5
    }

    fn write(slices: &[(u32, u32, u32)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let mut stream = BigWigStream::create(&path, &contigs()).unwrap();
        for &(contig, start, end) in slices {
            stream.push(contig, start, &(start..end).map(value).collect::<Vec<_>>()).unwrap();
        }
        stream.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn values_contigs_and_overviews_read_back() {
        // Contiguous slices, gaps, blocks that are full to the base, single bases, contig ends.
        let slices = [
            (0, 0, 1),
            (0, 1, 1_025),
            (0, 1_025, 1_030),
            (0, 5_000, 6_024),
            (0, 6_024, 7_048),
            (0, 200_000, 263_123),
            (0, 299_999, 300_000),
            (2, 0, 64),
            (2, 100, 100),
            (2, 4_000, 5_000),
        ];
        let (folder, path) = write(&slices);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let mut file = BigWigRead::open_file(&path).unwrap();
        let listed = file.chroms().iter().map(|c| (c.name.clone(), u64::from(c.length)));
        assert_eq!(listed.collect::<Vec<_>>(), contigs());

        let mut all = Vec::new();
        for ((name, length), id) in contigs().iter().zip(0..) {
            let mut wanted = vec![f32::NAN; *length as usize];
            for &(_, start, end) in slices.iter().filter(|s| s.0 == id) {
                (start..end).for_each(|at| wanted[at as usize] = value(at));
            }
            let found = file.values(name, 0, *length as u32).unwrap();
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(bits(&found) == bits(&wanted), "{name}");

            // Each overview: the sums of its bins are the sums of the bases they cover.
            for reduction in [64, 256, 1_024, 65_536, 262_144] {
                let zoom = file.get_zoom_interval(name, 0, *length as u32, reduction).unwrap();
                let bins: Vec<_> = zoom.map(Result::unwrap).collect();
                let mut covered = 0;
                for bin in &bins {
                    let bases = &wanted[bin.start as usize..bin.end as usize];
                    let valid: Vec<f64> =
                        bases.iter().filter(|v| !v.is_nan()).map(|&v| f64::from(v)).collect();
                    let sum: f64 = valid.iter().sum();
                    assert!(bin.end - bin.start <= reduction);
                    assert_eq!(bin.summary.bases_covered, valid.len() as u64);
                    assert!((bin.summary.sum - sum).abs() <= 1e-6 * sum.abs() + 0.1);
                    let max = valid.iter().copied().fold(f64::MIN, f64::max);
                    assert_eq!(bin.summary.max_val, max);
                    covered += valid.len();
                }
                assert_eq!(covered, wanted.iter().filter(|v| !v.is_nan()).count(), "{reduction}");
            }
            all.extend(wanted.into_iter().filter(|v| !v.is_nan()).map(f64::from));
        }
        let summary = file.get_summary().unwrap();
        assert_eq!(summary.bases_covered, all.len() as u64);
        assert_eq!(summary.sum, all.iter().sum::<f64>());
        assert_eq!(summary.min_val, -400.5);
    }

    #[test]
    fn an_index_of_three_levels_finds_every_block() {
        let slices: Vec<_> = (0..66_000).map(|i| (0, 4 * i, 4 * i + 1)).collect();
        let (_folder, path) = write(&slices);
        let mut file = BigWigRead::open_file(&path).unwrap();
        for i in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 65_999] {
            let found = file.values("chr2", 4 * i, 4 * i + 2).unwrap();
            assert!(found[0] == value(4 * i) && found[1].is_nan(), "{i}");
        }
        let found = file.values("chr2", 0, 300_000).unwrap();
        assert_eq!(found.iter().filter(|v| !v.is_nan()).count(), 66_000);
    }

    #[test]
    fn refuses_what_a_bigwig_cannot_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let refused = |contigs: &[(String, u64)]| match BigWigStream::create(&path, contigs) {
            Ok(_) => panic!("was taken"),
            Err(error) => error.to_string(),
        };
        assert!(refused(&[("chr1".into(), 1 << 32)]).contains("4294967296 bp"));
        let many: Vec<_> = (0..70_000).map(|i| (format!("c{i}"), 5)).collect();
        assert!(refused(&many).contains("70000 contigs"));
    }
}
