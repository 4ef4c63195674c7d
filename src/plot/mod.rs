//! Small plots for people: one description, an SVG and a PNG that look alike everywhere.
//!
//! In: numbers. Out: `<prefix>.svg` and `<prefix>.png`. A figure is a `Canvas` that is drawn on in
//! pixels; `Axes` maps data to a part of it and draws frame, ticks, labels and legend; `logo`
//! stacks the letters of a sequence logo. The PNG is the SVG, rendered by resvg. Fonts come from
//! the binary (DejaVu), so neither system libraries nor system fonts are needed.

pub mod axes;
pub mod canvas;
mod font;
pub mod logo;

pub use axes::Axes;
pub use canvas::{Anchor, Canvas, Rect, Stroke, Text};

/// Colours of A, C, G, T, as logos usually have them: green, blue, orange, red; all of them are
/// readable as lines on white.
pub const BASE_COLORS: [&str; 4] = ["#109648", "#255c99", "#f09000", "#d62839"];

/// Text, frames and ticks.
pub const INK: &str = "#222222";
/// What should stay in the background.
pub const FAINT: &str = "#999999";
