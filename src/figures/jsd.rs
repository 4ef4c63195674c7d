//! How far predicted profiles are from the observed ones, beside the distance that a profile with
//! the same counts in a random order has.

use super::Figure;
use crate::console::grouped;
use crate::numpy::quantile::nanmedian;
use crate::plot::histogram::Histogram;
use crate::plot::{Axes, Canvas, Rect, Stroke, Text, palette};

const BINS: usize = 80;

/// Draws both histograms; `jsd` and `shuffled` are `[n]`, NaN for regions without counts. `what` names
/// model and regions. `None` where nothing is left.
pub fn draw(jsd: &[f64], shuffled: &[f64], what: &str) -> Option<Figure> {
    // The largest distance that there is: sqrt(ln 2).
    let span = (0.0, 2.0f64.ln().sqrt());
    let histograms = [jsd, shuffled].map(|v| Histogram::new(v.iter().copied(), span, BINS));
    let [n, _] = histograms.each_ref().map(Histogram::total);
    if n == 0 {
        return None;
    }
    let medians = [jsd, shuffled].map(nanmedian);
    let mut canvas = Canvas::new(560.0, 400.0);
    let n = grouped(n);
    let heading = Text { size: 14.0, bold: true, ..Text::default() };
    canvas.text((64.0, 26.0), &format!("{what}: profiles, n = {n}"), heading);
    let numbers =
        format!("median distance {:.3}; of the same counts shuffled {:.3}", medians[0], medians[1]);
    canvas.text((64.0, 45.0), &numbers, Text::default());
    let highest = histograms.iter().map(Histogram::highest).max().unwrap_or(1);
    let frame = Rect { x: 64.0, y: 84.0, width: 470.0, height: 260.0 };
    let axes = Axes::new(frame, span, (0.0, highest as f64 * 1.06));
    let colors = [palette::PREDICTED, palette::BASELINE];
    for ((histogram, color), median) in histograms.iter().zip(colors).zip(medians).rev() {
        histogram.draw(&mut canvas, &axes, color);
        if median.is_finite() {
            let top = axes.frame().y + axes.frame().height * 0.02;
            let x = axes.x_at(median);
            let foot = axes.frame().y + axes.frame().height;
            canvas.line(&[(x, top), (x, foot)], Stroke::new(color, 1.4).dashed());
        }
    }
    axes.draw(&mut canvas, "Jensen-Shannon distance to the observed profile", "regions");
    let entries = [
        ("predicted", Stroke::new(colors[0], 3.0)),
        ("shuffled", Stroke::new(colors[1], 3.0)),
        ("median", Stroke::new(palette::OBSERVED, 1.4).dashed()),
    ];
    axes.legend(&mut canvas, &entries);
    let alt = format!("Histogram of profile distances, {what}, {n} regions: {numbers}.");
    Some(Figure { canvas, alt })
}
