//! FASTA -> genome pack, streamed: memory does not grow with the genome.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::Result;

use super::cache;
use crate::error::Problem;
use crate::files::atomic;
use crate::files::content::{self, Watched};
use crate::input::fasta::{self, Piece};
use crate::store::format::Fingerprint;
use crate::store::genome::GenomeWriter;

/// Packs `fasta` into `out`, which appears only when it is complete. `progress` gets the name of
/// each contig as it begins and the bp read so far.
///
/// Errors: those of the FASTA reader, a contig of 2^32 bp or more, a FASTA that changes meanwhile, the
/// disk's.
pub fn write(fasta: &Path, out: &Path, progress: impl FnMut(&str, u64)) -> Result<()> {
    let watched = Watched::begin(fasta)?;
    atomic::write_with(out, |temporary| {
        fill(fasta, temporary, progress)?;
        watched.check()
    })
}

/// Packs `fasta` into `temporary`, which exists; returns what was packed, hashed as it was read.
pub fn fill(
    fasta: &Path,
    temporary: &Path,
    mut progress: impl FnMut(&str, u64),
) -> Result<Fingerprint> {
    let file = OpenOptions::new().write(true).truncate(true).open(temporary)?;
    let mut writer = GenomeWriter::new(file)?;
    let mut name = String::new();
    let (mut length, mut total) = (0, 0);
    let hash = fasta::read(fasta, |piece| match piece {
        Piece::Contig(contig) => {
            name = contig.to_string();
            length = 0;
            progress(contig, total);
            writer.contig(contig)
        }
        Piece::Bases(bases) => {
            length += bases.len() as u64;
            total += bases.len() as u64;
            if length > u64::from(u32::MAX) {
                return Err(Problem::new(format!("contig {name} has 2^32 bp or more"))
                    .at(fasta.display())
                    .into());
            }
            writer.bases(bases)
        }
    })?;
    let stat = cache::stat(fasta)?;
    // A reader may leave bytes after the end of the text unread.
    let source = match hash.bytes() == stat.size {
        true => Fingerprint { xxh3: content::hex(hash.digest()), ..stat },
        false => cache::fingerprint(fasta)?,
    };
    writer.finish(Some(source.clone()))?;
    Ok(source)
}
