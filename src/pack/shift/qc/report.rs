//! What a shift QC leaves on disk: a figure and a table.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::{QC_WIDTH, REACH, ShiftQc, textbook_background};
use crate::pack::shift::report::write_text;
use crate::pack::shift::{MOTIF_ROWS, Pwm, Signed};
use crate::plot::canvas::with_extension;
use crate::plot::logo::{highest, logo};
use crate::plot::{Axes, BASE_COLORS, Canvas, FAINT, Rect, Stroke, Text};

impl ShiftQc {
    /// Writes `<prefix>.svg`, `<prefix>.png` and `<prefix>.tsv`; the folder must exist.
    pub fn write(&self, prefix: &Path) -> Result<()> {
        self.figure().write(prefix)?;
        write_text(&with_extension(prefix, "tsv"), &self.table())
    }

    /// Comment lines, then a row for each position, in bp from the cut site. The textbook has no
    /// numbers for the outermost positions.
    fn table(&self) -> String {
        let [a, c, g, t] = self.background;
        let mut text = format!(
            "# data type {}, {} cuts at {} sites of {}\n# background A {a:.6} C {c:.6} G {g:.6} T {t:.6}\n# {}\n",
            self.data_type,
            self.cuts,
            self.sites,
            self.chromosomes.join(" "),
            self.summary()
        );
        text += "position\tA\tC\tG\tT\ttextbook_A\ttextbook_C\ttextbook_G\ttextbook_T\n";
        for (i, row) in self.pwm.rows.iter().enumerate() {
            let position = i as i32 - QC_WIDTH as i32 / 2;
            let textbook = usize::try_from(position + MOTIF_ROWS as i32 / 2);
            let textbook = textbook.ok().and_then(|row| self.textbook.rows.get(row));
            let _ = write!(text, "{position}");
            push(&mut text, row);
            match textbook {
                Some(row) => push(&mut text, row),
                None => text += "\tNA\tNA\tNA\tNA",
            }
            text.push('\n');
        }
        text
    }

    fn figure(&self) -> Canvas {
        let mut canvas = Canvas::new(1180.0, 520.0);
        let chromosomes = match &self.chromosomes[..] {
            [first, _, _, ..] => format!("{first} and {} more", self.chromosomes.len() - 1),
            few => few.join(", "),
        };
        let heading = format!(
            "{} cut sites on {chromosomes}: {} cuts at {} sites",
            self.data_type, self.cuts, self.sites
        );
        canvas.text((64.0, 26.0), &heading, Text { size: 15.0, bold: true, ..Text::default() });
        canvas.text((64.0, 45.0), &self.summary(), Text::default());

        let half = QC_WIDTH as f64 / 2.0;
        let range = (-half - 0.5, half - 0.5);
        let bp = "bp from the cut site";
        let left = |y| Rect { x: 64.0, y, width: 600.0, height: 150.0 };
        let right = |y| Rect { x: 750.0, y, width: 400.0, height: 150.0 };

        let heights = self.pwm.relative_to(self.background);
        let axes = Axes::new(left(88.0), range, (0.0, highest(&heights).max(0.01) * 1.05));
        axes.title(&mut canvas, "this signal");
        axes.vertical(&mut canvas, 0.0);
        logo(&mut canvas, &axes, -half, &heights);
        axes.draw(&mut canvas, bp, "bits over background");

        let heights = self.textbook.relative_to(textbook_background(&self.textbook));
        let axes = Axes::new(left(308.0), range, (0.0, highest(&heights) * 1.05));
        axes.title(
            &mut canvas,
            &format!("textbook: {} reference motifs, both strands", self.data_type),
        );
        axes.vertical(&mut canvas, 0.0);
        logo(&mut canvas, &axes, -(MOTIF_ROWS as f64) / 2.0, &heights);
        axes.draw(&mut canvas, bp, "bits over background");

        self.match_figure(&mut canvas, right(88.0));
        self.frequency_figure(&mut canvas, right(308.0));
        canvas
    }

    fn match_figure(&self, canvas: &mut Canvas, frame: Rect) {
        let points: Vec<_> = self.matches.iter().map(|&(o, r)| (f64::from(o), r)).collect();
        let low = points.iter().map(|p| p.1).fold(0.0, f64::min);
        let reach = REACH as f64 + 0.5;
        let axes = Axes::new(frame, (-reach, reach), (low - 0.1, 1.15));
        axes.title(canvas, "similarity to the textbook");
        axes.vertical(canvas, 0.0);
        axes.line(canvas, &points, Stroke::new("#255c99", 1.5));
        let (offset, r) = self.best_match();
        points.iter().for_each(|&(x, y)| axes.marker(canvas, x, y, "#255c99"));
        axes.marker(canvas, f64::from(offset), r, "#d62839");
        let at = (axes.x_at(f64::from(offset)) + 7.0, axes.y_at(r) - 5.0);
        let style = Text { size: 11.0, bold: true, ..Text::default() };
        canvas.text(at, &format!("{} bp", Signed(offset)), style);
        axes.draw(canvas, "textbook moved by, bp", "similarity");
    }

    fn frequency_figure(&self, canvas: &mut Canvas, frame: Rect) {
        let half = QC_WIDTH as f64 / 2.0;
        let rows = || self.pwm.rows.iter().chain(&self.textbook.rows).flatten().copied();
        let (low, high) = (rows().fold(1.0, f64::min), rows().fold(0.0, f64::max));
        let room = (high - low) * 0.05;
        let axes = Axes::new(frame, (-half - 0.5, half - 0.5), (low - room, high + room));
        axes.title(canvas, "base frequencies");
        axes.vertical(canvas, 0.0);
        let line = |pwm: &Pwm, base: usize| -> Vec<(f64, f64)> {
            let first = -(pwm.rows.len() as f64) / 2.0;
            pwm.rows.iter().enumerate().map(|(i, row)| (first + i as f64, row[base])).collect()
        };
        let mut legend = Vec::new();
        for (base, (name, color)) in ["A", "C", "G", "T"].into_iter().zip(BASE_COLORS).enumerate() {
            axes.line(canvas, &line(&self.textbook, base), Stroke::new(color, 0.9).dashed());
            axes.line(canvas, &line(&self.pwm, base), Stroke::new(color, 1.8));
            legend.push((name, Stroke::new(color, 1.8)));
        }
        legend.push(("textbook", Stroke::new(FAINT, 1.2).dashed()));
        axes.legend(canvas, &legend);
        axes.draw(canvas, "bp from the cut site", "frequency");
    }
}

fn push(text: &mut String, row: &[f64; 4]) {
    for p in row {
        // Writing to a String cannot fail.
        let _ = write!(text, "\t{p:.6}");
    }
}
