//! bigWig -> signal pack, streamed contig by contig: memory does not grow with the depth.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::Result;

use super::cache;
use crate::error::Problem;
use crate::files::atomic;
use crate::files::content::Watched;
use crate::input::assembly::Contig;
use crate::input::bigwig::BigWig;
use crate::store::format::Fingerprint;
use crate::store::signal::SignalWriter;

/// Packs `bigwig` into `out`, which appears only when it is complete. Contigs and lengths are
/// those of the bigWig, also where they carry no counts. `progress` gets the name of each contig
/// as it begins and how many contigs are done.
///
/// Errors: those of the bigWig reader; a value that is negative or not finite, since counts of
/// cut sites are neither and training would silently go wrong; the disk's.
pub fn write(bigwig: &Path, out: &Path, progress: impl FnMut(&str, u64)) -> Result<()> {
    let watched = Watched::begin(bigwig)?;
    atomic::write_with(out, |temporary| {
        fill(bigwig, temporary, None, progress)?;
        watched.check()
    })
}

/// Packs `bigwig` into `temporary`, which exists; returns what was packed: `source`, where that is
/// known already.
pub fn fill(
    bigwig: &Path,
    temporary: &Path,
    source: Option<Fingerprint>,
    mut progress: impl FnMut(&str, u64),
) -> Result<Fingerprint> {
    let source = source.map_or_else(|| cache::fingerprint(bigwig), Ok)?;
    let mut reader = BigWig::open(bigwig)?;
    let file = OpenOptions::new().write(true).truncate(true).open(temporary)?;
    let folder = temporary.parent().unwrap_or(Path::new("."));
    // The spool lies beside the pack: where there is room for one there is room for both.
    let mut writer = SignalWriter::new(file, tempfile::tempfile_in(folder)?)?;
    let mut covered = 0;
    for (done, Contig { name, length }) in reader.contigs().to_vec().into_iter().enumerate() {
        progress(&name, done as u64);
        writer.contig(&name, length)?;
        reader.intervals(&name, |start, end, value| {
            if !value.is_finite() || value < 0.0 {
                return Err(refused(bigwig, &name, start, value));
            }
            covered += u64::from(end - start);
            if value != 0.0 {
                for position in start..end {
                    writer.entry(u64::from(position), value)?;
                }
            }
            Ok(())
        })?;
    }
    // An index that leads to some blocks only is sound in itself.
    if let Some(wanted) = reader.bases_covered().filter(|&wanted| wanted != covered) {
        return Err(Problem::new(format!(
            "bigWig is damaged: its blocks cover {covered} bases, its own summary says {wanted}"
        ))
        .at(bigwig.display())
        .fix("copy or make the file again")
        .into());
    }
    writer.finish(Some(source.clone()))?;
    Ok(source)
}

fn refused(bigwig: &Path, contig: &str, start: u32, value: f32) -> anyhow::Error {
    let (what, fix) = if value < 0.0 {
        (
            "expected counts of cut sites, which are never negative",
            "pass the unstranded track of insertion counts, not a log ratio or the minus strand \
             of a stranded pair",
        )
    } else {
        ("expected finite counts", "write the track again without NaN or infinite values")
    };
    Problem::new(format!("value is {value}, {what}"))
        .at(format!("{} {contig}:{start} (0-based)", bigwig.display()))
        .fix(fix)
        .into()
}
