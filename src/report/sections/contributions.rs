//! What the model looks at: logos of the regions with the strongest contributions.

use anyhow::Result;
use maud::{Markup, html};

use super::{count_of, text};
use crate::console::grouped;
use crate::input::regions::{self, Region};
use crate::report::context::Context;
use crate::report::figures::contributions::draw;
use crate::report::html::{missing, problem};
use crate::report::read::contributions::{Stretch, Strongest, strongest};

/// Regions of each head.
const SHOWN: usize = 5;
/// bp of each region.
const WIDTH: usize = 120;

pub fn body(context: &Context) -> Result<Markup> {
    let model = context.folder.kind.interpreted();
    let head = |head: &str| {
        let path = context.folder.interpreted(&format!("{model}.{head}_scores.h5"));
        context.guarded_option(|| strongest(&path, SHOWN, WIDTH, context.console))
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
               highest first.")))
        @for (head, found) in &heads {
            h3 { "Contributions to the " (head) }
            @match found {
                Ok(Some(found)) if found.stretches.is_empty() => {
                    (missing(&format!("None of {} has positive contributions.", count_of(found.regions, "region")), ""))
                },
                Ok(Some(found)) => {
                    p.soft { "The strongest of " (count_of(found.regions, "region")) "." }
                    @for stretch in &found.stretches { (logo(context, found, stretch, &regions)) }
                },
                Ok(None) => (missing(&format!("There are no {head} contributions."), "The official pipeline makes none of the main model's counts.")),
                Err(text) => (problem(text)),
            }
        }
    })
}

fn logo(context: &Context, found: &Strongest, stretch: &Stretch, regions: &[Region]) -> Markup {
    let from_center = stretch.start as i64 - (found.inputlen / 2) as i64;
    // Rows of the BED and of the file are the same, or there is no telling.
    let region = regions.get(stretch.row).filter(|_| regions.len() == found.regions);
    let place = match region {
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
