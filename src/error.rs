//! The one shape of an error that a user sees: what is wrong, where, how to fix it.

use std::fmt;

use crate::console::plain;

/// A problem with what the user gave us, printed as three lines.
///
/// ```text
/// region has 3 columns, expected 10 (narrowPeak)
///   where: peaks.bed line 1
///   fix: pass the caller's .narrowPeak file, or add the summit offset as column 10
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    what: String,
    place: Option<String>,
    fix: Option<String>,
}

impl Problem {
    /// `what` shows the value found and the value wanted.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, fix: None }
    }

    /// File, line, region or contig.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// Puts the file in front of a place inside it (a line, a layer), when the file is known
    /// only further up.
    pub fn within(mut self, file: impl fmt::Display) -> Self {
        self.place = Some(match self.place {
            Some(inner) => format!("{file}, {inner}"),
            None => file.to_string(),
        });
        self
    }

    /// What is wrong, without the place and the fix.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where, if that is known.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// How to fix it, if there is a way.
    pub fn way_out(&self) -> Option<&str> {
        self.fix.as_deref()
    }

    /// What the user can do about it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each part may quote an input: what has the looks of another part must not become one.
        f.write_str(&plain::message(&self.what))?;
        if let Some(place) = &self.place {
            write!(f, "\n  where: {}", plain::line(place))?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {}", plain::line(fix))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// The error and its causes, outermost first, each on a line of its own.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because: ")
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn an_input_cannot_write_a_part_or_to_the_terminal() {
        let problem = Problem::new("contig chr\x1b[31mX\nerror: none")
            .at("x.sizes\n  fix: pass --force")
            .fix(format!("rename {}", "x".repeat(70_000)));
        let text = problem.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r"contig chr\u{1b}[31mX\nerror: none");
        assert_eq!(lines[1], r"  where: x.sizes\n  fix: pass --force");
        assert!(lines[2].len() < 300 && lines[2].contains("70000 characters"), "{text}");
        assert_eq!(lines.len(), 3);
    }
}
