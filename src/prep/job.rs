//! Background regions: free windows of the genome, drawn to match the peaks in GC content.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::exclude::{Exclusions, Interval};
use super::gc::{self, Window, fraction};
use super::nonpeaks::{self, Draw, GcRow, Nonpeaks};
use crate::console::Console;
use crate::error::Problem;
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds};
use crate::input::intervals::{self, BedRow};
use crate::input::regions::{self, Region};
use crate::pack::inputs;
use crate::prep::bed;
use crate::run::claim::Claim;
use crate::run::prefix;
use crate::store::GenomePack;
use crate::threads;

/// A draw of nonpeaks, for one fold or for several in one pass over the genome.
#[derive(Clone, Debug)]
pub struct DrawNonpeaks {
    pub genome: PathBuf,
    pub peaks: PathBuf,
    pub chrom_sizes: PathBuf,
    pub folds: FoldFiles,
    /// Width of the regions, bp.
    pub inputlen: usize,
    /// Distance between the starts of windows, bp.
    pub stride: usize,
    /// Nonpeaks for each peak on train and valid chromosomes; test peaks get one.
    pub neg_to_pos_ratio_train: usize,
    /// Regions to stay away from.
    pub blacklist: Option<PathBuf>,
    pub seed: u64,
    /// `PREFIX_negatives.bed` and the folder `PREFIX_auxiliary`.
    pub output_prefix: PathBuf,
    /// Fewer windows than wanted are an error.
    pub strict: bool,
    /// Replace an earlier `PREFIX_negatives.bed`.
    pub force: bool,
    pub cache_dir: PathBuf,
}

/// Files of folds.
#[derive(Clone, Debug)]
pub enum FoldFiles {
    One(PathBuf),
    /// Each has `PREFIX_NAME_negatives.bed`, NAME being the file's without its ending.
    Several(Vec<PathBuf>),
}

/// More windows than any genome has for as many peaks as make sense.
const MOST_PER_PEAK: usize = 1000;

/// One fold and the names of its files.
struct Fold {
    folds: Folds,
    path: PathBuf,
    /// Empty, or `_` and the fold's name.
    suffix: String,
}

impl DrawNonpeaks {
    /// Draws, and writes what comes of it.
    ///
    /// Errors: inputs that do not fit, outputs that are there, no window left.
    pub fn run(&self, console: &Console) -> Result<()> {
        threads::pool(0)?;
        self.check_numbers()?;
        let folds = self.read_folds()?;
        let claim = self.claim(&folds);
        claim.check()?;
        create_folder(prefix::folder(&self.output_prefix))?;
        let _claimed = claim.take(console)?;
        for fold in &folds {
            let output = self.negatives_bed(fold);
            if output.exists() && !self.force {
                return Err(Problem::new("output is there already and was kept")
                    .at(output.display())
                    .fix("pass --force to replace it, or another -o")
                    .into());
            }
        }
        let sizes = chrom_sizes::read(&self.chrom_sizes)?;
        let peaks = regions::read(&self.peaks)?;
        let blacklist = match &self.blacklist {
            Some(path) => intervals::read(path)?,
            None => Vec::new(),
        };
        let genome = inputs::open_tracks(&self.genome, None, &self.cache_dir, console)?.genome;
        let disputed = inputs::check_sizes(&sizes, &self.chrom_sizes, &genome, console)?;
        inputs::check_regions(&peaks, &self.peaks, &genome)?;
        let of_folds = folds.iter().flat_map(|fold| {
            let fold = &fold.folds;
            fold.train.iter().chain(&fold.valid).chain(&fold.test).map(String::as_str)
        });
        let used = peaks.iter().map(|r| r.chrom.as_str()).chain(of_folds);
        inputs::refuse_disputed(&disputed, used)?;
        self.check_blacklist(&blacklist, &genome, console)?;
        for fold in &folds {
            inputs::check_folds(&fold.folds, &fold.path, &genome, console)?;
        }

        let start = Instant::now();
        let foreground = self.foreground(&peaks, &genome, console)?;
        let candidates = self.candidates(&peaks, &blacklist, &genome, console)?;
        for fold in &folds {
            let how = Draw { neg_to_pos_ratio_train: self.neg_to_pos_ratio_train, seed: self.seed };
            let found = nonpeaks::draw(&foreground, &candidates, &genome, &fold.folds, how);
            self.report(fold, &found, console)?;
            let width = self.inputlen;
            let [table, negatives] = self.of_fold(fold);
            bed::write_table(&table, &found.table)?;
            bed::write_gc(&negatives, &found.windows, &genome, width)?;
            let output = self.negatives_bed(fold);
            bed::write_regions(&output, &found.windows, &genome, width)?;
            console.info(format!("wrote {}: {} nonpeaks", output.display(), found.windows.len()));
        }
        console.info(format!("done in {:.1} s", start.elapsed().as_secs_f64()));
        Ok(())
    }

