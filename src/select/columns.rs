//! Columns 4-9 of a regions file as the official tool's tables repeat them.
//!
//! The official tool reads a file with pandas and writes filtered rows with pandas, so a column is
//! typed by all of its values: one `5.37` turns a `5` beside it into `5.0`, `NA` becomes empty.
//! In: every row of a file. Out: each cell's text after that round trip.
//! Left out: quoted cells, and integers beyond 64 bits beside fractions.

use std::sync::LazyLock;

use crate::input::regions::{Extra, Region};
use crate::numpy::float_text;

/// What pandas takes for a missing value. Source: `pandas._libs.parsers.STR_NA_VALUES`.
const MISSING: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// The type of a column, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Integer,
    Float,
    Boolean,
    Text,
}

/// Types of columns 4-9 over all rows of one file.
#[derive(Clone, Debug)]
pub struct ColumnTypes([Type; 6]);

impl ColumnTypes {
    pub fn of(regions: &[Region]) -> Self {
        let mut tallies = [Tally::default(); 6];
        for region in regions {
            for (tally, cell) in tallies.iter_mut().zip(region.extra.cells()) {
                tally.add(cell);
            }
        }
        Self(tallies.map(|tally| tally.column_type()))
    }

    /// The row as the official tool writes it.
    pub fn apply(&self, region: &Region) -> Region {
        let cells = region.extra.cells();
        let printed: [String; 6] = std::array::from_fn(|c| print(cells[c], self.0[c]));
        Region { extra: Extra::new(printed.each_ref().map(String::as_str)), ..region.clone() }
    }
}

/// What a column's cells could be read as.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    missing: usize,
    integers: usize,
    /// Whole numbers beyond 64 bits.
    huge: usize,
    floats: usize,
    booleans: usize,
    texts: usize,
}

impl Tally {
    fn add(&mut self, cell: &str) {
        if self.texts > 0 {
            return; // Nothing can change the type any more, and names are most of a file.
        }
        let kind = if is_missing(cell) {
            &mut self.missing
        } else if let Some(fits) = integer(cell) {
            if fits.is_some() { &mut self.integers } else { &mut self.huge }
        } else if float(cell).is_some() {
            &mut self.floats
        } else if boolean(cell).is_some() {
            &mut self.booleans
        } else {
            &mut self.texts
        };
        *kind += 1;
    }

    fn column_type(&self) -> Type {
        let Self { missing, integers, huge, floats, booleans, texts } = *self;
        match (integers + huge, floats, booleans) {
            _ if texts > 0 => Type::Text,
            (_, 0, 0) if huge > 0 => Type::Text,
            (1.., 0, 0) if missing == 0 => Type::Integer,
            (0, 0, 1..) => Type::Boolean,
            (_, _, 0) => Type::Float,
            _ => Type::Text,
        }
    }
}

fn print(cell: &str, column: Type) -> String {
    if is_missing(cell) {
        return String::new();
    }
    let printed = match column {
        Type::Integer => integer(cell).flatten().map(|v| v.to_string()),
        Type::Float => float(cell).map(float_text::repr),
        Type::Boolean => boolean(cell).map(|v| if v { "True".into() } else { "False".into() }),
        Type::Text => None,
    };
    printed.unwrap_or_else(|| cell.to_string())
}

fn is_missing(cell: &str) -> bool {
    // The first byte settles nearly every cell.
    match cell.as_bytes().first() {
        None => true,
        Some(b'#' | b'-' | b'1' | b'<' | b'N' | b'n') => MISSING.contains(&cell),
        Some(_) => false,
    }
}

/// `Some(None)` for a whole number that does not fit into 64 bits.
fn integer(cell: &str) -> Option<Option<i64>> {
    let cell = cell.trim_matches(' ');
    let digits = cell.strip_prefix(['+', '-']).unwrap_or(cell);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| cell.parse().ok())
}

fn boolean(cell: &str) -> Option<bool> {
    let is = |word: &str| cell.eq_ignore_ascii_case(word);
    if is("true") {
        Some(true)
    } else if is("false") {
        Some(false)
    } else {
        None
    }
}

