//! What a command says while it works: plain lines, a bar on a terminal, JSON lines, or nothing.
//! Everything a `Console` says goes to stderr; stdout is for data (`print`, `print_json`). No message
//! can end the work: `streams` has the two streams, `plain` what may be written to them.

pub mod plain;
mod streams;
pub mod table;

pub use self::streams::{print, print_json, printed, say, say_lines};

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// How to talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Warnings only.
    Quiet,
    /// Lines, and a bar where stderr is a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Speaks for one command.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    style: Style,
    /// Said before every line: which of several runs speaks. Such a console draws no bars.
    label: Option<&'static str>,
}

impl Console {
    pub fn new(quiet: bool, log_json: bool) -> Self {
        let style = match (log_json, quiet) {
            (true, _) => Style::Json,
            (false, true) => Style::Quiet,
            (false, false) => Style::Text,
        };
        if log_json {
            NOTICES_AS_JSON.store(true, Ordering::Relaxed);
        }
        Self { style, label: None }
    }

    /// Speaks for one of several runs of this process.
    pub fn labelled(self, label: Option<&'static str>) -> Self {
        Self { label, ..self }
    }

    fn line(&self, prefix: &str, text: &str) {
        match self.label {
            Some(label) => say(&format!("{label}: {prefix}{text}")),
            None => say(&format!("{prefix}{text}")),
        }
    }

    fn object(&self, name: &str, fields: Value) {
        let mut line = json!({"event": name});
        if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
            line.extend(self.label.map(|label| ("run".to_string(), json!(label))));
            line.extend(fields);
        }
        streams::say_json(&line);
    }

    /// A line for the user.
    pub fn info(&self, message: impl AsRef<str>) {
        match self.style {
            Style::Quiet => {}
            Style::Text => self.line("", message.as_ref()),
            Style::Json => self.object("info", json!({"message": message.as_ref()})),
        }
    }

    /// Something that surprises but does not prevent the result. Shown even with `--quiet`.
    pub fn warning(&self, message: impl AsRef<str>) {
        match self.style {
            Style::Json => self.object("warning", json!({"message": message.as_ref()})),
            _ => self.line("warning: ", message.as_ref()),
        }
    }

    /// A result: `text` for people, `fields` (an object) for machines.
    pub fn event(&self, name: &str, text: impl AsRef<str>, fields: Value) {
        match self.style {
            Style::Quiet => {}
            Style::Text => self.line("", text.as_ref()),
            Style::Json => self.object(name, fields),
        }
    }

    /// Progress over `total` units of work.
    pub fn progress(&self, what: &str, total: u64) -> Progress {
        let draws = self.style == Style::Text && self.label.is_none();
        let bar = (draws && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template(
                "{prefix} {bar:30} {pos}/{len} {msg} elapsed {elapsed} left {eta}",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_prefix(plain::line(what).into_owned());
            bar
        });
        Progress {
            console: *self,
            what: what.to_string(),
            unit: "ex",
            total,
            done: 0,
            start: Instant::now(),
            last_line: Instant::now(),
            bar,
        }
    }
}

/// True once a command of this process logs JSON.
static NOTICES_AS_JSON: AtomicBool = AtomicBool::new(false);
/// Notices given so far.
static NOTICES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A warning from where no console is at hand: the readers of files. Said once in a process, since a
/// file is often opened more than once.
pub fn notice(message: &str) {
    let is_new = NOTICES.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_string());
    if is_new {
        Console::new(true, NOTICES_AS_JSON.load(Ordering::Relaxed)).warning(message);
    }
}

/// Counts units of work. Off a terminal it prints a line every 30 s, so that a log stays short.
pub struct Progress {
    console: Console,
    what: String,
    unit: &'static str,
    total: u64,
    done: u64,
    start: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

const LINE_EVERY: Duration = Duration::from_secs(30);

impl Progress {
    /// Counts in `unit` instead of examples (`ex`).
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// `units` more are done; `note` is shown beside the count.
    pub fn advance(&mut self, units: u64, note: &str) {
        self.done += units;
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.done as f64 / seconds.max(1e-9);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(format!("{rate:.1} {}/s {}", self.unit, plain::line(note)));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let left = (self.total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
            let text = format!(
                "{} {}/{} {rate:.1} {}/s, {} left {note}",
                self.what,
                self.done,
                self.total,
                self.unit,
                duration(left)
            );
            self.console.event(
                "progress",
                text,
                json!({"stage": self.what, "done": self.done, "total": self.total,
                       (if self.unit == "ex" { "examples_per_s" } else { "per_s" }): rate,
                       "eta_s": left}),
            );
        }
    }

    /// Units per second so far.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }

    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Seconds as `1h 02m`, `3m 20s` or `12s`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round().max(0.0) as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        _ => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
    }
}

/// 1234567 -> 1,234,567
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{duration, grouped};

    #[test]
    fn groups_of_three() {
        for (n, wanted) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), wanted);
        }
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(12.4), "12s");
        assert_eq!(duration(200.0), "3m 20s");
        assert_eq!(duration(3725.0), "1h 02m");
    }
}
