//! Reads -> signal pack: one pass over the files, each read end moved by the shift and counted at
//! its base: a plus end at `start + plus`, a minus end at `end - 1 + minus`.
//!
//! Memory: `BUDGET` (1 GiB) for counts whatever the depth and the genome, beside some blocks of the
//! readers; beyond it counts go to scratch files in a folder of the caller's choice and are merged
//! at the end. Spread evenly over hg38, which is the worst case, nothing is spilled up to some 380
//! million cut sites; 600 million took 1,050 MB of resident memory and one spill
//! (`cargo bench --bench reads -- FOLDER --deep=600`).

mod bins;
mod counter;
mod spill;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3;

use super::cache;
use super::shift::Shift;
use crate::error::Problem;
use crate::files::atomic;
use crate::files::content::{self, Watched};
use crate::input::assembly::Contig;
use crate::input::reads::{self, Contigs, Noted, Options, Position, Sources, Tally};
use crate::store::format::Fingerprint;
use crate::store::signal::SignalWriter;

pub use counter::{BUDGET, Counter};

/// Everything that decides the counts; a pack is known again by it.
#[derive(Clone, Debug)]
pub struct Request {
    pub sources: Sources,
    pub options: Options,
    /// The shift that is added, or how it is found from these very reads. A pack that was made with
    /// a detected shift is thus found again without detecting it again.
    pub shift: String,
}

/// What became of the reads.
#[derive(Clone, Debug)]
pub struct Report {
    pub tally: Tally,
    /// Cut sites in the pack.
    pub counted: u64,
    /// Cut sites that fell off their contig.
    pub off_contig: Noted,
    /// Times that counts went to disk.
    pub spills: usize,
}

impl Report {
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.tally.warnings();
        if self.off_contig.count > 0 {
            warnings.push(format!(
                "{} of {} cut sites fall off their contig and are not counted, e.g. {}",
                self.off_contig.count,
                self.counted + self.off_contig.count,
                self.off_contig.example
            ));
        }
        warnings
    }

    pub fn summary(&self) -> String {
        format!("{}; {} cut sites counted", self.tally.summary(), self.counted)
    }

    pub fn to_json(&self) -> Value {
        json!({"reads": self.tally.to_json(), "cut_sites": self.counted,
               "off_contig": self.off_contig.count, "spills": self.spills})
    }
}

impl Request {
    /// Counts the cut sites into the signal pack `out`, which appears only when it is complete.
    /// `shift` is added to what the files have. Contigs are all of `contigs`, also those without
    /// reads. Scratch files, if any are needed, lie in `scratch`.
    ///
    /// Errors: those of the readers, no cut site left, a file that changes meanwhile, the disk's.
    pub fn write(
        &self,
        shift: Shift,
        contigs: &Contigs,
        out: &Path,
        scratch: &Path,
        progress: &mut dyn FnMut(Position),
    ) -> Result<Report> {
        self.write_known(shift, contigs, None, out, scratch, progress)
    }

    /// `write`, where it may be `known` already what the files are; an error when they are not that.
    pub fn write_known(
        &self,
        shift: Shift,
        contigs: &Contigs,
        known: Option<&[Fingerprint]>,
        out: &Path,
        scratch: &Path,
        progress: &mut dyn FnMut(Position),
    ) -> Result<Report> {
        let watched: Vec<Watched> =
            self.sources.files.iter().map(|path| Watched::begin(path)).collect::<Result<_>>()?;
        let mut counter = Counter::new(contigs, shift, scratch, BUDGET);
        let tally = reads::read(&self.sources, contigs, &self.options, progress, &mut |end| {
            counter.add(end)
        })?;
        let report = Report {
            tally,
            counted: counter.counted(),
            off_contig: counter.off_contig().clone(),
            spills: counter.spills(),
        };
        self.check(&report)?;
        let source = self.fingerprint(contigs, &self.read_contents(&report.tally, known)?);
        watched.iter().try_for_each(Watched::check)?;
        atomic::write_with(out, |temporary| {
            let file = OpenOptions::new().write(true).truncate(true).open(temporary)?;
            let mut writer = SignalWriter::new(file, spill::spool(scratch))?;
            counter.finish(&mut writer)?;
            writer.finish(Some(source))?;
            Ok(())
        })?;
        Ok(report)
    }

