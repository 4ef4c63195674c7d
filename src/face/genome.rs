//! A reference genome, for sequences.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::error::Result;
use super::sequence::Sequence;
use crate::error::Problem;
use crate::pack::{cache, inputs};
use crate::store::GenomePack;

/// A genome, mapped from its pack. Cheap to clone.
#[derive(Clone)]
pub struct Genome(Arc<GenomePack>);

impl Genome {
    /// Opens a genome pack (`.cbg`), or a FASTA (plain, gzip or bgzip), which is packed into
    /// [`CACHE_FOLDER`](crate::CACHE_FOLDER) unless its pack is there.
    ///
    /// Errors: a file that is neither, damaged packs, no room for the pack.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_in(path, cache::FOLDER)
    }

    /// Opens a genome as [`open`](Self::open) does, with its pack kept in the folder `cache`.
    pub fn open_in(path: impl AsRef<Path>, cache: impl AsRef<Path>) -> Result<Self> {
        let pack = cache::open_genome(path.as_ref(), cache.as_ref(), &mut |_| {})?;
        Ok(Self(Arc::new(pack)))
    }

    /// A genome in memory, of names and bases.
    pub fn from_sequences<'a>(sequences: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(Arc::new(GenomePack::from_sequences(sequences)))
    }

    /// Names and lengths in bp, in the order of the file.
    pub fn contigs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.contigs().iter().map(|contig| (contig.name.as_str(), contig.length))
    }

    /// The bases of a contig in `range`, 0-based and half-open; positions outside the contig are N.
    ///
    /// Errors: a contig that the genome does not have.
    pub fn sequence(&self, contig: &str, range: Range<i64>) -> Result<Sequence> {
        let Some(id) = self.0.contig_id(contig) else {
            let names = inputs::names(self.0.contigs());
            return Err(inputs::different_names(
                "there is no such contig",
                names,
                vec![contig.to_string()],
            )
            .into());
        };
        let length = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| Problem::new(format!("{} to {} is no range", range.start, range.end)))?;
        let mut codes = vec![4; length];
        self.0.codes(id, range.start, false, &mut codes);
        Sequence::from_codes(codes)
    }

    /// `length` bases around `center`: `center - length / 2` is the first, as the windows of models lie around summits.
    ///
    /// Errors: a contig that the genome does not have.
    pub fn around(&self, contig: &str, center: u64, length: usize) -> Result<Sequence> {
        let start = i64::try_from(center).unwrap_or(i64::MAX / 2) - (length / 2) as i64;
        self.sequence(contig, start..start.saturating_add(length as i64))
    }
}
