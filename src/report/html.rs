//! The page: head, style, contents, and the small pieces that sections are made of. `maud` escapes
//! every text; only our own SVG goes in as it is.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// What `<meta name="generator">` says; tells our reports from those of other programs.
pub const GENERATOR: &str = "cbp-fast";

/// Names the hash of all that a page shows.
const MADE_FROM: &str = "cbp-fast-made-from";

/// The hash of what a page was made from, out of its first bytes.
pub fn made_from(head: &str) -> Option<&str> {
    let start = format!("<meta name=\"{MADE_FROM}\" content=\"");
    head.split_once(&start)?.1.split_once('"').map(|(hash, _)| hash)
}

/// Opens the last line of a page, which names the hash of all before it and of the figures beside it.
const SEAL: &str = "\n<!-- cbp-fast-seal ";
const SEAL_END: &str = " -->\n";

/// A page with its seal.
pub fn sealed(page: &str, seal: &str) -> String {
    format!("{page}{SEAL}{seal}{SEAL_END}")
}

/// A page without its seal, and the seal; `None` where the page does not end with one.
pub fn unsealed(page: &str) -> Option<(&str, &str)> {
    page.strip_suffix(SEAL_END)?.rsplit_once(SEAL)
}

/// System fonts, light and dark, nothing loaded. Figures stay on white, as they do in print.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6570; --paper: #fcfcfb; --rule: #d9dde1;
  --card: #fff; --pass: #00694c; --warn: #8a5a00; --fail: #a5182b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #a3adb7; --paper: #17191c;
  --rule: #3a4047; --card: #1f2327; --pass: #4fc79f; --warn: #e8b04a; --fail: #ff8b96; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .5rem; border-top: 2px solid var(--rule); }
h3 { font-size: 1.02rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1.25rem 0 0; padding: 0;
  list-style: none; }
a { color: inherit; text-underline-offset: .2em; }
.soft { color: var(--soft); font-size: .9rem; }
.missing { color: var(--soft); border-left: 3px solid var(--rule); padding-left: .9rem; }
.problem { color: var(--warn); border-left: 3px solid var(--warn); padding-left: .9rem;
  white-space: pre-wrap; }
figure { margin: 1rem 0 1.5rem; }
figure svg, figure img { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--rule); border-radius: 6px; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .4rem; max-width: 46rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(29rem, 1fr)); gap: 0 1.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0 1.25rem; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .38rem .9rem .38rem 0;
  border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td svg { display: block; background: #fff; border-radius: 4px; max-width: 100%; height: auto; }
code, .code { font: .86em/1.5 ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  overflow-wrap: anywhere; }
.grade { font-weight: 700; white-space: nowrap; }
.pass { color: var(--pass); } .warn { color: var(--warn); } .fail { color: var(--fail); }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
";

/// One part of the page.
pub struct Section {
    /// Anchor.
    pub id: &'static str,
    pub title: &'static str,
    pub body: Markup,
}

/// The whole page. `identity` is the hash of what it shows.
pub fn page(title: &str, subtitle: &str, identity: &str, sections: &[Section]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ (GENERATOR) " " (env!("CARGO_PKG_VERSION")) };
                meta name=(MADE_FROM) content=(identity);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p.soft { (subtitle) }
                    nav aria-label="Contents" {
                        ul { @for s in sections { li { a href={ "#" (s.id) } { (s.title) } } } }
                    }
                }
                main {
                    @for s in sections {
                        section id=(s.id) aria-labelledby={ (s.id) "-title" } {
                            h2 id={ (s.id) "-title" } { (s.title) }
                            (s.body)
                        }
                    }
                }
            }
        }
    }
}

/// What is not there, and how to make it; commands in backticks.
pub fn missing(what: &str, how: &str) -> Markup {
    html! {
        p.missing {
            (what) " "
            @for (i, part) in how.split('`').enumerate() {
                @if i % 2 == 1 { code { (part) } } @else { (part) }
            }
        }
    }
}

/// What went wrong while this part was made.
pub fn problem(text: &str) -> Markup {
    html! { p.problem { (text) } }
}

/// Names and values, two columns.
pub fn pairs<K: AsRef<str>, V: AsRef<str>>(rows: &[(K, V)]) -> Markup {
    html! {
        div.wide {
            table {
                @for (key, value) in rows {
                    tr { th scope="row" { (key.as_ref()) } td { span.code { (value.as_ref()) } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let hostile = "</title><script>alert(1)</script>\"'&";
        let body =
            html! { (missing(hostile, hostile)) (problem(hostile)) (pairs(&[(hostile, hostile)])) };
        let sections = [Section { id: "a", title: "A", body }];
        let page = page(hostile, hostile, "0123", &sections).into_string();
        assert_eq!(made_from(&page), Some("0123"));
        assert!(!page.contains("<script") && !page.contains("\"'&\""), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 8);
    }
}
