//! What a scan leaves on disk: a figure and two tables.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pwm::Pwm;
use super::scan::{Scan, StrandScan};
use super::{MOTIF_ROWS, ReferenceMotifs, Shift, Signed, WINDOW};
use crate::files::atomic;
use crate::input::reads::Strand;
use crate::plot::canvas::{Anchor, with_extension};
use crate::plot::logo::{highest, logo};
use crate::plot::{Axes, Canvas, Rect, Stroke, Text};

impl Scan {
    /// Writes `<prefix>.svg`, `<prefix>.png`, `<prefix>.tsv` and `<prefix>_pwm.tsv`.
    pub fn write(&self, motifs: &ReferenceMotifs, prefix: &Path) -> Result<()> {
        self.figure(motifs).write(prefix)?;
        write_text(&with_extension(prefix, "tsv"), &self.score_table())?;
        let mut pwm = prefix.as_os_str().to_os_string();
        pwm.push("_pwm.tsv");
        write_text(&PathBuf::from(pwm), &self.pwm_table())
    }

    /// A row for each strand and shift: mean score, motifs that have their best score there, then
    /// the plain score of every motif.
    fn score_table(&self) -> String {
        let mut text = String::from("strand\tshift\tscore\tbest_for");
        for (name, _) in &self.plus.motifs {
            let _ = write!(text, "\t{name}");
        }
        text.push('\n');
        for strand in self.strands() {
            let name = Scan::strand_name(strand.strand);
            for (i, (shift, score, votes)) in strand.by_shift().into_iter().enumerate() {
                let _ = write!(text, "{name}\t{shift}\t{score:.6}\t{votes}");
                let place = strand.scores.len() - 1 - i;
                for (_, scores) in &strand.motifs {
                    let _ = write!(text, "\t{:.6}", scores[place]);
                }
                text.push('\n');
            }
        }
        text
    }

    /// A row for each strand and position (0: the start of plus reads, the end of minus reads).
    fn pwm_table(&self) -> String {
        let mut text = String::from("strand\tposition\tA\tC\tG\tT\n");
        for strand in self.strands() {
            for (row, [a, c, g, t]) in strand.pwm.rows.iter().enumerate() {
                let name = Scan::strand_name(strand.strand);
                let position = row as i32 - WINDOW as i32 / 2;
                let _ = writeln!(text, "{name}\t{position}\t{a:.6}\t{c:.6}\t{g:.6}\t{t:.6}");
            }
        }
        text
    }

    fn figure(&self, motifs: &ReferenceMotifs) -> Canvas {
        let mut canvas = Canvas::new(1180.0, 640.0);
        let heading = format!(
            "{} shift detection: {} reads, sampled of {}",
            self.data_type,
            self.plus.reads + self.minus.reads,
            self.seen
        );
        canvas.text((64.0, 26.0), &heading, Text { size: 15.0, bold: true, ..Text::default() });
        for (strand, x) in [(&self.plus, 64.0), (&self.minus, 654.0)] {
            self.strand_figure(&mut canvas, strand, motifs, x);
        }
        canvas
    }

    /// One column: what was seen, the reference where it fits best, the score of every shift.
    fn strand_figure(
        &self,
        canvas: &mut Canvas,
        strand: &StrandScan,
        motifs: &ReferenceMotifs,
        x: f64,
    ) {
        let name = Scan::strand_name(strand.strand);
        let (first, end) = match strand.strand {
            Strand::Plus => ("first base of the read", "read start"),
            Strand::Minus => ("first base after the read", "read end"),
        };
        let best = super::scan::best(&strand.scores);
        let half = WINDOW as f64 / 2.0;
        let range = (-half - 0.5, half - 0.5);
        let frame = |y| Rect { x, y, width: 500.0, height: 120.0 };

        let seen = strand.pwm.information_scaled();
        let axes = Axes::new(frame(78.0), range, (0.0, highest(&seen).max(0.01) * 1.05));
        axes.title(canvas, &format!("{name} strand: {} reads around their {end}", strand.reads));
        axes.vertical(canvas, 0.0);
        logo(canvas, &axes, -half, &seen);
        axes.draw(canvas, &format!("bp from the {first}"), "bits");

        let reference = Pwm::mean(motifs.of(strand.strand).iter().map(|m| &m.pwm));
        let reference = reference.information_scaled();
        let axes = Axes::new(frame(268.0), range, (0.0, highest(&reference) * 1.05));
        let shift = strand.shift_at(best);
        axes.title(canvas, &format!("reference, placed for a shift of {}", Signed(shift)));
        axes.vertical(canvas, 0.0);
        logo(canvas, &axes, best as f64 - half, &reference);
        axes.draw(canvas, &format!("bp from the {first}"), "bits");

        self.score_figure(canvas, strand, frame(458.0));
    }

    fn score_figure(&self, canvas: &mut Canvas, strand: &StrandScan, frame: Rect) {
        let scores = strand.by_shift();
        let shifts = (f64::from(scores[0].0) - 0.5, f64::from(scores[scores.len() - 1].0) + 0.5);
        let top = scores.iter().map(|s| s.1).fold(0.0, f64::max).max(1e-3);
        let axes = Axes::new(frame, shifts, (0.0, top * 1.15));
        for shift in scores.iter().map(|s| s.0).filter(|&s| self.may_be(strand.strand, s)) {
            let shift = f64::from(shift);
            axes.band(canvas, (shift - 0.5, shift + 0.5), "#e8eef5");
        }
        axes.title(canvas, "score of every shift that the reads may have");
        let points: Vec<_> = scores.iter().map(|s| (f64::from(s.0), s.1)).collect();
        axes.line(canvas, &points, Stroke::new("#255c99", 1.5));
        let best = strand.shift_at(super::scan::best(&strand.scores));
        for &(shift, score) in &points {
            let is_best = shift == f64::from(best);
            axes.marker(canvas, shift, score, if is_best { "#d62839" } else { "#255c99" });
            if is_best {
                let at = (axes.x_at(shift), axes.y_at(score) - 7.0);
                let style =
                    Text { size: 11.0, bold: true, anchor: Anchor::Middle, ..Text::default() };
                canvas.text(at, &Signed(best).to_string(), style);
            }
        }
        axes.legend(canvas, &[("accepted", Stroke::new("#e8eef5", 9.0))]);
        axes.draw(canvas, "shift, bp", "score (reference: 1)");
    }

    /// True when any accepted result has `shift` on this strand.
    fn may_be(&self, strand: Strand, shift: i32) -> bool {
        (-10..=10).any(|other| {
            self.data_type.accepts(match strand {
                Strand::Plus => Shift { plus: shift, minus: other },
                Strand::Minus => Shift { plus: other, minus: shift },
            })
        })
    }
}

pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic::write(path, |out| Ok(out.write_all(text.as_bytes())?))
}

// A motif must fit into the window wherever it is placed.
const _: () = assert!(MOTIF_ROWS < WINDOW);
