//! The two fonts that are part of the binary: widths of text, outlines of the letters of logos.

use std::sync::LazyLock;

use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::{FontRef, MetadataProvider};

/// What SVG viewers should use; the last names are for those without DejaVu.
pub const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Regular and bold, for the PNG.
pub fn files() -> [&'static [u8]; 2] {
    [dejavu::sans::regular(), dejavu::sans::bold()]
}

fn face(bold: bool) -> FontRef<'static> {
    let [regular, heavy] = files();
    // The font is compiled in; the tests below read both.
    FontRef::new(if bold { heavy } else { regular }).expect("the embedded font is whole")
}

/// Width of `text` at `size` px, in px.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let face = face(bold);
    let charmap = face.charmap();
    let metrics = face.glyph_metrics(Size::new(size as f32), LocationRef::default());
    text.chars()
        .filter_map(|c| charmap.map(c))
        .map(|glyph| f64::from(metrics.advance_width(glyph).unwrap_or(0.0)))
        .sum()
}

/// A piece of an outline; points lie in the unit box, y downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Segment {
    Move([f64; 2]),
    Line([f64; 2]),
    Quad([[f64; 2]; 2]),
    Cubic([[f64; 2]; 3]),
    Close,
}

/// Outlines of the bold A, C, G, T, each stretched to fill the unit box exactly, so that a stack
/// of letters is as high as its numbers say.
pub fn bases() -> &'static [Vec<Segment>; 4] {
    static BASES: LazyLock<[Vec<Segment>; 4]> =
        LazyLock::new(|| ['A', 'C', 'G', 'T'].map(unit_outline));
    &BASES
}

fn unit_outline(letter: char) -> Vec<Segment> {
    let face = face(true);
    let mut outline = Outline::default();
    if let Some(glyph) = face.charmap().map(letter).and_then(|id| face.outline_glyphs().get(id)) {
        let settings = DrawSettings::unhinted(Size::unscaled(), LocationRef::default());
        // The font is compiled in; the tests below draw all four letters.
        glyph.draw(settings, &mut outline).expect("the embedded font is whole");
    }
    let Outline { segments, low, high } = outline;
    let unit =
        |p: [f64; 2]| [(p[0] - low[0]) / (high[0] - low[0]), (high[1] - p[1]) / (high[1] - low[1])];
    segments
        .into_iter()
        .map(|segment| match segment {
            Segment::Move(p) => Segment::Move(unit(p)),
            Segment::Line(p) => Segment::Line(unit(p)),
            Segment::Quad(p) => Segment::Quad(p.map(unit)),
            Segment::Cubic(p) => Segment::Cubic(p.map(unit)),
            Segment::Close => Segment::Close,
        })
        .collect()
}

/// An outline in font units, y upwards, with the box of its points. Letters touch their box with
/// points on the curve, so control points do not widen it.
struct Outline {
    segments: Vec<Segment>,
    low: [f64; 2],
    high: [f64; 2],
}

impl Default for Outline {
    fn default() -> Self {
        Self { segments: Vec::new(), low: [f64::INFINITY; 2], high: [f64::NEG_INFINITY; 2] }
    }
}

impl Outline {
    fn point(&mut self, x: f32, y: f32) -> [f64; 2] {
        let p = [f64::from(x), f64::from(y)];
        self.low = [self.low[0].min(p[0]), self.low[1].min(p[1])];
        self.high = [self.high[0].max(p[0]), self.high[1].max(p[1])];
        p
    }
}

impl OutlinePen for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let p = self.point(x, y);
        self.segments.push(Segment::Move(p));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let p = self.point(x, y);
        self.segments.push(Segment::Line(p));
    }

    fn quad_to(&mut self, cx0: f32, cy0: f32, x: f32, y: f32) {
        let p = [self.point(cx0, cy0), self.point(x, y)];
        self.segments.push(Segment::Quad(p));
    }

    fn curve_to(&mut self, cx0: f32, cy0: f32, cx1: f32, cy1: f32, x: f32, y: f32) {
        let p = [self.point(cx0, cy0), self.point(cx1, cy1), self.point(x, y)];
        self.segments.push(Segment::Cubic(p));
    }

    fn close(&mut self) {
        self.segments.push(Segment::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_fill_their_box() {
        for outline in bases() {
            let mut points = Vec::new();
            for segment in outline {
                match segment {
                    Segment::Move(p) | Segment::Line(p) => points.push(*p),
                    Segment::Quad(p) => points.extend(p),
                    Segment::Cubic(p) => points.extend(p),
                    Segment::Close => {}
                }
            }
            for axis in 0..2 {
                let low = points.iter().map(|p| p[axis]).fold(f64::INFINITY, f64::min);
                let high = points.iter().map(|p| p[axis]).fold(f64::NEG_INFINITY, f64::max);
                assert_eq!((low, high), (0.0, 1.0));
            }
        }
    }

    #[test]
    fn wider_text_is_wider() {
        assert_eq!(width("", 12.0, false), 0.0);
        let (narrow, wide) = (width("ill", 12.0, false), width("MMM", 12.0, false));
        assert!(narrow > 0.0 && wide > 2.0 * narrow, "{narrow} {wide}");
        assert!(width("cut", 24.0, true) > width("cut", 12.0, true));
    }
}
