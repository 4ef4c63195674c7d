//! Observed against predicted counts of many regions, as density.

use super::{Figure, range};
use crate::console::grouped;
use crate::numpy::correlation::{CountsMetrics, counts_metrics};
use crate::plot::hexbin::Hexbin;
use crate::plot::{Axes, Canvas, Rect, Stroke, Text, palette};

/// Draws one point a region: `observed` and `predicted` ln(1 + counts), each `[n]`. `what` names model
/// and regions. `None` without a region.
pub fn draw(observed: &[f64], predicted: &[f32], what: &str) -> Option<Figure> {
    if observed.is_empty() {
        return None;
    }
    let CountsMetrics { spearmanr, pearsonr, mse } = counts_metrics(observed, predicted);
    // One range for both, so that the diagonal is where a prediction is right.
    let span = range(observed.iter().copied().chain(predicted.iter().map(|&p| f64::from(p))));
    let mut canvas = Canvas::new(560.0, 500.0);
    let n = grouped(observed.len() as u64);
    let heading = Text { size: 14.0, bold: true, ..Text::default() };
    canvas.text((64.0, 26.0), &format!("{what}: counts, n = {n}"), heading);
    let numbers = format!("Pearson r = {pearsonr:.3}, Spearman r = {spearmanr:.3}, MSE = {mse:.3}");
    canvas.text((64.0, 45.0), &numbers, Text::default());

    let axes = Axes::new(Rect { x: 64.0, y: 62.0, width: 380.0, height: 380.0 }, span, span);
    axes.line(&mut canvas, &[(span.0, span.0), (span.1, span.1)], diagonal());
    let points = observed.iter().zip(predicted).map(|(&x, &y)| (x, f64::from(y)));
    let bins = Hexbin::new(&axes, points);
    bins.draw(&mut canvas, &axes);
    bins.key(&mut canvas, &axes, "regions");
    axes.draw(&mut canvas, "observed, ln(1 + counts)", "predicted, ln(1 + counts)");
    let alt = format!("Observed against predicted log counts, {what}, {n} regions. {numbers}.");
    Some(Figure { canvas, alt })
}

fn diagonal() -> Stroke<'static> {
    Stroke::new(palette::BASELINE, 1.0).dashed()
}
