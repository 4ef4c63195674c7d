//! The report of the preflight, for people and for scripts.

use serde_json::{Value, json};

use super::Report;
use crate::input::folds::Split;
use crate::preflight::{Finding, Verdict, grouped};

/// Contigs shown in the table; all are in the JSON.
const SHOWN: usize = 30;

pub fn as_json(report: &Report, verdict: Verdict) -> String {
    let checks: Vec<Value> = report
        .findings
        .iter()
        .map(|f| {
            json!({"check": f.check, "verdict": f.verdict.name(), "what": f.problem.what(),
                   "where": f.problem.place(), "fix": f.problem.way_out()})
        })
        .collect();
    let (lists, users) = report.contigs.columns();
    let contigs: Vec<Value> = report
        .contigs
        .rows()
        .into_iter()
        .map(|row| {
            let mut out = serde_json::Map::new();
            out.insert("name".into(), row.name.into());
            for (role, length) in lists.iter().zip(row.lengths) {
                // bp; true for a list without lengths, null where the contig is missing
                out.insert(
                    (*role).into(),
                    length.map_or(Value::Null, |l| l.map_or(json!(true), |l| json!(l))),
                );
            }
            for (role, count) in users.iter().zip(row.counts) {
                out.insert((*role).into(), count.into());
            }
            out.insert("fold".into(), row.split.map_or(Value::Null, |s| s.name().into()));
            Value::Object(out)
        })
        .collect();
    json!({"verdict": verdict.name(), "checks": checks, "estimates": report.estimates, "contigs": contigs})
        .to_string()
}

pub fn as_text(report: &Report, verdict: Verdict) -> String {
    let (lists, users) = report.contigs.columns();
    let mut table = vec![
        ["contig"]
            .into_iter()
            .chain(lists)
            .chain(users)
            .chain(["fold"])
            .map(String::from)
            .collect::<Vec<_>>(),
    ];
    let mut rows = report.contigs.rows();
    // Contigs in use first: hg38 has hundreds of others.
    rows.sort_by_key(|row| row.split.is_none());
    let more = rows.len().saturating_sub(SHOWN);
    for row in rows.into_iter().take(SHOWN) {
        let lengths = row.lengths.iter().map(|length| match length {
            None => "-".to_string(),
            Some(None) => "yes".to_string(),
            Some(Some(bp)) => grouped(*bp),
        });
        let counts = row.counts.iter().map(|&n| grouped(n as u64));
        let split = row.split.map_or("-", Split::name).to_string();
        table.push(
            [row.name.clone()].into_iter().chain(lengths).chain(counts).chain([split]).collect(),
        );
    }
    let widths: Vec<usize> = (0..table[0].len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in &table {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("  {cell:>width$}");
        }
        out += line.trim_end();
        out.push('\n');
    }
    if more > 0 {
        out += &format!("and {} more contigs (--json lists all)\n", grouped(more as u64));
    }
    out.push('\n');
    for Finding { check, verdict, problem } in &report.findings {
        let text = problem.to_string().replace('\n', "\n      ");
        out += &format!("{}  {check}: {text}\n", verdict.name());
    }
    let count = |wanted| report.findings.iter().filter(|f| f.verdict == wanted).count();
    out += &format!(
        "\n{}: {} checks passed, {} warnings, {} failed",
        verdict.name(),
        count(Verdict::Pass),
        count(Verdict::Warn),
        count(Verdict::Fail)
    );
    out
}
