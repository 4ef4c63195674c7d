//! The cache of packs: FASTA, bigWig and reads are packed once and found again by their content.
//!
//! A pack lies in the cache folder as `genome-v<version>-<hash>.cbg`, `signal-..` or `reads-..cbs`. The
//! hash is that of the source's bytes, which the pack's header repeats: a copy of the source under any
//! name and time finds the pack, and other bytes never do. Of reads it is the hash of what was asked
//! for: content of the files, shift, filters, contigs. A pack is compared with its checksums before it
//! is used; one that is damaged is made anew.
//!
//! Hashing costs a reading of the source, so hashes are remembered (`content`), and a FASTA that is
//! packed for the first time is hashed as it is packed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

pub use crate::files::content::{Watched, pack_kind};
pub use crate::store::format::Fingerprint;

use super::cut_sites::{self, Report, Request};
use super::shift::Shift;
use super::{genome, signal};
use crate::error::Problem;
use crate::files::atomic::Pending;
use crate::files::content;
use crate::input::lines;
use crate::input::reads::{Contigs, Position};
use crate::store::format::{self, Header, Kind, VERSION};
use crate::store::stat::Stat;
use crate::store::{GenomePack, SignalPack};

/// Where packs are made unless another folder is given: beside the working folder's files, so that all runs there
/// share them.
pub const FOLDER: &str = ".cbp-fast-cache";

/// Held while a pack is looked for and made: runs of one process find what another has just made.
static MAKING: Mutex<()> = Mutex::new(());

/// Opens `path` as a genome: a `.cbg` pack as it is, a FASTA through its pack in `cache_dir`,
/// which is made where needed. `report` gets one line about what was done.
///
/// Errors: those of packing and of opening, a damaged pack that was given; a source that is a pipe or
/// changes while it is read; a cache folder that cannot be written.
pub fn open_genome(
    path: &Path,
    cache_dir: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<GenomePack> {
    let how = How {
        kind: Kind::Genome,
        command: format!("pack genome -g {} -o OUT.cbg", path.display()),
        hash_first: false,
        open: &GenomePack::open,
        pack: &|temporary, _| genome::fill(path, temporary, |_, _| {}),
    };
    open(path, cache_dir, &how, report)
}

/// Opens `path` as a signal: a `.cbs` pack as it is, a bigWig through its pack in `cache_dir`.
pub fn open_signal(
    path: &Path,
    cache_dir: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<SignalPack> {
    let how = How {
        kind: Kind::Signal,
        command: format!("pack signal --bigwig {} -o OUT.cbs", path.display()),
        // A bigWig is read in any order, so its hash takes a reading of its own.
        hash_first: true,
        open: &SignalPack::open,
        pack: &|temporary, source| signal::fill(path, temporary, source, |_, _| {}),
    };
    open(path, cache_dir, &how, report)
}

/// The signal pack of `request` in `cache_dir`, made where needed, and what was counted if it was made
/// now. `shift` is asked only then. Scratch files lie in `scratch`, by default the cache folder.
///
/// Errors: those of `Request::write` and of `shift`; a folder that cannot be written.
pub fn open_reads(
    request: &Request,
    contigs: &Contigs,
    cache_dir: &Path,
    scratch: Option<&Path>,
    shift: &mut dyn FnMut() -> Result<Shift>,
    report: &mut dyn FnMut(&str),
    progress: &mut dyn FnMut(Position),
) -> Result<(SignalPack, Option<Report>)> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let files = request.contents(Some(cache_dir))?;
    let source = request.fingerprint(contigs, &files);
    let pack = cache_dir.join(file_name("reads", Kind::Signal, &source));
    // With `strict` the reads have to be looked at.
    if !request.options.strict
        && let Some(opened) = reuse(&pack, Kind::Signal, &source, &SignalPack::open, report)
    {
        report(&format!("{}: using its pack {}", source.name, pack.display()));
        return Ok((opened, None));
    }
    let flag = request.sources.format.flag();
    let first = request.sources.files[0].display();
    check_writable(cache_dir, &format!("pack signal {flag} {first} -g GENOME -o OUT.cbs"))?;
    let scratch = cut_sites::scratch_folder(scratch, &pack)?;
    let shift = shift()?;
    report(&format!("{}: packing into {}", source.name, pack.display()));
    let made = request.write_known(shift, contigs, Some(&files), &pack, &scratch, progress)?;
    content::save(cache_dir);
    Ok((SignalPack::open(&pack)?, Some(made)))
}

/// How a source of one kind becomes an open pack `P`.
struct How<'a, P> {
    kind: Kind,
    /// What makes the pack outside of the cache.
    command: String,
    /// The source is hashed before it is packed, rather than as it is packed.
    hash_first: bool,
    open: &'a dyn Fn(&Path) -> Result<P>,
    /// Packs into a temporary file; returns what was packed. Gets what is known of the source.
    pack: &'a dyn Fn(&Path, Option<Fingerprint>) -> Result<Fingerprint>,
}

