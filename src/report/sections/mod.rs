//! The sections of the page, in its order: what to conclude, what it rests on, where it came from.

mod contributions;
mod enzyme;
mod evaluation;
mod examples;
mod footprints;
mod motifs;
mod provenance;
mod settings;
mod training;
mod verdicts;

use maud::{Markup, html};

use super::context::Context;
use super::html::{Section, page as whole_page};
use crate::run::clock;
use crate::run::kind::Kind;

pub fn page(context: &Context, identity: &str) -> Markup {
    let kind = context.folder.kind;
    let title = match kind {
        Kind::Bias => "Bias model: training and quality report",
        Kind::Chrombpnet => "ChromBPNet: training and quality report",
    };
    let subtitle = format!(
        "{}{}; cbp-fast {}, {}",
        context.folder.tree.root().display(),
        match context.folder.prefix.strip_suffix('_') {
            Some(prefix) => format!(", files with the prefix {prefix}"),
            None => String::new(),
        },
        env!("CARGO_PKG_VERSION"),
        clock::now()
    );
    let section = |id, title, body: fn(&Context) -> anyhow::Result<Markup>| Section {
        id,
        title,
        body: context.guarded(body),
    };
    let sections = [
        section("verdicts", "Verdicts", verdicts::body),
        section("training", "Training", training::body),
        section("counts", "Counts", evaluation::counts),
        section("profiles", "Profiles", evaluation::profiles),
        section("examples", "Example regions", examples::body),
        section("enzyme", "Enzyme pattern", enzyme::body),
        section("footprints", "Response to enzyme motifs", footprints::body),
        section("contributions", "Contributions", contributions::body),
        section("motifs", "Motifs", motifs::body),
        section("settings", "Settings", settings::body),
        section("provenance", "Provenance", provenance::body),
    ];
    whole_page(title, &subtitle, identity, &sections)
}

/// `1 region`, `1,234 regions`.
fn count_of(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", crate::console::grouped(n as u64))
}

/// A paragraph.
fn text(words: &str) -> Markup {
    html! { p { (words) } }
}
