//! Contribution scores as logos, and motifs.

use super::{Figure, range};
use crate::plot::logo::logo;
use crate::plot::{Axes, Canvas, FAINT, Rect, Stroke, Text};

/// One stretch of a region: `heights` are A, C, G, T for each position; x counts from `first`.
pub fn draw(heights: &[[f64; 4]], first: i64, title: &str) -> Figure {
    let mut canvas = Canvas::new(1040.0, 190.0);
    canvas.text((70.0, 22.0), title, Text { size: 13.0, bold: true, ..Text::default() });
    let frame = Rect { x: 70.0, y: 36.0, width: 940.0, height: 106.0 };
    let x = (first as f64 - 0.5, first as f64 + heights.len() as f64 - 0.5);
    let axes = Axes::new(frame, x, extent(heights));
    axes.line(&mut canvas, &[(x.0, 0.0), (x.1, 0.0)], Stroke::new(FAINT, 0.8));
    logo(&mut canvas, &axes, first as f64, heights);
    axes.draw(&mut canvas, "bp from the window's centre", "contribution");
    Figure { canvas, alt: format!("Contribution logo: {title}.") }
}

/// A motif without axes, for a row of a table.
pub fn draw_motif(heights: &[[f64; 4]], name: &str) -> Figure {
    let width = 14.0 * heights.len() as f64;
    let mut canvas = Canvas::new(width + 4.0, 72.0);
    let frame = Rect { x: 2.0, y: 2.0, width, height: 68.0 };
    let x = (-0.5, heights.len() as f64 - 0.5);
    let axes = Axes::new(frame, x, extent(heights));
    axes.line(&mut canvas, &[(x.0, 0.0), (x.1, 0.0)], Stroke::new(FAINT, 0.8));
    logo(&mut canvas, &axes, 0.0, heights);
    Figure { canvas, alt: format!("Logo of {name}: {}", consensus(heights)) }
}

/// The strongest base of each position; for those who cannot see the logo.
pub fn consensus(heights: &[[f64; 4]]) -> String {
    let strongest = heights.iter().map(|h| h.iter().map(|v| v.abs()).fold(0.0, f64::max));
    let limit = 0.3 * strongest.fold(0.0, f64::max);
    let base = |h: &[f64; 4]| {
        let best = (0..4).max_by(|&a, &b| h[a].abs().total_cmp(&h[b].abs())).unwrap_or(0);
        let letter = ['A', 'C', 'G', 'T'][best];
        if h[best].abs() >= limit { letter } else { letter.to_ascii_lowercase() }
    };
    heights.iter().map(base).collect()
}

/// Highest and lowest stack, 0 among them.
fn extent(heights: &[[f64; 4]]) -> (f64, f64) {
    let stack = |sign: f64| {
        heights.iter().map(move |h| sign * h.iter().map(|v| (v * sign).max(0.0)).sum::<f64>())
    };
    range(stack(1.0).chain(stack(-1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_fit_and_the_consensus_is_readable() {
        let heights = [[0.0, 0.0, 2.0, 1.0], [-0.5, 0.0, 0.0, 0.0], [0.0, 0.1, 0.0, 0.0]];
        let (low, high) = extent(&heights);
        assert!(low < -0.5 && low > -0.7 && high > 3.0 && high < 3.2, "{low} {high}");
        assert_eq!(consensus(&heights), "Gac");
        draw_motif(&heights, "x").canvas.png().unwrap();
    }
}
