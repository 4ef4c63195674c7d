//! Folds of chromosomes: by hand, balanced by length, or the published ones.
//!
//! In: chromosome sizes. Out: `Folds`, whose lists keep the order of the sizes file where they are
//! made here.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::error::Problem;
use crate::input::assembly::Assembly;
use crate::input::folds::{Folds, Split};

/// One fold with the given test and valid chromosomes; all others train.
/// Source: official `prep splits`.
pub fn by_hand(sizes: &Assembly, test: &[String], valid: &[String]) -> Result<Folds, Problem> {
    for (flag, names) in [("--test-chroms", test), ("--valid-chroms", valid)] {
        if let Some(name) = names.iter().find(|n| sizes.id(n).is_none()) {
            let known: Vec<&str> = sizes.names().take(3).collect();
            return Err(Problem::new(format!(
                "{flag}: {name} is not among the chromosomes, which are {}, ...",
                known.join(", ")
            ))
            .fix("name chromosomes as the sizes file does"));
        }
    }
    let [tested, validated] = [test, valid].map(|names| names.iter().collect::<HashSet<_>>());
    if let Some(both) = test.iter().find(|name| validated.contains(name)) {
        return Err(Problem::new(format!("{both} is in both --test-chroms and --valid-chroms"))
            .fix("each chromosome belongs to one list, or the scores are not held out"));
    }
    let train: Vec<String> = sizes
        .names()
        .map(str::to_string)
        .filter(|name| !tested.contains(name) && !validated.contains(name))
        .collect();
    for (what, names) in [("train on", &train[..]), ("validate on", valid)] {
        if names.is_empty() {
            return Err(Problem::new(format!("no chromosome is left to {what}")).fix(
                "give fewer --test-chroms and --valid-chroms, and at least one of the latter",
            ));
        }
    }
    Ok(Folds { train, valid: valid.to_vec(), test: test.to_vec() })
}

/// `k` folds in which every chromosome is tested once. Test sets are close in bp; a fold validates
/// on about half of the next fold's test set and trains on the rest, which for five folds are the
/// shares of the published human ones: 20 % test, 10 % valid.
pub fn balanced(sizes: &Assembly, k: usize) -> Result<Vec<Folds>, Problem> {
    let chromosomes = sizes.len();
    if k < 2 || chromosomes < k.max(3) {
        return Err(Problem::new(format!(
            "--k is {k} for {chromosomes} chromosomes, expected at least 2 folds, no more than chromosomes, and 3 chromosomes"
        ))
        .fix("lower --k, or make folds with --test-chroms and --valid-chroms"));
    }
    let all: Vec<usize> = (0..chromosomes).collect();
    let groups = share_out(&all, k, sizes);
    let mut folds = Vec::with_capacity(k);
    for i in 0..k {
        let next = &groups[(i + 1) % k];
        // The lighter half; where there is but one chromosome, all of it.
        let mut halves = share_out(next, 2, sizes);
        halves.retain(|half| !half.is_empty());
        halves.sort_by_key(|half| bp(half, sizes));
        let names =
            |of: &[usize]| -> Vec<String> { of.iter().map(|&c| sizes[c].name.clone()).collect() };
        folds.push(by_hand(sizes, &names(&groups[i]), &names(&halves[0]))?);
    }
    Ok(folds)
}

fn bp(chromosomes: &[usize], sizes: &Assembly) -> u64 {
    chromosomes.iter().map(|&c| sizes[c].length).sum()
}

/// Longest first, each to the group that has least: within 4/3 of the best possible heaviest group
/// (Graham 1969). Groups list their chromosomes in file order; of equals the first comes first.
fn share_out(chromosomes: &[usize], groups: usize, sizes: &Assembly) -> Vec<Vec<usize>> {
    let mut by_length = chromosomes.to_vec();
    by_length.sort_by_key(|&c| Reverse(sizes[c].length));
    let mut shares = vec![(0, Vec::new()); groups];
    for c in by_length {
        if let Some((bp, lightest)) = shares.iter_mut().min_by_key(|(bp, _)| *bp) {
            *bp += sizes[c].length;
            lightest.push(c);
        }
    }
    let sorted = |(_, mut share): (u64, Vec<usize>)| {
        share.sort_unstable();
        share
    };
    shares.into_iter().map(sorted).collect()
}

