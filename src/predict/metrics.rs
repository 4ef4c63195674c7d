//! The official evaluation of a test set: counts and profiles, for peaks, nonpeaks and both.
//!
//! In: one region at a time, as predictions come. Out: `*_metrics.json` in the official layout.
//! Memory: a few numbers a region.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use super::profile_distance::{profile_distance, shuffled_jsd};
use crate::error::Problem;
use crate::files::{atomic, text};
use crate::numpy::correlation::{CountsMetrics, counts_metrics};
use crate::numpy::float_text;
use crate::numpy::quantile::nanmedian;
use crate::numpy::random::RandomState;

/// Medians over the regions of a group; NaN distances are skipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProfileMetrics {
    pub median_jsd: f64,
    pub median_norm_jsd: f64,
}

/// Everything about one group of regions.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMetrics {
    /// `peaks_and_nonpeaks`, `nonpeaks`, `peaks`, or `regions`.
    pub name: &'static str,
    /// Number of regions.
    pub regions: usize,
    pub counts: CountsMetrics,
    pub profile: ProfileMetrics,
}

/// The metrics of a run, group by group in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    pub groups: Vec<GroupMetrics>,
}

impl Metrics {
    pub fn group(&self, name: &str) -> Option<&GroupMetrics> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// Pearson correlation of log counts in one group, `None` where the group has no regions.
    pub fn counts_pearsonr(&self, group: &str) -> Option<f64> {
        self.group(group).map(|g| g.counts.pearsonr)
    }

    /// The file's text: the official keys in the official order, four spaces a level, numbers as
    /// Python prints them. A value that does not exist (a correlation with a constant) is `NaN`,
    /// as Python's json module writes and reads it.
    pub fn to_json(&self) -> String {
        let counts = self.groups.iter().map(|g| {
            let CountsMetrics { spearmanr, pearsonr, mse } = g.counts;
            (g.name, vec![("spearmanr", spearmanr), ("pearsonr", pearsonr), ("mse", mse)])
        });
        let profile = self.groups.iter().map(|g| {
            let ProfileMetrics { median_jsd, median_norm_jsd } = g.profile;
            (g.name, vec![("median_jsd", median_jsd), ("median_norm_jsd", median_norm_jsd)])
        });
        format!(
            "{{\n    \"counts_metrics\": {},\n    \"profile_metrics\": {}\n}}",
            json_groups(counts),
            json_groups(profile)
        )
    }
}

fn json_groups(groups: impl Iterator<Item = (&'static str, Vec<(&'static str, f64)>)>) -> String {
    let groups: Vec<String> = groups
        .map(|(name, values)| {
            let values: Vec<String> = values
                .into_iter()
                .map(|(key, value)| format!("            \"{key}\": {}", json_number(value)))
                .collect();
            format!("        \"{name}\": {{\n{}\n        }}", values.join(",\n"))
        })
        .collect();
    if groups.is_empty() { "{}".into() } else { format!("{{\n{}\n    }}", groups.join(",\n")) }
}

fn json_number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        float_text::repr(value)
    }
}

/// One line a group, for people.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, g) in self.groups.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            write!(
                f,
                "{} ({} regions): counts pearsonr {:.4}, spearmanr {:.4}, mse {:.4}; profile median_jsd {:.4}, median_norm_jsd {:.4}",
                g.name,
                g.regions,
                g.counts.pearsonr,
                g.counts.spearmanr,
                g.counts.mse,
                g.profile.median_jsd,
                g.profile.median_norm_jsd
            )?;
        }
        Ok(())
    }
}

