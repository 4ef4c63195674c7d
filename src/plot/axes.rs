//! Axes: from data to pixels, with frame, ticks, labels and legend.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Text};
use super::{FAINT, INK, font};

const TICK: f64 = 4.0;
const TICK_TEXT: f64 = 10.0;
const LABEL_TEXT: f64 = 11.0;
const TITLE_TEXT: f64 = 12.0;

/// A part of a canvas with a linear x and y axis.
pub struct Axes {
    frame: Rect,
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    /// `frame` is the plotted area; ticks and labels go outside it: about 60 px to the left, 40 below
    /// and 24 above. A range without a width is widened.
    pub fn new(frame: Rect, x: (f64, f64), y: (f64, f64)) -> Self {
        let widened = |(low, high): (f64, f64)| match high > low {
            true => (low, high),
            false => (low, low + 1.0),
        };
        Self { frame, x: widened(x), y: widened(y) }
    }

    pub fn frame(&self) -> Rect {
        self.frame
    }

    pub fn x_at(&self, x: f64) -> f64 {
        self.frame.x + (x - self.x.0) / (self.x.1 - self.x.0) * self.frame.width
    }

    pub fn y_at(&self, y: f64) -> f64 {
        self.frame.y + (self.y.1 - y) / (self.y.1 - self.y.0) * self.frame.height
    }

    /// Frame, ticks and labels; empty labels take no room.
    pub fn draw(&self, canvas: &mut Canvas, x_label: &str, y_label: &str) {
        let Rect { x: left, y: top, width, height } = self.frame;
        let (right, bottom) = (left + width, top + height);
        let ink = Stroke::new(INK, 1.0);
        let tick_text = Text { size: TICK_TEXT, ..Text::default() };
        for value in ticks(self.x, width / 45.0) {
            let x = self.x_at(value);
            canvas.line(&[(x, bottom), (x, bottom + TICK)], ink);
            let style = Text { anchor: Anchor::Middle, ..tick_text };
            canvas.text((x, bottom + TICK + 11.0), &number(value), style);
        }
        let mut widest: f64 = 0.0;
        for value in ticks(self.y, height / 28.0) {
            let y = self.y_at(value);
            canvas.line(&[(left - TICK, y), (left, y)], ink);
            let style = Text { anchor: Anchor::End, ..tick_text };
            canvas.text((left - TICK - 3.0, y + TICK_TEXT * 0.36), &number(value), style);
            widest = widest.max(font::width(&number(value), TICK_TEXT, false));
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], ink);
        let label = Text { size: LABEL_TEXT, anchor: Anchor::Middle, ..Text::default() };
        if !x_label.is_empty() {
            canvas.text((left + width / 2.0, bottom + 31.0), x_label, label);
        }
        if !y_label.is_empty() {
            let x = left - TICK - widest - 11.0;
            canvas.text((x, top + height / 2.0), y_label, Text { upwards: true, ..label });
        }
    }

    /// A heading above the frame, at its left edge.
    pub fn title(&self, canvas: &mut Canvas, title: &str) {
        let style = Text { size: TITLE_TEXT, bold: true, ..Text::default() };
        canvas.text((self.frame.x, self.frame.y - 9.0), title, style);
    }

    /// Names of lines above the frame, ending at its right edge: nothing is drawn over the data.
    pub fn legend(&self, canvas: &mut Canvas, entries: &[(&str, Stroke)]) {
        let y = self.frame.y - 9.0;
        let mut right = self.frame.x + self.frame.width;
        for (name, stroke) in entries.iter().rev() {
            let width = font::width(name, TICK_TEXT, false);
            canvas.text((right - width, y), name, Text { size: TICK_TEXT, ..Text::default() });
            right -= width + 5.0;
            let middle = y - TICK_TEXT * 0.36;
            canvas.line(&[(right - 16.0, middle), (right, middle)], *stroke);
            right -= 16.0 + 12.0;
        }
    }

    /// Names of lines inside the frame, at its top right corner: for curves that fall.
    pub fn key(&self, canvas: &mut Canvas, entries: &[(&str, Stroke)]) {
        let widest = entries.iter().map(|(name, _)| font::width(name, TICK_TEXT, false));
        let left = self.frame.x + self.frame.width - widest.fold(0.0, f64::max) - 6.0;
        for (i, (name, stroke)) in entries.iter().enumerate() {
            let y = self.frame.y + 12.0 + 14.0 * i as f64;
            let middle = y - TICK_TEXT * 0.36;
            canvas.line(&[(left - 21.0, middle), (left - 5.0, middle)], *stroke);
            canvas.text((left, y), name, Text { size: TICK_TEXT, ..Text::default() });
        }
    }

    pub fn line(&self, canvas: &mut Canvas, points: &[(f64, f64)], stroke: Stroke) {
        let points: Vec<_> = points.iter().map(|&(x, y)| (self.x_at(x), self.y_at(y))).collect();
        canvas.line(&points, stroke);
    }

    /// Fills the area between a curve and `y = from`.
    pub fn area(
        &self,
        canvas: &mut Canvas,
        points: &[(f64, f64)],
        from: f64,
        (fill, opacity): (&str, f64),
    ) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let mut outline = vec![(self.x_at(first.0), self.y_at(from))];
        outline.extend(points.iter().map(|&(x, y)| (self.x_at(x), self.y_at(y))));
        outline.push((self.x_at(last.0), self.y_at(from)));
        canvas.area(&outline, fill, opacity);
    }

    pub fn marker(&self, canvas: &mut Canvas, x: f64, y: f64, color: &str) {
        canvas.circle((self.x_at(x), self.y_at(y)), 3.5, color);
    }

    /// A dashed line from bottom to top at `x`.
    pub fn vertical(&self, canvas: &mut Canvas, x: f64) {
        self.line(canvas, &[(x, self.y.0), (x, self.y.1)], Stroke::new(FAINT, 1.0).dashed());
    }

    /// Shades `from..to` of the x axis; draw it before the data.
    pub fn band(&self, canvas: &mut Canvas, (from, to): (f64, f64), fill: &str) {
        let (left, right) = (self.x_at(from.max(self.x.0)), self.x_at(to.min(self.x.1)));
        if right > left {
            let r = Rect { x: left, width: right - left, ..self.frame };
            canvas.rect(r, fill);
        }
    }
}