/// A published set of folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Published {
    /// Human, five folds: every chromosome is tested once
    #[value(name = "human", alias = "hg38")]
    Human,
    /// Mouse, five folds of seq2PRINT: chr18 and chrX are never tested, chr10, 12, 13, 14, 16 and
    /// 17 twice
    #[value(name = "mouse", alias = "mm10")]
    Mouse,
}

/// Test and valid chromosomes of each fold, without `chr`.
type Lists = [(&'static str, &'static str); 5];

/// ChromBPNet's own. Source: zenodo 7443683, `folds.zip`.
const HUMAN: Lists = [
    ("1 3 6", "8 20"),
    ("2 8 9 16", "12 17"),
    ("4 11 12 15 Y", "22 7"),
    ("5 10 14 18 20 22", "6 21"),
    ("7 13 17 19 21 X", "10 18"),
];

/// Source: buenrostrolab/scPrinter, `scprinter/genome.py` at 6edde74, `mm10_splits`, beside
/// `hg38_splits`, which are the human folds above. ChromBPNet publishes none for mouse.
const MOUSE: Lists = [
    ("1 6 12 13 16", "8 11 18 19 X"),
    ("2 7 10 14 17", "5 9 13 15 Y"),
    ("3 8 13 15 17", "2 9 11 12 Y"),
    ("4 9 11 14 19", "1 7 12 13 Y"),
    ("5 10 12 16 Y", "3 7 14 15 18"),
];

