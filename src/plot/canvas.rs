//! A figure in pixels: rectangles, lines, outlines and text, written as SVG and PNG.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::{tiny_skia, usvg};

use super::font::{self, Segment};
use super::{BASE_COLORS, INK};
use crate::files::atomic;

/// Pixels of the PNG for each pixel of the SVG: sharp on today's screens and in print.
const PNG_SCALE: f32 = 2.0;

/// A rectangle, px; y grows downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub struct Stroke<'a> {
    pub color: &'a str,
    /// px
    pub width: f64,
    pub dashed: bool,
}

impl<'a> Stroke<'a> {
    pub fn new(color: &'a str, width: f64) -> Self {
        Self { color, width, dashed: false }
    }

    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }
}

/// Which point of a text is put where it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// px
    pub size: f64,
    pub anchor: Anchor,
    pub bold: bool,
    pub color: &'a str,
    /// Reads upwards instead of to the right.
    pub upwards: bool,
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self { size: 12.0, anchor: Anchor::Start, bold: false, color: INK, upwards: false }
    }
}

/// A figure on white.
pub struct Canvas {
    width: f64,
    height: f64,
    /// SVG elements so far.
    body: String,
}

impl Canvas {
    pub fn new(width: f64, height: f64) -> Self {
        let mut canvas = Self { width, height, body: String::new() };
        canvas.rect(Rect { x: 0.0, y: 0.0, width, height }, "white");
        canvas
    }

    fn push(&mut self, element: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub fn rect(&mut self, r: Rect, fill: &str) {
        let [x, y, w, h] = [r.x, r.y, r.width, r.height].map(Px);
        self.push(format_args!(
            r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}"/>"#
        ));
    }

    /// Straight lines from point to point.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let mut text = String::new();
        for &(x, y) in points {
            let _ = write!(text, "{},{} ", Px(x), Px(y));
        }
        let dash = if stroke.dashed { r#" stroke-dasharray="5 3""# } else { "" };
        self.push(format_args!(
            r#"<polyline points="{}" fill="none" stroke="{}" stroke-width="{}" stroke-linejoin="round"{dash}/>"#,
            text.trim_end(),
            stroke.color,
            Px(stroke.width)
        ));
    }

