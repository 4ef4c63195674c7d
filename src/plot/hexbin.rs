//! Density of many points: hexagons, darker where more points fall. A figure of 300,000 regions is
//! as large as one of 3,000.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::canvas::{Anchor, Px, Rect, Text};
use super::palette::DENSITY;
use super::{Axes, Canvas};

/// Width of a hexagon, px.
const WIDTH: f64 = 7.0;
/// From centre to corner, px.
const SIDE: f64 = WIDTH / 1.732_050_807_568_877_2;

/// Points counted in hexagons of the canvas.
pub struct Hexbin {
    /// Number of points by hexagon (half column, row).
    bins: BTreeMap<(i32, i32), u64>,
}

impl Hexbin {
    /// Counts points that are finite and inside `axes`.
    pub fn new(axes: &Axes, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let frame = axes.frame();
        let mut bins = BTreeMap::new();
        for (x, y) in points {
            let (x, y) = (axes.x_at(x) - frame.x, axes.y_at(y) - frame.y);
            if (0.0..=frame.width).contains(&x) && (0.0..=frame.height).contains(&y) {
                *bins.entry(nearest(x, y)).or_insert(0) += 1;
            }
        }
        Self { bins }
    }

    /// Points in all hexagons.
    pub fn points(&self) -> u64 {
        self.bins.values().sum()
    }

    fn most(&self) -> u64 {
        self.bins.values().copied().max().unwrap_or(1)
    }

    pub fn draw(&self, canvas: &mut Canvas, axes: &Axes) {
        let frame = axes.frame();
        let most = self.most();
        let mut paths = vec![String::new(); DENSITY.len()];
        for (&(column, row), &n) in &self.bins {
            let x = frame.x + f64::from(column) * WIDTH / 2.0;
            let y = frame.y + f64::from(row) * 1.5 * SIDE;
            let [w, s] = [WIDTH / 2.0, SIDE / 2.0].map(Px);
            // Writing to a String cannot fail.
            let _ = write!(
                paths[level(n, most)],
                "M{} {}l{w} {s}v{}l-{w} {s}l-{w} -{s}v-{}z",
                Px(x),
                Px(y - SIDE),
                Px(SIDE),
                Px(SIDE)
            );
        }
        for (path, color) in paths.iter().zip(DENSITY).filter(|(path, _)| !path.is_empty()) {
            canvas.path(path, color);
        }
    }

    /// What the shades stand for, to the right of the frame (about 60 px).
    pub fn key(&self, canvas: &mut Canvas, axes: &Axes, what: &str) {
        let frame = axes.frame();
        let (x, height) = (frame.x + frame.width + 14.0, 16.0);
        let most = self.most();
        let small = Text { size: 10.0, ..Text::default() };
        let shades = DENSITY.len().min(levels(most));
        for (i, (shade, from)) in shade_starts(most).into_iter().enumerate() {
            let y = frame.y + (shades - 1 - i) as f64 * height;
            canvas.rect(Rect { x, y, width: 12.0, height }, DENSITY[shade]);
            canvas.text((x + 17.0, y + height - 4.0), &format!("\u{2265} {from}"), small);
        }
        let y = frame.y + shades as f64 * height + 14.0;
        canvas.text((x, y), what, Text { anchor: Anchor::Start, ..small });
    }
}

/// Index of the shade for `n` points where the fullest hexagon has `most`: equal steps of the
/// logarithm, since most hexagons hold few points.
fn level(n: u64, most: u64) -> usize {
    let share = (n as f64).ln() / ((most + 1) as f64).ln();
    ((share * DENSITY.len() as f64) as usize).min(DENSITY.len() - 1)
}

/// Each shade that occurs with the lowest count that gets it.
fn shade_starts(most: u64) -> Vec<(usize, u64)> {
    let mut starts: Vec<(usize, u64)> = Vec::new();
    for shade in 0..DENSITY.len() {
        let low = ((most + 1) as f64).powf(shade as f64 / DENSITY.len() as f64);
        let candidates = [low.floor(), low.ceil(), low.ceil() + 1.0].map(|n| n.max(1.0) as u64);
        if let Some(n) = candidates.into_iter().find(|&n| n <= most && level(n, most) == shade) {
            starts.push((shade, n));
        }
    }
    starts
}

fn levels(most: u64) -> usize {
    shade_starts(most).len()
}

/// The hexagon whose centre is nearest: of two lattices of rectangles, as every hexbin does it.
fn nearest(x: f64, y: f64) -> (i32, i32) {
    let height = 3.0 * SIDE;
    let (column, row) = ((x / WIDTH).round(), (y / height).round());
    let (half_column, half_row) = ((x / WIDTH - 0.5).round(), (y / height - 0.5).round());
    let distance = |cx: f64, cy: f64| (x - cx).powi(2) + (y - cy).powi(2);
    let even = distance(column * WIDTH, row * height);
    let odd = distance((half_column + 0.5) * WIDTH, (half_row + 0.5) * height);
    match even <= odd {
        true => (2 * column as i32, 2 * row as i32),
        false => (2 * half_column as i32 + 1, 2 * half_row as i32 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        Axes::new(Rect { x: 10.0, y: 5.0, width: 100.0, height: 80.0 }, (0.0, 1.0), (0.0, 1.0))
    }

    #[test]
    fn every_finite_point_inside_is_in_one_hexagon() {
        let points: Vec<(f64, f64)> = (0..5_000)
            .map(|i| ((i * 7919 % 5003) as f64 / 5003.0, (i * 104_729 % 4999) as f64 / 4999.0))
            .chain([(0.0, 0.0), (1.0, 1.0)])
            .collect();
        let outside = [(f64::NAN, 0.5), (0.5, f64::INFINITY), (1.5, 0.5)];
        let bins = Hexbin::new(&axes(), points.iter().copied().chain(outside));
        assert_eq!(bins.points(), points.len() as u64);
        assert!(bins.bins.len() > 50);
    }

    #[test]
    fn a_centre_is_nearest_to_itself_and_points_are_within_a_side() {
        for column in 0..9 {
            for row in (column % 2..9).step_by(2) {
                let (x, y) = (f64::from(column) * WIDTH / 2.0, f64::from(row) * 1.5 * SIDE);
                assert_eq!(nearest(x, y), (column, row));
                assert_eq!(nearest(x + 0.49 * WIDTH, y), (column, row));
                assert_eq!(nearest(x, y - 0.99 * SIDE), (column, row));
            }
        }
    }

    #[test]
    fn more_points_are_not_a_larger_figure() {
        let size = |n: usize| {
            let points = (0..n).map(|i| ((i % 997) as f64 / 997.0, (i % 991) as f64 / 991.0));
            let mut canvas = Canvas::new(200.0, 100.0);
            Hexbin::new(&axes(), points).draw(&mut canvas, &axes());
            canvas.svg().len()
        };
        assert!(size(300_000) < 40_000, "{}", size(300_000));
    }

    #[test]
    fn shades_rise_with_the_count_and_the_key_names_where_each_begins() {
        for most in [1, 2, 3, 10, 5_000] {
            let levels: Vec<usize> = (1..=most).map(|n| level(n, most)).collect();
            assert!(levels.is_sorted());
            for (shade, from) in shade_starts(most) {
                assert_eq!(level(from, most), shade);
                assert!(from == 1 || level(from - 1, most) < shade, "{most} {shade} {from}");
            }
        }
        assert_eq!(level(5_000, 5_000), DENSITY.len() - 1);
    }
}
