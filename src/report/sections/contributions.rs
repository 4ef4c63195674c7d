//! What the model looks at: logos of the regions with the strongest contributions.

use anyhow::Result;
use maud::{Markup, html};

use super::{count_of, text};
use crate::console::grouped;
use crate::figures::contributions::draw;
use crate::input::regions::{self, Region};
use crate::report::context::Context;
use crate::report::html::{missing, problem};
use crate::report::read::contributions::{Stretch, Strongest, strongest};

/// Regions of each head.
const SHOWN: usize = 5;
/// Regions to choose them from: peaks overlap, and one place is shown once.
const CANDIDATES: usize = 8 * SHOWN;
/// bp of each region.
const WIDTH: usize = 120;

pub fn body(context: &Context) -> Result<Markup> {
    let model = context.folder.kind.explained();
    let head = |head: &str| {
        let path = context.folder.interpreted(&format!("{model}.{head}_scores.h5"));
        context.guarded_option(|| strongest(&path, CANDIDATES, WIDTH, context.console))
    };
    let heads = [("profile", head("profile")), ("counts", head("counts"))];
    if heads.iter().all(|(_, found)| matches!(found, Ok(None))) {
        let path = context.folder.interpreted(&format!("{model}.profile_scores.h5"));
        return Ok(context.missing_file(&path, "`cbp-fast contribs` or a pipeline makes it."));
    }
    let bed = context.folder.interpreted(&format!("{model}.interpreted_regions.bed"));
    let regions = context.guarded_option(|| match bed.exists() {
        true => regions::read(&bed).map(Some),
        false => Ok(None),
    });
    let regions = regions.ok().flatten().unwrap_or_default();
    Ok(html! {
        (text(&format!("Height of a letter: what that base adds to the prediction, by DeepSHAP against shuffled \
               sequences. Shown are the regions with the largest sum over any 30 bp, {WIDTH} bp of each, \
               highest first; of overlapping ones the highest.")))
        @for (head, found) in &heads {
            h3 { "Contributions to the " (head) }
            @match found {
                Ok(Some(found)) if found.stretches.is_empty() => {
                    (missing(&format!("None of {} has positive contributions.", count_of(found.regions, "region")), ""))
                },
                Ok(Some(found)) => {
                    p.soft { "The strongest of " (count_of(found.regions, "region")) "." }
                    @for stretch in apart(found, &regions) { (logo(context, found, stretch, &regions)) }
                },
                Ok(None) => (missing(&format!("There are no {head} contributions."), "The official pipeline makes none of the main model's counts.")),
                Err(text) => (problem(text)),
            }
        }
    })
}

/// The region of a stretch. Rows of the BED and of the file are the same, or there is no telling.
fn region_of<'a>(
    found: &Strongest,
    stretch: &Stretch,
    regions: &'a [Region],
) -> Option<&'a Region> {
    regions.get(stretch.row).filter(|_| regions.len() == found.regions)
}

/// First position shown, bp from the window's centre.
fn from_center(found: &Strongest, stretch: &Stretch) -> i64 {
    stretch.start as i64 - (found.inputlen / 2) as i64
}

/// The first `SHOWN` stretches that do not overlap one before them.
fn apart<'a>(found: &'a Strongest, regions: &[Region]) -> Vec<&'a Stretch> {
    let mut shown: Vec<&Stretch> = Vec::new();
    let first = |s: &Stretch| {
        let region = region_of(found, s, regions)?;
        Some((region.chrom.as_str(), region.center() as i64 + from_center(found, s)))
    };
    for stretch in &found.stretches {
        let overlaps = |other: &&Stretch| match (first(stretch), first(other)) {
            (Some((a, x)), Some((b, y))) => a == b && x.abs_diff(y) < WIDTH as u64,
            _ => false,
        };
        if shown.len() < SHOWN && !shown.iter().any(overlaps) {
            shown.push(stretch);
        }
    }
    shown
}

fn logo(context: &Context, found: &Strongest, stretch: &Stretch, regions: &[Region]) -> Markup {
    let from_center = from_center(found, stretch);
    let place = match region_of(found, stretch, regions) {
        Some(region) => {
            let first = region.center() as i64 + from_center;
            let last = first + stretch.heights.len() as i64;
            let shown = |position: i64| grouped(position.max(0) as u64);
            format!("{}:{}-{}", region.chrom, shown(first + 1), shown(last))
        }
        None => format!("region {} of the file", stretch.row + 1),
    };
    let title = format!("{place}, strongest 30 bp sum to {:.3}", stretch.sum);
    context.figure(&draw(&stretch.heights, from_center, &title), None, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::regions::Extra;

    #[test]
    fn one_place_is_shown_once() {
        let at = |chrom: &str, center: u64| Region {
            chrom: chrom.into(),
            start: center,
            end: center + 1,
            summit: 0,
            extra: Extra::default(),
            line: 1,
        };
        let regions = [at("a", 500), at("a", 550), at("b", 550), at("a", 500 + WIDTH as u64)];
        let stretch = |row| Stretch {
            row,
            start: 440,
            sum: 9.0 - row as f64,
            heights: vec![[0.0; 4]; WIDTH],
        };
        let stretches = (0..4).map(stretch).collect();
        let found = Strongest { regions: 4, inputlen: 1000, stretches };
        let rows = |regions: &[Region]| -> Vec<usize> {
            apart(&found, regions).iter().map(|s| s.row).collect()
        };
        assert_eq!(rows(&regions), [0, 2, 3]);
        assert_eq!(rows(&[]), [0, 1, 2, 3], "without coordinates nothing is known to overlap");
    }
}
