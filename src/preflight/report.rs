//! The report of the preflight, for people and for scripts.

use serde_json::{Value, json};

use super::check::Report;
use super::{Finding, Verdict, grouped, worst};
use crate::console::table::{self, Side};
use crate::input::folds::Split;

/// Contigs shown in the table; all are in the JSON.
const SHOWN: usize = 30;

impl Report {
    pub fn as_json(&self) -> Value {
        let verdict = worst(&self.findings);
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|f| {
                json!({"check": f.check, "verdict": f.verdict.name(), "what": f.problem.what(),
                   "where": f.problem.place(), "fix": f.problem.way_out()})
            })
            .collect();
        let (lists, users) = self.contigs.columns();
        let contigs: Vec<Value> = self
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
        json!({"verdict": verdict.name(), "checks": checks, "estimates": self.estimates, "contigs": contigs})
    }

    pub fn as_text(&self) -> String {
        let verdict = worst(&self.findings);
        let (lists, users) = self.contigs.columns();
        let mut table = vec![
            ["contig"]
                .into_iter()
                .chain(lists)
                .chain(users)
                .chain(["fold"])
                .map(String::from)
                .collect::<Vec<_>>(),
        ];
        let mut rows = self.contigs.rows();
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
                [row.name.clone()]
                    .into_iter()
                    .chain(lengths)
                    .chain(counts)
                    .chain([split])
                    .collect(),
            );
        }
        let mut out = table::aligned(&table, &[Side::Left, Side::Right]).join("\n");
        out.push('\n');
        if more > 0 {
            out += &format!("and {} more contigs (--json lists all)\n", grouped(more as u64));
        }
        out.push('\n');
        for Finding { check, verdict, problem } in &self.findings {
            let text = problem.to_string().replace('\n', "\n      ");
            out += &format!("{}  {check}: {text}\n", verdict.name());
        }
        out += &format!(
            "\n{}: {} checks passed, {} warnings, {} failed\n",
            verdict.name(),
            self.count(Verdict::Pass),
            self.count(Verdict::Warn),
            self.count(Verdict::Fail)
        );
        out
    }
}
