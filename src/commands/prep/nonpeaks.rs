//! `prep nonpeaks`: free windows of the genome, drawn to match the peaks in GC content.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::cli::args::{CacheArgs, ConsoleArgs};
use crate::commands::prefix;
use crate::console::Console;
use crate::error::Problem;
use crate::files::nonpeaks_bed;
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds};
use crate::input::intervals::{self, BedRow};
use crate::input::regions::{self, Region};
use crate::pack::inputs;
use crate::prep::exclude::{Exclusions, Interval};
use crate::prep::gc::{self, Window, fraction};
use crate::prep::nonpeaks::{self, Draw, GcRow, Nonpeaks};
use crate::run::claim::Claim;
use crate::store::GenomePack;
use crate::threads;

/// Draw background regions that match the peaks in GC content.
///
/// Windows of --inputlen bp at every --stride bp of the genome, none of which comes within half a
/// window of a peak or a blacklisted region, drawn so that each split of the fold has the GC
/// content of its peaks. Writes PREFIX_negatives.bed and PREFIX_auxiliary/. The same seed draws the
/// same regions as the official tool.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Inputs")]
pub struct NonpeaksArgs {
    /// Reference FASTA (plain, gzip or bgzip) or a genome pack
    #[arg(short = 'g', long)]
    genome: PathBuf,

    /// Peaks, 10-column narrowPeak; windows are centred on start + column 10
    #[arg(short = 'p', long)]
    peaks: PathBuf,

    /// Chromosome sizes, 2 columns
    #[arg(short = 'c', long)]
    chrom_sizes: PathBuf,

    /// Fold JSON with train, valid and test lists of chromosomes (-fl)
    #[arg(long, required_unless_present = "all_folds")]
    chr_fold_path: Option<PathBuf>,

    /// Several fold files, served by one pass over the genome
    ///
    /// Each fold gets PREFIX_NAME_negatives.bed, where NAME is the file's name without .json.
    #[arg(long, num_args = 1.., value_name = "FOLD_JSON", conflicts_with = "chr_fold_path")]
    all_folds: Vec<PathBuf>,

    /// Width of the regions, bp (-il)
    #[arg(long, default_value_t = 2114, help_heading = "Sampling")]
    inputlen: usize,

    /// Distance between the starts of windows, bp (-st)
    #[arg(long, default_value_t = 1000, help_heading = "Sampling")]
    stride: usize,

    /// Nonpeaks for each peak on train and valid chromosomes; test peaks get one (-npr)
    #[arg(long, default_value_t = 2, help_heading = "Sampling")]
    neg_to_pos_ratio_train: usize,

    /// Regions to stay away from, BED with 3 columns or more (-br)
    #[arg(long)]
    blacklist_regions: Option<PathBuf>,

    /// Seed of the draw
    #[arg(short = 's', long, default_value_t = 1234, help_heading = "Sampling")]
    seed: u64,

    /// Prefix of the output: PREFIX_negatives.bed and the folder PREFIX_auxiliary
    #[arg(short = 'o', long, help_heading = "Output")]
    output_prefix: PathBuf,

    /// Fail instead of warning when there are fewer windows than wanted
    #[arg(long, help_heading = "Output")]
    strict: bool,

