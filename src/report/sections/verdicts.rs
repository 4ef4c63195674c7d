use anyhow::Result;
use maud::{Markup, html};

use crate::quality::Grade;
use crate::report::context::Context;
use crate::report::html::missing;
use crate::report::verdicts;

pub fn body(context: &Context) -> Result<Markup> {
    let found = verdicts::of(context);
    let worst = found.verdicts.iter().map(|v| v.grade).max();
    Ok(html! {
        @match worst {
            None => (missing("Nothing could be graded: neither metrics nor logs are there.", "")),
            Some(Grade::Pass) => p { "Everything that could be graded is as it should be." },
            Some(Grade::Warn) => p { "Usable, with warnings: read what each of them says." },
            Some(Grade::Fail) => p { "At least one rule is broken; see below what that means." },
        }
        @if !found.verdicts.is_empty() {
            div.wide {
                table {
                    thead { tr {
                        th scope="col" { "Verdict" } th scope="col" { "Found" } th scope="col" { "Rule" }
                    } }
                    tbody {
                        @for v in &found.verdicts {
                            tr {
                                td class={ "grade " (v.grade.name()) } { (sign(v.grade)) " " (v.grade.name()) }
                                td {
                                    (v.message)
                                    @if let Some(advice) = &v.advice { p.soft { "What to do: " (advice) "." } }
                                }
                                td { (v.rule) }
                            }
                        }
                    }
                }
            }
        }
        @if !found.missing.is_empty() {
            p.soft { "Not graded, for want of files: " (found.missing.join("; ")) "." }
        }
    })
}

/// A mark beside the word: a verdict must not hang on its colour.
fn sign(grade: Grade) -> &'static str {
    match grade {
        Grade::Pass => "\u{2713}",
        Grade::Warn => "!",
        Grade::Fail => "\u{2717}",
    }
}
