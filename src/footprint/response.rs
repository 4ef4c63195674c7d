//! Does a model still answer to its enzyme's motifs?

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use super::Footprint;
use crate::error::Problem;
use crate::files::{atomic, text};

/// The largest response of a model whose bias is corrected. Source: official `marginal_footprinting`.
pub const LIMIT: f32 = 0.003;

/// The highest point of each enzyme motif's footprint.
#[derive(Clone, Debug, PartialEq)]
pub struct BiasResponse {
    /// Probability, rounded to 3 decimals as officially, since the verdict hangs on what is printed.
    pub highest: Vec<f32>,
}

impl BiasResponse {
    /// The response that the footprints of an enzyme's motifs show; `None` where there are none.
    pub fn of<'a>(footprints: impl IntoIterator<Item = &'a Footprint>) -> Option<Self> {
        let highest: Vec<f32> = footprints
            .into_iter()
            .map(|f| round(f.profile.iter().copied().fold(f32::NEG_INFINITY, larger)))
            .collect();
        (!highest.is_empty()).then_some(Self { highest })
    }

    /// Every response lies below the limit.
    pub fn is_corrected(&self) -> bool {
        self.highest.iter().all(|h| *h < LIMIT)
    }

    /// Mean of the responses, rounded like each of them.
    pub fn mean(&self) -> f32 {
        round(self.highest.iter().sum::<f32>() / self.highest.len() as f32)
    }

    /// `corrected_<mean>_<a/b/...>` or `uncorrected_...`: the official file's one line.
    pub fn line(&self) -> String {
        let verdict = if self.is_corrected() { "corrected" } else { "uncorrected" };
        let each: Vec<String> = self.highest.iter().map(|h| print(*h)).collect();
        format!("{verdict}_{}_{}", print(self.mean()), each.join("/"))
    }

    /// Reads the official file; `None` where there is none, or it holds anything else.
    ///
    /// Errors: a file that cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, Problem> {
        Ok(text::read(path)?.and_then(|text| Self::parse(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('_');
        matches!(parts.next()?, "corrected" | "uncorrected").then_some(())?;
        let each = parts.nth(1)?.split('/').map(|h| h.parse().ok());
        Some(Self { highest: each.collect::<Option<_>>()? })
    }

    /// Writes `*_max_bias_response.txt`, without a newline as officially.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, |out| Ok(out.write_all(self.line().as_bytes())?))
    }
}

/// NaN wins, as in NumPy's `max`.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// NumPy's `round(x, 3)` of an f32.
fn round(x: f32) -> f32 {
    (x * 1000.0).round_ties_even() / 1000.0
}

/// The number as Python prints it: with at least one decimal.
fn print(x: f32) -> String {
    if x.is_nan() { "nan".into() } else { format!("{x:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(highest: &[f32]) -> BiasResponse {
        let footprints: Vec<Footprint> = highest
            .iter()
            .map(|h| Footprint { name: "tn5".into(), profile: vec![0.0, *h, 0.001], counts: 1.0 })
            .collect();
        BiasResponse::of(&footprints).unwrap()
    }

    #[test]
    fn the_official_line() {
        assert_eq!(response(&[0.00249, 0.0021]).line(), "corrected_0.002_0.002/0.002");
        // One motif is enough; numpy: np.round(np.mean([0.013, 0.002], dtype=float32), 3) = 0.008
        assert_eq!(response(&[0.0131, 0.0021]).line(), "uncorrected_0.008_0.013/0.002");
        // The rounded value counts: 0.0025001 prints as 0.003, which is not below the limit.
        assert_eq!(response(&[0.002_500_1]).line(), "uncorrected_0.003_0.003");
        assert_eq!(response(&[0.0012]).line(), "corrected_0.001_0.001");
        assert_eq!(response(&[f32::NAN]).line(), "uncorrected_nan_nan");
        assert_eq!(response(&[1.0]).line(), "uncorrected_1.0_1.0");
        assert_eq!(BiasResponse::of(&[]), None);
    }

    #[test]
    fn the_file_is_read_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_max_bias_response.txt");
        assert_eq!(BiasResponse::read(&path).unwrap(), None);
        let wanted = response(&[0.0131, 0.0021]);
        wanted.write(&path).unwrap();
        assert_eq!(BiasResponse::read(&path).unwrap(), Some(wanted));
        for text in
            ["something_else_0.1", "perfect_0_0", "", "corrected_0.1", "corrected_0.1_x/0.1"]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(BiasResponse::read(&path).unwrap(), None, "{text}");
        }
        // A folder cannot be read as a file.
        assert!(BiasResponse::read(folder.path()).is_err());
    }
}
