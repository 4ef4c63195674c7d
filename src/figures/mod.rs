//! The figures of a report: numbers in, one canvas out. Colours and their meaning are the same in
//! all of them: grey observed, blue predicted, orange bias, green without bias.

pub mod contributions;
pub mod counts;
pub mod examples;
pub mod jsd;
pub mod loss;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::Result;

use crate::defect;
use crate::files::atomic;
use crate::plot::Canvas;

/// A figure and what it says to those who cannot see it.
pub struct Figure {
    pub canvas: Canvas,
    pub alt: String,
}

impl Figure {
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let png = self.canvas.png()?;
        atomic::write(path, |out| Ok(out.write_all(&png)?))
    }
}

/// Runs `call`; an error or a panic becomes its text: a figure is never worth the run it belongs to.
pub fn fenced<T>(call: impl FnOnce() -> Result<T>) -> Result<T, String> {
    // What `call` borrowed is only read afterwards.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => {
            let problem = defect::of(&*panic);
            Err(format!("this part failed unexpectedly; the rest is whole ({problem:#})"))
        }
    }
}

/// Lowest and highest finite value with a little room; 0 to 1 where there is none.
fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.into_iter().filter(|v| v.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    match low <= high {
        true => {
            let room = ((high - low) * 0.04).max(1e-9);
            (low - room, high + room)
        }
        false => (0.0, 1.0),
    }
}
