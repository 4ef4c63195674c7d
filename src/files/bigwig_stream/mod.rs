//! A bigWig that takes values as they come, in coordinate order: one a base, or runs of equal values.
//!
//! Every contig is listed, in the order given (by name where there are more than 65,535), with data or
//! without, as the official tools do. A value a base takes 4 bytes before compression, a run 12, or 8
//! where all runs of a block have one length. A thread compresses and writes, behind a short queue, so
//! that whoever pushes waits for the disk rather than for memory. Memory: 24 bytes for each 1,024
//! values or runs, for the index.
//!
//! Format: Kent et al. 2010, "BigWig and BigBed", supplementary tables.

mod blocks;
mod contigs;
mod writer;
mod zoom;

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use self::writer::Writer;
use super::atomic::OutFile;
use crate::input::assembly::Contig;
use crate::{defect, threads};

/// Slices of values that may wait.
const QUEUE: usize = 64;

/// One value on `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRun {
    pub start: u32,
    pub end: u32,
    pub value: f32,
}

enum Slice {
    /// One a base.
    Values {
        contig: u32,
        start: u32,
        values: Vec<f32>,
    },
    Runs {
        contig: u32,
        runs: Vec<ValueRun>,
    },
    Contig {
        contig: u32,
        length: u32,
        value: f32,
    },
}

