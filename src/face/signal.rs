//! Observed counts along a genome.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::error::Result;
use crate::error::Problem;
use crate::pack::{cache, inputs};
use crate::store::SignalPack;

/// Insertions per base, mapped from a signal pack. Cheap to clone.
#[derive(Clone)]
pub struct Signal(Arc<SignalPack>);

impl Signal {
    /// Opens a signal pack (`.cbs`), or a bigWig, which is packed into [`CACHE_FOLDER`](crate::CACHE_FOLDER) unless
    /// its pack is there.
    ///
    /// Errors: a file that is neither, damaged packs, no room for the pack.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_in(path, cache::FOLDER)
    }

    /// Opens a signal as [`open`](Self::open) does, with its pack kept in the folder `cache`.
    pub fn open_in(path: impl AsRef<Path>, cache: impl AsRef<Path>) -> Result<Self> {
        let pack = cache::open_signal(path.as_ref(), cache.as_ref(), &mut |_| {})?;
        Ok(Self(Arc::new(pack)))
    }

    /// Names and lengths in bp, in the order of the file.
    pub fn contigs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.contigs().iter().map(|contig| (contig.name.as_str(), contig.length))
    }

    /// The counts of a contig in `range`, 0-based and half-open, a value a base; 0 outside the contig.
    ///
    /// Errors: a contig that the signal does not have.
    pub fn counts(&self, contig: &str, range: Range<i64>) -> Result<Vec<f32>> {
        let Some(id) = self.0.contig_id(contig) else {
            return Err(Problem::new(format!(
                "there is no contig {contig:?} in the signal, which has {}",
                inputs::names(self.0.contigs()).join(", ")
            ))
            .into());
        };
        let length = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| Problem::new(format!("{} to {} is no range", range.start, range.end)))?;
        let mut counts = vec![0.0; length];
        self.0.counts(id, range.start, false, &mut counts);
        Ok(counts)
    }
}
