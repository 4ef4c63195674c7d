//! The stages of a pipeline: done once, kept when a rerun finds their files made from the same
//! inputs, timed, and listed at the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::console::table::{self, Side};
use crate::console::{self, Console};
use crate::error::Problem;
use crate::files::atomic;
use crate::run::prints::Print;
use crate::run::stop::StopFlag;

/// How a stage went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The stage's files were there, made from the same inputs.
    Kept,
    /// There was nothing to do it with, and why.
    NotRun(String),
    /// It failed, and the rest went on.
    Failed(String),
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Row {
    stage: &'static str,
    time: Duration,
    outcome: Outcome,
}

/// What is remembered of a stage that is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Memory {
    /// Hash of all that its files depend on.
    key: String,
    /// How long it took, ms.
    took: u64,
    /// When it was done: ms since 1970.
    finished: u64,
    /// What it left.
    #[serde(default)]
    files: BTreeMap<String, Print>,
}

impl Memory {
    /// True when all `files` are those that the stage left.
    fn left(&self, files: &[PathBuf]) -> bool {
        files.iter().all(|path| self.files.get(&name(path)).is_some_and(|print| print.is_of(path)))
    }
}

/// What a file is called in a memory, wherever its folder is moved.
fn name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().rev().take(2).collect();
    parts.into_iter().rev().collect::<PathBuf>().to_string_lossy().into_owned()
}

/// What a folder remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Remembered {
    /// Hash of models and data that the stages were done on.
    subject: String,
    stages: BTreeMap<String, Memory>,
}

pub struct Stages {
    console: Console,
    stop: StopFlag,
    path: PathBuf,
    force: bool,
    /// The subject of this run.
    subject: String,
    remembered: Remembered,
    rows: Vec<Row>,
    /// What shows what the stages left; gone before a stage is done again.
    shown: Vec<PathBuf>,
}