/// pandas' own decimal reader (`precise_xstrtod`): 17 digits and one scaling by a power of ten,
/// so a value with more digits than that may differ from the nearest double in its last bit.
fn float(cell: &str) -> Option<f64> {
    const MAX_DIGITS: u32 = 17;
    let cell = cell.trim_matches(' ');
    let (negative, rest) = match cell.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, cell.strip_prefix('+').unwrap_or(cell)),
    };
    let sign = if negative { -1.0 } else { 1.0 };
    if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    let (mantissa, power) = match rest.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (mut number, mut digits, mut exponent) = (0.0f64, 0, power);
    for digit in whole.bytes() {
        if digits < MAX_DIGITS {
            number = number * 10.0 + f64::from(digit - b'0');
            digits += 1;
        } else {
            exponent = exponent.saturating_add(1);
        }
    }
    for digit in fraction.bytes() {
        if digits < MAX_DIGITS {
            number = number * 10.0 + f64::from(digit - b'0');
            digits += 1;
            exponent = exponent.saturating_sub(1);
        }
    }
    if digits == 0 {
        return None;
    }
    let scaled = match exponent {
        309.. => f64::INFINITY,
        1..=308 => number * POWERS_OF_TEN[exponent as usize],
        -308..=0 => number / POWERS_OF_TEN[-exponent as usize],
        // Two steps, since 10^309 is no double; beyond the second the result is zero anyway.
        _ => number / POWERS_OF_TEN[(-308i32).saturating_sub(exponent).min(308) as usize] / 1e308,
    };
    Some(sign * scaled)
}

/// The doubles nearest to 10^0 to 10^308, which repeated multiplication would miss.
static POWERS_OF_TEN: LazyLock<[f64; 309]> = LazyLock::new(|| {
    // SAFETY: "1e0" to "1e308" are valid doubles.
    std::array::from_fn(|n| format!("1e{n}").parse().unwrap())
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: what pandas 3.0.6 writes after reading these cells as one column.
    #[test]
    fn columns_as_pandas_types_and_prints_them() {
        for (cells, wanted) in [
            (&["1", "2", "-3"][..], &["1", "2", "-3"][..]),
            (&["1", "2.5", "3"], &["1.0", "2.5", "3.0"]),
            (&["1", "", "3"], &["1.0", "", "3.0"]),
            (&["a", "", "NA"], &["a", "", ""]),
            (&["", "", ""], &["", "", ""]),
            (&["True", "false", "TRUE"], &["True", "False", "True"]),
            (&["True", "x", "false"], &["True", "x", "false"]),
            (&["True", "", "False"], &["True", "", "False"]),
            (&["+5", " 6", "7 "], &["5", "6", "7"]),
            (&["007", "1"], &["7", "1"]),
            (&["1e3", "2"], &["1000.0", "2.0"]),
            (&["inf", "-Infinity", "1"], &["inf", "-inf", "1.0"]),
            (&["1_000", "2"], &["1_000", "2"]),
            (&["9223372036854775808", "1"], &["9223372036854775808", "1"]),
            (&["9223372036854775808", ""], &["9223372036854775808", ""]),
            (&["0x10", "1"], &["0x10", "1"]),
            (&["1.", ".5", "-0.0"], &["1.0", "0.5", "-0.0"]),
            (&["-", "1"], &["-", "1"]),
            (&[".", "1"], &[".", "1"]),
            (&["1e400", "1e-320"], &["inf", "1e-320"]),
            (&["-nan", "1"], &["", "1.0"]),
            (&["None", "x"], &["", "x"]),
            (&["1e", "2"], &["1e", "2"]),
            (&["12345678901234567890.5", "1"], &["1.2345678901234567e+19", "1.0"]),
            (&["0.12345678901234567", "3.0e-25"], &["0.1234567890123456", "3e-25"]),
            (&["123456.78901234567", "1.5e23"], &["123456.78901234567", "1.5e+23"]),
        ] {
            let mut tally = Tally::default();
            cells.iter().for_each(|cell| tally.add(cell));
            let column = tally.column_type();
            let found: Vec<String> = cells.iter().map(|cell| print(cell, column)).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn six_columns_of_a_row() {
        let row = |signal: &str| Region {
            chrom: "chr1".into(),
            start: 0,
            end: 9,
            summit: 4,
            extra: Extra::new(["p", "7", ".", signal, "", "-1"]),
            line: 1,
        };
        let rows = [row("5"), row("5.25")];
        let types = ColumnTypes::of(&rows);
        assert_eq!(types.apply(&rows[0]).extra.cells(), ["p", "7", ".", "5.0", "", "-1"]);
    }
}
