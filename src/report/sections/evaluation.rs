//! Counts and profiles of the test regions.

use anyhow::Result;
use maud::{Markup, html};
use serde_json::Value;

use super::{count_of, text};
use crate::figures::{counts as counts_figure, jsd as jsd_figure};
use crate::predict::test_groups::{GROUPS, Group};
use crate::report::context::Context;
use crate::report::read::evaluation::{Evaluation, Region};
use crate::report::read::tables;

pub fn counts(context: &Context) -> Result<Markup> {
    Ok(html! {
        (text("Natural log of one plus the cuts of a region, observed and predicted. The dashed \
               diagonal is where a prediction is right. A bias model knows nothing of what opens \
               chromatin, so in peaks it should be far below the diagonal and unrelated to it."))
        (metrics(context, "counts_metrics", &["pearsonr", "spearmanr", "mse"])?)
        (figures(context, |stem, name, what, regions| {
            let observed: Vec<f64> = regions.iter().map(|r| r.observed).collect();
            let predicted: Vec<f32> = regions.iter().map(|r| r.predicted).collect();
            let figure = counts_figure::draw(&observed, &predicted, &format!("{stem} in {what}"))?;
            Some(context.figure(&figure, Some(&format!("{stem}_{name}.counts_pearsonr")), ""))
        }))
        (context.unreadable())
    })
}

pub fn profiles(context: &Context) -> Result<Markup> {
    Ok(html! {
        (text("Jensen-Shannon distance (square root, natural log) between observed and predicted \
               profile of each region: 0 is a perfect prediction. Grey: the same counts in a random \
               order. Both depend on depth; median_norm_jsd is 1 for a perfect profile and 0 for one \
               no better than a uniform one."))
        (metrics(context, "profile_metrics", &["median_jsd", "median_norm_jsd"])?)
        (figures(context, |stem, name, what, regions| {
            let jsd: Vec<f64> = regions.iter().map(|r| r.jsd).collect();
            let shuffled: Vec<f64> = regions.iter().map(|r| r.shuffled_jsd).collect();
            let figure = jsd_figure::draw(&jsd, &shuffled, &format!("{stem} in {what}"))?;
            Some(context.figure(&figure, Some(&format!("{stem}_{name}.profile_jsd")), ""))
        }))
        (context.unreadable())
    })
}

/// One figure for each model and group of regions that is there.
fn figures(
    context: &Context,
    draw: impl Fn(&str, &str, &str, &[&Region]) -> Option<Markup>,
) -> Markup {
    html! {
        div.pair {
            @for (stem, evaluation) in context.readable() {
                @for Group { in_names, words, peaks, .. } in &GROUPS {
                    @if let Some(regions) = regions_of(evaluation, *peaks) {
                        @if let Some(figure) = draw(stem, in_names, words, &regions) { (figure) }
                    }
                }
            }
        }
        @for (stem, evaluation) in context.readable() {
            @if evaluation.unknown_contigs > 0 {
                p.problem {
                    (stem) ": " (count_of(evaluation.unknown_contigs, "region"))
                    " on contigs that the signal does not know, taken as empty."
                }
            }
        }
    }
}

/// `None` for a group without regions, and for both groups where one of them is empty.
fn regions_of(evaluation: &Evaluation, peaks: Option<bool>) -> Option<Vec<&Region>> {
    let pick = |kind: bool| evaluation.regions.iter().filter(move |r| r.is_peak == kind);
    let regions: Vec<&Region> = match peaks {
        Some(kind) => pick(kind).collect(),
        None if pick(true).next().is_none() || pick(false).next().is_none() => Vec::new(),
        None => evaluation.regions.iter().collect(),
    };
    (!regions.is_empty()).then_some(regions)
}

/// The rows of the metrics files of every model.
fn metrics(context: &Context, kind: &str, columns: &[&str]) -> Result<Markup> {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for evaluated in &context.evaluated {
        let path = context.folder.evaluation(&format!("{}_metrics.json", evaluated.stem));
        let Some(file) = tables::json(&path)? else { continue };
        for Group { key, words, .. } in &GROUPS {
            let Some(values) = file.get(kind).and_then(|k| k.get(key)) else { continue };
            let number = |column: &&str| match values.get(*column).and_then(Value::as_f64) {
                Some(value) => format!("{value:.4}"),
                None => "NaN".into(),
            };
            rows.push((
                format!("{} in {words}", evaluated.stem),
                columns.iter().map(number).collect(),
            ));
        }
    }
    Ok(html! {
        @if rows.is_empty() {
            p.missing { "There is no *_metrics.json in evaluation/." }
        } @else {
            div.wide {
                table {
                    thead { tr {
                        th scope="col" { "Model and regions" }
                        @for column in columns { th.number scope="col" { (column) } }
                    } }
                    tbody {
                        @for (name, values) in &rows {
                            tr {
                                th scope="row" { (name) }
                                @for value in values { td.number { (value) } }
                            }
                        }
                    }
                }
            }
        }
    })
}
