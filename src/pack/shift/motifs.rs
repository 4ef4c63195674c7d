//! The reference: what surrounds cut sites in data sets whose shift is known.

use std::path::Path;

use anyhow::Result;

use super::pwm::{Pwm, slide};
use super::{DataType, Strand};
use crate::error::Problem;
use crate::input::lines;

/// bp of a reference motif; row 10 is the cut site at the target shift.
pub const MOTIF_ROWS: usize = 20;

/// The composition around the read ends of one strand in one data set.
#[derive(Clone, Debug)]
pub struct Motif {
    pub name: String,
    pub pwm: Pwm,
    /// `pwm.information_scaled()`
    pub(super) scaled: Vec<[f64; 4]>,
    /// The score of the motif against itself.
    pub(super) itself: f64,
}

/// Reference motifs of both strands, as read on the plus strand.
#[derive(Clone, Debug, Default)]
pub struct ReferenceMotifs {
    pub plus: Vec<Motif>,
    pub minus: Vec<Motif>,
}

const BUILT_IN: &str = include_str!("reference_motifs.tsv");

impl ReferenceMotifs {
    /// The motifs that are part of the binary: 3 data sets for ATAC, 6 for DNASE.
    pub fn built_in(data_type: DataType) -> Self {
        let mut builder = Builder::default();
        for line in BUILT_IN.lines().filter(|l| !l.starts_with(['#', 'd'])) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [assay, dataset, strand, row, frequencies @ ..] = &fields[..] else { continue };
            if *assay != data_type.name() {
                continue;
            }
            if *row == "0" {
                let strand = if *strand == "plus" { Strand::Plus } else { Strand::Minus };
                builder.begin(dataset, strand);
            }
            // The table is compiled in; a test reads all of it.
            builder.row(&frequencies.join("\t")).expect("the built-in motifs are well formed");
        }
        builder.finish().expect("the built-in motifs are well formed")
    }

    /// Reads the official text format: `>name_plus` or `>name_minus`, then 20 rows of four
    /// frequencies, separated by tabs.
    ///
    /// Errors, with the line: another format, another number of rows, a strand without a motif, a
    /// motif without a pattern.
    pub fn read(path: &Path) -> Result<Self> {
        let mut builder = Builder::default();
        lines::for_each(path, |number, line| {
            let line = line.trim();
            let take = |builder: &mut Builder| match line.strip_prefix('>') {
                _ if line.is_empty() => Ok(()),
                Some(name) => builder.header(name),
                None => builder.row(line),
            };
            Ok(take(&mut builder).map_err(|p| p.at(lines::place(path, number)))?)
        })?;
        Ok(builder.finish().map_err(|p| p.at(path.display()))?)
    }

    /// `read(path)`, or `built_in(data_type)` where no file is given.
    pub fn open(path: Option<&Path>, data_type: DataType) -> Result<Self> {
        match path {
            Some(path) => Self::read(path),
            None => Ok(Self::built_in(data_type)),
        }
    }

    pub fn of(&self, strand: Strand) -> &[Motif] {
        match strand {
            Strand::Plus => &self.plus,
            Strand::Minus => &self.minus,
        }
    }

    /// What cut sites of both strands at the target shift should look like: the mean of all motifs.
    /// [20 rows], row 10 is the cut site
    pub fn textbook(&self) -> Pwm {
        Pwm::mean(self.plus.iter().chain(&self.minus).map(|m| &m.pwm))
    }
}

/// Collects motifs row by row.
#[derive(Default)]
struct Builder {
    motifs: ReferenceMotifs,
    /// Name, strand and rows of the motif begun last.
    open: Option<(String, Strand, Vec<[f64; 4]>)>,
}

