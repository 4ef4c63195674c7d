//! Region selection on small inputs whose outcome can be read off.

use std::sync::Arc;

use cbp_fast::input::folds::Folds;
use cbp_fast::input::regions::{Extra, Region};
use cbp_fast::select::{
    self, BiasOptions, BiasSelection, ChrombpnetOptions, ChrombpnetSelection, DropReason, Dropped,
    edges,
};
use cbp_fast::store::{GenomePack, SignalPack, Tracks};

const INPUTLEN: usize = 20;
const OUTPUTLEN: usize = 10;

/// chr1 trains, chr2 validates, chr3 tests; chr4 is in no fold; chr5 trains but has no signal.
fn folds() -> Folds {
    let names = |list: &[&str]| list.iter().map(|n| n.to_string()).collect();
    Folds { train: names(&["chr1", "chr5"]), valid: names(&["chr2"]), test: names(&["chr3"]) }
}

fn region(chrom: &str, center: u64, line: usize) -> Region {
    Region {
        chrom: chrom.into(),
        start: center - 5,
        end: center + 5,
        summit: 5,
        extra: Extra::new(["."; 6]),
        line,
    }
}

/// One region of `OUTPUTLEN` counts that sum to `total`, all at its centre.
struct Spot(&'static str, u64, f32);

/// 1000 bp contigs, with the counts of the spots.
fn tracks(spots: &[&[Spot]]) -> Tracks {
    let bases = [b'A'; 1000];
    let genome = ["chr1", "chr2", "chr3", "chr4", "chr5"].map(|name| (name, &bases[..]));
    let dense = ["chr1", "chr2", "chr3", "chr4"].map(|name| {
        let mut track = vec![0.0f32; 1000];
        for Spot(_, center, total) in spots.iter().copied().flatten().filter(|s| s.0 == name) {
            track[*center as usize] = *total;
        }
        (name, track)
    });
    let signal = SignalPack::from_dense(dense.iter().map(|(n, t)| (*n, &t[..])));
    Tracks::new(Arc::new(GenomePack::from_sequences(genome)), Some(Arc::new(signal)))
}

fn regions(spots: &[Spot]) -> Vec<Region> {
    spots
        .iter()
        .zip(1..)
        .map(|(Spot(chrom, center, _), line)| region(chrom, *center, line))
        .collect()
}

fn bias_with(
    peaks: &[Spot],
    nonpeaks: &[Spot],
    change: impl FnOnce(&mut BiasOptions),
) -> anyhow::Result<BiasSelection> {
    let mut options = BiasOptions {
        inputlen: INPUTLEN,
        outputlen: OUTPUTLEN,
        outlier_threshold: 0.9999,
        bias_threshold_factor: 0.5,
    };
    change(&mut options);
    let tracks = tracks(&[peaks, nonpeaks]);
    select::select_bias(&regions(peaks), &regions(nonpeaks), &folds(), &tracks, &options)
}

fn chrombpnet_with(
    peaks: &[Spot],
    nonpeaks: &[Spot],
    change: impl FnOnce(&mut ChrombpnetOptions),
) -> anyhow::Result<ChrombpnetSelection> {
    let mut options = ChrombpnetOptions {
        inputlen: INPUTLEN,
        outputlen: OUTPUTLEN,
        outlier_threshold: 0.9999,
        max_jitter: 30,
        negative_sampling_ratio: 0.5,
        seed: 7,
    };
    change(&mut options);
    let tracks = tracks(&[peaks, nonpeaks]);
    select::select_chrombpnet(&regions(peaks), &regions(nonpeaks), &folds(), &tracks, &options)
}

/// Counts 40 to 140 on train and valid, with one test peak; the 1st percentile is 40.2 to 41.
fn peaks() -> Vec<Spot> {
    vec![
        Spot("chr1", 100, 40.0),
        Spot("chr1", 200, 100.0),
        Spot("chr2", 100, 120.0),
        Spot("chr2", 200, 130.0),
        Spot("chr1", 300, 140.0),
        Spot("chr3", 100, 9000.0),
    ]
}

fn nonpeaks() -> Vec<Spot> {
    vec![
        Spot("chr1", 400, 4.0),
        Spot("chr1", 450, 12.0),
        Spot("chr1", 500, 30.0),
        Spot("chr2", 400, 14.0),
        Spot("chr2", 450, 15.0),
        Spot("chr2", 500, 19.0),
        Spot("chr3", 400, 0.0),
    ]
}

fn lines(regions: &[Region]) -> Vec<usize> {
    regions.iter().map(|r| r.line).collect()
}

fn reasons(dropped: &[Dropped]) -> Vec<(&str, usize, String)> {
    dropped.iter().map(|d| (&*d.file, d.line, d.reason.to_string())).collect()
}

#[test]
fn bias_regions_lie_strictly_between_the_thresholds() {
    let selection = bias_with(&peaks(), &nonpeaks(), |_| {}).unwrap();
    // 1st percentile of 40, 100, 120, 130, 140 is 40 + 0.04 x 60
    assert!((selection.counts_threshold - 21.2).abs() < 1e-12, "{}", selection.counts_threshold);
    let regions = &selection.regions;
    // 30 is above the threshold; of 4, 12, 14, 15, 19 the extremes go.
    assert_eq!(lines(&regions.nonpeaks), [2, 4, 5, 7]);
    assert_eq!(regions.test_nonpeaks_from, 3);
    assert_eq!(lines(&regions.peaks), [1, 2, 3, 4, 5, 6]);
    assert_eq!(regions.test_peaks_from, 5);
    assert_eq!(regions.data_params().trainings_pts_post_thresh, 3);
    // Median of the strict set: 14.
    assert_eq!(regions.counts_loss_weight, 1.4);
    assert_eq!(
        reasons(&regions.dropped),
        [
            ("nonpeaks", 1, "counts 4 not above the lower outlier threshold 4.00".to_string()),
            ("nonpeaks", 3, "counts 30 not below the bias threshold 21.20".to_string()),
            ("nonpeaks", 6, "counts 19 not below the upper outlier threshold 19.00".to_string()),
        ]
    );
    assert!(regions.warnings.is_empty());
}

#[test]
fn chrombpnet_weight_includes_the_thresholds_and_regions_do_not() {
    // Every nonpeak is drawn, so the pool is known: 4 12 14 15 19 30 | 40 100 120 130 140.
    let selection =
        chrombpnet_with(&peaks(), &nonpeaks(), |o| o.negative_sampling_ratio = 1.2).unwrap();
    let regions = &selection.regions;
    assert_eq!(lines(&regions.peaks), [1, 2, 3, 4, 6], "the largest goes, test stays");
    assert_eq!(selection.scaling_counts, [12.0, 30.0, 14.0, 15.0, 19.0]);
    assert_eq!(lines(&selection.scaling_nonpeaks), [2, 3, 4, 5, 6]);
    // More nonpeaks (5) than peaks (4): pandas' sample of 5 with random_state=1 starts 2, 1, 4, 0.
    assert_eq!(lines(&regions.nonpeaks), [4, 3, 6, 2, 7]);
    let thresholds = regions.thresholds;
    assert!(thresholds.lower > 4.0 && thresholds.upper < 140.0);
    assert_eq!(regions.data_params().trainings_pts_post_thresh, 9);
    // Without 4 and 140, which lie outside the interpolated quantiles: the median is 30.
    assert_eq!(regions.counts_loss_weight, 3.0);
    let wanted = ["140 not below", "4 not above", "not drawn: more nonpeaks than peaks"];
    let found = reasons(&regions.dropped);
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for ((_, _, reason), wanted) in found.iter().zip(wanted) {
        assert!(reason.contains(wanted), "{reason}");
    }
    assert_eq!(found[2].1, 5);
}

#[test]
fn thresholds_that_are_counts_drop_their_ties_but_weigh_them() {
    // outlier_threshold 1: the quantiles are the extremes themselves.
    let even: Vec<Spot> = peaks().into_iter().take(5).chain([Spot("chr1", 600, 140.0)]).collect();
    let selection = chrombpnet_with(&even, &nonpeaks(), |o| {
        o.negative_sampling_ratio = 0.17; // int(0.17 x 6) = 1
        o.outlier_threshold = 1.0;
        o.seed = 0;
    })
    .unwrap();
    // Pool: x 40 100 120 130 140 140 with x a nonpeak's counts; median over all seven is 120,
    // over what is strictly between 100 to 120.
    assert_eq!(selection.regions.counts_loss_weight, 12.0);
    assert_eq!(lines(&selection.regions.peaks), [1, 2, 3, 4], "both 140 go");
}

#[test]
fn the_draw_follows_the_seed() {
    let weight = |seed| {
        let selection = chrombpnet_with(&peaks(), &nonpeaks(), |o| {
            o.negative_sampling_ratio = 0.4;
            o.seed = seed;
        });
        selection.unwrap().regions.thresholds
    };
    assert_eq!(weight(1), weight(1));
    assert!((2..40).any(|seed| weight(seed) != weight(1)));
}

#[test]
fn windows_must_fit_and_jitter_needs_room() {
    let spots = |center| {
        let mut spots = peaks();
        spots.push(Spot("chr1", center, 110.0));
        spots.push(Spot("chr3", center, 110.0));
        spots
    };
    // inputlen 20 + 2 x 30 for train peaks, 20 for test peaks.
    for (center, train, test) in [
        (39, false, true),
        (40, true, true),
        (960, true, true),
        (961, false, true),
        (10, false, true),
        (9, false, false),
        (990, false, true),
        (991, false, false),
    ] {
        let selection = chrombpnet_with(&spots(center), &nonpeaks(), |_| {}).unwrap();
        let kept = lines(&selection.regions.peaks);
        let dropped = &selection.regions.dropped;
        let edge = |line| {
            dropped.iter().any(|d| {
                &*d.file == "peaks" && d.line == line && matches!(d.reason, DropReason::Edge { .. })
            })
        };
        assert_eq!(!edge(7), train, "train peak at {center}");
        assert_eq!(kept.contains(&8), test, "test peak at {center}");
        assert_eq!(!edge(8), test);
    }
}

#[test]
fn missing_contigs_are_no_edges() {
    let mut more = peaks();
    more.push(Spot("chr4", 100, 50.0));
    more.push(Spot("chr5", 100, 0.0));
    more.push(Spot("chr5", 200, 0.0));
    let selection = bias_with(&more, &nonpeaks(), |_| {}).unwrap();
    let found = reasons(&selection.regions.dropped);
    assert_eq!(found[0], ("peaks", 7, "chromosome in no fold list".to_string()));
    assert_eq!(found[1], ("peaks", 8, "contig missing from signal".to_string()));
    assert_eq!(
        selection.regions.warnings,
        ["2 of 9 peaks lie on contigs missing from the signal, e.g. chr5 (line 8)"]
    );
}

#[test]
fn the_edge_filter_alone() {
    let tracks = tracks(&[]);
    let rows = [
        region("chr1", 10, 1),
        region("chr9", 500, 2),
        region("chr5", 500, 3),
        region("chr1", 991, 4),
        region("chr1", 990, 5),
    ];
    let (kept, dropped) = edges::filter(&rows, &tracks, INPUTLEN, "regions");
    assert_eq!(lines(&kept), [1, 5]);
    assert_eq!(
        reasons(&dropped),
        [
            ("regions", 2, "contig missing from genome".to_string()),
            ("regions", 3, "contig missing from signal".to_string()),
            ("regions", 4, "20 bp window leaves the contig".to_string()),
        ]
    );
    assert_eq!(
        edges::missing_contig_warnings(&dropped, 5),
        [
            "1 of 5 regions lie on contigs missing from the genome, e.g. chr9 (line 2)",
            "1 of 5 regions lie on contigs missing from the signal, e.g. chr5 (line 3)"
        ]
    );
    let genome_only = Tracks::new(tracks.genome, None);
    let (kept, _) = edges::filter(&rows, &genome_only, INPUTLEN, "regions");
    assert_eq!(lines(&kept), [1, 3, 5], "without a signal no contig misses it");
}

#[test]
fn low_depth_raises_the_weight_with_a_warning() {
    let shallow = |spots: Vec<Spot>| -> Vec<Spot> {
        spots.into_iter().map(|Spot(c, at, n)| Spot(c, at, n / 10.0)).collect()
    };
    let selection = bias_with(&shallow(peaks()), &shallow(nonpeaks()), |_| {}).unwrap();
    assert_eq!(selection.regions.counts_loss_weight, 1.0);
    assert_eq!(selection.regions.warnings.len(), 1);
    assert!(
        selection.regions.warnings[0].contains("counts_loss_weight 0.14"),
        "{:?}",
        selection.regions.warnings
    );
}

#[test]
fn the_offset_is_the_mean_residual() {
    let counts = [0.0, 1.0f64.exp() - 1.0, 3.0f64.exp() - 1.0];
    let offset = select::bias_logcount_offset(&counts, &[0.5, 0.5, 0.0]);
    assert!((offset - 1.0).abs() < 1e-15, "{offset}");
    assert!(select::bias_logcount_offset(&[], &[]).is_nan());
}

fn bias_error(peaks: &[Spot], nonpeaks: &[Spot], change: impl FnOnce(&mut BiasOptions)) -> String {
    bias_with(peaks, nonpeaks, change).unwrap_err().to_string()
}

fn chrombpnet_error(
    peaks: &[Spot],
    nonpeaks: &[Spot],
    change: impl FnOnce(&mut ChrombpnetOptions),
) -> String {
    chrombpnet_with(peaks, nonpeaks, change).unwrap_err().to_string()
}

#[test]
fn every_error_says_what_and_how_to_fix_it() {
    let on = |chrom: &'static str, totals: &[f32]| -> Vec<Spot> {
        totals.iter().zip(1..).map(|(&total, i)| Spot(chrom, 100 + 20 * i, total)).collect()
    };
    let join = |a: Vec<Spot>, b: Vec<Spot>| -> Vec<Spot> { a.into_iter().chain(b).collect() };
    let flat = || join(on("chr1", &[8.0, 8.0]), on("chr2", &[8.0]));
    for (message, wanted) in [
        (
            bias_error(&on("chr3", &[50.0]), &nonpeaks(), |_| {}),
            "no row of the peaks file lies on the train and valid chromosomes (chr1, chr5, chr2)",
        ),
        (
            bias_error(&peaks(), &on("chr1", &[5.0, 6.0]), |_| {}),
            "no row of the nonpeaks file lies on the valid chromosomes (chr2)",
        ),
        (
            bias_error(&on("chr5", &[50.0, 50.0]), &nonpeaks(), |_| {}),
            "none of the 2 peaks on the train and valid chromosomes (chr1, chr5, chr2) is left: 2 x contig missing from signal",
        ),
        (
            bias_error(&on("chr1", &[0.0, 0.0, 50.0]), &nonpeaks(), |_| {}),
            "1st percentile of peak counts is 0 (2 of 3 peaks have no reads), so no nonpeak can be below 0.5 x 0",
        ),
        (
            bias_error(&peaks(), &nonpeaks(), |o| o.bias_threshold_factor = 0.05),
            "none of the 6 nonpeaks has counts below the bias threshold 2.12 (1st percentile of peak counts x 0.05); the fewest are 4",
        ),
        (
            bias_error(&peaks(), &flat(), |_| {}),
            "none of the 3 nonpeaks below the bias threshold lies strictly between the outlier thresholds 8.0 and 8.0",
        ),
        (
            bias_error(&peaks(), &join(on("chr1", &[4.0, 5.0, 6.0]), on("chr2", &[19.0])), |_| {}),
            "none of the 1 nonpeaks on the valid chromosomes (chr2) is left: 1 x counts not below the upper outlier threshold",
        ),
        (
            bias_error(&peaks(), &nonpeaks(), |o| o.bias_threshold_factor = -1.0),
            "--bias-threshold-factor is -1, expected more than 0",
        ),
        (
            bias_error(&peaks(), &nonpeaks(), |o| o.outlier_threshold = 99.99),
            "--outlier-threshold is 99.99, expected a quantile from 0.5 to 1",
        ),
        (
            chrombpnet_error(&on("chr1", &[50.0, 60.0, 70.0]), &nonpeaks(), |_| {}),
            "no row of the peaks file lies on the valid chromosomes (chr2)",
        ),
        (
            chrombpnet_error(&peaks(), &nonpeaks(), |o| o.max_jitter = 480),
            "none of the 3 peaks on the train chromosomes (chr1, chr5) is left: 3 x window leaves the contig",
        ),
        (
            chrombpnet_error(&peaks(), &on("chr3", &[50.0]), |_| {}),
            "no row of the nonpeaks file lies on the train and valid chromosomes",
        ),
        (
            chrombpnet_error(&peaks(), &nonpeaks(), |o| o.negative_sampling_ratio = 1.5),
            "thresholds need a draw of 7 nonpeaks (1.5 x 5 peaks), but only 6 nonpeaks are",
        ),
        (
            chrombpnet_error(&peaks(), &nonpeaks(), |o| o.negative_sampling_ratio = 0.0),
            "no nonpeak has counts strictly between the outlier thresholds 40.02 and 140.0",
        ),
        (
            chrombpnet_error(&peaks(), &nonpeaks(), |o| o.negative_sampling_ratio = f64::NAN),
            "--negative-sampling-ratio is NaN, expected 0 or more",
        ),
        (
            chrombpnet_error(
                &join(on("chr1", &[0.0, 0.0, 0.0, 1.0]), on("chr2", &[0.0, 0.0, 0.5])),
                &nonpeaks(),
                |o| o.negative_sampling_ratio = 0.2,
            ),
            "the median total count of 7 regions is 0, so counts_loss_weight would be 0",
        ),
    ] {
        assert!(message.contains(wanted), "no {wanted:?} in\n{message}");
        assert!(message.contains("\n  fix: "), "{message}");
    }
}