/// The published folds, over the chromosomes that `sizes` has; train is the rest of the autosomes,
/// X and Y. Second, the names that `sizes` lacks.
///
/// Errors when a list would be empty, as it is where names are without `chr`.
pub fn published(which: Published, sizes: &Assembly) -> Result<(Vec<Folds>, Vec<String>), Problem> {
    let (lists, autosomes) = match which {
        Published::Human => (&HUMAN, 22),
        Published::Mouse => (&MOUSE, 19),
    };
    let standard: Vec<String> = (1..=autosomes)
        .map(|n| format!("chr{n}"))
        .chain(["chrX".to_string(), "chrY".to_string()])
        .collect();
    let (there, missing): (Vec<String>, Vec<String>) =
        standard.into_iter().partition(|name| sizes.id(name).is_some());
    let mut all = Vec::new();
    for (i, (test, valid)) in lists.iter().enumerate() {
        let listed = |names: &str| -> Vec<String> {
            let names = names.split(' ').map(|n| format!("chr{n}"));
            names.filter(|name| there.contains(name)).collect()
        };
        let (test, valid) = (listed(test), listed(valid));
        let train = there.iter().filter(|n| !test.contains(n) && !valid.contains(n));
        let folds = Folds { train: train.cloned().collect(), valid, test };
        if let Some(split) = Split::ALL.into_iter().find(|&s| folds.names(s).is_empty()) {
            let known: Vec<&str> = sizes.names().take(3).collect();
            return Err(Problem::new(format!(
                "the sizes file has no {split} chromosome of fold {i} (it has {}, ...)",
                known.join(", ")
            ))
            .fix(
                "pass the sizes of that species, named chr1, chr2, ...; for other names use --k",
            ));
        }
        all.push(folds);
    }
    Ok((all, missing))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::input::assembly::Contig;

    fn sizes(entries: &[(&str, u64)]) -> Assembly {
        entries.iter().copied().collect()
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| n.to_string()).collect()
    }

    #[test]
    fn by_hand_keeps_the_orders_given() {
        let sizes = sizes(&[("b", 2), ("a", 1), ("d", 4), ("c", 3)]);
        let folds = by_hand(&sizes, &strings(&["c", "a"]), &strings(&["b"])).unwrap();
        assert_eq!((folds.test, folds.valid), (strings(&["c", "a"]), strings(&["b"])));
        assert_eq!(folds.train, strings(&["d"]));
    }

    #[test]
    fn bad_lists() {
        let sizes = sizes(&[("chr1", 2), ("chr2", 1), ("chr3", 4)]);
        for (test, valid, wanted) in [
            (&["1"][..], &["chr2"][..], "--test-chroms: 1 is not among"),
            (&["chr1"], &["chrX"], "--valid-chroms: chrX is not among"),
            (&["chr1"], &["chr1"], "chr1 is in both"),
            (&["chr1"], &["chr2", "chr3"], "left to train on"),
            (&["chr1"], &[], "left to validate on"),
        ] {
            let error = by_hand(&sizes, &strings(test), &strings(valid)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    /// hg38, chr1 to chr22, X and Y.
    const HG38: [u64; 24] = [
        248_956_422,
        242_193_529,
        198_295_559,
        190_214_555,
        181_538_259,
        170_805_979,
        159_345_973,
        145_138_636,
        138_394_717,
        133_797_422,
        135_086_622,
        133_275_309,
        114_364_328,
        107_043_718,
        101_991_189,
        90_338_345,
        83_257_441,
        80_373_285,
        58_617_616,
        64_444_167,
        46_709_983,
        50_818_468,
        156_040_895,
        57_227_415,
    ];

    fn hg38() -> Assembly {
        let name = |i| match i {
            22 => "chrX".to_string(),
            23 => "chrY".to_string(),
            i => format!("chr{}", i + 1),
        };
        let entries = HG38.iter().enumerate().map(|(i, &length)| (name(i), length));
        entries.collect()
    }

    #[test]
    fn five_folds_of_a_human_genome_are_even() {
        let sizes = hg38();
        let total: u64 = HG38.iter().sum();
        for folds in balanced(&sizes, 5).unwrap() {
            let share = |names: &[String]| {
                let bp: u64 = names.iter().map(|n| sizes.length(n).unwrap()).sum();
                bp as f64 / total as f64
            };
            assert!((share(&folds.test) - 0.2).abs() < 0.015, "{folds:?}");
            assert!((0.07..=0.11).contains(&share(&folds.valid)), "{folds:?}");
        }
    }

    #[test]
    fn published_folds_hold_out_what_they_say() {
        let (folds, missing) = published(Published::Human, &hg38()).unwrap();
        assert!(missing.is_empty());
        let mut tested: BTreeMap<String, usize> = BTreeMap::new();
        for fold in &folds {
            assert_eq!(fold.train.len() + fold.valid.len() + fold.test.len(), 24);
            fold.test.iter().for_each(|name| *tested.entry(name.clone()).or_default() += 1);
        }
        assert!(tested.len() == 24 && tested.values().all(|&n| n == 1), "{tested:?}");
        assert_eq!(folds[0].test, strings(&["chr1", "chr3", "chr6"]));
        assert_eq!(folds[2].valid, strings(&["chr22", "chr7"]));

        let gone = |c: &Contig| ["chr20", "chr21", "chr22", "chrY"].contains(&c.name.as_str());
        let hg38 = hg38();
        let mouse = hg38.iter().filter(|c| !gone(c)).map(|c| (c.name.as_str(), c.length)).collect();
        let (folds, missing) = published(Published::Mouse, &mouse).unwrap();
        assert_eq!(missing, ["chrY"]);
        for fold in &folds {
            assert_eq!(fold.train.len() + fold.valid.len() + fold.test.len(), 20);
            assert!(fold.test.iter().all(|name| !fold.valid.contains(name)));
        }
    }

    #[test]
    fn published_folds_need_their_names() {
        let error = published(Published::Human, &sizes(&[("1", 5), ("2", 4)])).unwrap_err();
        assert!(error.to_string().contains("(it has 1, 2, ...)"), "{error}");
    }

    proptest! {
        /// Every chromosome is tested once; lists share nothing and leave nothing out.
        #[test]
        fn balanced_folds_partition(
            lengths in prop::collection::vec(1u64..1_000_000, 3..40),
            k in 2usize..8,
        ) {
            let sizes: Assembly =
                lengths.iter().enumerate().map(|(i, &l)| (format!("c{i}"), l)).collect();
            let folds = match balanced(&sizes, k) {
                Ok(folds) => folds,
                // two folds of which one has a single chromosome leave nothing to train on
                Err(_) => { prop_assert!(lengths.len() < k || k == 2); return Ok(()); }
            };
            prop_assert_eq!(folds.len(), k);
            let mut tested: Vec<&String> = folds.iter().flat_map(|f| &f.test).collect();
            tested.sort();
            tested.dedup();
            prop_assert_eq!(tested.len(), lengths.len());
            prop_assert_eq!(folds.iter().map(|f| f.test.len()).sum::<usize>(), lengths.len());
            for fold in &folds {
                let mut all = [&fold.train[..], &fold.valid, &fold.test].concat();
                all.sort();
                all.dedup();
                prop_assert_eq!(all.len(), lengths.len());
                prop_assert!(!fold.train.is_empty() && !fold.valid.is_empty());
            }
        }
    }
}
