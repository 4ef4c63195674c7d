//! How every run begins: beside what an earlier one left in its place. It begins afresh, goes on, is
//! done already, or is refused since the place holds something else.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::record::RunRecord;
use crate::error::Problem;

/// Where a run leaves what it makes.
pub struct Place<'a> {
    /// `output folder` or `output prefix`: what the place is called.
    pub name: &'static str,
    /// The flag that chooses another.
    pub flag: &'static str,
    /// What the user gave.
    pub path: &'a Path,
    pub record: &'a Path,
    /// What an unfinished run goes on from.
    pub partial: &'a Path,
    /// What is there at the end, all of it.
    pub results: Vec<PathBuf>,
    /// Where the files lie that the record remembers.
    pub folder: &'a Path,
    /// What it means that results are there without a record.
    pub foreign: &'static str,
}

/// How a run finds its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is there, or nothing that is worth anything.
    Free {
        /// What is there was begun with other settings or inputs.
        of_other: bool,
    },
    /// An earlier run of the same settings and inputs did not end.
    GoesOn,
    /// An earlier run of the same settings and inputs left all there is to make.
    Done,
}

impl RunRecord {
    /// Compares this run with what an earlier one left. When it is the same, its settings stay as
    /// they were recorded, and so does the key of its state.
    ///
    /// Errors: results or a state of a run with other settings or inputs (listing what changed), or
    /// results that nobody recorded.
    pub fn settle(&mut self, place: &Place) -> Result<Standing> {
        let existing = place.results.iter().find(|path| path.exists());
        let Some(earlier) = Self::read(place.record)? else {
            return match existing {
                Some(path) => Err(Problem::new(place.foreign)
                    .at(path.display())
                    .fix(format!("choose another {}, or pass --force to replace it", place.flag))
                    .into()),
                None => Ok(Standing::Free { of_other: false }),
            };
        };
        let changes = earlier.changes(self);
        // A run that stopped before its first result left nothing that could be lost.
        let holds_work = existing.is_some() || place.partial.exists();
        if !changes.is_empty() && holds_work {
            return Err(Problem::new(format!(
                "the {} holds a run with other settings or inputs:\n    {}",
                place.name,
                changes.join("\n    ")
            ))
            .at(place.path.display())
            .fix(format!("choose another {}, or pass --force to start over", place.flag))
            .into());
        }
        if !changes.is_empty() {
            return Ok(Standing::Free { of_other: true });
        }
        let done = earlier.complete
            && earlier.is_whole(place.folder, place.flag)?
            && place.results.iter().all(|path| path.exists());
        self.settings = earlier.settings;
        Ok(if done { Standing::Done } else { Standing::GoesOn })
    }
}