impl Builder {
    fn header(&mut self, name: &str) -> Result<(), Problem> {
        self.close()?;
        lines::used(name, "name of the motif")?;
        if let Some(name) = name.strip_suffix("_plus") {
            self.begin(name, Strand::Plus);
        } else if let Some(name) = name.strip_suffix("_minus") {
            self.begin(name, Strand::Minus);
        } else {
            return Err(Problem::new(format!("motif name {name:?} names no strand"))
                .fix("end it with _plus or _minus"));
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, strand: Strand) {
        // Of the built-in table every motif is whole; `header` has closed what came before.
        let _ = self.close();
        self.open = Some((name.to_string(), strand, Vec::with_capacity(MOTIF_ROWS)));
    }

    fn row(&mut self, text: &str) -> Result<(), Problem> {
        let Some((_, _, rows)) = &mut self.open else {
            return Err(Problem::new("file does not begin with a motif's name")
                .fix("write >name_plus or >name_minus above each motif"));
        };
        let values: Vec<f64> = text.split_whitespace().map_while(|v| v.parse().ok()).collect();
        let well_formed = text.split_whitespace().count() == 4
            && values.len() == 4
            && values.iter().all(|v| v.is_finite() && *v >= 0.0)
            && values.iter().sum::<f64>() > 0.0;
        if !well_formed {
            return Err(Problem::new(format!(
                "row {text:?} is not four frequencies (A, C, G, T; at least 0, not all 0)"
            )));
        }
        let sum: f64 = values.iter().sum();
        rows.push(std::array::from_fn(|b| values[b] / sum));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some((name, strand, rows)) = self.open.take() else { return Ok(()) };
        if rows.len() != MOTIF_ROWS {
            return Err(Problem::new(format!(
                "motif {name} has {} rows, expected {MOTIF_ROWS}, the 11th of them the cut site",
                rows.len()
            )));
        }
        let pwm = Pwm { rows };
        let scaled = pwm.information_scaled();
        let itself = slide(&scaled, &scaled)[0];
        if itself < 1e-9 {
            return Err(Problem::new(format!("motif {name} is flat, so it fits everywhere alike")));
        }
        let motif = Motif { name, pwm, scaled, itself };
        match strand {
            Strand::Plus => self.motifs.plus.push(motif),
            Strand::Minus => self.motifs.minus.push(motif),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ReferenceMotifs, Problem> {
        self.close()?;
        for (motifs, name) in [(&self.motifs.plus, "plus"), (&self.motifs.minus, "minus")] {
            if motifs.is_empty() {
                return Err(Problem::new(format!("there is no motif for the {name} strand"))
                    .fix(format!("add a motif whose name ends with _{name}")));
            }
        }
        Ok(self.motifs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_motifs_are_whole() {
        for (data_type, datasets) in [(DataType::Atac, 3), (DataType::Dnase, 6)] {
            let motifs = ReferenceMotifs::built_in(data_type);
            for strand in [Strand::Plus, Strand::Minus] {
                assert_eq!(motifs.of(strand).len(), datasets);
                for motif in motifs.of(strand) {
                    assert_eq!(motif.pwm.rows.len(), MOTIF_ROWS);
                    assert!(
                        motif.pwm.rows.iter().all(|r| (r.iter().sum::<f64>() - 1.0).abs() < 1e-9)
                    );
                }
            }
        }
        let rows = BUILT_IN.lines().filter(|l| !l.starts_with(['#', 'd'])).count();
        assert_eq!(rows, 2 * (3 + 6) * MOTIF_ROWS);
    }

    fn read(text: &str) -> Result<ReferenceMotifs> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ReferenceMotifs::read(file.path())
    }

    fn text(motifs: &ReferenceMotifs) -> String {
        let mut text = String::new();
        for (strand, list) in [("plus", &motifs.plus), ("minus", &motifs.minus)] {
            for motif in list {
                text += &format!(">{}_{strand}\n", motif.name);
                for [a, c, g, t] in &motif.pwm.rows {
                    text += &format!("{a}\t{c}\t{g}\t{t}\n");
                }
            }
        }
        text
    }

    #[test]
    fn official_format_reads_back() {
        let built_in = ReferenceMotifs::built_in(DataType::Dnase);
        let plain = text(&built_in);
        for text in [plain.clone(), plain.replace('\n', "\r\n"), plain.trim_end().to_string()] {
            let again = read(&text).unwrap();
            for strand in [Strand::Plus, Strand::Minus] {
                for (a, b) in again.of(strand).iter().zip(built_in.of(strand)) {
                    assert_eq!(a.name, b.name);
                    let rows = a.pwm.rows.iter().zip(&b.pwm.rows);
                    assert!(
                        rows.into_iter().all(|(a, b)| (0..4).all(|i| (a[i] - b[i]).abs() < 1e-12))
                    );
                }
            }
        }
    }

    #[test]
    fn malformed_files_say_where() {
        let good = text(&ReferenceMotifs::built_in(DataType::Atac));
        let row = good.lines().nth(1).unwrap();
        for (text, what, place) in [
            (String::new(), "no motif for the plus strand", ""),
            (row.to_string(), "does not begin with a motif's name", "line 1"),
            (">a\n".into(), "names no strand", "line 1"),
            (good.replacen(row, "0.1\t0.2\t0.7", 1), "not four frequencies", "line 2"),
            (good.replacen(row, "0.1\t0.2\t0.7\tx", 1), "not four frequencies", "line 2"),
            (good.replacen(row, "0.1\t0.2\t0.7\tNaN", 1), "not four frequencies", "line 2"),
            (good.replacen(row, "0\t0\t0\t0", 1), "not four frequencies", "line 2"),
            (good.replacen(row, "", 1), "has 19 rows, expected 20", "line 22"),
            (good.replace("_minus", "_plus"), "no motif for the minus strand", ""),
            (format!(">a_plus\n{}", "1\t1\t1\t1\n".repeat(20)), "is flat", ""),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(place), "{what}: {error}");
        }
    }
}