    /// Replace an earlier PREFIX_negatives.bed
    #[arg(long, help_heading = "Output")]
    force: bool,

    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    console: ConsoleArgs,
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

pub fn run(args: &NonpeaksArgs) -> Result<()> {
    let console = args.console.console();
    threads::pool(0)?;
    check_numbers(args)?;
    let folds = read_folds(args)?;
    let claim = claim(args, &folds);
    claim.check()?;
    create_folder(prefix::folder(&args.output_prefix))?;
    let _claimed = claim.take(&console)?;
    for fold in &folds {
        let output = args.negatives_bed(fold);
        if output.exists() && !args.force {
            return Err(Problem::new("output is there already and was kept")
                .at(output.display())
                .fix("pass --force to replace it, or another -o")
                .into());
        }
    }
    let sizes = chrom_sizes::read(&args.chrom_sizes)?;
    let peaks = regions::read(&args.peaks)?;
    let blacklist = match &args.blacklist_regions {
        Some(path) => intervals::read(path)?,
        None => Vec::new(),
    };
    let genome = inputs::open_tracks(&args.genome, None, &args.cache.cache_dir, &console)?.genome;
    let disputed = inputs::check_sizes(&sizes, &args.chrom_sizes, &genome, &console)?;
    inputs::check_regions(&peaks, &args.peaks, &genome)?;
    let of_folds = folds.iter().flat_map(|fold| {
        let fold = &fold.folds;
        fold.train.iter().chain(&fold.valid).chain(&fold.test).map(String::as_str)
    });
    let used = peaks.iter().map(|r| r.chrom.as_str()).chain(of_folds);
    inputs::refuse_disputed(&disputed, used)?;
    check_blacklist(args, &blacklist, &genome, &console)?;
    for fold in &folds {
        inputs::check_folds(&fold.folds, &fold.path, &genome, &console)?;
    }

    let start = Instant::now();
    let foreground = foreground(args, &peaks, &genome, &console)?;
    let candidates = candidates(args, &peaks, &blacklist, &genome, &console)?;
    for fold in &folds {
        let how = Draw { neg_to_pos_ratio_train: args.neg_to_pos_ratio_train, seed: args.seed };
        let found = nonpeaks::draw(&foreground, &candidates, &genome, &fold.folds, how);
        report(args, fold, &found, &console)?;
        let width = args.inputlen;
        let [table, negatives] = args.of_fold(fold);
        nonpeaks_bed::write_table(&table, &found.table)?;
        nonpeaks_bed::write_gc(&negatives, &found.windows, &genome, width)?;
        let output = args.negatives_bed(fold);
        nonpeaks_bed::write_regions(&output, &found.windows, &genome, width)?;
        console.info(format!("wrote {}: {} nonpeaks", output.display(), found.windows.len()));
    }
    console.info(format!("done in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(())
}

/// What the command reads and writes.
fn claim(args: &NonpeaksArgs, folds: &[Fold]) -> Claim {
    let claim = Claim::new("prep nonpeaks")
        .reads("-g", [&args.genome])
        .reads("-p", [&args.peaks])
        .reads("-c", [&args.chrom_sizes])
        .reads("-fl", folds.iter().map(|fold| &fold.path))
        .reads("-br", &args.blacklist_regions);
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
        let [table, negatives] = args.of_fold(fold);
        [args.negatives_bed(fold), table, negatives]
    });
    claim
        .writes("-o", of_all.map(|name| args.auxiliary(name)))
        .writes("-o", of_fold)
        .prefix("-o", &prefix::named(&args.output_prefix, "_negatives.bed"))
}

impl NonpeaksArgs {
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
}

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

fn check_numbers(args: &NonpeaksArgs) -> Result<(), Problem> {
    if args.inputlen == 0 || !args.inputlen.is_multiple_of(2) {
        return Err(Problem::new(format!(
            "--inputlen is {}, expected an even number",
            args.inputlen
        ))
        .fix("2114 is the default"));
    }
    if args.inputlen > 1 << 20 {
        return Err(Problem::new(format!(
            "--inputlen is {}, expected at most {} bp",
            args.inputlen,
            1 << 20
        )));
    }
    if args.stride == 0 {
        return Err(Problem::new("--stride is 0, expected at least 1").fix("1000 is the default"));
    }
    if !(1..=MOST_PER_PEAK).contains(&args.neg_to_pos_ratio_train) {
        return Err(Problem::new(format!(
            "--neg-to-pos-ratio-train is {}, expected 1 to {MOST_PER_PEAK}",
            args.neg_to_pos_ratio_train
        ))
        .fix("2 is the default"));
    }
    Ok(())
}

fn read_folds(args: &NonpeaksArgs) -> Result<Vec<Fold>> {
    if let Some(path) = &args.chr_fold_path {
        let folds = folds::read(path)?;
        return Ok(vec![Fold { folds, path: path.clone(), suffix: String::new() }]);
    }
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for path in &args.all_folds {
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
    args: &NonpeaksArgs,
    blacklist: &[BedRow],
    genome: &GenomePack,
    console: &Console,
) -> Result<()> {
    let Some(path) = &args.blacklist_regions else { return Ok(()) };
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
    args: &NonpeaksArgs,
    peaks: &[Region],
    genome: &GenomePack,
    console: &Console,
) -> Result<Vec<Window>> {
    let found = gc::peak_windows(peaks, genome, args.inputlen);
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
            args.inputlen
        ))
        .at(args.peaks.display())
        .fix("lower --inputlen for a genome of short contigs")
        .into());
    }
    if found.at_edge > 0 {
        let text = format!(
            "{} of {} peaks have no nonpeaks: their {} bp windows leave the contigs",
            found.at_edge,
            peaks.len(),
            args.inputlen
        );
        // A quarter is where the official tool warns.
        match found.at_edge * 4 > peaks.len() {
            true => console.warning(format!("{text}; lower --inputlen for a genome this small")),
            false => console.info(text),
        }
    }
    create_folder(&args.auxiliary(""))?;
    let path = args.auxiliary("foreground.gc.bed");
    nonpeaks_bed::write_gc(&path, &found.windows, genome, args.inputlen)?;
    Ok(found.windows)
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| {
        Problem::new(format!("cannot make the output folder: {e}")).at(path.display()).into()
    })
}

