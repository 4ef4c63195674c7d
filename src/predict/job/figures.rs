//! The official pictures of a comparison with observed counts: `PREFIX.counts_pearsonr.png` and
//! `PREFIX.profile_jsd.png`; of peaks and nonpeaks for each group, `PREFIX_only_peaks...`, as in
//! training.

use std::path::PathBuf;

use crate::console::Console;
use crate::figures::{self, Figure, counts, jsd};
use crate::predict::metrics::Shown;
use crate::predict::outputs::Completed;
use crate::predict::score::Groups;
use crate::predict::test_groups::GROUPS;
use crate::run::prefix::suffixed;

/// What the pictures of one series of predictions show.
pub struct Figures(Vec<(PathBuf, String, Shown)>);

impl Figures {
    /// The pictures of complete files; none where there is no signal.
    pub fn of(completed: &Completed, groups: Groups) -> Self {
        let Some(scores) = completed.scores() else { return Self(Vec::new()) };
        let prefix = completed.prefix();
        let name = prefix.file_name().unwrap_or_default().to_string_lossy();
        Self(match groups {
            Groups::Regions => {
                vec![(prefix.to_path_buf(), format!("{name} in all regions"), scores.shown(None))]
            }
            Groups::PeaksAndNonpeaks => {
                let both = scores.has(true) && scores.has(false);
                let is_there = |peaks: Option<bool>| peaks.map_or(both, |kind| scores.has(kind));
                let groups = GROUPS.iter().filter(|group| is_there(group.peaks));
                groups
                    .map(|group| {
                        let prefix = suffixed(prefix, &format!("_{}", group.in_names));
                        (prefix, format!("{name} in {}", group.words), scores.shown(group.peaks))
                    })
                    .collect()
            }
        })
    }

    /// Writes them; what cannot be drawn or written is a warning.
    pub fn write(self, console: &Console) {
        for (prefix, what, shown) in self.0 {
            let write = |suffix: &str, draw: &dyn Fn() -> Option<Figure>| {
                let path = suffixed(&prefix, suffix);
                let drawn = || draw().map_or(Ok(()), |figure| figure.write_png(&path));
                if let Err(problem) = figures::fenced(drawn) {
                    console.warning(format!("no {}: {problem}", path.display()));
                }
            };
            let Shown { observed, predicted, jsd, shuffled_jsd } = &shown;
            write(".counts_pearsonr.png", &|| counts::draw(observed, predicted, &what));
            write(".profile_jsd.png", &|| jsd::draw(jsd, shuffled_jsd, &what));
        }
    }
}