/// Pearson correlation of log counts in one group of a `*_metrics.json`; NaN where the file says so,
/// `None` where there is no such file or it has no such group.
///
/// Errors: a file that cannot be read or is no JSON.
pub fn read_counts_pearsonr(path: &Path, group: &str) -> Result<Option<f64>, Problem> {
    let Some(text) = text::read(path)? else { return Ok(None) };
    // Python's NaN is no JSON.
    let metrics: serde_json::Value =
        serde_json::from_str(&text.replace("NaN", "null")).map_err(|e| {
            Problem::new(format!("the metrics are no JSON: {e}"))
                .at(path.display())
                .fix("make them again with `predict --bigwig`")
        })?;
    let value = metrics.get("counts_metrics").and_then(|m| m.get(group)?.get("pearsonr"));
    let value = value.filter(|r| r.is_number() || r.is_null());
    Ok(value.map(|r| r.as_f64().unwrap_or(f64::NAN)))
}

/// Writes `*_metrics.json`.
pub fn write_json(path: &Path, metrics: &Metrics) -> Result<()> {
    atomic::write(path, |out| Ok(out.write_all(metrics.to_json().as_bytes())?))
}

/// Scores of single regions, gathered as they are predicted.
#[derive(Clone, Debug, Default)]
pub struct RegionScores {
    is_peak: Vec<bool>,
    /// ln(1 + total counts)
    labels: Vec<f64>,
    predictions: Vec<f32>,
    jsd: Vec<f64>,
    norm_jsd: Vec<f64>,
    /// for figures
    shuffled_jsd: Option<Vec<f64>>,
}

/// What figures show of some regions, `[n]` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// ln(1 + total counts)
    pub observed: Vec<f64>,
    /// logcounts
    pub predicted: Vec<f32>,
    pub jsd: Vec<f64>,
    /// distance of the observed profile to itself in a random order
    pub shuffled_jsd: Vec<f64>,
}

impl RegionScores {
    /// Scores that can be `shown`: every region is compared with its own counts in a random order too.
    pub fn for_figures() -> Self {
        Self { shuffled_jsd: Some(Vec::new()), ..Self::default() }
    }

    /// Is there a peak, or a region that is none?
    pub fn has(&self, peaks: bool) -> bool {
        self.is_peak.contains(&peaks)
    }

    /// The regions that are peaks, that are not, or all. Empty unless they are `for_figures`.
    pub fn shown(&self, peaks: Option<bool>) -> Shown {
        let mut shown = Shown::default();
        for (i, shuffled) in self.shuffled_jsd.iter().flatten().enumerate() {
            if peaks.is_none_or(|peaks| peaks == self.is_peak[i]) {
                shown.observed.push(self.labels[i]);
                shown.predicted.push(self.predictions[i]);
                shown.jsd.push(self.jsd[i]);
                shown.shuffled_jsd.push(*shuffled);
            }
        }
        shown
    }

    /// Scores one region: observed `counts` and predicted `logits`, both [outputlen], and the
    /// predicted `logcount`.
    pub fn push(&mut self, is_peak: bool, counts: &[f32], logits: &[f32], logcount: f32) {
        let total: f64 = counts.iter().copied().map(f64::from).sum();
        let distance = profile_distance(counts, logits);
        if let Some(shuffled) = &mut self.shuffled_jsd {
            // Seeded by the row, as in reports.
            let mut random = RandomState::new(self.is_peak.len() as u32);
            shuffled.push(shuffled_jsd(counts, &mut random));
        }
        self.is_peak.push(is_peak);
        self.labels.push((1.0 + total).ln());
        self.predictions.push(logcount);
        self.jsd.push(distance.jsd);
        self.norm_jsd.push(distance.norm_jsd);
    }

    /// Groups `peaks_and_nonpeaks` (where there are both), `nonpeaks` and `peaks`; a group without
    /// regions is left out.
    pub fn peaks_and_nonpeaks(&self) -> Metrics {
        let mut groups = Vec::new();
        if self.has(true) && self.has(false) {
            groups.push(self.group("peaks_and_nonpeaks", |_| true));
        }
        if self.has(false) {
            groups.push(self.group("nonpeaks", |is_peak| !is_peak));
        }
        if self.has(true) {
            groups.push(self.group("peaks", |is_peak| is_peak));
        }
        Metrics { groups }
    }

    /// One group, `regions`, as the official `pred_bw` names it.
    pub fn regions(&self) -> Metrics {
        Metrics { groups: vec![self.group("regions", |_| true)] }
    }