impl Stages {
    /// `path` remembers stages from run to run; one that is missing or of another program remembers
    /// none. `subject` is the hash of models and data. With `force`, everything is done again. When
    /// `stop` is set, no stage begins.
    pub fn open(
        path: &Path,
        subject: &str,
        force: bool,
        stop: StopFlag,
        console: &Console,
    ) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let remembered = serde_json::from_str(&text).unwrap_or_default();
        let (console, path, subject) = (*console, path.to_path_buf(), subject.to_string());
        let (rows, shown) = (Vec::new(), Vec::new());
        Self { console, stop, path, force, subject, remembered, rows, shown }
    }

    /// True when everything is done again.
    pub fn is_forced(&self) -> bool {
        self.force
    }

    /// Files that show what stages left. They are removed before a stage is done again, so that they
    /// do not outlive it when this run is stopped.
    pub fn show(&mut self, files: Vec<PathBuf>) {
        self.shown = files;
    }

    /// An error when the folder holds another evaluation: stages of other models or data, or `files`
    /// that nobody remembers; not with `force`.
    pub fn refuse_others(&self, files: &[PathBuf]) -> Result<(), Problem> {
        let earlier = &self.remembered.subject;
        let what = match files.iter().find(|f| f.exists()) {
            _ if self.force || *earlier == self.subject => return Ok(()),
            Some(file) if earlier.is_empty() => {
                format!("the output folder already holds {}", file.display())
            }
            None if earlier.is_empty() => return Ok(()),
            _ => "the output folder holds an evaluation of other models or data".to_string(),
        };
        Err(Problem::new(what)
            .at(self.path.display())
            .fix("choose another -o, or pass --force to replace what is there"))
    }

    /// A stage that was done and timed elsewhere.
    pub fn add(&mut self, stage: &'static str, time: Duration, outcome: Outcome) {
        self.rows.push(Row { stage, time, outcome });
    }

    /// A stage whose files are as they would be made.
    pub fn keep(&mut self, stage: &'static str) {
        self.console.info(format!("{stage}: complete already"));
        self.add(stage, Duration::ZERO, Outcome::Kept);
    }

    /// What is there of a stage was made from something else, or was changed, or is to be made again.
    pub fn is_outdated(&self, stage: &str, key: &str, files: &[PathBuf]) -> bool {
        let known = self.remembered.stages.get(stage);
        self.force || known.is_some_and(|m| m.key != key || !m.left(files))
    }

    /// Does a stage, unless it was done with the same `key` and its `files` are what it left.
    ///
    /// Errors: those of `work`, or asked to stop; the stages done before are remembered.
    pub fn run(
        &mut self,
        stage: &'static str,
        key: &str,
        files: &[PathBuf],
        work: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        if self.stop.is_requested() {
            return Err(interrupted(stage).into());
        }
        let known = self.remembered.stages.contains_key(stage);
        if known && !self.is_outdated(stage, key, files) {
            self.keep(stage);
            return Ok(());
        }
        // Until it is done again, what is there would be a mixture of old and new.
        if self.remembered.stages.remove(stage).is_some() {
            self.remember()?;
            for path in files.iter().chain(&self.shown) {
                let _ = std::fs::remove_file(path);
            }
            self.shown.clear();
        }
        let start = Instant::now();
        let outcome = work()?;
        let time = start.elapsed();
        match &outcome {
            Outcome::NotRun(reason) => self.console.warning(format!("{stage}: not run: {reason}")),
            Outcome::Done => {
                let now = UNIX_EPOCH.elapsed().unwrap_or_default();
                let memory = Memory {
                    key: key.to_string(),
                    took: time.as_millis() as u64,
                    finished: now.as_millis() as u64,
                    files: files
                        .iter()
                        .filter_map(|path| Some((name(path), Print::of(path).ok()?)))
                        .collect(),
                };
                self.remembered.stages.insert(stage.to_string(), memory);
                self.remember()?;
            }
            Outcome::Kept | Outcome::Failed(_) => {}
        }
        self.add(stage, time, outcome);
        Ok(())
    }

    /// Runs a stage that is there to be looked at: what goes wrong is told, and the rest goes on.
    ///
    /// Errors: asked to stop.
    pub fn attempt(
        &mut self,
        stage: &'static str,
        key: &str,
        files: &[PathBuf],
        work: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        let start = Instant::now();
        if let Err(error) = self.run(stage, key, files, work) {
            if self.stop.is_requested() {
                return Err(interrupted(stage).into());
            }
            let text = format!("{error:#}");
            self.console.warning(format!("{stage} failed: {text}"));
            self.add(stage, start.elapsed(), Outcome::Failed(text));
        }
        Ok(())
    }

    fn remember(&mut self) -> Result<()> {
        self.remembered.subject.clone_from(&self.subject);
        let text = serde_json::to_string_pretty(&self.remembered)?;
        atomic::write(&self.path, |out| Ok(out.write_all(text.as_bytes())?))
    }

    /// Says what took how long.
    pub fn table(&self) {
        let total: Duration = self.rows.iter().map(|r| r.time).sum();
        let fields = json!({
            "seconds": total.as_secs_f64(),
            "stages": self.rows.iter().map(|r| json!({
                "stage": r.stage, "seconds": r.time.as_secs_f64(), "outcome": r.outcome.name(),
                "reason": r.outcome.reason(),
            })).collect::<Vec<_>>(),
        });
        self.console.event("stages", self.text(total), fields);
    }

    fn text(&self, total: Duration) -> String {
        let line = |stage: &str, time: Duration, outcome: String| {
            vec![format!("  {stage}"), console::duration(time.as_secs_f64()), outcome]
        };
        let mut rows = Vec::new();
        for row in &self.rows {
            // Of a problem the first line: the rest was told when it happened.
            let reason = row.outcome.reason().and_then(|r| r.lines().next());
            let outcome = match reason {
                Some(reason) => format!("{}: {reason}", row.outcome.name()),
                None => row.outcome.name().to_string(),
            };
            rows.push(line(row.stage, row.time, outcome));
        }
        rows.push(line("total", total, String::new()));
        let lines = table::aligned(&rows, &[Side::Left, Side::Right, Side::Left]);
        format!("stages:\n{}", lines.join("\n"))
    }
}