fn open<P>(path: &Path, cache_dir: &Path, how: &How<P>, report: &mut dyn FnMut(&str)) -> Result<P> {
    if pack_kind(path)?.is_some() {
        return (how.open)(path);
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let watched = Watched::begin(path)?;
    let mut source = content_if_packed(path, cache_dir, how.kind)?;
    if let Some(source) = &source {
        let pack = cache_dir.join(file_name(stem(how.kind), how.kind, source));
        if let Some(opened) = reuse(&pack, how.kind, source, how.open, report) {
            report(&format!("{}: using its pack {}", path.display(), pack.display()));
            return Ok(opened);
        }
    }
    check_writable(cache_dir, &how.command)?;
    report(&format!("{}: packing into {}", path.display(), cache_dir.display()));
    if how.hash_first {
        source = Some(content::fingerprint(path, Some(cache_dir))?);
    }
    // The name is known for certain only when all of the source has been read.
    let name = |source: &Fingerprint| cache_dir.join(file_name(stem(how.kind), how.kind, source));
    let unwritable = |e: anyhow::Error| crate::files::atomic::unwritable(cache_dir, e);
    let pending = Pending::create(&cache_dir.join(stem(how.kind))).map_err(unwritable)?;
    let packed = (how.pack)(pending.temporary(), source).map_err(unwritable)?;
    watched.check()?;
    let pack = name(&packed);
    pending.publish_as(&pack)?;
    watched.learn(&packed.xxh3, Some(cache_dir));
    (how.open)(&pack)
}

/// What `path` is, if its pack may be in `cache_dir`: its content is hashed only when it is remembered
/// or there is a pack of a source as long as this.
fn content_if_packed(path: &Path, cache_dir: &Path, kind: Kind) -> Result<Option<Fingerprint>> {
    let watched = Watched::begin(path)?;
    if let Some(known) = watched.known(Some(cache_dir)) {
        return Ok(Some(known));
    }
    let size = stat(path)?.size;
    let is_candidate = |header: Header| header.source.is_some_and(|source| source.size == size);
    let start = format!("{}-v{VERSION}-", stem(kind));
    let found = fs::read_dir(cache_dir).into_iter().flatten().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with(&start)
            // A damaged one may be of this source, too.
            && format::read_header(&entry.path()).map_or(true, is_candidate)
    });
    found.then(|| content::fingerprint(path, Some(cache_dir))).transpose()
}

/// Opens the pack of `source` if it is there and intact; says so when it is there and damaged.
fn reuse<P>(
    pack: &Path,
    kind: Kind,
    source: &Fingerprint,
    open: &dyn Fn(&Path) -> Result<P>,
    report: &mut dyn FnMut(&str),
) -> Option<P> {
    if !pack.exists() {
        return None;
    }
    let opened = format::read_header(pack).and_then(|header| {
        let is_of_it = header.source.is_some_and(|was| was.xxh3 == source.xxh3);
        if header.kind != kind || !is_of_it {
            return Err(Problem::new("it is the pack of another source").into());
        }
        open(pack)
    });
    match opened {
        Ok(opened) => Some(opened),
        Err(error) => {
            let why = error
                .downcast_ref::<Problem>()
                .map_or_else(|| error.to_string(), |p| p.what().to_string());
            report(&format!("{}: damaged, made again ({why})", pack.display()));
            None
        }
    }
}

/// The pack that `open_genome` or `open_signal` would use for `path` as things stand: the file itself
/// where it is a pack, its intact pack in `cache_dir`; `None` where one would have to be made.
pub fn find(path: &Path, cache_dir: &Path, kind: Kind) -> Result<Option<PathBuf>> {
    if pack_kind(path)?.is_some() {
        return Ok(Some(path.to_path_buf()));
    }
    if !stat_of_file(path)?.is_file() {
        return Ok(None);
    }
    let Some(source) = content_if_packed(path, cache_dir, kind)? else { return Ok(None) };
    let pack = cache_dir.join(file_name(stem(kind), kind, &source));
    let intact = |pack: &Path| match kind {
        Kind::Genome => GenomePack::open(pack).map(drop),
        Kind::Signal => SignalPack::open(pack).map(drop),
    };
    Ok(reuse(&pack, kind, &source, &intact, &mut |_| {}).map(|()| pack))
}

fn stem(kind: Kind) -> &'static str {
    match kind {
        Kind::Genome => "genome",
        Kind::Signal => "signal",
    }
}

fn file_name(stem: &str, kind: Kind, source: &Fingerprint) -> String {
    let extension = match kind {
        Kind::Genome => "cbg",
        Kind::Signal => "cbs",
    };
    format!("{stem}-v{VERSION}-{}.{extension}", source.xxh3)
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
    let stat = Stat::from(&stat_of_file(path)?);
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Fingerprint { name, size: stat.size, mtime_ns: stat.mtime_ns, xxh3: String::new() })
}

fn stat_of_file(path: &Path) -> Result<fs::Metadata> {
    Ok(lines::open_file(path)?.metadata().map_err(|e| lines::unreadable(path, &e))?)
}

/// What a file is by its content, hashed now or earlier in this process.
pub fn fingerprint(path: &Path) -> Result<Fingerprint> {
    content::fingerprint(path, None)
}

/// `fingerprint`, remembered in `cache_dir` for other runs.
pub fn fingerprint_in(path: &Path, cache_dir: &Path) -> Result<Fingerprint> {
    content::fingerprint(path, Some(cache_dir))
}
