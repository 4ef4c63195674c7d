//! Rows of a tab-separated file of reads, without a copy: fragments and tagAlign are too large to
//! make a `String` of every line.

use std::io::BufRead;

use anyhow::Result;
use memchr::memchr;

use super::records::{Records, shown};
use crate::error::Problem;
use crate::input::lines::{self, Text};
use crate::input::sniff;

/// Positions beyond this are no genome's, and sums with a shift stay far from overflow.
const LARGEST: u64 = 1 << 40;

/// Passes every row with its line number to `each`, without its line end; comments (`#`), `track`
/// and `browser` lines and empty lines are skipped.
///
/// Errors: foreign or damaged file, a line without end, those of `each`.
pub(super) fn for_each(
    text: &mut Text,
    records: &mut Records,
    mut each: impl FnMut(&mut Records, u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let path = records.path;
    let start = text.fill_buf().map_err(|e| lines::unreadable(path, &e))?;
    if let Some(kind) = sniff::head(start) {
        return Err(records.recognised(kind).at(path.display()).into());
    }
    lines::for_each_bytes(text, path, |number, line| {
        if line.is_empty() || line[0] == b'#' || is_header(line) {
            return Ok(());
        }
        records.begin();
        records.look(line)?;
        each(records, number, line)
    })
}

fn is_header(line: &[u8]) -> bool {
    [&b"track"[..], b"browser"].iter().any(|word| {
        line.strip_prefix(*word)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t')))
    })
}

/// The first `N` columns of a row, and all that follows the last of them, if anything does.
pub(super) type Columns<'a, const N: usize> = ([&'a [u8]; N], Option<&'a [u8]>);

/// Splits a row that has at least `N` columns; `wanted` names them.
pub(super) fn columns<'a, const N: usize>(
    line: &'a [u8],
    wanted: &str,
) -> Result<Columns<'a, N>, Problem> {
    let mut out = [&line[..0]; N];
    let mut rest = Some(line);
    for (i, column) in out.iter_mut().enumerate() {
        let Some(text) = rest else {
            let what = match line.contains(&b'\t') {
                false if line.contains(&b' ') => {
                    "columns are separated by spaces, expected tabs".to_string()
                }
                _ => format!("row has {i} columns, expected at least {N} ({wanted})"),
            };
            return Err(Problem::new(what));
        };
        match memchr(b'\t', text) {
            Some(tab) => (*column, rest) = (&text[..tab], Some(&text[tab + 1..])),
            None => (*column, rest) = (text, None),
        }
    }
    Ok((out, rest))
}

/// Columns 2 and 3: 0-based, half-open, not empty.
pub(super) fn interval(start: &[u8], end: &[u8]) -> Result<(i64, i64), Problem> {
    let (start, end) = (position(start, "start")?, position(end, "end")?);
    if start >= end {
        return Err(Problem::new(format!(
            "start {start} is not below end {end}: the row covers no base"
        )));
    }
    Ok((start, end))
}

fn position(text: &[u8], what: &str) -> Result<i64, Problem> {
    let mut value = 0u64;
    let digits = !text.is_empty()
        && text.iter().all(|b| {
            value = value.saturating_mul(10).saturating_add(u64::from(b.wrapping_sub(b'0')));
            b.is_ascii_digit()
        });
    if digits && value <= LARGEST {
        return Ok(value as i64);
    }
    let negative = text.first() == Some(&b'-') && text[1..].iter().all(u8::is_ascii_digit);
    Err(Problem::new(if negative && text.len() > 1 {
        format!("{what} is negative: {}", shown(text))
    } else if digits {
        format!("{what} {} lies beyond any contig", shown(text))
    } else {
        format!("{what} is no whole number: {:?}", shown(text))
    }))
}

/// A malformed row, shown whole.
pub(super) fn bad(records: &mut Records, number: u64, line: &[u8], problem: Problem) -> Result<()> {
    records.judge()?;
    let place = format!("{}: {}", place(records, number), shown(line));
    records.bad(problem.at(place))
}

pub(super) fn place(records: &Records, number: u64) -> String {
    lines::place(records.path, number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_what_is_missing() {
        let ([a, b], rest) = columns::<2>(b"x\ty\tz\t", "").unwrap();
        assert_eq!((a, b, rest), (&b"x"[..], &b"y"[..], Some(&b"z\t"[..])));
        let ([a, b], rest) = columns::<2>(b"x\t", "").unwrap();
        assert_eq!((a, b, rest), (&b"x"[..], &b""[..], None));
        let text = columns::<3>(b"x\ty", "chrom, start, end").unwrap_err().to_string();
        assert_eq!(text, "row has 2 columns, expected at least 3 (chrom, start, end)");
        let text = columns::<3>(b"x 1 2", "").unwrap_err().to_string();
        assert_eq!(text, "columns are separated by spaces, expected tabs");
    }

    #[test]
    fn intervals() {
        assert_eq!(interval(b"0", b"1").unwrap(), (0, 1));
        for (start, end, wanted) in [
            ("-1", "5", "start is negative: -1"),
            ("5", "5", "start 5 is not below end 5"),
            ("9", "5", "start 9 is not below end 5"),
            ("1.5", "5", "start is no whole number: \"1.5\""),
            ("", "5", "start is no whole number: \"\""),
            ("1", "5 ", "end is no whole number"),
            ("1", "-", "end is no whole number"),
            ("1", "99999999999999999999999", "lies beyond any contig"),
        ] {
            let text = interval(start.as_bytes(), end.as_bytes()).unwrap_err().to_string();
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn headers() {
        for (line, wanted) in [
            ("track name=x", true),
            ("browser", true),
            ("track1\t5\t6", false),
            ("chr1\t5\t6", false),
        ] {
            assert_eq!(is_header(line.as_bytes()), wanted, "{line}");
        }
    }
}