fn interrupted(stage: &str) -> Problem {
    Problem::new(format!("interrupted before {stage}; what is complete is kept"))
        .fix("run the same command again to go on")
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Kept => "complete already",
            Outcome::NotRun(_) => "not run",
            Outcome::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Outcome::NotRun(reason) | Outcome::Failed(reason) => Some(reason),
            Outcome::Done | Outcome::Kept => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        folder: tempfile::TempDir,
        /// How often a stage did something.
        worked: usize,
    }

    impl Scene {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), worked: 0 }
        }

        fn stages(&self, force: bool) -> Stages {
            let path = self.folder.path().join("stages.json");
            Stages::open(&path, "s", force, StopFlag::default(), &Console::new(true, false))
        }

        fn run(&mut self, stages: &mut Stages, key: &str) -> Result<()> {
            let file = self.folder.path().join("made");
            stages.run("make", key, std::slice::from_ref(&file), || {
                self.worked += 1;
                std::fs::write(&file, key)?;
                Ok(Outcome::Done)
            })
        }
    }

    #[test]
    fn a_stage_is_kept_while_key_and_files_are() {
        let mut scene = Scene::new();
        let run = |key: &str, force: bool, scene: &mut Scene| {
            let mut stages = scene.stages(force);
            scene.run(&mut stages, key).unwrap();
            scene.worked
        };
        assert_eq!(run("a", false, &mut scene), 1);
        assert_eq!(run("a", false, &mut scene), 1, "nothing changed");
        assert_eq!(run("b", false, &mut scene), 2, "another input");
        assert_eq!(run("b", true, &mut scene), 3, "forced");
        std::fs::remove_file(scene.folder.path().join("made")).unwrap();
        assert_eq!(run("b", false, &mut scene), 4, "its file is gone");
        std::fs::write(scene.folder.path().join("stages.json"), "no JSON").unwrap();
        assert_eq!(run("b", false, &mut scene), 5, "nothing is remembered");
    }

    #[test]
    fn an_interrupted_stage_is_not_taken_for_done() {
        let mut scene = Scene::new();
        let mut stages = scene.stages(false);
        scene.run(&mut stages, "a").unwrap();
        let file = scene.folder.path().join("made");
        let mut stages = scene.stages(true);
        let failed = stages.run("make", "a", &[file], || anyhow::bail!("the disk is full"));
        assert!(failed.is_err());
        // The file of the first run is still there, but nobody knows what is in it.
        scene.run(&mut scene.stages(false), "a").unwrap();
        assert_eq!(scene.worked, 2);
    }

    #[test]
    fn an_evaluation_of_something_else_is_not_replaced() {
        let mut scene = Scene::new();
        let other = [scene.folder.path().join("other")];
        scene.stages(false).refuse_others(&other).unwrap();
        std::fs::write(&other[0], "").unwrap();
        let error = scene.stages(false).refuse_others(&other).unwrap_err().to_string();
        assert!(error.contains("already holds") && error.contains("--force"), "{error}");
        scene.run(&mut scene.stages(false), "a").unwrap();
        scene.stages(false).refuse_others(&other).unwrap();
        let open = |subject, force| {
            let path = scene.folder.path().join("stages.json");
            Stages::open(&path, subject, force, StopFlag::default(), &Console::new(true, false))
        };
        let error = open("t", false).refuse_others(&[]).unwrap_err().to_string();
        assert!(error.contains("other models or data"), "{error}");
        open("t", true).refuse_others(&other).unwrap();
    }

    #[test]
    fn what_was_changed_is_made_again_and_what_shows_it_goes_first() {
        let mut scene = Scene::new();
        scene.run(&mut scene.stages(false), "a").unwrap();
        let (made, page) = (scene.folder.path().join("made"), scene.folder.path().join("page"));
        std::fs::write(&page, "shows a").unwrap();
        let open = |scene: &Scene| {
            let mut stages = scene.stages(false);
            stages.show(vec![page.clone()]);
            stages
        };
        // The same bytes, written again.
        std::fs::write(&made, "a").unwrap();
        scene.run(&mut open(&scene), "a").unwrap();
        assert!(scene.worked == 1 && page.exists());
        std::fs::write(&made, "b").unwrap();
        let mut stages = open(&scene);
        assert!(stages.is_outdated("make", "a", std::slice::from_ref(&made)));
        let files = [made.clone()];
        let stopped = stages.run("make", "a", &files, || {
            assert!(!made.exists() && !page.exists(), "before anything is made");
            anyhow::bail!("stopped")
        });
        assert!(stopped.is_err());
        scene.run(&mut open(&scene), "a").unwrap();
        assert_eq!(scene.worked, 2);
    }

    #[test]
    fn the_table_tells_what_happened() {
        let scene = Scene::new();
        let mut stages = scene.stages(false);
        stages.add("training", Duration::from_secs(75), Outcome::Done);
        stages.attempt("report", "k", &[], || anyhow::bail!("no ink\n  fix: buy some")).unwrap();
        let none = || Ok(Outcome::NotRun("no modisco".into()));
        stages.attempt("motifs", "k", &[], none).unwrap();
        let text = stages.text(Duration::from_secs(75));
        assert!(text.contains("training") && text.contains("done"), "{text}");
        assert!(text.contains("failed: no ink\n"), "{text}");
        assert!(text.contains("not run: no modisco"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("  total"), "{text}");
    }
}