    /// The area inside an outline given as SVG path data.
    pub fn path(&mut self, d: &str, fill: &str) {
        self.push(format_args!(r#"<path d="{d}" fill="{fill}"/>"#));
    }

    /// The area between `points` and the closing line from the last to the first.
    pub fn area(&mut self, points: &[(f64, f64)], fill: &str, opacity: f64) {
        let mut d = String::new();
        for (i, &(x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{} {}", if i == 0 { 'M' } else { 'L' }, Px(x), Px(y));
        }
        self.push(format_args!(r#"<path d="{d}Z" fill="{fill}" fill-opacity="{opacity}"/>"#));
    }

    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, fill: &str) {
        let [x, y, radius] = [x, y, radius].map(Px);
        self.push(format_args!(r#"<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}"/>"#));
    }

    /// A text whose baseline passes through `(x, y)`.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, style: Text) {
        let [x, y] = [x, y].map(Px);
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { r#" font-weight="bold""# } else { "" };
        let turn = match style.upwards {
            true => format!(r#" transform="rotate(-90 {x} {y})""#),
            false => String::new(),
        };
        self.push(format_args!(
            r#"<text x="{x}" y="{y}" font-size="{}" text-anchor="{anchor}" fill="{}"{weight}{turn}>{}</text>"#,
            Px(style.size),
            style.color,
            escaped(text)
        ));
    }

    /// The letter of a base (0..=3 = ACGT), stretched to fill `r`.
    pub fn base(&mut self, base: usize, r: Rect) {
        let mut d = String::new();
        let at =
            |p: [f64; 2]| format!("{} {}", Px(r.x + p[0] * r.width), Px(r.y + p[1] * r.height));
        for segment in &font::bases()[base] {
            let _ = match *segment {
                Segment::Move(p) => write!(d, "M{}", at(p)),
                Segment::Line(p) => write!(d, "L{}", at(p)),
                Segment::Quad(p) => write!(d, "Q{} {}", at(p[0]), at(p[1])),
                Segment::Cubic(p) => write!(d, "C{} {} {}", at(p[0]), at(p[1]), at(p[2])),
                Segment::Close => write!(d, "Z"),
            };
        }
        self.push(format_args!(r#"<path d="{d}" fill="{}"/>"#, BASE_COLORS[base]));
    }

    pub fn svg(&self) -> String {
        self.element("xmlns=\"http://www.w3.org/2000/svg\"")
    }

    /// The figure as an element of an HTML page, `alt` for those who cannot see it.
    pub fn inline_svg(&self, alt: &str) -> String {
        self.element(&format!("role=\"img\" aria-label=\"{}\"", escaped(alt)))
    }

    fn element(&self, attributes: &str) -> String {
        let [w, h] = [self.width, self.height].map(Px);
        format!(
            "<svg {attributes} width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {w} {h}\" font-family=\"{}\">\n{}</svg>\n",
            font::FAMILY,
            self.body
        )
    }

    pub fn png(&self) -> Result<Vec<u8>> {
        let mut options = usvg::Options::default();
        let fonts = Arc::make_mut(&mut options.fontdb);
        for file in font::files() {
            fonts.load_font_data(file.to_vec());
        }
        let tree = usvg::Tree::from_str(&self.svg(), &options).context("cannot read own SVG")?;
        let size = tree.size();
        let [w, h] = [size.width(), size.height()].map(|v| (v * PNG_SCALE).ceil() as u32);
        let mut pixels =
            tiny_skia::Pixmap::new(w, h).context("a figure must have a width and a height")?;
        let scale = tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE);
        resvg::render(&tree, scale, &mut pixels.as_mut());
        Ok(pixels.encode_png()?)
    }

    /// Writes `<prefix>.svg` and `<prefix>.png`; the folder must exist.
    pub fn write(&self, prefix: &Path) -> Result<()> {
        atomic::write(&with_extension(prefix, "svg"), |out| {
            Ok(std::io::Write::write_all(out, self.svg().as_bytes())?)
        })?;
        let png = self.png()?;
        atomic::write(&with_extension(prefix, "png"), |out| {
            Ok(std::io::Write::write_all(out, &png)?)
        })
    }
}

/// `out/run1.x` + `svg` -> `out/run1.x.svg`: a dot in a prefix is no extension.
pub fn with_extension(prefix: &Path, extension: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_os_string();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// A coordinate with at most two decimals: below what an eye or a printer resolves.
pub(super) struct Px(pub f64);

impl std::fmt::Display for Px {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounded = (self.0 * 100.0).round() / 100.0;
        // -0 would be printed with its sign
        write!(f, "{}", if rounded == 0.0 { 0.0 } else { rounded })
    }
}

/// Text as XML can hold it; names from files may contain anything, control characters too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_short() {
        let mut canvas = Canvas::new(30.0, 20.0);
        canvas.text((1.0 / 3.0, -0.001), "a < b & c", Text::default());
        let svg = canvas.svg();
        assert!(svg.contains(r#"x="0.33" y="0""#), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c"), "{svg}");
    }

    #[test]
    fn hostile_text_still_makes_a_figure() {
        let mut canvas = Canvas::new(30.0, 20.0);
        canvas.text((0.0, 9.0), "\u{0}\u{1b}\u{ffff}\"><script>", Text::default());
        canvas.png().unwrap();
        let html = canvas.inline_svg("a \"b\" <c>");
        assert!(html.contains(r#"aria-label="a &quot;b&quot; &lt;c&gt;""#), "{html}");
        assert!(!html.contains("<script>") && !html.contains("http"), "{html}");
    }

    #[test]
    fn png_shows_shapes_and_text() {
        let draw = |text: &str| {
            let mut canvas = Canvas::new(40.0, 20.0);
            canvas.text((2.0, 15.0), text, Text { color: "#0000ff", ..Text::default() });
            canvas.base(3, Rect { x: 30.0, y: 0.0, width: 10.0, height: 20.0 });
            let png = canvas.png().unwrap();
            tiny_skia::Pixmap::decode_png(&png).unwrap()
        };
        let (with, without) = (draw("cut"), draw(""));
        assert_eq!((with.width(), with.height()), (80, 40));
        assert_ne!(with.data(), without.data(), "text needs the embedded font");
        let corner = with.pixel(79, 1).unwrap();
        assert_eq!((corner.red(), corner.green()), (0xd6, 0x28), "T fills its box");
    }

    #[test]
    fn a_prefix_keeps_its_dots() {
        assert_eq!(with_extension(Path::new("o/a.b"), "svg"), Path::new("o/a.b.svg"));
    }
}
