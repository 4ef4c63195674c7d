//! Fold files, as `prep splits` leaves them and `input::folds` reads them.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::atomic;
use crate::input::folds::Folds;

/// Writes a fold as the official tool does: keys in the order test, valid, train; four spaces; no
/// newline at the end.
pub fn write(path: &Path, folds: &Folds) -> Result<()> {
    let value = json!({"test": folds.test, "valid": folds.valid, "train": folds.train});
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))?;
    atomic::write(path, |out| Ok(out.write_all(&text)?))
}
