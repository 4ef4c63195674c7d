//! Columns of text, as wide as their widest cell. Cells of absurd length are cut, so that a table
//! stays one.

use super::plain;

/// Where a cell's text begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// One line a row, without blanks at its end; two blanks part columns. Columns beyond `sides` are
/// like the last of it.
pub fn aligned(rows: &[Vec<String>], sides: &[Side]) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain::cell(cell)).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let side = |column: usize| sides.get(column).or(sides.last()).copied().unwrap_or(Side::Left);
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width - cell.chars().count());
            line += if column > 0 { "  " } else { "" };
            match side(column) {
                Side::Left => line.extend([cell, blanks.as_str()]),
                Side::Right => line.extend([blanks.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn columns_line_up() {
        let rows = rows(&[&["name", "bp", "fold"], &["chrI", "1,000", "-"], &["é", "2"]]);
        let lines = aligned(&rows, &[Side::Left, Side::Right]);
        assert_eq!(lines, ["name     bp  fold", "chrI  1,000     -", "é         2"]);
        assert!(aligned(&[], &[]).is_empty());
    }

    #[test]
    fn a_name_of_any_length_is_a_cell() {
        let name = "x".repeat(70_000);
        let lines = aligned(&rows(&[&[&name, "1"], &["\x1b[31m", "2"]]), &[Side::Left]);
        assert!(lines[0].len() < 80 && lines[0].contains("70000 characters"), "{lines:?}");
        assert!(lines[1].starts_with(r"\u{1b}[31m"), "{lines:?}");
    }
}
