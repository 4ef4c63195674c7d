//! Text from outside, made fit to be looked at.
//!
//! Names of contigs, files, motifs and keys come from inputs, and an input may hold anything: escape
//! sequences that repaint a terminal, marks that turn text around, a name of 70,000 letters. What is
//! shown to a person passes through here once, on its way out; files keep names as they are. All
//! functions leave their own results alone, so text may pass twice.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

/// Characters of a word that are shown whole; file names have 255 at most.
const WORD: usize = 256;
/// Characters of a line that are shown whole.
const LINE: usize = 4000;
/// Characters of a table's cell that are shown whole.
const CELL: usize = 60;

/// A message of one or more lines. Lines that this program begins below the first are indented by
/// two blanks or more; any other end of a line is part of a name, and shown as `\n`. Ends of lines
/// at the very end are dropped.
pub fn message(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut lines: Vec<String> = Vec::new();
    for part in text.trim_end_matches('\n').split('\n') {
        match lines.last_mut() {
            Some(line) if !part.starts_with("  ") => {
                line.push_str("\\n");
                line.push_str(part);
            }
            _ => lines.push(part.to_string()),
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| shortened(&visible(line))).collect();
    Cow::Owned(lines.join("\n"))
}

/// A text that is one line, whatever is in it.
pub fn line(text: &str) -> Cow<'_, str> {
    match is_plain(text) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(shortened(&visible(text))),
    }
}

/// A table's cell.
pub fn cell(text: &str) -> String {
    cut(&visible(text), CELL)
}

/// Lines of data for a person: nothing is left out, ends of lines and tabs stay.
pub fn data(text: &str) -> Cow<'_, str> {
    match text.chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\t')) {
        false => Cow::Borrowed(text),
        true => {
            let lines = text
                .split('\n')
                .map(|line| line.split('\t').map(visible).collect::<Vec<_>>().join("\t"));
            Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// JSON on one line. Characters that a terminal would obey are written as `\u` escapes, which
/// change nothing for a parser.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(is_hidden) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Outside of strings JSON on one line has no such character; all are below U+10000.
        match is_hidden(c) {
            true => drop(write!(out, "\\u{:04x}", c as u32)),
            false => out.push(c),
        }
    }
    out
}

/// True for control characters (C0, DEL, C1), marks that reorder text, line separators and
/// characters without width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                     | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn is_plain(text: &str) -> bool {
    text.len() <= WORD && !text.contains(is_hidden)
}

fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A line with its over-long words cut, then itself.
fn shortened(line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(|word| cut(word, WORD)).collect();
    cut(&words.join(" "), LINE)
}

/// The two ends of a text that has more than `limit` characters, and how many it has.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_string();
    }
    let n = text.chars().count();
    if n <= limit {
        return text.to_string();
    }
    let note = format!("...({n} characters)...");
    let kept = limit.saturating_sub(note.len()) / 2;
    let at = |i: usize| text.char_indices().nth(i).map_or(text.len(), |(at, _)| at);
    format!("{}{note}{}", &text[..at(kept)], &text[at(n - kept)..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, wanted) in [
            ("chr1", "chr1"),
            ("chr\x1b[31mX", r"chr\u{1b}[31mX"),
            ("a\rb\u{7f}\u{9b}0m", r"a\rb\u{7f}\u{9b}0m"),
            ("a\u{202e}b\u{2066}c\u{feff}", r"a\u{202e}b\u{2066}c\u{feff}"),
            ("ä 字 é", "ä 字 é"),
            ("a\nb", r"a\nb"),
        ] {
            assert_eq!(message(text), wanted);
            assert_eq!(line(text), wanted);
            assert_eq!(message(&message(text)), wanted, "twice");
        }
        assert_eq!(data("a\tb\x1b\nc\n"), "a\tb\\u{1b}\nc\n");
    }

    #[test]
    fn own_lines_stay_and_those_of_names_do_not() {
        assert_eq!(message("a\n  where: b\nerror: c"), "a\n  where: b\\nerror: c");
        assert_eq!(line("a\n  fix: b"), r"a\n  fix: b");
    }

    #[test]
    fn names_without_end_are_cut_to_their_ends() {
        let name = format!("{}END", "x".repeat(70_000));
        for shown in [message(&name), line(&name)] {
            assert!(shown.chars().count() <= WORD, "{shown}");
            assert!(shown.contains("(70003 characters)") && shown.ends_with("END"), "{shown}");
            assert_eq!(message(&shown), shown, "twice");
        }
        let words = "字 ".repeat(70_000);
        assert!(message(&words).chars().count() <= LINE);
        assert!(cell(&name).chars().count() <= CELL);
        assert!(message(&"\x1b".repeat(70_000)).chars().count() <= WORD);
        let path = format!("/{}/x", "d".repeat(250));
        assert_eq!(line(&path), path, "a file's name stays whole");
    }

    #[test]
    fn json_means_the_same() {
        let value = json!({"a\u{9b}": "b\x1b\n\u{202e}\u{7f}", "c": 1.5});
        let text = json(&value);
        assert!(!text.contains(is_hidden), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
