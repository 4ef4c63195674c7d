//! Small plots for people: one description, an SVG and a PNG that look alike everywhere.
//!
//! In: numbers. Out: `<prefix>.svg` and `<prefix>.png`. A figure is a `Canvas` that is drawn on in
//! pixels; `Axes` maps data to a part of it and draws frame, ticks, labels and legend; `logo`
//! stacks the letters of a sequence logo. The PNG is the SVG, rendered by resvg. Fonts come from
//! the binary (DejaVu), so neither system libraries nor system fonts are needed.

pub mod axes;
pub mod canvas;
mod font;
pub mod hexbin;
pub mod histogram;
pub mod logo;

pub use axes::Axes;
pub use canvas::{Anchor, Canvas, Rect, Stroke, Text};
pub use font::width as text_width;

/// Colours of A, C, G, T, as logos usually have them: green, blue, orange, red; all of them are
/// readable as lines on white.
pub const BASE_COLORS: [&str; 4] = ["#109648", "#255c99", "#f09000", "#d62839"];

/// Text, frames and ticks.
pub const INK: &str = "#222222";
/// What should stay in the background.
pub const FAINT: &str = "#999999";

/// What a line or an area stands for, the same in every figure. From the palette of Okabe and Ito,
/// whose colours the colour-blind tell apart.
pub mod palette {
    pub const OBSERVED: &str = "#6b6b6b";
    pub const PREDICTED: &str = "#0072b2";
    pub const BIAS: &str = "#d55e00";
    pub const NOBIAS: &str = "#009e73";
    /// A baseline: shuffled labels, training against validation.
    pub const BASELINE: &str = "#999999";

    /// From few to many, light to dark, one hue: readable in grey and by the colour-blind.
    pub const DENSITY: [&str; 7] =
        ["#b3cfe8", "#8fbfdf", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b"];
}
