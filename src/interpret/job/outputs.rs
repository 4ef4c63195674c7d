//! The files of a run, by name, and how they are made from its finished rows.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use super::Job;
use super::work::Work;
use crate::console::Console;
use crate::engine::Heads;
use crate::error::Problem;
use crate::files::row_spool::RowSpool;
use crate::files::{atomic, params_tsv};
use crate::interpret::head_names;
use crate::interpret::writers::{BigWig, Format, H5, Row, ScoreWriter};

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
        // Of every format: what an earlier run was asked for must not outlive its scores.
        files.extend(self.files_of(Format::value_variants()));
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

    /// Files of the further formats that are asked for, of every head.
    pub fn extras(&self, job: &Job) -> Vec<PathBuf> {
        self.files_of(&job.also)
    }

    fn files_of(&self, formats: &[Format]) -> Vec<PathBuf> {
        let of = |path: PathBuf| {
            let stem = path.with_extension("");
            formats.iter().flat_map(move |format| format.files(&stem)).collect::<Vec<_>>()
        };
        self.scores().flat_map(of).collect()
    }

    /// Makes every file from the rows of a finished run.
    pub fn write(&self, job: &Job, finished: &Finished) -> Result<()> {
        let work = finished.work;
        let shape = (work.len(), work.inputlen);
        let track = work.track()?.map(|(order, layout)| (order, Arc::new(layout)));
        // The head of each, and who takes its rows: as they are listed, and by coordinate.
        let mut listed: Vec<(usize, Box<dyn ScoreWriter + '_>)> = Vec::new();
        let mut by_place: Vec<(usize, Box<dyn ScoreWriter + '_>)> = Vec::new();
        let sample = finished.sample()?;
        for (index, (head, path)) in
            head_names(self.heads).into_iter().zip(self.scores()).enumerate()
        {
            let sample: Vec<Row> = sample.iter().map(|row| row.of_head(index)).collect();
            listed.push((index, Box::new(H5::create(&path, shape, work, &sample)?)));
            for format in &job.also {
                listed.push((index, format.create(&path.with_extension(""), shape)?));
            }
            if let Some((_, layout)) = &track {
                let (path, stats) = (path.with_extension("bw"), self.stats(job, head));
                let track = BigWig::create(&path, layout, work.inputlen, stats)?;
                by_place.push((index, Box::new(track)));
            }
        }
        let order: Vec<u32> = track.map(|(order, _)| order).unwrap_or_default();
        if order.is_sorted() {
            listed.append(&mut by_place);
        }
        finished.pass("write scores", (0..work.len()).collect(), listed)?;
        finished.pass(
            "write bigWigs",
            order.iter().map(|&row| row as usize).collect(),
            by_place,
        )?;
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
        let also: Vec<PathBuf> = self.extras(job);
        let also: Vec<Value> = also.iter().map(path).collect();
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
            ("also", json!(also)),
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

/// Rows that are on their way at once.
const AT_ONCE: usize = 64;
/// Rows that tell how much disk the files need.
const SAMPLED: usize = 32;

/// A row as it came out of the spool.
struct SpooledRow {
    index: usize,
    codes: Vec<u8>,
    /// `[length, 4]` of each head.
    scores: Vec<Vec<f32>>,
}

impl SpooledRow {
    fn of_head(&self, head: usize) -> Row<'_> {
        Row { index: self.index, codes: &self.codes, scores: &self.scores[head] }
    }
}

impl Finished<'_> {
    /// Some rows, from all over the list.
    fn sample(&self) -> Result<Vec<SpooledRow>> {
        let n = self.work.len();
        (0..n).step_by(n.div_ceil(SAMPLED).max(1)).map(|row| self.row(row)).collect()
    }

    /// Hands the rows, in this order, to all writers, each with the head that it takes.
    fn pass(
        &self,
        what: &str,
        order: Vec<usize>,
        mut writers: Vec<(usize, Box<dyn ScoreWriter + '_>)>,
    ) -> Result<()> {
        if writers.is_empty() {
            return Ok(());
        }
        let mut progress = self.console.progress(what, order.len() as u64).unit("regions");
        for rows in order.chunks(AT_ONCE) {
            let rows: Vec<SpooledRow> =
                rows.iter().map(|&row| self.row(row)).collect::<Result<_>>()?;
            for (head, writer) in &mut writers {
                let of_head: Vec<Row> = rows.iter().map(|row| row.of_head(*head)).collect();
                writer.rows(&of_head)?;
            }
            progress.advance(rows.len() as u64, "");
        }
        progress.finish();
        writers.into_iter().try_for_each(|(_, writer)| writer.finish())
    }

    fn row(&self, index: usize) -> Result<SpooledRow> {
        if (self.stop)() {
            return Err(Problem::new(
                "interrupted while the files were written; all scores are saved",
            )
            .fix("run the same command again to go on")
            .into());
        }
        let mut parts = self.spool.read(index)?.into_iter();
        let codes = parts.next().unwrap_or_default();
        let numbers = |part: Vec<u8>| -> Vec<f32> {
            let (words, _) = part.as_chunks::<4>();
            words.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let scores: Vec<Vec<f32>> = parts.map(numbers).collect();
        let is_whole = |scores: &Vec<f32>| scores.len() == 4 * self.work.inputlen;
        let heads = scores.len().saturating_sub(1);
        anyhow::ensure!(
            codes.len() == self.work.inputlen && scores[..heads].iter().all(is_whole),
            "row {index} of the spool is not of this run"
        );
        Ok(SpooledRow { index, codes, scores })
    }
}
