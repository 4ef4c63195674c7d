//! Motifs that tfmodisco-lite found among the contributions.

use anyhow::Result;
use maud::{Markup, PreEscaped, html};

use super::{count_of, text};
use crate::console::grouped;
use crate::figures::contributions::draw_motif;
use crate::report::context::Context;
use crate::report::html::problem;
use crate::report::read::modisco;
use crate::run::kind::Kind;

pub fn body(context: &Context) -> Result<Markup> {
    let heads = ["profile", "counts"].map(|head| (head, table(context, head)));
    if heads.iter().all(|(_, table)| matches!(table, Ok(None))) {
        let path = context.folder.interpreted("modisco_results_profile_scores.h5");
        let how = "`cbp-fast motifs` makes it, when tfmodisco-lite is installed.";
        return Ok(context.missing_file(&path, how));
    }
    Ok(html! {
        (text(match context.folder.kind {
            Kind::Bias => "Motifs of a bias model are the enzyme's or simple repeats. One of a transcription \
                factor means that the bias model would remove it: retrain with a lower --bias-threshold-factor.",
            Kind::Chrombpnet => "Motifs of the model without bias are those of transcription factors. One of the enzyme \
                means that bias is left: take another bias model.",
        }))
        @for (head, table) in heads {
            @match table {
                Ok(Some(table)) => { h3 { "From contributions to the " (head) } (table) },
                Ok(None) => {},
                Err(text) => { h3 { "From contributions to the " (head) } (problem(&text)) },
            }
        }
    })
}

fn table(context: &Context, head: &str) -> Result<Option<Markup>, String> {
    context.guarded_option(|| {
        let path = context.folder.interpreted(&format!("modisco_results_{head}_scores.h5"));
        let Some(motifs) = modisco::read(&path)? else { return Ok(None) };
        let evaluation = context.folder.tree.root().join("evaluation");
        let names = modisco::matches(&evaluation.join(format!("modisco_{head}")).join("motifs.html"))?;
        let shown = motifs.patterns.len();
        Ok(Some(html! {
            p.soft {
                (count_of(motifs.found, "pattern")) @if shown < motifs.found { ", " (shown) " of them shown" }
                @if names.is_empty() { "; no names, since no motif database was given (cbp-fast motifs --meme-db)" }
                "."
            }
            div.wide {
                table {
                    thead { tr {
                        th scope="col" { "Pattern" } th.number scope="col" { "Seqlets" }
                        th scope="col" { "Mean contributions" }
                        @if !names.is_empty() { th scope="col" { "Best match" } th.number scope="col" { "p or q" } }
                    } }
                    tbody {
                        @for pattern in &motifs.patterns {
                            tr {
                                th scope="row" { (pattern.name.replace("_patterns.pattern_", "_")) }
                                td.number { (grouped(pattern.seqlets)) }
                                td {
                                    @let figure = draw_motif(&pattern.heights, &pattern.name);
                                    (PreEscaped(figure.canvas.inline_svg(&figure.alt)))
                                }
                                @if !names.is_empty() {
                                    @let found = names.get(&pattern.name);
                                    td { (found.map_or("", |m| m.motif.as_str())) }
                                    td.number { (found.map_or("", |m| m.value.as_str())) }
                                }
                            }
                        }
                    }
                }
            }
        }))
    })
}
