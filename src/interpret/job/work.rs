//! What is explained: windows of a genome or whole sequences, the names of their rows, and the
//! layout of their bigWigs.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::Job;
use crate::console::Console;
use crate::error::Problem;
use crate::files::contributions_h5::Rows;
use crate::files::region_track::{self, Span, TrackLayout};
use crate::input::assembly::Assembly;
use crate::input::chrom_sizes;
use crate::input::fasta;
use crate::input::regions::Region;
use crate::model::Architecture;
use crate::pack::inputs;
use crate::predict::models::Models;
use crate::predict::regions::{self, RegionFilter};
use crate::store::{GenomePack, Tracks};

/// The sequences to explain, in the order of the h5.
pub struct Work {
    pub tracks: Tracks,
    pub inputlen: usize,
    pub outputlen: usize,
    /// (contig, first base) of each window.
    windows: Vec<(u32, u32)>,
    /// Rows of the regions file; empty for sequences of a FASTA.
    pub regions: Vec<Region>,
    /// Regions whose window does not fit.
    pub left_out: usize,
    /// For regions of a genome: contigs of the bigWigs, and where each window lies in them.
    bigwig: Option<(Assembly, Vec<Span>)>,
}

/// Errors for a model whose output is a sum of two branches.
pub fn check_explainable(models: &Models) -> Result<(), Problem> {
    if models.role() != "chrombpnet" {
        return Ok(());
    }
    let path = &models.files()[0].path;
    let name =
        path.file_name().map(|n| n.to_string_lossy().replace("chrombpnet", "chrombpnet_nobias"));
    let nobias = name.map(|name| path.with_file_name(name)).filter(|p| p != path && p.exists());
    let fix = match nobias {
        Some(nobias) => format!("explain the branch without bias: -m {}", nobias.display()),
        None => {
            "explain the branch without bias, chrombpnet_nobias.h5, or the bias model by itself"
                .into()
        }
    };
    Err(Problem::new(
        "this is a full ChromBPNet model, which adds enzyme bias to what it learned from sequence; contribution scores are of one branch",
    )
    .at(path.display())
    .fix(fix))
}

impl Work {
    pub fn open(job: &Job, arch: &Architecture, console: &Console) -> Result<Self> {
        let work = match &job.fasta {
            Some(fasta) => Self::sequences(fasta, arch)?,
            None => Self::regions(job, arch, console)?,
        };
        match work.windows.is_empty() {
            true => {
                let path = job.regions.as_deref().or(job.fasta.as_deref());
                let paths: Vec<&Path> = path.into_iter().collect();
                Err(regions::nothing_left("explain", &paths, &job.chroms).into())
            }
            false => Ok(work),
        }
    }

    fn sequences(path: &Path, arch: &Architecture) -> Result<Self> {
        let sequences = fasta::read_all(path)?;
        for (name, bases) in &sequences {
            if bases.len() != arch.inputlen {
                return Err(Problem::new(format!(
                    "sequence is {} bp long, but the model reads {} bp",
                    bases.len(),
                    arch.inputlen
                ))
                .at(format!("{}, sequence {name}", path.display()))
                .fix("cut or pad (with N) every sequence to the model's input length")
                .into());
            }
        }
        let named = sequences.iter().map(|(name, bases)| (name.as_str(), &bases[..]));
        let genome = GenomePack::from_sequences(named);
        Ok(Self {
            tracks: Tracks::new(Arc::new(genome), None),
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            windows: (0..sequences.len() as u32).map(|contig| (contig, 0)).collect(),
            regions: Vec::new(),
            left_out: 0,
            bigwig: None,
        })
    }

    fn regions(job: &Job, arch: &Architecture, console: &Console) -> Result<Self> {
        let (Some(genome), Some(path), Some(sizes_path)) =
            (&job.genome, &job.regions, &job.chrom_sizes)
        else {
            return Err(Problem::new("no regions given")
                .fix("pass -r with -g and -c, or --fasta")
                .into());
        };
        let sizes = chrom_sizes::read(sizes_path)?;
        let tracks = inputs::open_tracks(genome, None, &job.cache_dir, console)?;
        let disputed = inputs::check_sizes(&sizes, sizes_path, &tracks.genome, console)?;
        let tracks = tracks.dispute(disputed);
        let filter = RegionFilter {
            width: arch.inputlen,
            folds: None,
            chroms: (!job.chroms.is_empty()).then_some(&job.chroms[..]),
            prefix: &job.output_prefix,
        };
        let set = regions::open(path, "regions", 0, &tracks, &filter, console)?;
        let half = (arch.inputlen / 2) as u32;
        let windows: Vec<(u32, u32)> =
            set.sites.iter().map(|s| (s.contig, s.center - half)).collect();
        let spans = region_track::spans(&tracks.genome, &sizes, windows.iter().copied()).map_err(
            |name| {
                Problem::new(format!("regions lie on {name}, which is not listed"))
                    .at(sizes_path.display())
                    .fix("list every chromosome that has regions")
            },
        )?;
        Ok(Self {
            tracks,
            inputlen: arch.inputlen,
            outputlen: arch.outputlen,
            windows,
            regions: set.rows,
            left_out: set.dropped,
            bigwig: Some((sizes, spans)),
        })
    }

    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Writes the base codes of a row.
    pub fn codes(&self, row: usize, out: &mut [u8]) {
        let (contig, start) = self.windows[row];
        self.tracks.genome.codes(contig, i64::from(start), false, out);
    }

    /// For bigWigs: the rows in coordinate order, and their layout. `None` without a genome.
    pub fn track(&self) -> Result<Option<(Vec<u32>, TrackLayout)>> {
        let Some((sizes, spans)) = &self.bigwig else { return Ok(None) };
        let mut order: Vec<u32> = (0..spans.len() as u32).collect();
        order.sort_by_key(|&row| (spans[row as usize].contig, spans[row as usize].start));
        let sorted: Vec<Span> = order.iter().map(|&row| spans[row as usize]).collect();
        let layout = TrackLayout::new(sizes.clone(), &sorted, self.inputlen)?;
        Ok(Some((order, layout)))
    }
}

impl Rows for Work {
    fn chrom(&self, row: usize) -> &str {
        &self.tracks.genome.contigs()[self.windows[row].0 as usize].name
    }

    fn center(&self, row: usize) -> i64 {
        i64::from(self.windows[row].1) + (self.inputlen / 2) as i64
    }
}
