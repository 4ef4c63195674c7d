//! What all sections share: where files are, what was read once, and what went wrong.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{Markup, PreEscaped, html};

use super::folder::Folder;
use super::html::{self, missing, problem};
use super::read::evaluation::{self, Evaluation};
use super::read::signal::Signal;
use super::read::tables;
use crate::console::Console;
use crate::error::Problem;
use crate::figures::{Figure, fenced};
use crate::pack::cache;
use crate::run::kind::Kind;
use crate::run::record::{QC_RECORD, RunRecord};

/// A test set's predictions beside what was observed, by the model that made them.
pub struct Evaluated {
    /// `chrombpnet` or `bias`.
    pub stem: &'static str,
    pub path: PathBuf,
    /// `None`: no such file; an error's text: it could not be read.
    pub evaluation: Result<Option<Evaluation>, String>,
}

pub struct Context<'a> {
    pub folder: Folder,
    pub console: &'a Console,
    pub signal: Option<PathBuf>,
    pub evaluated: Vec<Evaluated>,
    /// Where PNGs go.
    beside: PathBuf,
    notes: RefCell<Vec<String>>,
}

impl<'a> Context<'a> {
    pub fn new(
        folder: Folder,
        beside: PathBuf,
        signal: Option<&Path>,
        console: &'a Console,
    ) -> Self {
        let signal = match signal {
            Some(path) => Ok(Some(path.to_path_buf())),
            None => fenced(|| find_signal(&folder)),
        };
        let mut context = Self {
            signal: signal.clone().ok().flatten(),
            folder,
            console,
            evaluated: Vec::new(),
            beside,
            notes: RefCell::default(),
        };
        let stems: &[&'static str] = match context.folder.kind {
            Kind::Chrombpnet => &["chrombpnet", "bias"],
            Kind::Bias => &["bias"],
        };
        for &stem in stems {
            let path = context.folder.evaluation(&format!("{stem}_predictions.h5"));
            let evaluation = match (&signal, path.exists()) {
                (_, false) => Ok(None),
                (Err(text), true) => Err(text.clone()),
                (Ok(signal), true) => fenced(|| match signal {
                    Some(signal) => evaluation::read(&path, &mut Signal::open(signal)?, console),
                    None => Err(Problem::new("the observed counts were not found")
                        .fix(PASS_SIGNAL)
                        .into()),
                }),
            };
            if let Err(text) = &evaluation {
                context.note(text);
            }
            context.evaluated.push(Evaluated { stem, path, evaluation });
        }
        context
    }

    /// Keeps a note for the end and the console.
    pub fn note(&self, text: &str) {
        let line = text.replace('\n', ";");
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&line) {
            notes.push(line);
        }
    }

    pub fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// The body of a section; what goes wrong in it stands in its place.
    pub fn guarded(&self, body: impl FnOnce(&Self) -> Result<Markup>) -> Markup {
        fenced(|| body(self)).unwrap_or_else(|text| {
            self.note(&text);
            problem(&text)
        })
    }

    /// What a file holds, `None` where it is not there; what goes wrong becomes its text and a note.
    pub fn guarded_option<T>(
        &self,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>, String> {
        fenced(read).inspect_err(|text| self.note(text))
    }

    /// A figure in the page, and as `<name>.png` beside it where it has a name.
    pub fn figure(&self, figure: &Figure, name: Option<&str>, caption: &str) -> Markup {
        if let Some(name) = name {
            let path = self.beside.join(format!("{}{name}.png", self.folder.prefix));
            if let Err(text) = fenced(|| figure.write_png(&path)) {
                self.note(&text);
            }
        }
        html! {
            figure {
                (PreEscaped(figure.canvas.inline_svg(&figure.alt)))
                @if !caption.is_empty() { figcaption { (caption) } }
            }
        }
    }

    /// A picture from a file, embedded as an image, in which nothing can run or load. Prefers SVG.
    pub fn picture(&self, prefix: &Path, alt: &str, caption: &str) -> Result<Option<Markup>> {
        for (extension, kind) in [("svg", "image/svg+xml"), ("png", "image/png")] {
            let path = crate::plot::canvas::with_extension(prefix, extension);
            if !path.exists() {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|error| {
                Problem::new(format!("cannot read: {error}")).at(path.display())
            })?;
            let source = format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes));
            return Ok(Some(html! {
                figure {
                    img src=(source) alt=(alt);
                    figcaption { (caption) }
                }
            }));
        }
        Ok(None)
    }

    /// `missing`, naming the file from the run's folder on.
    pub fn missing_file(&self, path: &Path, how: &str) -> Markup {
        missing(&format!("There is no {}.", self.folder.shown(path)), how)
    }

    /// Evaluations of models whose file was there and could be read.
    pub fn readable(&self) -> impl Iterator<Item = (&'static str, &Evaluation)> {
        self.evaluated.iter().filter_map(|e| Some((e.stem, e.evaluation.as_ref().ok()?.as_ref()?)))
    }

    /// What is to be said of evaluations that are not there or not readable.
    pub fn unreadable(&self) -> Markup {
        html! {
            @for e in &self.evaluated {
                @match &e.evaluation {
                    Ok(Some(_)) => {}
                    Ok(None) => (self.missing_file(&e.path, how_to_predict(e.stem))),
                    Err(text) => (html::problem(text)),
                }
            }
        }
    }
}

fn how_to_predict(stem: &str) -> &'static str {
    match stem {
        "bias" => "`cbp-fast bias qc` or a pipeline makes it.",
        _ => "`cbp-fast qc` or a pipeline makes it.",
    }
}

const PASS_SIGNAL: &str = "pass the run's bigWig with --bigwig (-bw)";

/// The counts that the predictions were made beside: those of `qc`, the run's own bigWig, or the one
/// that its arguments name, looked for as written and from the run's folder on.
///
/// Errors: a file that is not the one that the run recorded.
fn find_signal(folder: &Folder) -> Result<Option<PathBuf>> {
    // A damaged record is told in its section.
    let record = |name: &str| RunRecord::read(&folder.tree.logs(name)).ok().flatten();
    if let Some(qc) = record(QC_RECORD)
        && let Some(path) = qc.settings.get("bigwig").and_then(|path| path.as_str())
    {
        return recorded(PathBuf::from(path), Some(&qc));
    }
    let own = folder.tree.auxiliary("data_unstranded.bw");
    if own.exists() {
        return Ok(Some(own));
    }
    let stem = folder.kind.stem();
    let args = tables::json(&folder.tree.logs(&format!("{stem}.args.json"))).ok().flatten();
    let Some(named) = args.as_ref().and_then(|args| args.get("bigwig")?.as_str()) else {
        return Ok(None);
    };
    let places = [PathBuf::from(named), folder.tree.root().join(named)];
    match places.into_iter().find(|path| path.is_file()) {
        Some(path) => recorded(path, record(&format!("{stem}.run.json")).as_ref()),
        None => Ok(None),
    }
}

/// `path`, where it is there and holds what `record` says that the run's signal held.
fn recorded(path: PathBuf, record: Option<&RunRecord>) -> Result<Option<PathBuf>> {
    let known = record.and_then(|record| record.inputs.get("signal"));
    match (path.is_file(), known) {
        (false, _) => Ok(None),
        (true, Some(known)) if !cache::fingerprint(&path)?.same_content(known) => {
            Err(Problem::new("these are not the counts that the run was made with")
                .at(path.display())
                .fix(PASS_SIGNAL)
                .into())
        }
        _ => Ok(Some(path)),
    }
}
