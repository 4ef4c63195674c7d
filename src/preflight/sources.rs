//! Contigs and counts of genome and signal as headers and indexes tell them: nothing is packed.
//!
//! A genome is a pack, its pack in the cache, the `.fai` beside it, or the FASTA read through for a
//! few seconds; a signal is a pack, its pack in the cache, or the bigWig itself, of which only the
//! places asked for are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::input::bigwig::BigWig;
use crate::input::{chrom_sizes, fasta};
use crate::pack::cache;
use crate::pack::reads::SignalInput;
use crate::store::format::{Kind, ValueType};
use crate::store::{GenomePack, SignalPack};

/// Names and lengths (bp) of a genome.
#[derive(Debug)]
pub struct GenomeContigs {
    pub contigs: Assembly,
    /// What they were read from.
    pub from: String,
    /// False where time ran out before the end of the FASTA.
    pub complete: bool,
}

/// Contigs of the genome at `path`; reads a FASTA without pack or index for at most `patience`.
pub fn genome(path: &Path, cache_dir: &Path, patience: Duration) -> Result<GenomeContigs> {
    if let Some(pack) = cache::find(path, cache_dir, Kind::Genome)? {
        let genome = GenomePack::open(&pack)?;
        let contigs = genome.contigs().clone();
        return Ok(GenomeContigs { contigs, from: pack.display().to_string(), complete: true });
    }
    if let Some(index) = index_of(path)? {
        let contigs = chrom_sizes::read(&index)?;
        return Ok(GenomeContigs { contigs, from: index.display().to_string(), complete: true });
    }
    read_through(path, patience)
}

/// `genome.fa.fai` that is not older than `genome.fa`.
fn index_of(path: &Path) -> Result<Option<PathBuf>> {
    let mut index = path.as_os_str().to_owned();
    index.push(".fai");
    let index = PathBuf::from(index);
    if !index.is_file() {
        return Ok(None);
    }
    let (of, to) = (cache::stat(&index)?, cache::stat(path)?);
    Ok((of.mtime_ns >= to.mtime_ns).then_some(index))
}

fn read_through(path: &Path, patience: Duration) -> Result<GenomeContigs> {
    #[derive(Debug)]
    struct OutOfTime;
    impl std::fmt::Display for OutOfTime {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("out of time")
        }
    }
    impl std::error::Error for OutOfTime {}

    let start = Instant::now();
    let mut contigs: Vec<(String, u64)> = Vec::new();
    let read = fasta::read(path, |piece| {
        match piece {
            fasta::Piece::Contig(name) => contigs.push((name.to_string(), 0)),
            fasta::Piece::Bases(bases) => {
                if let Some((_, length)) = contigs.last_mut() {
                    *length += bases.len() as u64;
                }
            }
        }
        if start.elapsed() > patience {
            return Err(OutOfTime.into());
        }
        Ok(())
    });
    let complete = match read {
        Ok(_) => true,
        Err(error) if error.is::<OutOfTime>() => {
            // The length of the contig that was being read is not known.
            contigs.pop();
            false
        }
        Err(error) => return Err(error),
    };
    let contigs = contigs.into_iter().collect();
    Ok(GenomeContigs { contigs, from: path.display().to_string(), complete })
}

/// Counts by place.
pub enum Signal {
    Pack(Arc<SignalPack>),
    BigWig(Box<BigWig>),
}

/// Sum of a window, and what its values are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    pub sum: f64,
    /// Some value is not a whole number.
    pub fractional: bool,
}

impl Signal {
    pub fn open(path: &Path, cache_dir: &Path) -> Result<Self> {
        match cache::find(path, cache_dir, Kind::Signal)? {
            Some(pack) => Ok(Self::Pack(Arc::new(SignalPack::open(&pack)?))),
            None => Ok(Self::BigWig(Box::new(BigWig::open(path)?))),
        }
    }

    pub fn contigs(&self) -> &Assembly {
        match self {
            Self::Pack(pack) => pack.contigs(),
            Self::BigWig(bigwig) => bigwig.contigs(),
        }
    }

    /// Sum of all counts; `None` where the file does not say.
    pub fn total(&mut self) -> Option<f64> {
        match self {
            Self::Pack(pack) => Some(pack.totals().1),
            Self::BigWig(bigwig) => bigwig.total(),
        }
    }

    /// Counts of `[start, end)`, of which the part outside the contig is empty. `None` for a contig
    /// that the signal does not have.
    ///
    /// Errors: a negative or infinite value, a damaged file.
    pub fn window(&mut self, chrom: &str, start: i64, end: i64) -> Result<Option<Window>> {
        match self {
            Self::Pack(pack) => Ok(pack.contig_id(chrom).map(|id| Window {
                sum: pack.sum(id, start, end),
                fractional: pack.value_type() == ValueType::F32,
            })),
            Self::BigWig(bigwig) => {
                let Some(length) = bigwig.length(chrom) else { return Ok(None) };
                let inside = |at: i64| at.clamp(0, length as i64) as u32;
                let mut window = Window::default();
                bigwig.values(chrom, inside(start), inside(end), |bases, value| {
                    if !value.is_finite() || value < 0.0 {
                        return Err(Problem::new(format!(
                            "value is {value}, expected counts of cut sites, which are finite and never negative"
                        ))
                        .at(format!("{chrom}:{start}-{end}"))
                        .fix("pass the unstranded track of insertion counts, not a log ratio or the minus strand of a stranded pair")
                        .into());
                    }
                    window.sum += f64::from(value) * f64::from(bases);
                    window.fractional |= value.fract() != 0.0;
                    Ok(())
                })?;
                Ok(Some(window))
            }
        }
    }

