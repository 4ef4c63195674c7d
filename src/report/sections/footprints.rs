//! Marginal footprints of the enzyme's motifs: in the model without bias they must be gone, in the
//! bias model they must be there.

use std::path::PathBuf;

use anyhow::Result;
use maud::{Markup, html};

use super::text;
use crate::figures::Figure;
use crate::files;
use crate::footprint::motifs::CONTROL;
use crate::footprint::{Footprint, LIMIT, figure, h5};
use crate::report::context::Context;
use crate::run::kind::Kind;

pub fn body(context: &Context) -> Result<Markup> {
    let model = context.folder.kind.explained();
    let (which, expected) = match context.folder.kind {
        Kind::Chrombpnet => (
            "the model without bias",
            format!("Once the bias is corrected, no profile rises above {LIMIT}."),
        ),
        Kind::Bias => (
            "the bias model",
            format!(
                "A bias model that has learnt its enzyme answers to it: at least one profile reaches \
                 {LIMIT}. That rule is this program's; the official tool sets no limit here."
            ),
        ),
    };
    let words = format!(
        "Each motif is put into the middle of background sequences, and {which} predicts both \
         strands. {expected} Grey: the same sequences without a motif."
    );
    let response = context.folder.evaluation(&format!("{model}_max_bias_response.txt"));
    let response = files::text::read(&response)?;
    let path = context.folder.tree.auxiliary(&format!("{model}_footprints.h5"));
    let drawn = context.guarded_option(|| match path.exists() {
        true => Ok(Some(draw(context, &h5::read(&path)?))),
        false => Ok(None),
    });
    Ok(html! {
        (text(&words))
        @if let Some(line) = &response {
            p { "Highest points: " span.code { (line.trim()) } }
        }
        @match drawn {
            Ok(Some(figures)) => (figures),
            Ok(None) => @match pictures(context, model)? {
                Some(pictures) => (pictures),
                None => (context.missing_file(&path, how_to_explain(context.folder.kind))),
            },
            // Official files cannot be read without a plug-in; their pictures can be shown.
            Err(text) => {
                (crate::report::html::problem(&text))
                @if let Some(pictures) = pictures(context, model)? { (pictures) }
            },
        }
    })
}

fn how_to_explain(kind: Kind) -> &'static str {
    match kind {
        Kind::Bias => "`cbp-fast bias qc` or `bias pipeline` makes it.",
        Kind::Chrombpnet => "`cbp-fast qc` or a pipeline makes it.",
    }
}

/// The middle of every footprint, on one scale.
fn draw(context: &Context, footprints: &[Footprint]) -> Markup {
    let control = footprints.iter().find(|f| f.name == CONTROL);
    let limit = f64::from(LIMIT);
    let highest = footprints.iter().flat_map(|f| &f.profile).copied().map(f64::from);
    let top = highest.filter(|p| p.is_finite()).fold(limit, f64::max) * 1.05;
    html! {
        div.pair {
            @for footprint in footprints.iter().filter(|f| f.name != CONTROL || footprints.len() == 1) {
                @let canvas = figure::draw(footprint, control, Some((0.0, top)));
                @let peak = footprint.profile.iter().copied().fold(0.0f32, f32::max);
                @let alt = format!("Footprint of {}, highest probability {peak:.4}.", footprint.name);
                @let caption = format!("{}: highest {peak:.4}, limit {LIMIT}", footprint.name);
                (context.figure(&Figure { canvas, alt }, None, &caption))
            }
        }
    }
}

/// The footprint pictures that are in `evaluation/`.
fn pictures(context: &Context, model: &str) -> Result<Option<Markup>> {
    let start = format!("{}{model}.", context.folder.prefix);
    let mut prefixes: Vec<(String, PathBuf)> = Vec::new();
    let folder = context.folder.tree.root().join("evaluation");
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let motif = name.strip_prefix(&start).and_then(|n| n.strip_suffix(".footprint.png"));
        if let Some(motif) = motif {
            prefixes.push((motif.to_string(), folder.join(name.trim_end_matches(".png"))));
        }
    }
    prefixes.sort();
    let mut figures = Vec::new();
    for (motif, prefix) in &prefixes {
        figures.extend(context.picture(prefix, &format!("Footprint of {motif}."), motif)?);
    }
    Ok((!figures.is_empty()).then(|| html! { div.pair { @for f in &figures { (f) } } }))
}
