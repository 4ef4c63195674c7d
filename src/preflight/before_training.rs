//! The preflight inside a training command: what headers tell before anything is hashed or packed,
//! then everything on what was opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::contigs::{self, ContigTable, with_lengths};
use super::regions::File;
use super::sources::{self, Signal};
use super::{Finding, Training, Verdict, counts, machine};
use crate::console::Console;
use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::input::chrom_sizes;
use crate::input::folds::{self, Folds};
use crate::input::reads::peek;
use crate::input::regions::Region;
use crate::model::Architecture;
use crate::pack::reads::SignalInput;
use crate::store::Tracks;

/// The files that a model is trained on, apart from those of the counts.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// FASTA or a genome pack.
    pub genome: PathBuf,
    /// Chromosome sizes, 2 columns.
    pub chrom_sizes: PathBuf,
    /// Peaks, 10-column narrowPeak.
    pub peaks: PathBuf,
    /// Background regions, 10 columns.
    pub nonpeaks: PathBuf,
    /// JSON with train, valid and test lists of chromosomes.
    pub folds: PathBuf,
    /// Folder of packs made from FASTA, bigWig and reads.
    pub cache_dir: PathBuf,
}

/// What was read from the inputs of a training.
pub struct Data {
    pub tracks: Tracks,
    pub peaks: Vec<Region>,
    pub nonpeaks: Vec<Region>,
    pub folds: Folds,
}

/// Stops on other contigs or too small a disk, before minutes are spent on packs. A file that cannot
/// be read is left to the step that needs it.
pub fn before_packing(
    inputs: &Inputs,
    signal: &SignalInput,
    output_dir: &Path,
    arch: Architecture,
) -> Result<(), Problem> {
    let cache = inputs.cache_dir.as_path();
    let mut table = ContigTable::default();
    // Without pack or index the FASTA would have to be read, which packing does.
    if let Ok(genome) = sources::genome(&inputs.genome, cache, Duration::ZERO)
        && genome.complete
    {
        table.add_list("genome", &inputs.genome, with_lengths(&genome.contigs));
    }
    if let Ok(sizes) = chrom_sizes::read(&inputs.chrom_sizes) {
        table.add_list("chrom_sizes", &inputs.chrom_sizes, with_lengths(&sizes));
    }
    match signal {
        SignalInput::Track(path) => {
            if let Ok(signal) = Signal::open(path, cache) {
                table.add_list("signal", path, with_lengths(signal.contigs()));
            }
        }
        SignalInput::Reads(reads) => {
            let peeked = reads.options().and_then(|of| peek::contigs(&reads.sources, &of));
            let peeked = peeked.unwrap_or_default();
            for (path, peeked) in reads.sources.files.iter().zip(peeked) {
                table.add_reads(path, peeked);
            }
        }
    }
    if let Ok(folds) = folds::read(&inputs.folds) {
        table.set_folds(&inputs.folds, &folds);
    }
    let mut found = table.findings();
    let needs = [
        (output_dir, machine::output_size(arch.parameter_count(), 0)),
        (cache, sources::packs_to_make(&inputs.genome, Some(signal), cache).unwrap_or(0)),
    ];
    for (folder, needed) in needs {
        let what = format!("on disk in {}", folder.display());
        let fix = "free some space, or choose another -o or --cache-dir";
        found.push(machine::enough("disk", needed, machine::disk_left(folder), &what, fix));
    }
    // Warnings come once, when the files are open.
    found.retain(|f| f.verdict == Verdict::Fail);
    super::stop_on_fail(found, &Console::new(true, false))
}

/// Everything but time and memory, on what training has opened.
pub fn opened(
    inputs: &Inputs,
    signal_path: &Path,
    training: &Training,
    sizes: &Assembly,
    data: &Data,
    console: &Console,
) -> Result<()> {
    let mut table = ContigTable::default();
    table.add_list("genome", &inputs.genome, with_lengths(data.tracks.genome.contigs()));
    table.add_list("chrom_sizes", &inputs.chrom_sizes, with_lengths(sizes));
    if let Some(signal) = &data.tracks.signal {
        table.add_list("signal", signal_path, with_lengths(signal.contigs()));
    }
    table.add_regions("peaks", &inputs.peaks, &data.peaks);
    table.add_regions("nonpeaks", &inputs.nonpeaks, &data.nonpeaks);
    table.set_folds(&inputs.folds, &data.folds);
    let mut found = table.findings();
    // With other names or another assembly nothing else would make sense.
    if super::worst(&found) < Verdict::Fail {
        let peaks = File { path: &inputs.peaks, regions: &data.peaks };
        let nonpeaks = File { path: &inputs.nonpeaks, regions: &data.nonpeaks };
        found.extend(super::regions::summits(peaks));
        found.extend(super::regions::overlaps(peaks, nonpeaks, None, training.inputlen));
        let holds = |region: &Region, width| table.holds(region, width);
        found.extend(super::regions::splits(peaks, nonpeaks, &data.folds, training, holds));
        if let Some(pack) = &data.tracks.signal {
            let mut signal = Signal::Pack(pack.clone());
            let files = [peaks, nonpeaks];
            found.extend(
                counts::of_signal(files, &data.folds, &mut signal, signal_path, training)?.0,
            );
        }
    }
    // The selection of regions says these itself, and by their rows.
    let said_later = |f: &Finding| {
        f.verdict == Verdict::Warn && [contigs::ROWS, counts::LOW_DEPTH].contains(&f.check)
    };
    found.retain(|f| !said_later(f));
    Ok(super::stop_on_fail(found, console)?)
}
