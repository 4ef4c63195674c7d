//! What is predicted: windows of a genome or of sequences, the names of their rows, and the layout of
//! their bigWig.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::Job;
use crate::batch::Example;
use crate::batch::sampler::{Site, fixed_plan};
use crate::console::Console;
use crate::error::Problem;
use crate::files::region_track::{self, TrackLayout};
use crate::input::assembly::Assembly;
use crate::input::chrom_sizes;
use crate::input::fasta;
use crate::input::folds::{self, Folds};
use crate::input::regions::Region;
use crate::model::Architecture;
use crate::pack::inputs;
use crate::predict::regions::{self, RegionFilter};
use crate::predict::rows::Rows;
use crate::predict::score::Groups;
use crate::predict::tiles;
use crate::store::{GenomePack, Tracks};

/// What is predicted, and the rows that name it.
pub struct Work {
    /// inputlen and outputlen that it was made for.
    pub lengths: (usize, usize),
    pub tracks: Tracks,
    pub plan: Vec<Example>,
    pub rows: Rows,
    pub groups: Groups,
    /// Where a bigWig is written.
    pub layout: Option<Arc<TrackLayout>>,
}

/// Opened inputs, whatever the model.
pub struct Source {
    tracks: Tracks,
    folds: Option<Folds>,
    sizes: Option<(Assembly, PathBuf)>,
}

impl Source {
    pub fn open(job: &Job, console: &Console) -> Result<Self> {
        if let Some(path) = &job.fasta {
            let sequences = fasta::read_all(path)?;
            // Each sequence is a contig of a small genome in memory.
            let named = sequences.iter().map(|(name, bases)| (name.as_str(), &bases[..]));
            let genome = Arc::new(GenomePack::from_sequences(named));
            let tracks = Tracks::new(genome, None);
            return Ok(Self { tracks, folds: None, sizes: None });
        }
        let Some(genome) = &job.genome else {
            return Err(Problem::new("no genome given").fix("pass -g with a FASTA").into());
        };
        let cache = &job.cache_dir;
        let mut tracks = inputs::open_tracks(genome, job.bigwig.as_deref(), cache, console)?;
        let folds = match &job.folds {
            Some(path) => {
                let folds = folds::read(path)?;
                inputs::check_folds(&folds, path, &tracks.genome, console)?;
                Some(folds)
            }
            None => None,
        };
        let sizes = match &job.chrom_sizes {
            Some(path) => {
                let sizes = chrom_sizes::read(path)?;
                let disputed = inputs::check_sizes(&sizes, path, &tracks.genome, console)?;
                tracks = tracks.dispute(disputed);
                Some((sizes, path.clone()))
            }
            None => None,
        };
        Ok(Self { tracks, folds, sizes })
    }

    /// The windows for models of one shape. `prefix` is that of the table of dropped regions.
    pub fn work(
        &self,
        job: &Job,
        arch: &Architecture,
        prefix: &Path,
        console: &Console,
    ) -> Result<Work> {
        let (plan, rows, groups) = match (&job.tile, &job.fasta) {
            (Some(names), _) => (self.tiles(names, arch, console)?, Rows::Tiles, Groups::Regions),
            (None, Some(path)) => {
                let (plan, rows) = self.whole_sequences(path, arch)?;
                (plan, Rows::Regions(rows), Groups::Regions)
            }
            (None, None) => self.regions(job, arch, prefix, console)?,
        };
        if plan.is_empty() {
            let paths: Vec<&Path> = [&job.regions, &job.peaks, &job.nonpeaks, &job.fasta]
                .into_iter()
                .filter_map(Option::as_deref)
                .collect();
            return Err(regions::nothing_left("predict", &paths, &job.chroms).into());
        }
        let layout = match job.regions.is_some() || job.tile.is_some() {
            true => Some(Arc::new(self.layout(&plan, arch)?)),
            false => None,
        };
        let lengths = (arch.inputlen, arch.outputlen);
        Ok(Work { lengths, tracks: self.tracks.clone(), plan, rows, groups, layout })
    }

    fn whole_sequences(
        &self,
        path: &Path,
        arch: &Architecture,
    ) -> Result<(Vec<Example>, Vec<Region>)> {
        let mut plan = Vec::new();
        let mut rows = Vec::new();
        for (contig, index) in self.tracks.genome.contigs().iter().zip(0..) {
            let length = contig.length;
            if length != arch.inputlen as u64 {
                return Err(Problem::new(format!(
                    "sequence is {length} bp long, but the model reads {} bp",
                    arch.inputlen
                ))
                .at(format!("{}, sequence {}", path.display(), contig.name))
                .fix("cut or pad (with N) every sequence to the model's input length, or cover longer ones with --tile")
                .into());
            }
            plan.push(Example { contig: index, start: 0, flags: 0, row: index });
            rows.push(Region {
                chrom: contig.name.clone(),
                start: 0,
                end: length,
                summit: length / 2,
                extra: Default::default(),
                line: index as usize + 1,
            });
        }
        Ok((plan, rows))
    }

