//! The one door to data that is not in this repository: goldens of the official implementation,
//! real trained models, real yeast data.
//!
//! Folders: `CBP_GOLDENS`, `CBP_MODELS`, `CBP_YEAST`, by default in `../shared` beside the checkout.
//! A test whose folder is missing says `skipped:` and passes; with `CBP_REQUIRE_SHARED=1` it fails.

use std::path::{Path, PathBuf};

fn folder(variable: &str, default: &str) -> Option<PathBuf> {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(default),
    };
    if path.is_dir() {
        return Some(path);
    }
    let reason = format!("{} is not there ({variable} names another folder)", path.display());
    assert!(
        std::env::var_os("CBP_REQUIRE_SHARED").is_none_or(|v| v != "1"),
        "CBP_REQUIRE_SHARED=1, but {reason}"
    );
    println!("skipped: {reason}");
    None
}

/// Goldens of the official implementation.
pub fn goldens() -> Option<PathBuf> {
    folder("CBP_GOLDENS", "goldens")
}

/// Real trained models and their goldens.
pub fn models() -> Option<PathBuf> {
    folder("CBP_MODELS", "data/models")
}

/// Real yeast ATAC-seq data.
pub fn yeast() -> Option<PathBuf> {
    folder("CBP_YEAST", "data/yeast-atac")
}