/// Round numbers inside a range, at most about `wanted` of them: steps of 1, 2 or 5 times a power
/// of ten.
fn ticks((low, high): (f64, f64), wanted: f64) -> Vec<f64> {
    let raw = (high - low) / wanted.max(1.0);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (from, to) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (from..=to).map(|i| i as f64 * step).collect()
}

/// A tick's number without the digits that only rounding put there.
fn number(value: f64) -> String {
    let text = format!("{:.6}", value);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.replace('-', "\u{2212}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            ticks((-12.0, 11.0), 12.0),
            [-12., -10., -8., -6., -4., -2., 0., 2., 4., 6., 8., 10.]
        );
        let text = |range, wanted| ticks(range, wanted).into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(text((0.0, 0.21), 4.0), ["0", "0.1", "0.2"]);
        assert_eq!(text((-0.5, 1.0), 4.0), ["\u{2212}0.5", "0", "0.5", "1"]);
        assert_eq!(text((0.0, 1000.0), 3.0), ["0", "500", "1000"]);
    }

    #[test]
    fn data_to_pixels() {
        let frame = Rect { x: 10.0, y: 20.0, width: 100.0, height: 50.0 };
        let axes = Axes::new(frame, (0.0, 4.0), (0.0, 1.0));
        assert_eq!((axes.x_at(1.0), axes.y_at(0.0), axes.y_at(1.0)), (35.0, 70.0, 20.0));
        let flat = Axes::new(frame, (3.0, 3.0), (0.0, 0.0));
        assert!(flat.x_at(3.5).is_finite() && flat.y_at(0.0) == 70.0);
    }
}
