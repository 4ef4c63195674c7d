//! The report of a run: one HTML file that needs nothing else, and its figures as PNG under the
//! official names.
//!
//! In: a folder that `train`, `bias train`, `qc` or a pipeline filled, ours or the official tool's.
//! Out: `evaluation/overall_report.html`, written last and at once, since workflows take its presence
//! for "done". Every section shows what is there and says what is missing. What cannot be read or
//! drawn becomes a note in its place and a warning; it never stops the rest.

mod context;
pub(crate) mod folder;
mod html;
pub mod read;
mod sections;
mod verdicts;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use xxhash_rust::xxh3::xxh3_64;

use crate::console::Console;
use crate::error::Problem;
use crate::files::atomic::{self, folder_of};
use crate::files::content;
use crate::run::prints;
use crate::run_files;
use context::Context;
use folder::Folder;

/// What to report on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Prefix of its files [default: the one that is there].
    pub file_prefix: Option<&'a str>,
    /// Observed counts, bigWig or pack [default: the folder's own, or what its logs name].
    pub signal: Option<&'a Path>,
    /// The file to write, PNGs beside it [default: `evaluation/overall_report.html`].
    pub html: Option<&'a Path>,
    /// Replace a report that another program wrote.
    pub force: bool,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub html: PathBuf,
    /// What could not be read or drawn, one line each.
    pub notes: Vec<String>,
}

impl Request<'_> {
    /// The file to write.
    fn page(&self, folder: &Folder) -> PathBuf {
        match self.html {
            Some(path) => path.to_path_buf(),
            None => folder.tree.evaluation("overall_report.html"),
        }
    }
}

/// A hash of all that the report of a run shows.
///
/// Errors: no run in the folder.
pub fn identity(request: &Request) -> Result<String> {
    let folder = Folder::open(request.folder, request.file_prefix)?;
    Ok(prints::identity(folder.tree.root(), folder.shown_files()))
}

/// True when the report is there with its figures, as it was written, and shows what the run's files
/// are now.
pub fn is_current(request: &Request) -> bool {
    let Ok(folder) = Folder::open(request.folder, request.file_prefix) else { return false };
    let path = request.page(&folder);
    let Ok(sealed) = fs::read_to_string(&path) else { return false };
    let identity = prints::identity(folder.tree.root(), folder.shown_files());
    html::made_from(&sealed) == Some(&identity)
        && html::unsealed(&sealed)
            .is_some_and(|(page, seal)| seal == seal_of(page, folder_of(&path), &folder))
}

/// A hash of a page and of the figures beside it.
fn seal_of(page: &str, beside: &Path, folder: &Folder) -> String {
    let figures = run_files::figures(folder.kind).into_iter();
    let figures = figures.map(|name| beside.join(format!("{}{name}", folder.prefix))).collect();
    let text = format!("{page}{}", prints::identity(beside, figures));
    content::hex(xxh3_64(text.as_bytes()))
}

/// The first bytes of a page; none where there is no page.
fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes the report again where one of ours is there that shows what the run's files were earlier.
pub fn renew(request: &Request, console: &Console) -> Result<()> {
    let folder = Folder::open(request.folder, request.file_prefix)?;
    match html::made_from(&head(&request.page(&folder))).is_some() && !is_current(request) {
        true => write(request, console).map(|_| ()),
        false => Ok(()),
    }
}

/// Writes the report of a run.
///
/// Errors: no run in the folder, a report of another program in the way, a place that cannot be
/// written. All else is a note in the report.
pub fn write(request: &Request, console: &Console) -> Result<Written> {
    let folder = Folder::open(request.folder, request.file_prefix)?;
    let path = request.page(&folder);
    if !request.force {
        refuse_foreign(&path)?;
    }
    let beside = folder_of(&path).to_path_buf();
    fs::create_dir_all(&beside).map_err(|error| {
        Problem::new(format!("cannot make the report's folder: {error}")).at(beside.display())
    })?;
    // Before anything is read: what changes meanwhile makes the page an old one.
    let identity = prints::identity(folder.tree.root(), folder.shown_files());
    let context = Context::new(folder, beside.clone(), request.signal, console);
    let page = sections::page(&context, &identity).into_string();
    let page = html::sealed(&page, &seal_of(&page, &beside, &context.folder));
    atomic::write(&path, |out| Ok(out.write_all(page.as_bytes())?))?;
    let notes = context.into_notes();
    for note in &notes {
        console.warning(format!("report: {note}"));
    }
    console.info(format!("wrote {}", path.display()));
    Ok(Written { html: path, notes })
}

/// Errors when `path` holds a page that is not ours.
fn refuse_foreign(path: &Path) -> Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let ours = format!("<meta name=\"generator\" content=\"{} ", html::GENERATOR);
    match head(path).contains(&ours) {
        true => Ok(()),
        false => Err(Problem::new("there is a report of another program already")
            .at(path.display())
            .fix("write elsewhere with --html FILE, or pass --force to replace it")
            .into()),
    }
}
