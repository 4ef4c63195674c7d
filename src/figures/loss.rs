//! Losses by epoch: total, profile and counts, training and validation.

use super::{Figure, range};
use crate::files::train_log::{EpochRow, Losses};
use crate::plot::{Axes, Canvas, Rect, Stroke, Text, palette};

/// The epoch with the lowest val_loss, from 0: the one whose weights are kept.
pub fn best_epoch(rows: &[EpochRow]) -> Option<usize> {
    let losses = rows.iter().map(|r| r.valid.total).enumerate().filter(|(_, v)| v.is_finite());
    losses.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch)
}

/// One of a row's losses.
type Part = fn(&Losses) -> f64;

/// Draws three panels; `None` without an epoch.
pub fn draw(rows: &[EpochRow], stem: &str) -> Option<Figure> {
    let best = best_epoch(rows)?;
    let mut canvas = Canvas::new(1040.0, 320.0);
    let heading = format!(
        "{stem}: {} epochs, lowest val_loss {:.4} in epoch {}",
        rows.len(),
        rows[best].valid.total,
        best + 1
    );
    canvas.text((64.0, 24.0), &heading, Text { size: 14.0, bold: true, ..Text::default() });
    let panels: [(&str, Part); 3] = [
        ("total loss", |l| l.total),
        ("profile: multinomial NLL", |l| l.profile),
        ("counts: MSE of log counts", |l| l.counts),
    ];
    for (i, (title, of)) in panels.into_iter().enumerate() {
        let frame = Rect { x: 64.0 + 340.0 * i as f64, y: 64.0, width: 272.0, height: 200.0 };
        panel(&mut canvas, frame, title, rows, best, of);
    }
    let alt = format!(
        "Loss curves over {} epochs. val_loss goes from {:.4} to {:.4}, its lowest in epoch {}.",
        rows.len(),
        rows[0].valid.total,
        rows[best].valid.total,
        best + 1
    );
    Some(Figure { canvas, alt })
}

fn panel(canvas: &mut Canvas, frame: Rect, title: &str, rows: &[EpochRow], best: usize, of: Part) {
    let curve = |pick: fn(&EpochRow) -> &Losses| -> Vec<(f64, f64)> {
        let points = rows.iter().enumerate().map(|(i, r)| ((i + 1) as f64, of(pick(r))));
        points.filter(|p| p.1.is_finite()).collect()
    };
    let (train, valid) = (curve(|r| &r.train), curve(|r| &r.valid));
    let last = rows.len() as f64;
    let y = range(train.iter().chain(&valid).map(|p| p.1));
    let axes = Axes::new(frame, (0.5, last + 0.5), y);
    axes.title(canvas, title);
    axes.vertical(canvas, (best + 1) as f64);
    let strokes = [Stroke::new(palette::BASELINE, 1.6), Stroke::new(palette::PREDICTED, 1.8)];
    for (points, stroke) in [&train, &valid].into_iter().zip(strokes) {
        axes.line(canvas, points, stroke);
        // Few epochs would be an invisible line.
        for &(x, y) in points.iter().filter(|_| rows.len() <= 30) {
            canvas.circle((axes.x_at(x), axes.y_at(y)), 2.0, stroke.color);
        }
    }
    axes.draw(canvas, "epoch (dashed: best)", "");
    let entries = [("training", strokes[0]), ("validation", strokes[1])];
    axes.key(canvas, &entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_epoch_has_the_lowest_validation_loss() {
        let row = |v| EpochRow {
            train: Losses::default(),
            valid: Losses { total: v, profile: v, counts: 0.0 },
        };
        assert_eq!(best_epoch(&[row(3.0), row(f64::NAN), row(1.0), row(1.5)]), Some(2));
        assert_eq!(best_epoch(&[]), None);
        assert!(draw(&[row(f64::NAN)], "bias").is_none());
        draw(&[row(1.0)], "bias").unwrap().canvas.png().unwrap();
    }
}