    /// What the job reads and writes.
    fn claim(&self, folds: &[Fold]) -> Claim {
        let claim = Claim::new("prep nonpeaks")
            .reads("-g", [&self.genome])
            .reads("-p", [&self.peaks])
            .reads("-c", [&self.chrom_sizes])
            .reads("-fl", folds.iter().map(|fold| &fold.path))
            .reads("-br", &self.blacklist);
        let of_all = [
            "foreground.gc.bed",
            "peaks_slop.bed",
            "blacklist_slop.bed",
            "exclude_unmerged.bed",
            "exclude.bed",
            "genomewide_gc.bed",
            "candidates.bed",
        ];
        let of_fold = folds.iter().flat_map(|fold| {
            let [table, negatives] = self.of_fold(fold);
            [self.negatives_bed(fold), table, negatives]
        });
        claim
            .writes("-o", of_all.map(|name| self.auxiliary(name)))
            .writes("-o", of_fold)
            .prefix("-o", &prefix::named(&self.output_prefix, "_negatives.bed"))
    }

    /// The table of GC content and the regions with theirs, of one fold.
    fn of_fold(&self, fold: &Fold) -> [PathBuf; 2] {
        [("negatives_gc", "tsv"), ("negatives", "bed")].map(|(name, extension)| {
            with_extension(self.auxiliary(&format!("{name}{}", fold.suffix)), extension)
        })
    }

    fn negatives_bed(&self, fold: &Fold) -> PathBuf {
        appended(&self.output_prefix, &format!("{}_negatives.bed", fold.suffix))
    }

    fn auxiliary(&self, name: &str) -> PathBuf {
        appended(&self.output_prefix, "_auxiliary").join(name)
    }

    fn check_numbers(&self) -> Result<(), Problem> {
        if self.inputlen == 0 || !self.inputlen.is_multiple_of(2) {
            return Err(Problem::new(format!(
                "--inputlen is {}, expected an even number",
                self.inputlen
            ))
            .fix("2114 is the default"));
        }
        if self.inputlen > 1 << 20 {
            return Err(Problem::new(format!(
                "--inputlen is {}, expected at most {} bp",
                self.inputlen,
                1 << 20
            )));
        }
        if self.stride == 0 {
            return Err(
                Problem::new("--stride is 0, expected at least 1").fix("1000 is the default")
            );
        }
        if !(1..=MOST_PER_PEAK).contains(&self.neg_to_pos_ratio_train) {
            return Err(Problem::new(format!(
                "--neg-to-pos-ratio-train is {}, expected 1 to {MOST_PER_PEAK}",
                self.neg_to_pos_ratio_train
            ))
            .fix("2 is the default"));
        }
        Ok(())
    }

    fn read_folds(&self) -> Result<Vec<Fold>> {
        let paths = match &self.folds {
            FoldFiles::Several(paths) => paths,
            FoldFiles::One(path) => {
                let folds = folds::read(path)?;
                return Ok(vec![Fold { folds, path: path.clone(), suffix: String::new() }]);
            }
        };
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for path in paths {
            // fold_0.json -> fold_0
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !names.insert(name.clone()) {
                return Err(Problem::new(format!("two fold files are called {name}"))
                    .at(path.display())
                    .fix("outputs are named after the fold files, so give these different names")
                    .into());
            }
            let folds = folds::read(path)?;
            all.push(Fold { folds, path: path.clone(), suffix: format!("_{name}") });
        }
        Ok(all)
    }

    fn check_blacklist(
        &self,
        blacklist: &[BedRow],
        genome: &GenomePack,
        console: &Console,
    ) -> Result<()> {
        let Some(path) = &self.blacklist else { return Ok(()) };
        let off = |row: &&BedRow| genome.contig_id(&row.chrom).is_none();
        let Some(first) = blacklist.iter().find(off) else { return Ok(()) };
        let missing = blacklist.iter().filter(off).count();
        if missing == blacklist.len() {
            let names = genome.contigs().iter().take(3).map(|c| c.name.as_str());
            return Err(Problem::new(format!(
                "no row of the blacklist lies on a contig of the genome (genome: {}; here: {})",
                names.collect::<Vec<_>>().join(", "),
                first.chrom
            ))
            .at(path.display())
            .fix("name contigs alike in every file, e.g. chr1 everywhere or 1 everywhere")
            .into());
        }
        console.warning(format!(
            "{missing} of {} rows of {} lie on contigs missing from the genome, e.g. {} (line {})",
            blacklist.len(),
            path.display(),
            first.chrom,
            first.line
        ));
        Ok(())
    }

