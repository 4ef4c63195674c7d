//! Sequence logos.

use super::{Axes, Canvas, Rect};

/// Part of a column that letters fill.
const LETTER_WIDTH: f64 = 0.92;

/// Stacks the letters of each position: `heights[i]` (A, C, G, T, in units of the y axis) is
/// centred on x = `first` + i. The highest letter is on top; negative ones hang below zero.
pub fn logo(canvas: &mut Canvas, axes: &Axes, first: f64, heights: &[[f64; 4]]) {
    for (i, column) in heights.iter().enumerate() {
        let x = first + i as f64;
        let (left, right) = (axes.x_at(x - LETTER_WIDTH / 2.0), axes.x_at(x + LETTER_WIDTH / 2.0));
        let mut order = [0, 1, 2, 3];
        order.sort_by(|&a, &b| column[a].abs().total_cmp(&column[b].abs()));
        let (mut above, mut below) = (0.0, 0.0);
        for base in order {
            let height = column[base];
            let end = if height < 0.0 { &mut below } else { &mut above };
            let (low, high) = (f64::min(*end, *end + height), f64::max(*end, *end + height));
            *end += height;
            let (top, bottom) = (axes.y_at(high), axes.y_at(low));
            // A letter thinner than this is a smear.
            if bottom - top > 0.2 {
                let r = Rect { x: left, y: top, width: right - left, height: bottom - top };
                canvas.base(base, r);
            }
        }
    }
}

/// Height of the highest stack.
pub fn highest(heights: &[[f64; 4]]) -> f64 {
    heights.iter().map(|column| column.iter().map(|h| h.max(0.0)).sum()).fold(0.0, f64::max)
}
