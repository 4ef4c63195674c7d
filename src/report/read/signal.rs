//! Observed counts, from the bigWig or the pack that a run trained on.

use std::path::Path;

use anyhow::Result;

use crate::input::bigwig::BigWig;
use crate::pack::cache;
use crate::store::SignalPack;
use crate::store::format::Kind;

/// The default of `--cache-dir`.
const CACHE: &str = ".cbp-fast-cache";

/// An open signal.
pub enum Signal {
    BigWig(Box<BigWig>),
    Pack(Box<SignalPack>),
}

impl Signal {
    /// Opens `path`, or the pack of it that a command left in the default cache folder: regions of a
    /// bigWig, each in a compressed block of its own, take a third of a millisecond.
    pub fn open(path: &Path) -> Result<Self> {
        let pack = cache::find(path, Path::new(CACHE), Kind::Signal)?;
        match pack.and_then(|pack| SignalPack::open(&pack).ok()) {
            Some(pack) => Ok(Self::Pack(Box::new(pack))),
            None if cache::pack_kind(path)?.is_some() => {
                Ok(Self::Pack(Box::new(SignalPack::open(path)?)))
            }
            None => Ok(Self::BigWig(Box::new(BigWig::open(path)?))),
        }
    }

    /// Fills `out` with the counts from `start` on. False when the signal does not know the contig.
    pub fn counts(&mut self, chrom: &str, start: i64, out: &mut [f32]) -> Result<bool> {
        match self {
            Self::BigWig(file) => {
                let known = file.length(chrom).is_some();
                if known {
                    file.counts(chrom, start, out)?;
                }
                Ok(known)
            }
            Self::Pack(pack) => match pack.contig_id(chrom) {
                Some(contig) => {
                    pack.counts(contig, start, false, out);
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }
}