/// Writes one bigWig.
pub struct BigWigStream {
    /// `None` once the thread has been told that nothing more comes.
    queue: Option<SyncSender<Slice>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl BigWigStream {
    /// Writes to `file`, which is empty; overviews wait in an unnamed file in `folder`. `contigs`: names
    /// and lengths, in the order of the file's list.
    ///
    /// Errors: a contig of 2^32 bp or more, a file that cannot be made.
    pub fn create(file: OutFile, folder: &Path, contigs: &[Contig]) -> Result<Self> {
        let mut writer = Writer::create(file, folder, contigs)?;
        let (queue, slices) = sync_channel::<Slice>(QUEUE);
        let thread = threads::spawn("bigwig", move || {
            for slice in slices {
                match slice {
                    Slice::Values { contig, start, values } => {
                        writer.add(contig, start, &values)?;
                    }
                    Slice::Runs { contig, runs } => writer.add_runs(contig, &runs)?,
                    Slice::Contig { contig, length, value } => {
                        writer.add_contig(contig, length, value)?;
                    }
                }
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
        self.send(Slice::Values { contig, start, values: values.to_vec() })
    }

    /// Runs in order, after all bases pushed before.
    pub fn push_runs(&mut self, contig: u32, runs: Vec<ValueRun>) -> Result<()> {
        match runs.is_empty() {
            true => Ok(()),
            false => self.send(Slice::Runs { contig, runs }),
        }
    }

    /// One value on a whole contig of at least 1 bp, after all bases pushed before.
    pub fn push_contig(&mut self, contig: u32, length: u32, value: f32) -> Result<()> {
        self.send(Slice::Contig { contig, length, value })
    }

    fn send(&mut self, slice: Slice) -> Result<()> {
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
    use std::collections::HashMap;

    use bigtools::BigWigRead;

    use super::*;
    use crate::files::atomic::Pending;
    use crate::input::assembly::Assembly;

    fn assembly(contigs: &[(String, u64)]) -> Assembly {
        contigs.iter().cloned().collect()
    }

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
        let pending = Pending::create(&path).unwrap();
        let mut stream =
            BigWigStream::create(pending.file(), folder.path(), &assembly(&contigs())).unwrap();
        for &(contig, start, end) in slices {
            stream.push(contig, start, &(start..end).map(value).collect::<Vec<_>>()).unwrap();
        }
        stream.finish().unwrap();
        pending.finish().unwrap();
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
        let file = crate::files::atomic::scratch(folder.path()).unwrap();
        match BigWigStream::create(file, folder.path(), &assembly(&[("chr1".into(), 1 << 32)])) {
            Ok(_) => panic!("was taken"),
            Err(error) => assert!(error.to_string().contains("4294967296 bp")),
        }
    }

    #[test]
    fn any_number_of_contigs_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0usize, 1, 257, 65_536] {
            let path = folder.path().join(format!("{count}.bw"));
            let contigs: Vec<(String, u64)> =
                (0..count).map(|i| (format!("c{i}"), 5 + i as u64)).collect();
            let pending = Pending::create(&path).unwrap();
            let mut stream =
                BigWigStream::create(pending.file(), folder.path(), &assembly(&contigs)).unwrap();
            let ids = [0, 1, 255, 256, 40_000, 65_535];
            for contig in ids.into_iter().filter(|&id| (id as usize) < count) {
                stream
                    .push_runs(contig, vec![ValueRun { start: 1, end: 3, value: contig as f32 }])
                    .unwrap();
            }
            stream.finish().unwrap();
            pending.finish().unwrap();
            let mut file = BigWigRead::open_file(&path).unwrap();
            let listed: HashMap<&str, u64> =
                file.chroms().iter().map(|c| (c.name.as_str(), u64::from(c.length))).collect();
            assert_eq!((listed.len(), file.chroms().len()), (count, count));
            assert!(contigs.iter().all(|(name, length)| listed.get(name.as_str()) == Some(length)));
            for id in ids {
                if let Some((name, _)) = contigs.get(id as usize) {
                    let values = file.values(name, 0, 5).unwrap();
                    assert!(values[0].is_nan() && values[3].is_nan());
                    assert_eq!(values[1..3], [id as f32; 2]);
                }
            }
        }
    }

    #[test]
    fn runs_values_and_whole_contigs_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bw");
        let contigs = contigs();
        let pending = Pending::create(&path).unwrap();
        let mut stream =
            BigWigStream::create(pending.file(), folder.path(), &assembly(&contigs)).unwrap();
        // More than a block of runs of one length, then of several, across bins, then values.
        let ones = (0..1500).map(|i| ValueRun { start: 3 * i, end: 3 * i + 1, value: value(i) });
        let mixed = (0..1500).map(|i| ValueRun {
            start: 10_000 + 100 * i,
            end: 10_000 + 100 * i + 1 + i % 100,
            value: value(i),
        });
        let runs: Vec<ValueRun> = ones.chain(mixed).collect();
        stream.push_runs(0, runs[..700].to_vec()).unwrap();
        stream.push_runs(0, runs[700..].to_vec()).unwrap();
        stream.push(0, 200_000, &[1.0, 2.0]).unwrap();
        stream.push_contig(1, 7, 0.0).unwrap();
        stream.push_runs(2, vec![ValueRun { start: 0, end: 5_000, value: 2.5 }]).unwrap();
        stream.finish().unwrap();
        pending.finish().unwrap();

        let mut file = BigWigRead::open_file(&path).unwrap();
        let mut found = |name: &str, length| -> Vec<ValueRun> {
            let intervals = file.get_interval(name, 0, length).unwrap().map(Result::unwrap);
            intervals.map(|v| ValueRun { start: v.start, end: v.end, value: v.value }).collect()
        };
        let mut wanted = runs.clone();
        wanted.push(ValueRun { start: 200_000, end: 200_001, value: 1.0 });
        wanted.push(ValueRun { start: 200_001, end: 200_002, value: 2.0 });
        assert_eq!(found("chr2", 300_000), wanted);
        assert_eq!(found("none", 7), [ValueRun { start: 0, end: 7, value: 0.0 }]);
        assert_eq!(found("a longer name", 5_000), [ValueRun { start: 0, end: 5_000, value: 2.5 }]);
        let bases = wanted.iter().map(|r| u64::from(r.end - r.start)).sum::<u64>() + 7 + 5_000;
        assert_eq!(file.get_summary().unwrap().bases_covered, bases);
        for reduction in [64, 256, 1_024, 65_536] {
            let mut sum = |name: &str, length| -> (u64, f64) {
                let zoom = file.get_zoom_interval(name, 0, length, reduction).unwrap();
                let bins = zoom.map(|bin| bin.unwrap().summary);
                bins.fold((0, 0.0), |(n, sum), s| (n + s.bases_covered, sum + s.sum))
            };
            let (covered, total) = sum("chr2", 300_000);
            assert_eq!(covered, bases - 5_007);
            let exact: f64 =
                wanted.iter().map(|r| f64::from(r.end - r.start) * f64::from(r.value)).sum();
            assert!((total - exact).abs() < 1e-6 * exact.abs() + 1.0, "{total} {exact}");
            assert_eq!(sum("none", 7), (7, 0.0));
            assert_eq!(sum("a longer name", 5_000), (5_000, 12_500.0));
        }
    }
}
