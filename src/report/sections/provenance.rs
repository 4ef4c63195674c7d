//! Where the models came from: program, command, inputs and outputs with their hashes, device.

use std::collections::BTreeMap;

use anyhow::Result;
use maud::{Markup, html};
use serde_json::Value;

use super::text;
use crate::console::{duration, grouped};
use crate::error::Problem;
use crate::pack::cache::{self, Fingerprint};
use crate::report::context::Context;
use crate::report::html::{missing, pairs, problem};
use crate::report::read::tables;
use crate::run::prints::Print;
use crate::run::record::{QC_RECORD, RunRecord};

/// Models of a run, ours and the official tool's.
const MODELS: [&str; 4] =
    ["chrombpnet.h5", "chrombpnet_nobias.h5", "bias_model_scaled.h5", "bias.h5"];

pub fn body(context: &Context) -> Result<Markup> {
    let stem = context.folder.kind.stem();
    let path = context.folder.tree.logs(&format!("{stem}.run.json"));
    let record = context.guarded_option(|| RunRecord::read(&path));
    let qc = context.guarded_option(|| RunRecord::read(&context.folder.tree.logs(QC_RECORD)));
    let only_looked_at = matches!(qc, Ok(Some(_)));
    let left = record.as_ref().ok().and_then(|r| r.as_ref()).map(|r| r.left.clone());
    Ok(html! {
        @match qc {
            Ok(Some(record)) => {
                (of_qc(&record))
                h3 { "Training" }
            },
            Ok(None) => {},
            Err(text) => (problem(&text)),
        }
        @match record {
            Ok(Some(record)) => (of_record(&record)),
            Ok(None) if only_looked_at => {
                (missing("Of their training nothing is recorded here; the inputs above tell which models they are.", ""))
            },
            Ok(None) => {
                (context.missing_file(&path, "`cbp-fast train`, `bias train` and the pipelines write it."))
                (of_arguments(context, stem)?)
            },
            Err(text) => (problem(&text)),
        }
        @if !only_looked_at || has_models(context) {
            h3 { "Models" }
            (context.guarded(|context| models(context, &left.unwrap_or_default())))
        }
    })
}

/// What `qc` looked at.
fn of_qc(record: &RunRecord) -> Markup {
    let mut run = vec![
        ("evaluated with", format!("cbp-fast {}", record.version)),
        ("command", record.command_line.join(" ")),
    ];
    run.extend(record.outcome.get("engine").map(|device| ("device", plain(device))));
    html! {
        (pairs(&run))
        h3 { "Inputs" }
        (inputs(record))
        h3 { "Settings of the evaluation" }
        (pairs(&settings(record)))
    }
}

fn inputs(record: &RunRecord) -> Markup {
    files(&record.inputs.iter().map(|(role, f)| (role.as_str(), f)).collect::<Vec<_>>())
}

fn settings(record: &RunRecord) -> Vec<(&String, String)> {
    record.settings.iter().map(|(key, value)| (key, plain(value))).collect()
}

fn of_record(record: &RunRecord) -> Markup {
    let mut run = vec![
        ("trained with".to_string(), format!("cbp-fast {}", record.version)),
        ("command".into(), record.command_line.join(" ")),
        (
            "complete".into(),
            if record.complete { "yes" } else { "no: run the command again" }.into(),
        ),
    ];
    let outcome = |key: &str| record.outcome.get(key);
    run.extend(outcome("engine").map(|v| ("device".into(), plain(v))));
    run.extend(outcome("best_epoch").and_then(Value::as_u64).map(|epoch| {
        let of = outcome("epochs_run").map(|n| format!(" of {}", plain(n))).unwrap_or_default();
        ("best epoch".into(), format!("{}{of}", epoch + 1))
    }));
    let seconds = outcome("seconds").and_then(Value::as_f64);
    run.extend(seconds.map(|s| ("time in training".into(), duration(s))));
    let rate = outcome("examples_per_s").and_then(Value::as_f64);
    run.extend(
        rate.map(|r| ("throughput".into(), format!("{r:.1} examples/s, validation included"))),
    );
    html! {
        (pairs(&run))
        h3 { "Inputs" }
        (inputs(record))
        h3 { "Settings that the weights depend on" }
        (pairs(&settings(record)))
    }
}

/// The arguments of a run, which is all that the official tool records of it.
fn of_arguments(context: &Context, stem: &str) -> Result<Markup> {
    let Some(Value::Object(args)) =
        tables::json(&context.folder.tree.logs(&format!("{stem}.args.json")))?
    else {
        return Ok(html! {});
    };
    let rows: Vec<(&String, String)> =
        args.iter().map(|(key, value)| (key, plain(value))).collect();
    Ok(html! { (text("Its arguments, as it recorded them:")) (pairs(&rows)) })
}

fn has_models(context: &Context) -> bool {
    MODELS.iter().any(|name| context.folder.tree.models(name).exists())
}

/// The models there; `left` are those of the run, by name.
fn models(context: &Context, left: &BTreeMap<String, Print>) -> Result<Markup> {
    let mut found = Vec::new();
    for name in MODELS {
        let path = context.folder.tree.models(name);
        if path.exists() {
            let now = cache::fingerprint(&path)?;
            if left.get(&now.name).is_some_and(|print| print.xxh3 != now.xxh3) {
                return Err(Problem::new("this is not the model that the run left here")
                    .at(path.display())
                    .fix("put the run's own model back; what is shown here may be of either")
                    .into());
            }
            found.push((name, now));
        }
    }
    Ok(match found.is_empty() {
        true => context.missing_file(&context.folder.tree.models(MODELS[0]), ""),
        false => files(&found.iter().map(|(name, f)| (*name, f)).collect::<Vec<_>>()),
    })
}

fn files(rows: &[(&str, &Fingerprint)]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr {
                    th scope="col" { "Role" } th scope="col" { "File" }
                    th.number scope="col" { "Bytes" } th scope="col" { "xxh3" }
                } }
                tbody {
                    @for (role, file) in rows {
                        tr {
                            th scope="row" { (role) }
                            td { span.code { (file.name) } }
                            td.number { (grouped(file.size)) }
                            td { span.code { (file.xxh3) } }
                        }
                    }
                }
            }
        }
    }
}

/// A JSON value without the quotes of a string.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
