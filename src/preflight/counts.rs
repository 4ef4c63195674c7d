//! What the signal says of the regions, from a sample: depth, silent peaks, nonpeaks with more
//! signal than peaks, what a bias threshold would leave.

use std::path::Path;

use anyhow::Result;

use super::regions::File;
use super::sources::Signal;
use super::{Finding, Goal, Training, grouped};
use crate::error::Problem;
use crate::input::folds::{Folds, Split};
use crate::input::regions::Region;
use crate::numpy::quantile::{median, quantile};

/// The check's name in the report.
pub const LOW_DEPTH: &str = "low depth";

/// Bias threshold factors that are shown: from what deep ATAC data takes to DNase's default.
const FACTORS: [f64; 6] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
/// Nonpeaks on train chromosomes below which a bias model has little to learn from: 160 batches.
const FEW_NONPEAKS: f64 = 10_000.0;

/// Counts over outputlen of a sample of the train and valid regions of a file.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    counts: Vec<f64>,
    /// Regions that the sample stands for.
    of: usize,
    fractional: bool,
}

impl Sample {
    /// Every n-th region on train and valid chromosomes, at most `size`; those on contigs that the
    /// signal lacks are left out.
    pub fn take(
        regions: &[Region],
        folds: &Folds,
        signal: &mut Signal,
        outputlen: usize,
        size: usize,
    ) -> Result<Self> {
        let splits = folds.splits();
        let wanted = |r: &&Region| matches!(splits.of(&r.chrom), Some(Split::Train | Split::Valid));
        let of = regions.iter().filter(wanted).count();
        let step = of.div_ceil(size.max(1)).max(1);
        let half = (outputlen / 2) as i64;
        let mut sample = Self { of, ..Self::default() };
        for region in regions.iter().filter(wanted).step_by(step) {
            let center = region.center() as i64;
            if let Some(window) = signal.window(&region.chrom, center - half, center + half)? {
                sample.counts.push(window.sum);
                sample.fractional |= window.fractional;
            }
        }
        Ok(sample)
    }

    fn median(&self) -> f64 {
        median(&self.counts).unwrap_or(0.0)
    }

    fn share(&self, is: impl Fn(f64) -> bool) -> f64 {
        let n = self.counts.iter().filter(|&&c| is(c)).count();
        n as f64 / self.counts.len().max(1) as f64
    }
}

/// Nonpeaks that stay below a bias threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    pub factor: f64,
    /// Ceiling of total counts.
    pub threshold: f64,
    /// About this many train and valid nonpeaks lie below it.
    pub nonpeaks: f64,
}

/// What each factor would leave. Source of the rule: `select::bias`.
pub fn prospects(peaks: &Sample, nonpeaks: &Sample, own: Option<f64>) -> Vec<Prospect> {
    let percentile = quantile(&peaks.counts, 0.01).unwrap_or(0.0);
    let mut factors = FACTORS.to_vec();
    factors.extend(own.filter(|f| !FACTORS.contains(f)));
    factors.sort_by(f64::total_cmp);
    let prospect = |factor| {
        let threshold = percentile * factor;
        let nonpeaks = nonpeaks.share(|c| c < threshold) * nonpeaks.of as f64;
        Prospect { factor, threshold, nonpeaks }
    };
    factors.into_iter().map(prospect).collect()
}

/// Samples both files and judges them; second, what each bias threshold factor would leave.
pub fn of_signal(
    files: [File; 2],
    folds: &Folds,
    signal: &mut Signal,
    path: &Path,
    training: &Training,
) -> Result<(Vec<Finding>, Vec<Prospect>)> {
    let size = signal.sample_size();
    let mut sample =
        |file: File| Sample::take(file.regions, folds, signal, training.outputlen, size);
    let (peaks, nonpeaks) = (sample(files[0])?, sample(files[1])?);
    let total = signal.total();
    let place = path.display().to_string();
    let found = findings(files, [&peaks, &nonpeaks], total, &place, training);
    let own = match training.goal {
        Goal::Bias { threshold_factor } => Some(threshold_factor),
        Goal::Chrombpnet { .. } => None,
    };
    Ok((found, prospects(&peaks, &nonpeaks, own)))
}

/// `total`: all counts of the signal, where it says.
pub fn findings(
    files: [File; 2],
    samples: [&Sample; 2],
    total: Option<f64>,
    signal: &str,
    training: &Training,
) -> Vec<Finding> {
    let [peaks, nonpeaks] = samples;
    if peaks.counts.is_empty() || nonpeaks.counts.is_empty() {
        return Vec::new(); // `splits` and `contigs` say why.
    }
    let mut found = vec![depth(files[0], peaks, nonpeaks, total, signal, training)];
    if peaks.fractional || nonpeaks.fractional {
        let problem = Problem::new(
            "the signal has fractional values (or counts above 65,535), so it may be normalised",
        )
        .at(signal)
        .fix("pass insertion counts; a track scaled to depth trains with wrong likelihoods");
        found.push(Finding::warn("values", problem));
    }
    found.push(background(files, peaks, nonpeaks, training));
    found.extend(bias_threshold(files, peaks, nonpeaks, training));
    found
}