    fn foreground(
        &self,
        peaks: &[Region],
        genome: &GenomePack,
        console: &Console,
    ) -> Result<Vec<Window>> {
        let found = gc::peak_windows(peaks, genome, self.inputlen);
        if let Some(first) = found.off_genome.first() {
            console.warning(format!(
                "{} of {} peaks lie on contigs missing from the genome, e.g. {} (line {})",
                found.off_genome.len(),
                peaks.len(),
                first.chrom,
                first.line
            ));
        }
        if found.windows.is_empty() {
            return Err(Problem::new(format!(
                "none of the {} peaks has a window of {} bp inside its contig",
                peaks.len(),
                self.inputlen
            ))
            .at(self.peaks.display())
            .fix("lower --inputlen for a genome of short contigs")
            .into());
        }
        if found.at_edge > 0 {
            let text = format!(
                "{} of {} peaks have no nonpeaks: their {} bp windows leave the contigs",
                found.at_edge,
                peaks.len(),
                self.inputlen
            );
            // A quarter is where the official tool warns.
            match found.at_edge * 4 > peaks.len() {
                true => {
                    console.warning(format!("{text}; lower --inputlen for a genome this small"))
                }
                false => console.info(text),
            }
        }
        create_folder(&self.auxiliary(""))?;
        let path = self.auxiliary("foreground.gc.bed");
        bed::write_gc(&path, &found.windows, genome, self.inputlen)?;
        Ok(found.windows)
    }

    /// Windows of the genome clear of peaks and blacklist, with the files that say how.
    fn candidates(
        &self,
        peaks: &[Region],
        blacklist: &[BedRow],
        genome: &GenomePack,
        console: &Console,
    ) -> Result<Vec<Window>> {
        let width = self.inputlen;
        let widened = |chrom: &str, start: u64, end: u64| {
            let length = genome
                .contig_id(chrom)
                .map_or(u64::from(u32::MAX), |id| genome.contigs()[id as usize].length);
            Interval { chrom: chrom.to_string(), start, end }.widened(width as u64 / 2, length)
        };
        let around_peaks: Vec<Interval> =
            peaks.iter().map(|p| widened(&p.chrom, p.start, p.end)).collect();
        bed::write_widened_peaks(&self.auxiliary("peaks_slop.bed"), peaks, &around_peaks)?;
        let around_blacklist: Vec<Interval> =
            blacklist.iter().map(|row| widened(&row.chrom, row.start, row.end)).collect();
        if self.blacklist.is_some() {
            let path = self.auxiliary("blacklist_slop.bed");
            bed::write_widened_rows(&path, blacklist, &around_blacklist)?;
        }
        let all = [around_peaks, around_blacklist].concat();
        bed::write_intervals(&self.auxiliary("exclude_unmerged.bed"), &all)?;
        let exclusions = Exclusions::merge(&all);
        bed::write_exclusions(&self.auxiliary("exclude.bed"), &exclusions)?;

        let windows = gc::genome_windows(genome, width, self.stride);
        bed::write_gc(&self.auxiliary("genomewide_gc.bed"), &windows, genome, width)?;
        let free = exclusions.keep_free(&windows, width, genome);
        bed::write_gc(&self.auxiliary("candidates.bed"), &free, genome, width)?;
        console.info(format!(
            "{} windows of {width} bp, {} of them clear of {}",
            windows.len(),
            free.len(),
            if self.blacklist.is_some() { "peaks and blacklist" } else { "peaks" }
        ));
        Ok(free)
    }

    fn report(&self, fold: &Fold, found: &Nonpeaks, console: &Console) -> Result<()> {
        if found.windows.is_empty() {
            return Err(Problem::new("not one nonpeak could be drawn")
                .at(fold.path.display())
                .fix("peaks and blacklist leave no window free, or no peak lies on a chromosome of the fold")
                .into());
        }
        if found.peaks_not_in_folds > 0 {
            console.info(format!(
                "{} peaks lie on chromosomes that are in no list of {}",
                found.peaks_not_in_folds,
                fold.path.display()
            ));
        }
        let short: Vec<&GcRow> = found.table.iter().filter(|row| row.short > 0).collect();
        if short.is_empty() {
            return Ok(());
        }
        let wanted: usize = found.table.iter().map(|row| row.wanted).sum();
        let mut text = format!(
            "{} of {wanted} nonpeaks could not be drawn: the windows of the split are used up\n    split  gc    peaks  wanted  candidates  short",
            found.shortfall()
        );
        for row in short.iter().take(LISTED) {
            text += &format!(
                "\n    {:<5}  {:<4}  {:>5}  {:>6}  {:>10}  {:>5}",
                row.split.name(),
                fraction(row.gc),
                row.peaks,
                row.wanted,
                row.candidates,
                row.short
            );
        }
        if short.len() > LISTED {
            text += &format!("\n    and {} more GC values", short.len() - LISTED);
        }
        let fix = "lower --neg-to-pos-ratio-train or --stride, or give fewer peaks";
        if self.strict {
            return Err(Problem::new(text).at(fold.path.display()).fix(fix).into());
        }
        let [table, _] = self.of_fold(fold);
        console.warning(format!("{text}\n  where: {}\n  fix: {fix}", table.display()));
        Ok(())
    }
}

/// GC values listed in a message; the rest is in the table.
const LISTED: usize = 10;

/// `path` with `more` at the end of its last part.
fn appended(path: &Path, more: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(more);
    text.into()
}

/// Unlike `Path::with_extension`, keeps dots that the name has.
fn with_extension(path: PathBuf, extension: &str) -> PathBuf {
    appended(&path, &format!(".{extension}"))
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| {
        Problem::new(format!("cannot make the output folder: {e}")).at(path.display()).into()
    })
}