    fn check(&self, report: &Report) -> Result<(), Problem> {
        let place = || self.sources.files[0].display().to_string();
        if report.counted == 0 {
            return Err(Problem::new(format!(
                "every cut site falls off its contig, e.g. {}",
                report.off_contig.example
            ))
            .at(place())
            .fix("pass the genome that the reads were aligned to"));
        }
        if self.options.strict && report.off_contig.count > 0 {
            return Err(Problem::new(format!(
                "{} cut sites fall off their contig, e.g. {} (--strict)",
                report.off_contig.count, report.off_contig.example
            ))
            .at(place())
            .fix("leave --strict out to drop them"));
        }
        Ok(())
    }

    /// What the files are, remembered in `cache_dir`.
    ///
    /// Errors: a file that is missing or cannot be read.
    pub fn contents(&self, cache_dir: Option<&Path>) -> Result<Vec<Fingerprint>> {
        self.sources.files.iter().map(|path| content::fingerprint(path, cache_dir)).collect()
    }

    /// What the files were when they were read; it must be what is `known` of them.
    fn read_contents(
        &self,
        tally: &Tally,
        known: Option<&[Fingerprint]>,
    ) -> Result<Vec<Fingerprint>> {
        let mut contents = Vec::with_capacity(self.sources.files.len());
        for (i, path) in self.sources.files.iter().enumerate() {
            let known = known.and_then(|known| known.get(i));
            let read = match tally.contents.get(i).copied().flatten() {
                Some(hash) => Fingerprint { xxh3: content::hex(hash), ..cache::stat(path)? },
                // Not all of it was read, so it was not hashed either.
                None => known.cloned().map_or_else(|| cache::fingerprint(path), Ok)?,
            };
            if known.is_some_and(|known| !known.same_content(&read)) {
                return Err(Problem::new("the file changed after it was looked at")
                    .at(path.display())
                    .fix("wait until it is complete, then run the same command again")
                    .into());
            }
            contents.push(read);
        }
        Ok(contents)
    }

    /// What the pack is known by: the content of the `files`, the shift, the filters and the contigs.
    /// The hash is of that description.
    pub fn fingerprint(&self, contigs: &Contigs, files: &[Fingerprint]) -> Fingerprint {
        let mut hash = Xxh3::new();
        let mut add = |text: String| hash_line(&mut hash, text.as_bytes());
        add(format!("{} files", files.len()));
        for file in files {
            add(format!("{} {}", file.xxh3, file.size));
        }
        let Options { filters, skip_bad_records, strict: _ } = &self.options;
        add(format!(
            "{:?} {} {} {} {} {skip_bad_records}",
            self.sources.format,
            self.shift,
            filters.min_mapq,
            filters.skip_duplicates,
            filters.proper_pairs,
        ));
        add(match &filters.barcodes {
            None => "all barcodes".to_string(),
            Some(barcodes) => format!("{} barcodes", barcodes.sorted().len()),
        });
        for barcode in filters.barcodes.iter().flat_map(|b| b.sorted()) {
            hash_line(&mut hash, barcode);
        }
        for Contig { name, length } in contigs.list() {
            hash_line(&mut hash, format!("{name}\0{length}").as_bytes());
        }
        let name = files.first().map_or("", |file| &file.name);
        let name = match files.len() {
            0 | 1 => format!("{name}, shift {}", self.shift),
            n => format!("{name} and {} more, shift {}", n - 1, self.shift),
        };
        Fingerprint {
            name,
            size: files.iter().map(|file| file.size).sum(),
            mtime_ns: files.iter().map(|file| file.mtime_ns).max().unwrap_or(0),
            xxh3: content::hex(hash.digest()),
        }
    }
}

fn hash_line(hash: &mut Xxh3, line: &[u8]) {
    hash.update(line);
    hash.update(b"\n");
}

/// The folder for scratch files beside `out`, unless the user chose one.
///
/// Errors: a chosen folder that cannot be written.
pub fn scratch_folder(chosen: Option<&Path>, out: &Path) -> Result<PathBuf> {
    let Some(folder) = chosen else {
        return Ok(match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        });
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder).map(drop))
        .map_err(|e| {
            Problem::new(format!("cannot write to the folder for scratch files: {e}"))
                .at(folder.display())
                .fix("name another with --tmpdir")
        })?;
    Ok(folder.to_path_buf())
}
