//! `prep nonpeaks` and `prep splits` against the official command line: every file, byte for byte,
//! the draw included.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cbp_fast::input::folds;
use cbp_fast::input::regions;
use cbp_fast::prep::gc;
use cbp_fast::prep::nonpeaks::{self, Draw};
use cbp_fast::store::GenomePack;
use serde_json::Value;

use crate::fixture::command;
use crate::shared;

fn run(folder: &Path, arguments: &[&str]) {
    let output = command(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nonpeaks_are_the_official_ones_file_for_file() {
    let Some(goldens) = shared::goldens() else { return };
    let data = goldens.join("data");
    let input = |name: &str| data.join("inputs").join(name).display().to_string();
    let fold = data.join("expected/fold_0.json").display().to_string();
    let blacklist = ["-br", &input("blacklist.bed"), "-npr", "1", "-s", "99"].map(str::to_string);
    for (name, genome, more) in [
        ("nonpeaks_default", "genome.fa", &[][..]),
        ("nonpeaks_blacklist", "genome.fa.gz", &blacklist[..]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (genome, peaks, sizes) = (input(genome), input("peaks.bed"), input("chrom.sizes"));
        let own = [
            "prep", "nonpeaks", "-g", &genome, "-p", &peaks, "-c", &sizes, "-fl", &fold, "-st",
            "1000", "-o", name,
        ];
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        run(folder.path(), &[&own[..], &more[..]].concat());

        let expected = data.join("expected");
        let mut compared = 0;
        let auxiliary = format!("{name}_auxiliary");
        let official = fs::read_dir(expected.join(&auxiliary)).unwrap();
        let mut files: Vec<String> = official
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.ends_with(".bed"))
            .map(|file| format!("{auxiliary}/{file}"))
            .collect();
        files.push(format!("{name}_negatives.bed"));
        for file in files {
            let ours = fs::read_to_string(folder.path().join(&file)).unwrap();
            let official = fs::read_to_string(expected.join(&file)).unwrap();
            let first = ours.lines().zip(official.lines()).find(|(a, b)| a != b);
            assert!(ours == official, "{file}: {first:?}");
            compared += 1;
        }
        assert!(compared >= 8, "{compared} files compared");
    }
}

/// 3,638 regions of a real genome: bins run empty here, so the steps between them count as well.
#[test]
fn nonpeaks_of_real_yeast_peaks_are_the_official_ones() {
    let Some(yeast) = shared::yeast() else { return };
    let input = |name: &str| yeast.join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let (genome, peaks, sizes) =
        (input("genome.fa.gz"), input("peaks.narrowPeak"), input("chrom.sizes"));
    let (fold, blacklist) = (input("fold_0.json"), input("blacklist.bed"));
    let own = ["prep", "nonpeaks", "-g", &genome, "-p", &peaks, "-c", &sizes, "-fl", &fold];
    let more = ["-br", &blacklist, "-il", "2114", "-st", "200", "-npr", "2", "-o", "y"];
    run(folder.path(), &[own, more].concat());
    let ours = fs::read_to_string(folder.path().join("y_negatives.bed")).unwrap();
    assert!(ours == fs::read_to_string(yeast.join("nonpeaks.bed")).unwrap());
}

/// The GC content of each split, seed by seed: the official histogram is one of ours, and with any
/// seed the nonpeaks of a split are as many and on average as far from their peaks.
#[test]
fn any_seed_matches_the_gc_content_of_each_split() {
    let Some(goldens) = shared::goldens() else { return };
    let data = goldens.join("data");
    let text = fs::read_to_string(data.join("expected/nonpeaks_gc_histogram.json")).unwrap();
    let official: Value = serde_json::from_str(&text).unwrap();
    let official: BTreeMap<String, BTreeMap<String, usize>> =
        serde_json::from_value(official["default"].clone()).unwrap();

    let sequences = cbp_fast::input::fasta::read_all(&data.join("inputs/genome.fa")).unwrap();
    let genome = GenomePack::from_sequences(sequences.iter().map(|(n, b)| (n.as_str(), &b[..])));
    let peaks = regions::read(&data.join("inputs/peaks.bed")).unwrap();
    let folds = folds::read(&data.join("expected/fold_0.json")).unwrap();
    let foreground = gc::peak_windows(&peaks, &genome, 2114).windows;
    let windows = gc::genome_windows(&genome, 2114, 1000);
    let free = cbp_fast::prep::exclude::Exclusions::merge(
        &peaks
            .iter()
            .map(|p| {
                let interval = cbp_fast::prep::exclude::Interval {
                    chrom: p.chrom.clone(),
                    start: p.start,
                    end: p.end,
                };
                interval.widened(1057, 240_000)
            })
            .collect::<Vec<_>>(),
    )
    .keep_free(&windows, 2114, &genome);

    for seed in (0..50).chain([1234]) {
        let how = Draw { neg_to_pos_ratio_train: 2, seed };
        let found = nonpeaks::draw(&foreground, &free, &genome, &folds, how);
        let mut ours: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for window in &found.windows {
            let chrom = genome.contigs()[window.contig as usize].name.clone();
            *ours.entry(chrom).or_default().entry(gc::fraction(window.gc)).or_default() += 1;
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), official.keys().collect::<Vec<_>>());
        for (chrom, official) in &official {
            let ours = &ours[chrom];
            let total = |h: &BTreeMap<String, usize>| h.values().sum::<usize>();
            assert_eq!(total(ours), total(official), "{chrom}, seed {seed}");
            let distance = distance(ours, official) / total(official) as f64;
            assert!(distance < 0.015, "{chrom}, seed {seed}: {distance}");
        }
        if seed == 1234 {
            assert_eq!(ours, official);
        }
    }
}

/// How far GC has to be moved, summed over nonpeaks, to make one histogram the other.
fn distance(a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>) -> f64 {
    let values = |h: &BTreeMap<String, usize>| -> Vec<f64> {
        h.iter().flat_map(|(gc, &n)| vec![gc.parse::<f64>().unwrap(); n]).collect()
    };
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).sum()
}

#[test]
fn splits_are_the_official_bytes() {
    let Some(goldens) = shared::goldens() else { return };
    let sizes = goldens.join("data/inputs/chrom.sizes").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let official = fs::read_to_string(goldens.join("data/expected/fold_0.json")).unwrap();
    for (prefix, test, valid) in [("a", "-tcr", "-vcr"), ("b", "--test_chroms", "--valid_chroms")] {
        run(
            folder.path(),
            &["prep", "splits", "-op", prefix, "-c", &sizes, test, "chr2", valid, "chr10"],
        );
        let ours = fs::read_to_string(folder.path().join(format!("{prefix}.json"))).unwrap();
        assert_eq!(ours, official);
    }
}
