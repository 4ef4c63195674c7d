//! The preflight inside a training command: what headers tell before anything is hashed or packed,
//! then everything on what was opened.

use std::time::Duration;

use anyhow::Result;

use crate::cli::args::TrainingArgs;
use crate::cli::reads_args::SignalInput;
use crate::commands::training::Data;
use crate::console::Console;
use crate::error::Problem;
use crate::input::chrom_sizes::{self, ChromSizes};
use crate::input::folds;
use crate::input::reads::peek;
use crate::model::Architecture;
use crate::preflight::contigs::{self, ContigTable};
use crate::preflight::regions::File;
use crate::preflight::sources::{self, Signal};
use crate::preflight::{self, Finding, Training, Verdict, counts, machine};

/// Stops on other contigs or too small a disk, before minutes are spent on packs. A file that cannot
/// be read is left to the step that needs it.
pub fn before_packing(args: &TrainingArgs, arch: Architecture) -> Result<(), Problem> {
    let cache = &args.cache.cache_dir;
    let signal = args.signal().ok();
    let mut table = ContigTable::default();
    // Without pack or index the FASTA would have to be read, which packing does.
    if let Ok(genome) = sources::genome(&args.genome, cache, Duration::ZERO)
        && genome.complete
    {
        table.add_list("genome", &args.genome, with_lengths(genome.contigs));
    }
    if let Ok(sizes) = chrom_sizes::read(&args.chrom_sizes) {
        table.add_list("chrom_sizes", &args.chrom_sizes, with_lengths(sizes.entries));
    }
    match &signal {
        Some(SignalInput::Track(path)) => {
            if let Ok(signal) = Signal::open(path, cache) {
                table.add_list("signal", path, with_lengths(signal.contigs()));
            }
        }
        Some(SignalInput::Reads(sources)) => {
            for (path, peeked) in
                sources.files.iter().zip(peek::contigs(sources).unwrap_or_default())
            {
                table.add_reads(path, peeked);
            }
        }
        None => {}
    }
    if let Ok(folds) = folds::read(&args.chr_fold_path) {
        table.set_folds(&args.chr_fold_path, &folds);
    }
    let mut found = table.findings();
    let needs = [
        (&args.output_dir, machine::output_size(arch.parameter_count(), 0)),
        (cache, sources::packs_to_make(&args.genome, signal.as_ref(), cache).unwrap_or(0)),
    ];
    for (folder, needed) in needs {
        let what = format!("on disk in {}", folder.display());
        let fix = "free some space, or choose another -o or --cache-dir";
        found.push(machine::enough("disk", needed, machine::disk_left(folder), &what, fix));
    }
    // Warnings come once, when the files are open.
    found.retain(|f| f.verdict == Verdict::Fail);
    preflight::stop_on_fail(found, &Console::new(true, false))
}

/// Everything but time and memory, on what training has opened.
pub fn opened(
    args: &TrainingArgs,
    training: &Training,
    sizes: &ChromSizes,
    data: &Data,
    console: &Console,
) -> Result<()> {
    let signal_input = args.signal()?;
    let signal_path = signal_input.path();
    let mut table = ContigTable::default();
    let lengths = |contigs: &[crate::store::genome::Contig]| {
        with_lengths(contigs.iter().map(|c| (c.name.clone(), c.length)).collect())
    };
    table.add_list("genome", &args.genome, lengths(data.tracks.genome.contigs()));
    table.add_list("chrom_sizes", &args.chrom_sizes, with_lengths(sizes.entries.clone()));
    if let Some(signal) = &data.tracks.signal {
        table.add_list("signal", signal_path, lengths(signal.contigs()));
    }
    table.add_regions("peaks", &args.peaks, &data.peaks);
    table.add_regions("nonpeaks", &args.nonpeaks, &data.nonpeaks);
    table.set_folds(&args.chr_fold_path, &data.folds);
    let mut found = table.findings();
    // With other names or another assembly nothing else would make sense.
    if preflight::worst(&found) < Verdict::Fail {
        let peaks = File { path: &args.peaks, regions: &data.peaks };
        let nonpeaks = File { path: &args.nonpeaks, regions: &data.nonpeaks };
        found.extend(preflight::regions::summits(peaks));
        found.extend(preflight::regions::overlaps(peaks, nonpeaks, None, training.inputlen));
        found.extend(preflight::regions::splits(peaks, nonpeaks, &data.folds, training));
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
    Ok(preflight::stop_on_fail(found, console)?)
}

fn with_lengths(contigs: Vec<(String, u64)>) -> Vec<(String, Option<u64>)> {
    contigs.into_iter().map(|(name, length)| (name, Some(length))).collect()
}
