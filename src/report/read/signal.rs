//! Observed counts, from the bigWig or the pack that a run trained on.

use std::path::Path;

use anyhow::Result;

use crate::input::bigwig::BigWig;
use crate::pack::cache;
use crate::store::SignalPack;

/// An open signal.
pub enum Signal {
    BigWig(Box<BigWig>),
    Pack(SignalPack),
}

impl Signal {
    pub fn open(path: &Path) -> Result<Self> {
        match cache::pack_kind(path)? {
            Some(_) => Ok(Self::Pack(SignalPack::open(path)?)),
            None => Ok(Self::BigWig(Box::new(BigWig::open(path)?))),
        }
    }

    /// Fills `out` with the counts from `start` on. False when the signal does not know the contig.
    pub fn counts(&mut self, chrom: &str, start: i64, out: &mut [f32]) -> Result<bool> {
        match self {
            Self::BigWig(file) => {
                let known = file.contigs().iter().any(|(name, _)| name == chrom);
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