/// Windows of the genome clear of peaks and blacklist, with the files that say how.
fn candidates(
    args: &NonpeaksArgs,
    peaks: &[Region],
    blacklist: &[BedRow],
    genome: &GenomePack,
    console: &Console,
) -> Result<Vec<Window>> {
    let width = args.inputlen;
    let widened = |chrom: &str, start: u64, end: u64| {
        let length = genome
            .contig_id(chrom)
            .map_or(u64::from(u32::MAX), |id| genome.contigs()[id as usize].length);
        Interval { chrom: chrom.to_string(), start, end }.widened(width as u64 / 2, length)
    };
    let around_peaks: Vec<Interval> =
        peaks.iter().map(|p| widened(&p.chrom, p.start, p.end)).collect();
    nonpeaks_bed::write_widened_peaks(&args.auxiliary("peaks_slop.bed"), peaks, &around_peaks)?;
    let around_blacklist: Vec<Interval> =
        blacklist.iter().map(|row| widened(&row.chrom, row.start, row.end)).collect();
    if args.blacklist_regions.is_some() {
        let path = args.auxiliary("blacklist_slop.bed");
        nonpeaks_bed::write_widened_rows(&path, blacklist, &around_blacklist)?;
    }
    let all = [around_peaks, around_blacklist].concat();
    nonpeaks_bed::write_intervals(&args.auxiliary("exclude_unmerged.bed"), &all)?;
    let exclusions = Exclusions::merge(&all);
    nonpeaks_bed::write_exclusions(&args.auxiliary("exclude.bed"), &exclusions)?;

    let windows = gc::genome_windows(genome, width, args.stride);
    nonpeaks_bed::write_gc(&args.auxiliary("genomewide_gc.bed"), &windows, genome, width)?;
    let free = exclusions.keep_free(&windows, width, genome);
    nonpeaks_bed::write_gc(&args.auxiliary("candidates.bed"), &free, genome, width)?;
    console.info(format!(
        "{} windows of {width} bp, {} of them clear of {}",
        windows.len(),
        free.len(),
        if args.blacklist_regions.is_some() { "peaks and blacklist" } else { "peaks" }
    ));
    Ok(free)
}

/// GC values listed in a message; the rest is in the table.
const LISTED: usize = 10;

fn report(args: &NonpeaksArgs, fold: &Fold, found: &Nonpeaks, console: &Console) -> Result<()> {
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
    if args.strict {
        return Err(Problem::new(text).at(fold.path.display()).fix(fix).into());
    }
    let [table, _] = args.of_fold(fold);
    console.warning(format!("{text}\n  where: {}\n  fix: {fix}", table.display()));
    Ok(())
}
