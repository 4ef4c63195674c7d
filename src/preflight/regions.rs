//! Regions by themselves and against each other: summits, edges, repeats, overlaps, splits.

use std::collections::HashSet;
use std::path::Path;

use super::{Finding, Goal, Training, grouped};
use crate::error::Problem;
use crate::input::folds::{Folds, Split};
use crate::input::intervals::BedRow;
use crate::input::regions::Region;
use crate::prep::exclude::{Exclusions, Interval};

/// A regions file that was read.
#[derive(Clone, Copy)]
pub struct File<'a> {
    pub path: &'a Path,
    pub regions: &'a [Region],
}

/// `12 of 345 peaks repeat (3.5 %)`
fn share(n: usize, of: usize, what: &str) -> String {
    let percent = 100.0 * n as f64 / of.max(1) as f64;
    format!("{} of {} {what} ({percent:.1} %)", grouped(n as u64), grouped(of as u64))
}

/// Do column 10 and the rows look like what a peak caller writes?
pub fn summits(peaks: File) -> Vec<Finding> {
    let n = peaks.regions.len();
    let count = |is: fn(&Region) -> bool| peaks.regions.iter().filter(|r| is(r)).count();
    let at_start = count(|r| r.summit == 0);
    let in_middle = count(|r| r.summit.abs_diff((r.end - r.start) / 2) <= 1);
    let mut found = Vec::new();
    if 2 * at_start > n {
        let what = share(at_start, n, "peaks have their summit (column 10) at their first base");
        found.push(Finding::warn(
            "summits",
            Problem::new(what)
                .at(peaks.path.display())
                .fix("windows are centred on start + column 10; set it to the summit's offset, or to half the width"),
        ));
    } else if in_middle == n && n >= 100 {
        let width = peaks.regions[0].end - peaks.regions[0].start;
        // Fixed-width peaks are made around their summits.
        if peaks.regions.iter().any(|r| r.end - r.start != width) {
            found.push(Finding::warn(
                "summits",
                Problem::new("every summit (column 10) lies in the middle of its peak, so these are no called summits")
                    .at(peaks.path.display())
                    .fix("call peaks with summits if you can; windows are centred on the middles now"),
            ));
        }
    }
    let mut seen = HashSet::with_capacity(n);
    let repeated: Vec<&Region> =
        peaks.regions.iter().filter(|r| !seen.insert((r.chrom.as_str(), r.center()))).collect();
    if let Some(first) = repeated.first() {
        found.push(Finding::warn(
            "summits",
            Problem::new(share(repeated.len(), n, "peaks repeat the summit of an earlier row"))
                .at(format!("{}, e.g. line {}", peaks.path.display(), first.line))
                .fix("each counts as a peak of its own; remove repeats, e.g. with: sort -u"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::pass("summits", format!("{} peaks with summits", grouped(n as u64))));
    }
    found
}

/// Windows that leave their contig, from the lengths of `length` (bp by name).
pub fn edges(
    file: File,
    what: &str,
    width: usize,
    length: impl Fn(&str) -> Option<u64>,
) -> Option<Finding> {
    let half = width as u64 / 2;
    let leaves =
        |r: &&Region| length(&r.chrom).is_some_and(|l| r.center() < half || r.center() + half > l);
    let first = file.regions.iter().find(leaves)?;
    let n = file.regions.iter().filter(leaves).count();
    let left = format!("{what} are left out: windows of {width} bp leave the contigs");
    let text = share(n, file.regions.len(), &left);
    // A quarter is where the official tool warns.
    if 4 * n <= file.regions.len() {
        return Some(Finding::pass("edges", text));
    }
    let problem = Problem::new(text)
        .at(format!("{}, e.g. line {}", file.path.display(), first.line))
        .fix("lower --inputlen (and --max-jitter) for a genome of short contigs");
    Some(Finding::warn("edges", problem))
}

/// Peaks in the blacklist, nonpeaks in peaks.
pub fn overlaps(
    peaks: File,
    nonpeaks: File,
    blacklist: Option<(&Path, &[BedRow])>,
    inputlen: usize,
) -> Vec<Finding> {
    let intervals = |regions: &[Region]| -> Vec<Interval> {
        let interval = |r: &Region| Interval { chrom: r.chrom.clone(), start: r.start, end: r.end };
        regions.iter().map(interval).collect()
    };
    let mut found = Vec::new();
    let in_peaks = Exclusions::merge(&intervals(peaks.regions));
    let half = inputlen as u64 / 2;
    let hits = |r: &&Region, places: &Exclusions| {
        places.overlaps(&r.chrom, r.center().saturating_sub(half), r.center() + half)
    };
    let inside = nonpeaks.regions.iter().filter(|r| hits(r, &in_peaks)).count();
    if inside > 0 {
        let first = nonpeaks.regions.iter().find(|r| hits(r, &in_peaks));
        let line = first.map_or(0, |r| r.line);
        let text = share(inside, nonpeaks.regions.len(), "nonpeaks have a peak in their window");
        let problem = Problem::new(text)
            .at(format!("{}, e.g. line {line}", nonpeaks.path.display()))
            .fix("make nonpeaks from these very peaks: cbp-fast prep nonpeaks");
        found.push(Finding::warn("overlaps", problem));
    }
    if let Some((path, rows)) = blacklist {
        let rows: Vec<Interval> = rows
            .iter()
            .map(|row| Interval { chrom: row.chrom.clone(), start: row.start, end: row.end })
            .collect();
        let listed = Exclusions::merge(&rows);
        let hit = peaks.regions.iter().filter(|r| hits(r, &listed)).count();
        if hit > 0 {
            let text =
                share(hit, peaks.regions.len(), "peaks have a blacklisted base in their window");
            let problem =
                Problem::new(text).at(format!("{} and {}", peaks.path.display(), path.display()));
            let fix = format!(
                "remove them, e.g. with: bedtools slop -b {half}, then bedtools intersect -v"
            );
            found.push(Finding::warn("overlaps", problem.fix(fix)));
        }
    }
    if found.is_empty() {
        let text = match blacklist {
            Some(_) => "no nonpeak window holds a peak, no peak window a blacklisted base",
            None => "no nonpeak window holds a peak",
        };
        found.push(Finding::pass("overlaps", text));
    }
    found
}

/// Rows of each split: something to train, validate and test on, and enough nonpeaks. `holds` is true
/// of a region whose window of so many bp lies within its contig.
pub fn splits(
    peaks: File,
    nonpeaks: File,
    folds: &Folds,
    training: &Training,
    holds: impl Fn(&Region, usize) -> bool,
) -> Vec<Finding> {
    let splits = folds.splits();
    // Rows of each split, and those of them that stay.
    let count = |file: File, width: usize| {
        let (mut rows, mut left) = ([0usize; 3], [0usize; 3]);
        for region in file.regions {
            let Some(split) = splits.of(&region.chrom) else { continue };
            let width = if split == Split::Test { training.inputlen } else { width };
            rows[split as usize] += 1;
            left[split as usize] += usize::from(holds(region, width));
        }
        (rows, left)
    };
    let jittered = training.inputlen + 2 * training.max_jitter;
    let (rows_of_peaks, of_peaks) = count(peaks, jittered);
    let (rows_of_nonpeaks, of_nonpeaks) = count(nonpeaks, training.inputlen);
    let mut found = Vec::new();
    let mut nothing = |file: File, what: &str, rows: [usize; 3], left: [usize; 3], is_trained| {
        for split in Split::ALL {
            if left[split as usize] > 0 {
                continue;
            }
            let chroms = folds.names(split).join(", ");
            let (text, fix) = match rows[split as usize] {
                0 => (
                    format!("no row of the {what} file lies on the {split} chromosomes ({chroms})"),
                    "check that folds and regions name chromosomes alike and belong together",
                ),
                n => (
                    format!(
                        "none of the {} {what} on the {split} chromosomes ({chroms}) is left: their windows leave the contigs, or the contigs are missing",
                        grouped(n as u64)
                    ),
                    "use files made from one assembly; lower --inputlen (and --max-jitter) for a genome of short contigs",
                ),
            };
            let problem = Problem::new(text).at(file.path.display()).fix(fix);
            found.push(match is_trained && split != Split::Test {
                true => Finding::fail("splits", problem),
                false => Finding::warn("splits", problem),
            });
        }
        let (train, valid) = (Split::Train as usize, Split::Valid as usize);
        if !is_trained && left[train] + left[valid] == 0 {
            let text = format!("no {what} are left on the train and valid chromosomes");
            let fix = "training needs some: check that folds and regions belong together";
            found
                .push(Finding::fail("splits", Problem::new(text).at(file.path.display()).fix(fix)));
        }
    };
    let is_bias = matches!(training.goal, Goal::Bias { .. });
    nothing(peaks, "peaks", rows_of_peaks, of_peaks, !is_bias);
    nothing(nonpeaks, "nonpeaks", rows_of_nonpeaks, of_nonpeaks, is_bias);
    if let Goal::Chrombpnet { negative_sampling_ratio: ratio } = training.goal {
        let (train, valid) = (Split::Train as usize, Split::Valid as usize);
        let peaks_there = of_peaks[train] + of_peaks[valid];
        let nonpeaks_there = of_nonpeaks[train] + of_nonpeaks[valid];
        let wanted = (ratio * peaks_there as f64) as usize;
        if nonpeaks_there < wanted {
            let problem = Problem::new(format!(
                "an epoch wants {} nonpeaks ({ratio} for each of {} peaks), but train and valid chromosomes have {}",
                grouped(wanted as u64),
                grouped(peaks_there as u64),
                grouped(nonpeaks_there as u64)
            ))
            .at(nonpeaks.path.display())
            .fix("give more nonpeaks (cbp-fast prep nonpeaks), or lower --negative-sampling-ratio");
            found.push(Finding::fail("splits", problem));
        }
    }
    if found.is_empty() {
        let list = |counts: [usize; 3]| counts.map(|n| grouped(n as u64)).join("/");
        found.push(Finding::pass(
            "splits",
            format!("train/valid/test: {} peaks, {} nonpeaks", list(of_peaks), list(of_nonpeaks)),
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, worst};
    use super::*;

    fn region(chrom: &str, start: u64, end: u64, summit: u64, line: usize) -> Region {
        Region { chrom: chrom.into(), start, end, summit, extra: Default::default(), line }
    }

    fn file(regions: &[Region]) -> File<'_> {
        File { path: Path::new("p.bed"), regions }
    }

    fn texts(found: &[Finding]) -> String {
        found.iter().map(|f| format!("{} {}\n", f.verdict.name(), f.problem)).collect()
    }

    #[test]
    fn summit_columns_that_are_none() {
        let rows: Vec<Region> = (0..200)
            .map(|i| region("a", 1000 * i, 1000 * i + 200 + i, 50, i as usize + 1))
            .collect();
        assert_eq!(worst(&summits(file(&rows))), Verdict::Pass);
        let first: Vec<Region> = rows.iter().map(|r| Region { summit: 0, ..r.clone() }).collect();
        assert!(texts(&summits(file(&first))).contains("200 of 200 peaks have their summit"));
        let middle: Vec<Region> =
            rows.iter().map(|r| Region { summit: (r.end - r.start) / 2, ..r.clone() }).collect();
        assert!(texts(&summits(file(&middle))).contains("no called summits"));
        let fixed: Vec<Region> =
            rows.iter().map(|r| Region { end: r.start + 500, summit: 250, ..r.clone() }).collect();
        assert_eq!(worst(&summits(file(&fixed))), Verdict::Pass);
        let twice = [&rows[..], &rows[..3]].concat();
        let found = texts(&summits(file(&twice)));
        assert!(
            found.contains("3 of 203 peaks repeat the summit of an earlier row (1.5 %)"),
            "{found}"
        );
    }

    #[test]
    fn windows_that_leave() {
        let rows = [region("a", 10, 90, 40, 1), region("a", 400, 600, 100, 2)];
        let length = |name: &str| (name == "a").then_some(1000);
        assert!(edges(file(&rows), "peaks", 100, length).is_none());
        let some = edges(file(&rows), "peaks", 200, length).unwrap();
        assert_eq!(some.verdict, Verdict::Warn, "{some:?}");
        assert!(edges(file(&rows), "peaks", 200, |_| None).is_none());
    }

    #[test]
    fn nonpeaks_in_peaks_and_peaks_in_the_blacklist() {
        let peaks = [region("a", 1000, 1200, 100, 1), region("a", 5000, 5200, 100, 2)];
        let clear = [region("a", 2500, 3500, 500, 1)];
        let inside = [region("a", 1500, 2500, 500, 1), region("a", 1100, 2100, 500, 2)];
        assert_eq!(worst(&overlaps(file(&peaks), file(&clear), None, 1000)), Verdict::Pass);
        let found = texts(&overlaps(file(&peaks), file(&inside), None, 1000));
        assert!(found.contains("1 of 2 nonpeaks have a peak in their window"), "{found}");
        let rows =
            [BedRow { chrom: "a".into(), start: 5500, end: 5700, rest: String::new(), line: 1 }];
        let blacklist = Some((Path::new("b.bed"), &rows[..]));
        let found = texts(&overlaps(file(&peaks), file(&clear), blacklist, 1000));
        assert!(found.contains("1 of 2 peaks have a blacklisted base"), "{found}");
    }

    #[test]
    fn splits_without_rows() {
        let folds =
            Folds { train: vec!["a".into()], valid: vec!["b".into()], test: vec!["c".into()] };
        let training = |goal| Training { inputlen: 100, outputlen: 50, max_jitter: 0, goal };
        let main = training(Goal::Chrombpnet { negative_sampling_ratio: 0.5 });
        let all = ["a", "b", "c"].map(|c| region(c, 0, 10, 5, 1));
        let splits = |peaks, nonpeaks, training: &Training| {
            splits(peaks, nonpeaks, &folds, training, |region, _| region.end < 1000)
        };
        let found = splits(file(&all), file(&all), &main);
        assert!(texts(&found).contains("pass train/valid/test: 1/1/1 peaks"), "{found:?}");
        let found = splits(file(&all[..1]), file(&all), &main);
        assert!(
            texts(&found).contains("fail no row of the peaks file lies on the valid"),
            "{found:?}"
        );
        assert!(
            texts(&found).contains("warn no row of the peaks file lies on the test"),
            "{found:?}"
        );
        let bias = training(Goal::Bias { threshold_factor: 0.5 });
        assert_eq!(worst(&splits(file(&all[..1]), file(&all), &bias)), Verdict::Warn);
        let greedy = training(Goal::Chrombpnet { negative_sampling_ratio: 3.0 });
        let found = splits(file(&all), file(&all), &greedy);
        assert!(texts(&found).contains("an epoch wants 6 nonpeaks"), "{found:?}");
        let outside = ["a", "b", "c"].map(|c| region(c, 1990, 2000, 5, 1));
        for (peaks, nonpeaks, training, says) in [
            (
                &outside,
                &all,
                &main,
                "fail none of the 1 peaks on the valid chromosomes (b) is left",
            ),
            (
                &all,
                &outside,
                &bias,
                "fail none of the 1 nonpeaks on the train chromosomes (a) is left",
            ),
            (&outside, &all, &bias, "fail no peaks are left on the train and valid chromosomes"),
            (&all, &outside, &main, "fail no nonpeaks are left on the train and valid chromosomes"),
        ] {
            let found = texts(&splits(file(peaks), file(nonpeaks), training));
            assert!(found.contains(says), "{says}: {found}");
        }
    }
}
