//! A bigWig that is written base by base.

use std::path::Path;

use super::error::Result;
use crate::error::Problem;
use crate::files::atomic::{self, Pending};
use crate::files::bigwig_stream::BigWigStream;
use crate::input::assembly::Assembly;

/// Writes a bigWig, stretch by stretch along the genome. The file appears when it is complete; dropped before
/// [`finish`](Self::finish), it leaves nothing behind.
pub struct Track {
    pending: Pending,
    stream: BigWigStream,
    contigs: Assembly,
    /// Contig and base that come next at the earliest.
    next: (u32, u64),
}

impl Track {
    /// Begins a bigWig of `contigs`, names and lengths, as [`Genome::contigs`](crate::Genome::contigs) has them.
    ///
    /// Errors: no contig, one of 2^32 bp or more, a file that cannot be made.
    pub fn create<'a>(
        path: impl AsRef<Path>,
        contigs: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let contigs: Assembly = contigs.into_iter().filter(|(_, length)| *length > 0).collect();
        if contigs.is_empty() {
            return Err(Problem::new("a bigWig needs a contig").at(path.display()).into());
        }
        let pending = Pending::create(path)?;
        let stream = BigWigStream::create(pending.file(), atomic::folder_of(path), &contigs)?;
        Ok(Self { pending, stream, contigs, next: (0, 0) })
    }

    /// Writes `values` from base `start` (0-based) of `contig` on. Contigs come in their order, and stretches of a
    /// contig from left to right, without overlap.
    ///
    /// Errors: an unknown contig, values beyond its end or out of order, a value that is not finite, what the disk says.
    pub fn write(&mut self, contig: &str, start: u64, values: &[f32]) -> Result<()> {
        let wrong = |what: String| Problem::new(what).at(format!("{contig}:{start}"));
        let Some(id) = self.contigs.id(contig) else {
            return Err(wrong("the bigWig has no such contig".into()).into());
        };
        let (length, end) =
            (self.contigs[id as usize].length, start.saturating_add(values.len() as u64));
        if end > length {
            return Err(
                wrong(format!("values reach to {end}, beyond the contig's {length} bp")).into()
            );
        }
        if (id, start) < self.next {
            return Err(wrong("values must come from left to right, contig by contig".into())
                .fix("sort the stretches and cut off what overlaps")
                .into());
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(wrong(format!("{value} cannot be written to a bigWig")).into());
        }
        self.next = (id, end);
        Ok(self.stream.push(id, start as u32, values)?)
    }

    /// Writes what is left and gives the file its name.
    ///
    /// Errors: what the disk says.
    pub fn finish(self) -> Result<()> {
        self.stream.finish()?;
        Ok(self.pending.publish()?)
    }
}
