//! The files of a run, by name, and how they are made from its finished rows.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Job;
use super::work::Work;
use crate::console::{Console, Progress};
use crate::engine::Heads;
use crate::error::Problem;
use crate::files::region_track::{RegionTrack, TrackLayout};
use crate::files::row_spool::RowSpool;
use crate::files::{atomic, contributions_h5, params_tsv};
use crate::interpret::head_names;

/// Names under one prefix.
pub struct Outputs {
    prefix: PathBuf,
    heads: Heads,
}

impl Outputs {
    pub fn new(prefix: &Path, heads: Heads) -> Self {
        Self { prefix: prefix.to_path_buf(), heads }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        let mut path = self.prefix.as_os_str().to_os_string();
        path.push(suffix);
        PathBuf::from(path)
    }

    /// `counts_scores`, `profile_scores`, or `scores` of both: runs of single heads under one prefix
    /// do not meet.
    fn stem(&self) -> &'static str {
        match self.heads {
            Heads { counts: true, profile: true } => "scores",
            Heads { counts: true, .. } => "counts_scores",
            _ => "profile_scores",
        }
    }

    /// What the run was made from.
    pub fn record(&self) -> PathBuf {
        self.path(&format!(".{}.run.json", self.stem()))
    }

    /// Finished rows of a run that is under way.
    pub fn partial(&self) -> PathBuf {
        self.path(&format!(".{}.partial", self.stem()))
    }

    /// The h5 files.
    pub fn scores(&self) -> impl Iterator<Item = PathBuf> {
        head_names(self.heads).into_iter().map(|head| self.path(&format!(".{head}_scores.h5")))
    }

    /// Every file that a run may leave.
    pub fn all(&self, job: &Job) -> Vec<PathBuf> {
        let mut files = vec![self.record(), self.partial(), self.path(".interpret.args.json")];
        if job.regions.is_some() {
            files.push(self.path(".interpreted_regions.bed"));
            files.push(self.path("_dropped_regions.tsv"));
        }
        files.extend(self.tracks(job));
        files.extend(self.scores());
        files
    }

    /// The list of the regions that have scores, in the order of these.
    pub fn regions(&self, job: &Job) -> Option<PathBuf> {
        job.regions.is_some().then(|| self.path(".interpreted_regions.bed"))
    }

    /// Records of runs of other heads under this prefix.
    pub fn other_records(&self) -> impl Iterator<Item = PathBuf> {
        let others = ["scores", "counts_scores", "profile_scores"].into_iter();
        let others = others.filter(|stem| *stem != self.stem());
        others.map(|stem| self.path(&format!(".{stem}.run.json")))
    }

    /// The bigWigs, which regions of a genome have.
    pub fn tracks(&self, job: &Job) -> impl Iterator<Item = PathBuf> {
        let scores = job.regions.is_some().then(|| self.scores());
        scores.into_iter().flatten().map(|path| path.with_extension("bw"))
    }

    /// The quantiles of the bigWigs' values, where they are asked for.
    pub fn all_stats(&self, job: &Job) -> Vec<PathBuf> {
        head_names(self.heads).into_iter().filter_map(|head| self.stats(job, head)).collect()
    }

    /// Makes every file from the rows of a finished run.
    pub fn write(&self, job: &Job, finished: &Finished) -> Result<()> {
        let work = finished.work;
        let track = work.track()?.map(|(order, layout)| (order, Arc::new(layout)));
        let heads = head_names(self.heads).into_iter().zip(self.scores());
        for (index, (head, path)) in heads.enumerate() {
            // Parts of a row: raw, then shap and projected of each head.
            let parts = [0, 1 + 2 * index, 2 + 2 * index];
            finished.write_h5(&path, head, parts)?;
            if let Some((order, layout)) = &track {
                let stats = self.stats(job, head);
                let path = path.with_extension("bw");
                finished.write_bigwig(&path, head, parts[2], order, layout, stats.as_deref())?;
            }
        }
        if !work.regions.is_empty() {
            params_tsv::write_filtered_bed(&self.path(".interpreted_regions.bed"), &work.regions)?;
        }
        self.write_args(job)
    }

    /// The official tool writes both heads' quantiles to one file, so that the profile's, written
    /// last, are what is left. Here the counts' have a file of their own then.
    fn stats(&self, job: &Job, head: &str) -> Option<PathBuf> {
        let path = job.stats.clone()?;
        match self.heads.profile && head == "counts" {
            false => Some(path),
            true => {
                let mut name: OsString = path.into_os_string();
                name.push(".counts");
                Some(name.into())
            }
        }
    }

    /// `*.interpret.args.json`: the official arguments, then ours.
    fn write_args(&self, job: &Job) -> Result<()> {
        // JSON holds UTF-8 only, a path any bytes.
        let path = |path: &PathBuf| json!(path.to_string_lossy());
        let maybe = |file: &Option<PathBuf>| file.as_ref().map_or(Value::Null, path);
        let one_or_list = |paths: &[PathBuf]| match paths {
            [one] => path(one),
            list => list.iter().map(path).collect(),
        };
        let heads: Vec<&str> = job.heads.iter().map(|h| h.name()).collect();
        let debug_chr = Some(&job.chroms).filter(|names| !names.is_empty());
        let all: Map<String, Value> = [
            ("cmd", json!("contribs_bw")),
            ("model_h5", one_or_list(&job.models)),
            ("regions", maybe(&job.regions)),
            ("genome", maybe(&job.genome)),
            ("chrom_sizes", maybe(&job.chrom_sizes)),
            ("output_prefix", path(&job.output_prefix)),
            ("profile_or_counts", json!(heads)),
            ("output_prefix_stats", maybe(&job.stats)),
            ("tqdm", json!(job.tqdm)),
            ("debug_chr", json!(debug_chr)),
            ("fasta", maybe(&job.fasta)),
            ("method", json!(job.method.name())),
            ("references", maybe(&job.references)),
            ("n_references", json!(job.n_references)),
            ("seed", json!(job.seed)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, indent);
        serde::Serialize::serialize(&all, &mut serializer)?;
        atomic::write(&self.path(".interpret.args.json"), |out| Ok(out.write_all(&text)?))
    }
}