    fn tiles(
        &self,
        names: &[String],
        arch: &Architecture,
        console: &Console,
    ) -> Result<Vec<Example>> {
        let genome = &self.tracks.genome;
        if let Some(unknown) = names.iter().find(|name| genome.contig_id(name).is_none()) {
            let known: Vec<&str> =
                genome.contigs().iter().take(5).map(|c| c.name.as_str()).collect();
            return Err(Problem::new(format!("--tile: there is no contig {unknown}"))
                .fix(format!("name contigs as the genome does: {}, ...", known.join(", ")))
                .into());
        }
        let chosen: HashSet<&str> = names.iter().map(String::as_str).collect();
        let wanted = |name: &str| chosen.is_empty() || chosen.contains(name);
        let listed = self.contigs();
        if let Some(name) = names.iter().find(|name| listed.id(name).is_none()) {
            return Err(self.not_listed(name).into());
        }
        let used = listed.names().filter(|name| wanted(name));
        inputs::refuse_disputed(&self.tracks.disputed, used.clone())?;
        let contigs: Vec<u32> = used.filter_map(|name| genome.contig_id(name)).collect();
        let short: Vec<&str> = contigs
            .iter()
            .map(|&id| &genome.contigs()[id as usize])
            .filter(|c| c.length < arch.inputlen as u64)
            .map(|c| c.name.as_str())
            .collect();
        if let Some(first) = short.first() {
            console.warning(format!(
                "{} of {} contigs are shorter than the model's input of {} bp and get no value, e.g. {first}",
                short.len(),
                contigs.len(),
                arch.inputlen
            ));
        }
        Ok(tiles::plan(genome, &contigs, arch.inputlen, arch.outputlen))
    }

    fn regions(
        &self,
        job: &Job,
        arch: &Architecture,
        prefix: &Path,
        console: &Console,
    ) -> Result<(Vec<Example>, Rows, Groups)> {
        let filter = RegionFilter {
            width: arch.inputlen,
            folds: self.folds.as_ref(),
            chroms: (!job.chroms.is_empty()).then_some(&job.chroms[..]),
            prefix,
        };
        let mut rows = Vec::new();
        let mut sites = |path: &Option<PathBuf>, kind| -> Result<Vec<Site>> {
            let Some(path) = path else { return Ok(Vec::new()) };
            let set = regions::open(path, kind, rows.len(), &self.tracks, &filter, console)?;
            rows.extend(set.rows);
            Ok(set.sites)
        };
        let (plan, groups) = match &job.regions {
            Some(_) => {
                let sites = sites(&job.regions, "regions")?;
                (fixed_plan(arch.inputlen, &sites, &[]), Groups::Regions)
            }
            None => {
                let peaks = sites(&job.peaks, "peaks")?;
                let nonpeaks = sites(&job.nonpeaks, "nonpeaks")?;
                (fixed_plan(arch.inputlen, &peaks, &nonpeaks), Groups::PeaksAndNonpeaks)
            }
        };
        Ok((plan, Rows::Regions(rows), groups))
    }

    /// Names and lengths in the order of a bigWig: that of chrom.sizes, else that of the genome.
    fn contigs(&self) -> Assembly {
        match &self.sizes {
            Some((sizes, _)) => sizes.clone(),
            None => {
                let contigs = self.tracks.genome.contigs().iter();
                contigs.filter(|c| c.length > 0).map(|c| (c.name.as_str(), c.length)).collect()
            }
        }
    }

    fn layout(&self, plan: &[Example], arch: &Architecture) -> Result<TrackLayout> {
        let contigs = self.contigs();
        let flank = ((arch.inputlen - arch.outputlen) / 2) as u32;
        let windows = plan.iter().map(|example| (example.contig, example.start + flank));
        let spans = region_track::spans(&self.tracks.genome, &contigs, windows)
            .map_err(|name| self.not_listed(name))?;
        TrackLayout::new(contigs, &spans, arch.outputlen)
    }

    /// A contig that has regions but no place in the bigWig.
    fn not_listed(&self, contig: &str) -> Problem {
        let file = self.sizes.as_ref().map(|(_, path)| path.display().to_string());
        Problem::new(format!("{contig} is to be predicted, but it is not listed"))
            .at(file.unwrap_or_default())
            .fix("pass the sizes of every chromosome that is to be predicted")
    }
}