    fn group(&self, name: &'static str, belongs: impl Fn(bool) -> bool) -> GroupMetrics {
        let rows: Vec<usize> =
            (0..self.is_peak.len()).filter(|&i| belongs(self.is_peak[i])).collect();
        let pick = |values: &[f64]| rows.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        let predictions: Vec<f32> = rows.iter().map(|&i| self.predictions[i]).collect();
        GroupMetrics {
            name,
            regions: rows.len(),
            counts: counts_metrics(&pick(&self.labels), &predictions),
            profile: ProfileMetrics {
                median_jsd: nanmedian(&pick(&self.jsd)),
                median_norm_jsd: nanmedian(&pick(&self.norm_jsd)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_official_layout() {
        let mut scores = RegionScores::default();
        for (is_peak, n) in [(true, 7.0), (false, 1.0), (true, 3.0)] {
            scores.push(is_peak, &[n, 0.0], &[500.0, 0.0], n);
        }
        let metrics = scores.peaks_and_nonpeaks();
        let names: Vec<&str> = metrics.groups.iter().map(|g| g.name).collect();
        assert_eq!(names, ["peaks_and_nonpeaks", "nonpeaks", "peaks"]);
        let peaks_only = Metrics { groups: vec![metrics.groups[2].clone()] };
        let mse = ((7.0 - 8.0f64.ln()).powi(2) + (3.0 - 4.0f64.ln()).powi(2)) / 2.0;
        assert_eq!(
            peaks_only.to_json(),
            format!(
                "{{\n    \"counts_metrics\": {{\n        \"peaks\": {{\n            \
                 \"spearmanr\": 1.0,\n            \"pearsonr\": 1.0,\n            \"mse\": {mse:?}\n        \
                 }}\n    }},\n    \"profile_metrics\": {{\n        \"peaks\": {{\n            \
                 \"median_jsd\": NaN,\n            \"median_norm_jsd\": NaN\n        }}\n    }}\n}}"
            )
        );
        assert_eq!(metrics.counts_pearsonr("peaks"), Some(1.0));
        assert_eq!(metrics.counts_pearsonr("regions"), None);
        assert!(metrics.to_string().starts_with("peaks_and_nonpeaks (3 regions): counts pearsonr"));
    }

    #[test]
    fn groups_without_regions_are_left_out() {
        let mut scores = RegionScores::default();
        assert!(scores.peaks_and_nonpeaks().groups.is_empty());
        let empty = "{\n    \"counts_metrics\": {},\n    \"profile_metrics\": {}\n}";
        assert_eq!(Metrics::default().to_json(), empty);
        scores.push(false, &[1.0, 2.0], &[0.0, 1.0], 1.0);
        let metrics = scores.peaks_and_nonpeaks();
        assert_eq!(metrics.groups.len(), 1);
        assert_eq!((metrics.groups[0].name, metrics.groups[0].regions), ("nonpeaks", 1));
        assert_eq!(scores.regions().groups[0].name, "regions");
    }

    #[test]
    fn a_correlation_is_read_is_absent_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_metrics.json");
        assert_eq!(read_counts_pearsonr(&path, "peaks").unwrap(), None);
        std::fs::write(
            &path,
            r#"{"counts_metrics": {"peaks": {"pearsonr": 0.5}, "nonpeaks": {"pearsonr": NaN}}}"#,
        )
        .unwrap();
        assert_eq!(read_counts_pearsonr(&path, "peaks").unwrap(), Some(0.5));
        assert!(read_counts_pearsonr(&path, "nonpeaks").unwrap().unwrap().is_nan());
        assert_eq!(read_counts_pearsonr(&path, "peaks_and_nonpeaks").unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        let cut = read_counts_pearsonr(&path, "peaks").unwrap_err();
        assert!(cut.to_string().contains("no JSON"), "{cut}");
        // A folder cannot be read as a file.
        assert!(read_counts_pearsonr(folder.path(), "peaks").is_err());
    }
}
