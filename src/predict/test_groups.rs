//! Which regions of a test set are evaluated together, and what their metrics and figures are called.

/// A group of test regions.
pub struct Group {
    /// key in metrics files
    pub key: &'static str,
    /// in the names of figures
    pub in_names: &'static str,
    pub words: &'static str,
    /// peaks, nonpeaks or both
    pub peaks: Option<bool>,
}

/// The groups of the official evaluation of a test set.
pub const GROUPS: [Group; 3] = [
    Group { key: "peaks", in_names: "only_peaks", words: "test peaks", peaks: Some(true) },
    Group {
        key: "nonpeaks",
        in_names: "only_nonpeaks",
        words: "test nonpeaks",
        peaks: Some(false),
    },
    Group {
        key: "peaks_and_nonpeaks",
        in_names: "peaks_and_nonpeaks",
        words: "test peaks and nonpeaks",
        peaks: None,
    },
];
