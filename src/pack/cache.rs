//! The cache of packs: FASTA and bigWig are packed once and found again by what they were.
//!
//! A pack lies in the cache folder as `<stem>-<12 hex digits of name, size and time>.cbg|.cbs`
//! and is used again while the source still has the name, size and time in the pack's header.
//! A pack made from reads is known by what was asked for: files, shift, filters, contigs.
//! Packs of another version or damaged ones are made anew.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use anyhow::Result;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub use crate::store::format::Fingerprint;

use super::cut_sites::{self, Report, Request};
use super::shift::Shift;
use super::{genome, signal};
use crate::error::Problem;
use crate::input::lines;
use crate::input::reads::{Contigs, Position};
use crate::store::format::{self, HEADER, Kind};
use crate::store::{GenomePack, SignalPack};

/// Held while a pack is looked for and made: runs of one process find what another has just made.
static MAKING: Mutex<()> = Mutex::new(());

/// Opens `path` as a genome: a `.cbg` pack as it is, a FASTA through its pack in `cache_dir`,
/// which is made where needed. `report` gets one line about what was done.
///
/// Errors: those of packing and of opening; a cache folder that cannot be written.
pub fn open_genome(
    path: &Path,
    cache_dir: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<GenomePack> {
    let pack =
        pack_of(path, cache_dir, Kind::Genome, report, &|out| genome::write(path, out, |_, _| {}))?;
    GenomePack::open(&pack)
}

/// Opens `path` as a signal: a `.cbs` pack as it is, a bigWig through its pack in `cache_dir`.
pub fn open_signal(
    path: &Path,
    cache_dir: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<SignalPack> {
    let pack =
        pack_of(path, cache_dir, Kind::Signal, report, &|out| signal::write(path, out, |_, _| {}))?;
    SignalPack::open(&pack)
}

/// The signal pack of `request` in `cache_dir`, made where needed: its path, and what was counted
/// if it was made now. `shift` is asked only then. Scratch files lie in `scratch`, by default the
/// cache folder.
///
/// Errors: those of `Request::write` and of `shift`; a folder that cannot be written.
pub fn pack_reads(
    request: &Request,
    contigs: &Contigs,
    cache_dir: &Path,
    scratch: Option<&Path>,
    shift: &mut dyn FnMut() -> Result<Shift>,
    report: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(Position),
) -> Result<(PathBuf, Option<Report>)> {
    let source = request.fingerprint(contigs)?;
    let first = &request.sources.files[0];
    let stem = stem(&first.file_name().unwrap_or(first.as_os_str()).to_string_lossy()).to_string();
    let pack = cache_dir.join(format!("{stem}-{}.cbs", &source.xxh3[..12]));
    // With `strict` the reads have to be looked at.
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let known = !request.options.strict
        && format::read_header(&pack).is_ok_and(|header| header.source.as_ref() == Some(&source));
    if known {
        report(&format!("{}: using its pack {}", source.name, pack.display()));
        return Ok((pack, None));
    }
    let flag = request.sources.format.flag();
    check_writable(
        cache_dir,
        &format!("pack signal {flag} {} -g GENOME -o OUT.cbs", first.display()),
    )?;
    let scratch = cut_sites::scratch_folder(scratch, &pack)?;
    let shift = shift()?;
    report(&format!("{}: packing into {}", source.name, pack.display()));
    let made = request.write(shift, contigs, &pack, &scratch, progress)?;
    Ok((pack, Some(made)))
}

fn pack_of(
    path: &Path,
    cache_dir: &Path,
    kind: Kind,
    report: &mut dyn FnMut(&str),
    write: &dyn Fn(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pack) = find(path, cache_dir, kind)? {
        if pack != path {
            report(&format!("{}: using its pack {}", path.display(), pack.display()));
        }
        return Ok(pack);
    }
    let pack = cache_dir.join(file_name(&stat(path)?, kind));
    let command = match kind {
        Kind::Genome => format!("pack genome -g {} -o OUT.cbg", path.display()),
        Kind::Signal => format!("pack signal --bigwig {} -o OUT.cbs", path.display()),
    };
    check_writable(cache_dir, &command)?;
    report(&format!("{}: packing into {}", path.display(), pack.display()));
    write(&pack)?;
    Ok(pack)
}

/// The pack that `open_genome` or `open_signal` would use for `path` as things stand: the file itself
/// where it is a pack, its pack in `cache_dir`; `None` where one would have to be made.
pub fn find(path: &Path, cache_dir: &Path, kind: Kind) -> Result<Option<PathBuf>> {
    if pack_kind(path)?.is_some() {
        return Ok(Some(path.to_path_buf()));
    }
    let source = stat(path)?;
    let pack = cache_dir.join(file_name(&source, kind));
    Ok(is_current(&pack, kind, &source).then_some(pack))
}

/// The kind of pack that `path` is, by its first bytes; `None` for any other file.
pub fn pack_kind(path: &Path) -> Result<Option<Kind>> {
    let file = lines::open_file(path)?;
    if !file.metadata().map_err(|e| lines::unreadable(path, &e))?.is_file() {
        return Ok(None);
    }
    let mut start = Vec::with_capacity(8);
    file.take(8).read_to_end(&mut start).map_err(|e| lines::unreadable(path, &e))?;
    Ok(Kind::of(&start))
}

fn file_name(source: &Fingerprint, kind: Kind) -> String {
    let key = format!("{}\0{}\0{}", source.name, source.size, source.mtime_ns);
    let stem = stem(&source.name);
    let extension = match kind {
        Kind::Genome => "cbg",
        Kind::Signal => "cbs",
    };
    format!("{stem}-{}.{extension}", &hex(xxh3_64(key.as_bytes()))[..12])
}

/// genome.fa.gz -> genome
fn stem(name: &str) -> &str {
    name.split('.').next().filter(|s| !s.is_empty()).unwrap_or("pack")
}

fn is_current(pack: &Path, kind: Kind, source: &Fingerprint) -> bool {
    pack.is_file()
        && format::read_header(pack).is_ok_and(|header| {
            header.kind == kind
                && header.source.is_some_and(|was| {
                    (&was.name, was.size, was.mtime_ns)
                        == (&source.name, source.size, source.mtime_ns)
                })
        })
}

/// Tries the folder before minutes are spent on a pack that could not be stored; `command` makes
/// the pack elsewhere.
fn check_writable(cache_dir: &Path, command: &str) -> Result<()> {
    fs::create_dir_all(cache_dir).and_then(|()| tempfile::tempfile_in(cache_dir).map(drop)).map_err(
        |e| {
            Problem::new(format!("cannot write to the cache folder: {e}"))
                .at(cache_dir.display())
                .fix(format!(
                    "name one that can be written with --cache-dir, or make the pack yourself and pass \
                     it instead: cbp-fast {command}"
                ))
                .into()
        },
    )
}

/// Name, size and time of a file; its content hash stays empty.
pub fn stat(path: &Path) -> Result<Fingerprint> {
    let metadata = lines::open_file(path)?.metadata().map_err(|e| lines::unreadable(path, &e))?;
    let mtime_ns = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|time| i64::try_from(time.as_nanos()).ok())
        .unwrap_or(0);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Fingerprint { name, size: metadata.len(), mtime_ns, xxh3: String::new() })
}

/// What a file is: name, size, time and content, so that a file that was only touched is known
/// again. Of a pack only the header is hashed, which holds the checksum of the rest.
pub fn fingerprint(path: &Path) -> Result<Fingerprint> {
    let source = stat(path)?;
    let limit = if pack_kind(path)?.is_some() { HEADER as u64 } else { u64::MAX };
    let mut file = lines::open_file(path)?.take(limit);
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|e| lines::unreadable(path, &e))? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(Fingerprint { xxh3: hex(hash.digest()), ..source })
}

pub(super) fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
