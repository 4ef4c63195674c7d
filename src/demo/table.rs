//! The demo's last word: what was found, what is true, what was wanted.

use std::fmt;

use crate::console::table::{self, Side};

/// A bound on a finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    Between(f64, f64),
}

impl Wanted {
    /// NaN meets nothing.
    pub fn is_met(self, found: f64) -> bool {
        match self {
            Self::AtLeast(low) => found >= low,
            Self::AtMost(high) => found <= high,
            Self::Between(low, high) => found >= low && found <= high,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(low) => write!(f, ">= {}", short(*low)),
            Self::AtMost(high) => write!(f, "<= {}", short(*high)),
            Self::Between(low, high) => write!(f, "{} to {}", short(*low), short(*high)),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub found: f64,
    /// What a perfect model would give, where that is known.
    pub truth: Option<f64>,
    pub wanted: Wanted,
}

impl Row {
    pub fn is_met(&self) -> bool {
        self.wanted.is_met(self.found)
    }
}

/// The table as text.
pub fn render(rows: &[Row]) -> String {
    let head = ["", "found", "truth", "wanted", ""].map(String::from).to_vec();
    let cells = rows.iter().map(|row| {
        vec![
            row.what.clone(),
            short(row.found),
            row.truth.map_or("-".to_string(), short),
            row.wanted.to_string(),
            if row.is_met() { "ok" } else { "FAILED" }.to_string(),
        ]
    });
    let all: Vec<Vec<String>> = [head].into_iter().chain(cells).collect();
    let sides = [Side::Left, Side::Right, Side::Right, Side::Left, Side::Left];
    table::aligned(&all, &sides).join("\n") + "\n"
}

/// Three digits after the point, none for numbers of cuts.
fn short(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_include_their_ends_and_nan_meets_none() {
        assert!(Wanted::AtLeast(0.5).is_met(0.5) && !Wanted::AtLeast(0.5).is_met(0.49));
        assert!(Wanted::AtMost(0.5).is_met(0.5) && !Wanted::AtMost(0.5).is_met(0.51));
        assert!(Wanted::Between(1.0, 2.0).is_met(2.0) && !Wanted::Between(1.0, 2.0).is_met(2.1));
        for wanted in [Wanted::AtLeast(0.0), Wanted::AtMost(1.0), Wanted::Between(0.0, 1.0)] {
            assert!(!wanted.is_met(f64::NAN));
        }
    }

    #[test]
    fn a_table_says_what_failed() {
        let row = |what: &str, found| Row {
            what: what.into(),
            found,
            truth: Some(750.0),
            wanted: Wanted::AtLeast(0.9),
        };
        let text = render(&[row("slope", 0.95), row("r", 0.2)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with("ok") && lines[1].contains("750"), "{text}");
        assert!(lines[2].ends_with("FAILED") && lines[2].contains(">= 0.900"), "{text}");
    }
}