/// The rows of a finished run on their way into files.
pub struct Finished<'a> {
    pub work: &'a Work,
    pub spool: &'a RowSpool,
    pub console: Console,
    /// Asked between rows; the run can go on from here too.
    pub stop: &'a dyn Fn() -> bool,
}

impl Finished<'_> {
    fn write_h5(&self, path: &Path, head: &str, parts: [usize; 3]) -> Result<()> {
        let shape = (self.work.len(), self.work.inputlen);
        let bytes = parts.iter().map(|&part| self.spool.part_bytes(part)).sum();
        let mut progress = self.progress(&format!("write {head} h5"));
        contributions_h5::write(path, shape, self.work, bytes, |row| {
            let mut all = self.row(row, &mut progress)?;
            Ok(parts.map(|part| std::mem::take(&mut all[part])))
        })?;
        progress.finish();
        Ok(())
    }

    /// Scores of the bases that are there, from the rows in coordinate order.
    fn write_bigwig(
        &self,
        path: &Path,
        head: &str,
        projected: usize,
        order: &[u32],
        layout: &Arc<TrackLayout>,
        stats: Option<&Path>,
    ) -> Result<()> {
        let mut track = RegionTrack::create(path, layout, stats.is_some())?;
        let mut progress = self.progress(&format!("write {head} bigWig"));
        let mut values = vec![0.0; self.work.inputlen];
        for &row in order {
            let parts = self.row(row as usize, &mut progress)?;
            contributions_h5::track(&parts[projected], &mut values)?;
            track.push(&values)?;
        }
        progress.finish();
        if let (Some(quantiles), Some(path)) = (track.finish()?, stats) {
            quantiles.write(path)?;
        }
        Ok(())
    }

    fn progress(&self, what: &str) -> Progress {
        self.console.progress(what, self.work.len() as u64).unit("regions")
    }

    fn row(&self, row: usize, progress: &mut Progress) -> Result<Vec<Vec<u8>>> {
        if (self.stop)() {
            return Err(Problem::new(
                "interrupted while the files were written; all scores are saved",
            )
            .fix("run the same command again to go on")
            .into());
        }
        progress.advance(1, "");
        self.spool.read(row)
    }
}