/// Counts a peak, and peaks without any.
fn depth(
    file: File,
    peaks: &Sample,
    nonpeaks: &Sample,
    total: Option<f64>,
    signal: &str,
    training: &Training,
) -> Finding {
    let silent = 100.0 * peaks.share(|c| c == 0.0);
    let median = peaks.median();
    let whole = total.map_or(String::new(), |t| format!("{} counts in all; ", grouped(t as u64)));
    let text = format!(
        "{whole}median {median} counts a peak, {} a nonpeak; {silent:.1} % of the peaks have none",
        nonpeaks.median()
    );
    let place = format!("{} and {signal}", file.path.display());
    let belong = "likely the peaks were called on another sample, or the data is very shallow; pass peaks and signal of one sample";
    // A main model's loss weight would be 0; `bias_threshold` speaks for a bias model.
    if median == 0.0 && matches!(training.goal, Goal::Chrombpnet { .. }) {
        let text = format!("the median peak has no counts: {text}");
        return Finding::fail("depth", Problem::new(text).at(place).fix(belong));
    }
    if silent > 1.0 {
        let text = format!("peaks without signal: {text}");
        return Finding::warn("silent peaks", Problem::new(text).at(place).fix(belong));
    }
    // Source: official loss weight, median / 10, raised to 1.
    if median < 10.0 {
        let text = format!("low read depth: {text}");
        let fix = "expect a weak model; pool replicates or similar cell types";
        return Finding::warn(LOW_DEPTH, Problem::new(text).at(place).fix(fix));
    }
    Finding::pass("depth", text)
}

/// Are nonpeaks quieter than peaks?
fn background(files: [File; 2], peaks: &Sample, nonpeaks: &Sample, training: &Training) -> Finding {
    let middle = peaks.median();
    let above = 100.0 * nonpeaks.share(|c| c > middle);
    let text = format!("{above:.1} % of the nonpeaks have more counts than the median peak");
    let place = format!("{} and {}", files[0].path.display(), files[1].path.display());
    if nonpeaks.median() > middle {
        let problem = Problem::new(format!(
            "nonpeaks have more signal than peaks: median {} against {middle}",
            nonpeaks.median()
        ))
        .at(place)
        .fix("are -p and -n swapped, or the peaks another sample's?");
        // Naked DNA, on which bias models are trained too, need not know peaks.
        return match training.goal {
            Goal::Bias { .. } => Finding::warn("background", problem),
            Goal::Chrombpnet { .. } => Finding::fail("background", problem),
        };
    }
    if above > 10.0 {
        let problem = Problem::new(text).at(place).fix(
            "the nonpeaks hold many real peaks; draw them against all peaks, weak ones too: cbp-fast prep nonpeaks",
        );
        return Finding::warn("background", problem);
    }
    Finding::pass("background", text)
}

