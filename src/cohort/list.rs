//! The runs of a cohort, from a file of command lines.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Member, Work};
use crate::console::Console;
use crate::error::Problem;
use crate::input::lines;
use crate::run::claim::real_folder;

/// What a command line asks for.
pub struct Asked {
    pub output_dir: PathBuf,
    /// What will happen, or why it cannot; the others go on without it.
    pub work: Result<Work>,
}

/// Reads the runs of a file, in its order. They speak on `console`, under their names. `ask` makes of
/// a command line what it asks for.
///
/// Errors: a line that asks for nothing, two runs in one folder, a run that would write to the file.
pub fn read(
    path: &Path,
    console: Console,
    ask: impl Fn(&str) -> Result<Asked, Problem>,
) -> Result<Vec<Member>> {
    let mut runs = Vec::new();
    let mut folders = HashMap::new();
    let mut names = HashSet::new();
    for (number, line) in joined_lines(path)? {
        let at = || lines::place(path, number);
        lines::used(&line, "the command line").map_err(|problem| problem.at(at()))?;
        let Asked { output_dir: folder, work } = ask(&line).map_err(|problem| problem.at(at()))?;
        if let Ok(work) = &work {
            let claim = work.claim().reads("-o", [&path.to_path_buf()]);
            claim.check().map_err(|problem| problem.within(at()))?;
        }
        if let Some(first) = folders.insert(real_folder(&folder), number) {
            return Err(Problem::new(format!(
                "a second run writes to {}, as that of line {first} does",
                folder.display()
            ))
            .at(at())
            .fix("give each run an output folder of its own")
            .into());
        }
        let last = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        let name = match names.insert(last.clone().into_owned()) {
            true => last.into_owned(),
            false => folder.display().to_string(),
        };
        // Lives as long as the process: there are as many as runs.
        let label: &'static str = Box::leak(name.clone().into_boxed_str());
        runs.push(Member { name, work, console: console.labelled(Some(label)) });
    }
    if runs.is_empty() {
        return Err(Problem::new("no run in the file")
            .at(path.display())
            .fix("write one command line a run, e.g. train -g genome.fa ... -fl fold_0.json -o fold_0")
            .into());
    }
    Ok(runs)
}

/// Command lines and the number of the first line of each; as in a shell, a line that ends in a
/// backslash goes on in the next.
fn joined_lines(path: &Path) -> Result<Vec<(usize, String)>> {
    let mut runs: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    lines::for_each(path, |number, line| {
        if !goes_on && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(());
        }
        let text = line.trim_end();
        let backslashes = text.len() - text.trim_end_matches('\\').len();
        let open = backslashes % 2 == 1;
        let text = if open { &text[..text.len() - 1] } else { text };
        match runs.last_mut().filter(|_| goes_on) {
            Some((_, run)) => *run += text,
            None => runs.push((number, text.to_string())),
        }
        goes_on = open;
        Ok(())
    })?;
    Ok(runs)
}