    /// Windows that can be asked for in about a second.
    pub fn sample_size(&self) -> usize {
        match self {
            Self::Pack(_) => 50_000,
            Self::BigWig(_) => 4_000,
        }
    }
}

/// Bytes that the packs of genome and signal will add to the cache folder. For reads it is what
/// their packs may have at most; whether one is there already is not looked up.
pub fn packs_to_make(genome: &Path, signal: Option<&SignalInput>, cache_dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    if cache::find(genome, cache_dir, Kind::Genome)?.is_none() {
        let size = cache::stat(genome)?.size;
        // Half a byte a base; compressed FASTA has some 4 bases a byte.
        bytes += if is_compressed(genome)? { 2 * size } else { size / 2 };
    }
    match signal {
        Some(SignalInput::Track(path)) if cache::find(path, cache_dir, Kind::Signal)?.is_none() => {
            // The pack and its spool together: measured 0.8 and 1.0 of the bigWig (yeast; 31 million
            // bases with counts).
            bytes += cache::stat(path)?.size;
        }
        Some(SignalInput::Reads(reads)) => {
            // An entry is one read or more: 10 compressed bytes of a fragment, 30 of a BAM record.
            for path in &reads.sources.files {
                bytes += cache::stat(path)?.size;
            }
        }
        _ => {}
    }
    Ok(bytes)
}

fn is_compressed(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut start = Vec::new();
    let file = crate::input::lines::open_file(path)?;
    file.take(2).read_to_end(&mut start).map_err(|e| crate::input::lines::unreadable(path, &e))?;
    Ok(start == [0x1f, 0x8b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::bigwig;

    #[test]
    fn a_fasta_read_through_or_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.fa");
        std::fs::write(&path, ">a x\nACGT\nAC\n>b\nAAA\n").unwrap();
        let cache = folder.path().join("cache");
        let whole = genome(&path, &cache, Duration::from_secs(60)).unwrap();
        let listed = |of: &GenomeContigs| -> Vec<(String, u64)> {
            of.contigs.iter().map(|c| (c.name.clone(), c.length)).collect()
        };
        assert_eq!(listed(&whole), [("a".to_string(), 6), ("b".to_string(), 3)]);
        assert!(whole.complete && !cache.exists());
        let stopped = genome(&path, &cache, Duration::ZERO).unwrap();
        assert!(!stopped.complete && stopped.contigs.len() < 2);
        // an index is believed
        std::fs::write(folder.path().join("g.fa.fai"), "a\t6\t5\t4\t5\n").unwrap();
        let indexed = genome(&path, &cache, Duration::ZERO).unwrap();
        assert_eq!(listed(&indexed), [("a".to_string(), 6)]);
        assert!(indexed.complete && indexed.from.ends_with("g.fa.fai"));
        // but not when the FASTA is newer
        let later = std::time::SystemTime::now() + Duration::from_secs(60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        let again = genome(&path, &cache, Duration::from_secs(60)).unwrap();
        assert_eq!(again.contigs.len(), 2);
    }

    #[test]
    fn a_bigwig_and_its_pack_give_the_same_windows() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join("s.bw"), folder.path().join("cache"));
        let track: Vec<f32> = (0..500).map(|i| (i % 7) as f32).collect();
        bigwig::write(&path, &[("a".to_string(), 500)], std::slice::from_ref(&track)).unwrap();
        let mut from_bigwig = Signal::open(&path, &cache).unwrap();
        assert!(matches!(from_bigwig, Signal::BigWig(_)));
        cache::open_signal(&path, &cache, &mut |_| {}).unwrap();
        let mut from_pack = Signal::open(&path, &cache).unwrap();
        assert!(matches!(from_pack, Signal::Pack(_)));
        assert_eq!(from_bigwig.contigs()[..], from_pack.contigs()[..]);
        for (start, end) in [(0, 500), (-20, 30), (3, 4), (490, 600), (600, 700), (10, 10)] {
            let wanted: f32 =
                track[start.clamp(0, 500) as usize..end.clamp(0, 500) as usize].iter().sum();
            for signal in [&mut from_bigwig, &mut from_pack] {
                let window = signal.window("a", start, end).unwrap().unwrap();
                assert_eq!((window.sum, window.fractional), (f64::from(wanted), false));
                assert!(signal.window("b", start, end).unwrap().is_none());
                assert_eq!(signal.total(), Some(f64::from(track.iter().sum::<f32>())));
            }
        }
    }

    #[test]
    fn negative_and_fractional_values() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join("s.bw"), folder.path().join("cache"));
        let mut track = vec![0.5f32; 100];
        track[50] = -1.0;
        bigwig::write(&path, &[("a".to_string(), 100)], &[track]).unwrap();
        let mut signal = Signal::open(&path, &cache).unwrap();
        assert!(signal.window("a", 0, 40).unwrap().unwrap().fractional);
        let error = signal.window("a", 0, 60).unwrap_err().to_string();
        assert!(error.contains("value is -1") && error.contains("a:0-60"), "{error}");
    }
}