fn bias_threshold(
    files: [File; 2],
    peaks: &Sample,
    nonpeaks: &Sample,
    training: &Training,
) -> Option<Finding> {
    const CHECK: &str = "bias threshold";
    let own = match training.goal {
        Goal::Bias { threshold_factor } => Some(threshold_factor),
        Goal::Chrombpnet { .. } => None,
    };
    let all = prospects(peaks, nonpeaks, own);
    let about = |p: &Prospect| grouped(p.nonpeaks.round() as u64);
    let list: Vec<String> = all.iter().map(|p| format!("{}: {}", p.factor, about(p))).collect();
    let text = format!("nonpeaks left by factor: {}", list.join(", "));
    let place = format!("{} and {}", files[0].path.display(), files[1].path.display());
    let Some(own) = own.and_then(|factor| all.iter().find(|p| p.factor == factor)) else {
        return Some(Finding::pass(CHECK, format!("for a bias model of this sample, {text}")));
    };
    if own.threshold == 0.0 {
        let percent = 100.0 * peaks.share(|c| c == 0.0);
        let problem = Problem::new(format!(
            "1st percentile of peak counts is 0 ({percent:.1} % of the peaks have no reads), so no nonpeak can be below {} x 0",
            own.factor
        ));
        let fix = "likely the peaks were called on another sample, or the data is very shallow; pass peaks and signal of one sample, or drop the weakest peaks";
        return Some(Finding::fail(CHECK, problem.at(place).fix(fix)));
    }
    if own.nonpeaks == 0.0 && nonpeaks.counts.len() == nonpeaks.of {
        let problem = Problem::new(format!(
            "no nonpeak has counts below the bias threshold {:.2}; {text}",
            own.threshold
        ));
        return Some(Finding::fail(CHECK, problem.at(place).fix("raise --bias-threshold-factor")));
    }
    if own.nonpeaks < FEW_NONPEAKS.min(0.1 * nonpeaks.of as f64) {
        let problem = Problem::new(format!(
            "about {} of {} nonpeaks lie below the bias threshold {:.2}; {text}",
            about(own),
            grouped(nonpeaks.of as u64),
            own.threshold
        ));
        return Some(Finding::warn(CHECK, problem.at(place).fix("raise --bias-threshold-factor")));
    }
    Some(Finding::pass(
        CHECK,
        format!("factor {} is a ceiling of {:.1} counts; {text}", own.factor, own.threshold),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, worst};
    use super::*;

    fn sample(counts: impl IntoIterator<Item = f64>) -> Sample {
        let counts: Vec<f64> = counts.into_iter().collect();
        Sample { of: counts.len(), counts, fractional: false }
    }

    fn check(goal: Goal, peaks: &Sample, nonpeaks: &Sample) -> (Verdict, String) {
        let files = ["p.bed", "n.bed"].map(|name| File { path: Path::new(name), regions: &[] });
        let training = Training { inputlen: 2114, outputlen: 1000, max_jitter: 0, goal };
        let found = findings(files, [peaks, nonpeaks], Some(12_345.0), "s.bw", &training);
        let text = found.iter().map(|f| format!("{} {}\n", f.verdict.name(), f.problem)).collect();
        (worst(&found), text)
    }

    const MAIN: Goal = Goal::Chrombpnet { negative_sampling_ratio: 0.1 };
    const BIAS: Goal = Goal::Bias { threshold_factor: 0.5 };

    #[test]
    fn good_data_passes_with_its_numbers() {
        let (peaks, nonpeaks) = (sample((100..300).map(f64::from)), sample((0..60).map(f64::from)));
        for goal in [MAIN, BIAS] {
            let (verdict, text) = check(goal, &peaks, &nonpeaks);
            assert_eq!(verdict, Verdict::Pass, "{text}");
            for wanted in ["12,345 counts in all", "median 199.5 counts a peak, 29.5 a nonpeak"] {
                assert!(text.contains(wanted), "{text}");
            }
            // 1st percentile 101.99
            assert!(text.contains("0.3: 31, 0.4: 41, 0.5: 51, 0.6: 60"), "{text}");
        }
    }

    #[test]
    fn shallow_silent_and_swapped() {
        let deep = sample((100..300).map(f64::from));
        let quiet = sample((0..60).map(f64::from));
        let zero = sample([0.0; 50]);
        let low = sample((0..200).map(|i| f64::from(1 + i % 8)));
        let silent = sample((0..100).map(|i| if i < 5 { 0.0 } else { 50.0 }));
        for (goal, peaks, nonpeaks, verdict, wanted) in [
            (MAIN, &zero, &zero, Verdict::Fail, "the median peak has no counts"),
            (BIAS, &zero, &zero, Verdict::Fail, "1st percentile of peak counts is 0 (100.0 %"),
            (MAIN, &low, &zero, Verdict::Warn, "low read depth"),
            (MAIN, &silent, &zero, Verdict::Warn, "peaks without signal"),
            (BIAS, &silent, &zero, Verdict::Fail, "1st percentile of peak counts is 0 (5.0 %"),
            (
                MAIN,
                &quiet,
                &deep,
                Verdict::Fail,
                "more signal than peaks: median 199.5 against 29.5",
            ),
            (BIAS, &deep, &sample([150.0; 90]), Verdict::Fail, "no nonpeak has counts below"),
        ] {
            let (found, text) = check(goal, peaks, nonpeaks);
            assert!(found == verdict && text.contains(wanted), "{wanted}: {text}");
        }
        // swapped, but a bias model may be of naked DNA
        let (verdict, text) = check(BIAS, &sample([50.0; 90]), &sample((0..200).map(f64::from)));
        assert!(verdict == Verdict::Warn && text.contains("more signal than peaks"), "{text}");
        let few = sample((0..100).map(|i| if i < 2 { 1.0 } else { 120.0 }));
        let (verdict, text) = check(BIAS, &deep, &few);
        assert!(verdict == Verdict::Warn && text.contains("about 2 of 100 nonpeaks"), "{text}");
        let (_, text) = check(MAIN, &deep, &sample((0..100).map(|i| f64::from(i * 3))));
        assert!(text.contains("warn 33.0 % of the nonpeaks have more"), "{text}");
    }

    #[test]
    fn fractions_are_told() {
        let mut peaks = sample((100..300).map(f64::from));
        peaks.fractional = true;
        let (verdict, text) = check(MAIN, &peaks, &sample([1.0; 50]));
        assert!(verdict == Verdict::Warn && text.contains("may be normalised"), "{text}");
    }
}
