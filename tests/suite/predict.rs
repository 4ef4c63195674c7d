//! `predict` on the built binary: regions, several models, whole contigs, sequences, bad input.

use std::collections::BTreeMap;
use std::path::Path;

use cbp_fast::files::keras_h5::{self, Naming};
use cbp_fast::model::{Architecture, Network, ParameterSet};

use crate::fixture::{CONTIG, Fixture, INPUTLEN, OUTPUTLEN, stderr, tree};
use crate::parity::pred_bw::covered;

const FLANK: usize = (INPUTLEN - OUTPUTLEN) / 2;

fn network(seed: u64, inputlen: usize, outputlen: usize) -> Network {
    let arch = Architecture::new(inputlen, outputlen, 4, 2).unwrap();
    Network { arch, parameters: ParameterSet::glorot_uniform(&arch, seed) }
}

/// The small data set, with three folds of a nobias model, a bias model and a full model.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let single = |name: &str, seed, naming| {
        let network = network(seed, INPUTLEN, OUTPUTLEN);
        keras_h5::write_single(&fixture.path(name), &network, naming).unwrap();
        network
    };
    let main = single("f0.h5", 1, Naming::WithoutBias);
    single("f1.h5", 2, Naming::WithoutBias);
    single("f2.h5", 3, Naming::WithoutBias);
    let bias = single("bias.h5", 4, Naming::Bias);
    keras_h5::write_full(&fixture.path("full.h5"), &main, &bias).unwrap();
    fixture
}

/// A command line, words separated by spaces.
fn succeed(fixture: &Fixture, line: &str) -> String {
    stderr(&fixture.succeed(&line.split(' ').collect::<Vec<_>>()))
}

fn fail(fixture: &Fixture, line: &str) -> String {
    fixture.fail(&line.split(' ').collect::<Vec<_>>())
}

fn array(path: &Path, name: &str) -> Vec<f64> {
    let file = hdf5_metno::File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    file.dataset(name).unwrap().read_raw().unwrap()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::MIN, f64::max);
    let exp: Vec<f64> = logits.iter().map(|l| (l - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

fn assert_close(found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        assert!((f - w).abs() <= 1e-5 * w.abs() + 1e-7, "{what} {i}: {f}, expected {w}");
    }
}

fn column(fixture: &Fixture, table: &str, name: &str) -> Vec<f64> {
    let text = fixture.read(table);
    let mut lines = text.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = header.iter().position(|&c| c == name).unwrap_or_else(|| panic!("{name}: {header:?}"));
    lines.map(|cells| cells[at].parse().unwrap()).collect()
}

fn names(fixture: &Fixture, prefix: &str) -> Vec<String> {
    tree(fixture.folder.path()).into_iter().filter(|f| f.starts_with(prefix)).collect()
}

#[test]
fn figures_of_each_group_and_a_warning_where_one_cannot_be_written() {
    let fixture = fixture();
    let run = "predict -m f0.h5 -p peaks.bed -n peaks.bed -g genome.fa -bw signal.bw -o x";
    std::fs::create_dir(fixture.path("x_only_peaks.profile_jsd.png")).unwrap();
    let said = succeed(&fixture, run);
    assert!(said.contains("no ") && said.contains("x_only_peaks.profile_jsd.png"), "{said}");
    for group in ["only_peaks", "only_nonpeaks", "peaks_and_nonpeaks"] {
        for figure in ["counts_pearsonr", "profile_jsd"] {
            let path = fixture.path(&format!("x_{group}.{figure}.png"));
            if path.is_dir() {
                continue;
            }
            let png = std::fs::read(&path).unwrap();
            assert!(png.starts_with(b"\x89PNG\r\n"), "{group} {figure}");
        }
    }
    // Of peaks alone there is one group.
    succeed(&fixture, &run.replace(" -n peaks.bed", "").replace(" x", " y"));
    let figures: Vec<String> =
        names(&fixture, "y").into_iter().filter(|name| name.ends_with(".png")).collect();
    assert_eq!(figures, ["y_only_peaks.counts_pearsonr.png", "y_only_peaks.profile_jsd.png"]);
}

#[test]
fn folds_their_mean_and_their_spread_in_one_pass() {
    let fixture = fixture();
    succeed(
        &fixture,
        "pred_bw -cmb f0.h5 f1.h5 f2.h5 -r peaks.bed -g genome.fa -c chrom.sizes -op x \
         -bw signal.bw -os x_stats.txt -bs 7 --logits",
    );
    let mut wanted: Vec<String> = Vec::new();
    for fold in ["fold_0", "fold_1", "fold_2", "mean"] {
        for suffix in [
            ".bw",
            ".counts_pearsonr.png",
            ".profile_jsd.png",
            "_metrics.json",
            "_predicted_counts.tsv",
            "_predictions.h5",
        ] {
            wanted.push(format!("x_chrombpnet_nobias_{fold}{suffix}"));
        }
    }
    wanted.extend(["x_chrombpnet_nobias_preds.bed", "x_chrombpnet_nobias_sd.bw"].map(String::from));
    wanted.push("x_stats.txt".into());
    wanted.sort();
    assert_eq!(names(&fixture, "x_"), wanted);
    assert_eq!(fixture.read("x_chrombpnet_nobias_preds.bed"), fixture.read("peaks.bed"));

    // Each model alone says what it says among others.
    let mut logits = Vec::new();
    let mut logcounts = Vec::new();
    for i in 0..3 {
        succeed(
            &fixture,
            &format!("predict -m f{i}.h5 -r peaks.bed -g genome.fa -bw signal.bw -o y{i} --logits"),
        );
        let alone = fixture.path(&format!("y{i}_predictions.h5"));
        let among = fixture.path(&format!("x_chrombpnet_nobias_fold_{i}_predictions.h5"));
        for name in ["predictions/profs", "predictions/logcounts", "predictions/logits"] {
            assert_eq!(array(&alone, name), array(&among, name), "{name}");
        }
        for suffix in ["_metrics.json", "_predicted_counts.tsv"] {
            assert_eq!(
                fixture.read(&format!("y{i}{suffix}")),
                fixture.read(&format!("x_chrombpnet_nobias_fold_{i}{suffix}"))
            );
        }
        assert_eq!(
            covered(&fixture.path(&format!("y{i}.bw"))),
            covered(&fixture.path(&format!("x_chrombpnet_nobias_fold_{i}.bw")))
        );
        logits.push(array(&alone, "predictions/logits"));
        logcounts.push(array(&alone, "predictions/logcounts"));
    }

    // softmax(mean logits), mean log counts
    let mean = |lists: &[Vec<f64>], i: usize| lists.iter().map(|l| l[i]).sum::<f64>() / 3.0;
    let sd = |values: [f64; 3]| {
        let mean = values.iter().sum::<f64>() / 3.0;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2.0).sqrt()
    };
    let n = logcounts[0].len();
    let mean_logits: Vec<f64> = (0..n * OUTPUTLEN).map(|i| mean(&logits, i)).collect();
    let mean_logcounts: Vec<f64> = (0..n).map(|i| mean(&logcounts, i)).collect();
    let profs: Vec<f64> = mean_logits.chunks(OUTPUTLEN).flat_map(softmax).collect();
    let h5 = fixture.path("x_chrombpnet_nobias_mean_predictions.h5");
    assert_close(&array(&h5, "predictions/profs"), &profs, "profs");
    assert_close(&array(&h5, "predictions/logcounts"), &mean_logcounts, "logcounts");
    let spread: Vec<f64> =
        (0..n).map(|i| sd([logcounts[0][i], logcounts[1][i], logcounts[2][i]])).collect();
    let table = "x_chrombpnet_nobias_mean_predicted_counts.tsv";
    for (found, wanted) in column(&fixture, table, "logcounts_sd").iter().zip(&spread) {
        assert!((found - wanted).abs() < 1e-6, "{found}, expected {wanted}");
    }

    // The peaks do not overlap, and stand in the order of the track.
    let track = |values: Vec<f64>, name: &str| {
        let found = covered(&fixture.path(name));
        let found: Vec<f64> =
            found.values().flat_map(|(_, v)| v.iter().map(|&v| f64::from(v))).collect();
        assert_close(&found, &values, name);
    };
    let scaled = |profs: &[f64], logcounts: &[f64]| -> Vec<f64> {
        let rows = profs.chunks(OUTPUTLEN).zip(logcounts);
        rows.flat_map(|(row, l)| row.iter().map(|p| p * l.exp()).collect::<Vec<_>>()).collect()
    };
    track(scaled(&profs, &mean_logcounts), "x_chrombpnet_nobias_mean.bw");
    let each: Vec<Vec<f64>> = logits
        .iter()
        .zip(&logcounts)
        .map(|(l, c)| scaled(&l.chunks(OUTPUTLEN).flat_map(softmax).collect::<Vec<_>>(), c))
        .collect();
    let spread = (0..n * OUTPUTLEN).map(|i| sd([each[0][i], each[1][i], each[2][i]])).collect();
    track(spread, "x_chrombpnet_nobias_sd.bw");

    // The statistics are those of the mean.
    let max = fixture.read("x_stats.txt").lines().last().unwrap().to_string();
    let wanted = scaled(&profs, &mean_logcounts).into_iter().fold(f64::MIN, f64::max);
    assert!((max.strip_prefix("Max\t").unwrap().parse::<f64>().unwrap() - wanted).abs() < 1e-5);
}

#[test]
fn models_of_several_kinds_are_told_apart_by_name() {
    let fixture = fixture();
    succeed(&fixture, "predict -m full.h5 bias.h5 f0.h5 -r peaks.bed -g genome.fa -o k -d chr2");
    for role in ["bias", "chrombpnet", "chrombpnet_nobias"] {
        for suffix in [".bw", "_preds.bed", "_predictions.h5", "_predicted_counts.tsv"] {
            assert!(fixture.path(&format!("k_{role}{suffix}")).exists(), "{role}{suffix}");
        }
        let bed = fixture.read(&format!("k_{role}_preds.bed"));
        assert!(bed.lines().count() == 22 && bed.lines().all(|l| l.starts_with("chr2\t")));
    }
    // Logits add, counts add: the full model is its two parts.
    let counts =
        |role: &str| column(&fixture, &format!("k_{role}_predicted_counts.tsv"), "logcounts");
    let parts = counts("bias").into_iter().zip(counts("chrombpnet_nobias"));
    let sums: Vec<f64> = parts.map(|(a, b)| (a.exp() + b.exp()).ln()).collect();
    assert_close(&counts("chrombpnet"), &sums, "logcounts");
}

#[test]
fn regions_in_one_place_and_at_the_edges() {
    let fixture = fixture();
    let row =
        |start: i64| format!("chr1\t{}\t{}\tname\t5\t+\t1.50\t.\t-1\t50\n", start - 50, start + 50);
    // Three times the same, which stops the official tool; one base apart; overlapping; too near to
    // either end of the contig; just far enough.
    let half = INPUTLEN as i64 / 2;
    let end = CONTIG as i64;
    let starts = [
        5_000,
        5_000,
        9_030,
        5_000,
        9_000,
        9_001,
        half - 1,
        half,
        end - half,
        end - half + 1,
        5_000,
    ];
    let rows: Vec<String> = starts.iter().map(|&s| row(s)).collect();
    fixture.write("r.bed", &rows.concat());
    let said = succeed(
        &fixture,
        "pred_bw -cmb f0.h5 -r r.bed -g genome.fa -c chrom.sizes -op e -os e_stats.txt -t 1",
    );
    assert!(said.contains("kept 9 of 11 regions") && said.contains("line 7"), "{said}");
    let dropped = fixture.read("e_dropped_regions.tsv");
    let lines: Vec<&str> = dropped.lines().skip(1).map(|l| l.split('\t').next().unwrap()).collect();
    assert_eq!(lines, ["7", "10"]);
    let kept: String =
        rows.iter().enumerate().filter(|(i, _)| ![6, 9].contains(i)).map(|(_, r)| &r[..]).collect();
    assert_eq!(fixture.read("e_chrombpnet_nobias_preds.bed"), kept);

    // Every base from the nearest midpoint, by brute force over what each region alone gives.
    let mut nearest: BTreeMap<i32, (i64, i64, f32)> = BTreeMap::new();
    for &start in starts.iter().filter(|&&s| s >= half && s <= end - half) {
        fixture.write("one.bed", &row(start));
        succeed(&fixture, "pred_bw -cmb f0.h5 -r one.bed -g genome.fa -op one -q");
        let (positions, values) = &covered(&fixture.path("one_chrombpnet_nobias.bw"))["chr1"];
        for (&at, &value) in positions.iter().zip(values) {
            let rank = ((2 * i64::from(at) + 1 - 2 * start).abs(), -start, value);
            let best = nearest.entry(at).or_insert(rank);
            if (rank.0, rank.1) < (best.0, best.1) {
                *best = rank;
            }
        }
    }
    let found = &covered(&fixture.path("e_chrombpnet_nobias.bw"))["chr1"];
    let positions: Vec<i32> = nearest.keys().copied().collect();
    let values: Vec<f32> = nearest.values().map(|v| v.2).collect();
    assert_eq!(found.0, positions);
    // A region alone and among others differ by nothing: engines do not depend on the batch.
    assert_eq!(found.1, values);
    assert_eq!(fixture.read("e_stats.txt").lines().count(), 9);
}

#[test]
fn tiles_cover_every_base_with_context_once() {
    let fixture = fixture();
    // A contig without room for a window, one with room for exactly one, and an odd length.
    let genome = fixture.read("genome.fa");
    let bases: String = genome.lines().nth(3).unwrap().repeat(20);
    let small = format!(
        ">short\n{}\n>exact\n{}\n>odd\n{}\n",
        &bases[..INPUTLEN - 1],
        &bases[..INPUTLEN],
        &bases[..3 * INPUTLEN + 7]
    );
    fixture.write("more.fa", &format!("{genome}{small}"));
    let said = succeed(&fixture, "predict -m f0.h5 --tile -g more.fa -o t -bw signal.bw");
    assert!(said.contains("1 of 6 contigs are shorter") && said.contains("short"), "{said}");
    let found = covered(&fixture.path("t.bw"));
    for (name, length) in [
        ("chr1", CONTIG),
        ("chr2", CONTIG),
        ("chr3", CONTIG),
        ("exact", INPUTLEN),
        ("odd", 3 * INPUTLEN + 7),
    ] {
        let wanted: Vec<i32> = (FLANK as i32..(length - FLANK) as i32).collect();
        assert_eq!(found[name].0, wanted, "{name}");
    }
    assert_eq!(found.len(), 5);
    assert!(!fixture.path("t_predictions.h5").exists(), "only with --h5");
    assert!(fixture.path("t_metrics.json").exists());

    // The tiles are ordinary windows: as regions they give the same track.
    let table = fixture.read("t_predicted_counts.tsv");
    let rows = table.lines().skip(1).filter(|l| l.starts_with("chr3\t"));
    let bed: String = rows
        .map(|l| l.split('\t').collect::<Vec<_>>())
        .map(|c| format!("{}\t{}\t{}\t.\t.\t.\t.\t.\t.\t{}\n", c[0], c[1], c[2], c[3]))
        .collect();
    assert!(bed.starts_with(&format!("chr3\t{FLANK}\t{}\t", FLANK + OUTPUTLEN)), "{bed}");
    fixture.write("tiles.bed", &bed);
    succeed(&fixture, "predict -m f0.h5 -r tiles.bed -g genome.fa -o r");
    assert_eq!(covered(&fixture.path("r.bw"))["chr3"], found["chr3"]);

    // Contigs by name, in the order of chrom.sizes; sequences of any length.
    fixture.write("sizes", &format!("chr3\t{CONTIG}\nchr1\t{CONTIG}\n"));
    succeed(&fixture, "predict -cmb f0.h5 -c sizes --tile chr1,chr3 -g more.fa -o n --h5");
    let some = covered(&fixture.path("n_chrombpnet_nobias.bw"));
    assert_eq!(some.keys().collect::<Vec<_>>(), ["chr1", "chr3"]);
    assert!(some.iter().all(|(name, track)| *track == found[name]));
    assert!(fixture.path("n_chrombpnet_nobias_predictions.h5").exists());
    let order = column(&fixture, "n_chrombpnet_nobias_predicted_counts.tsv", "start").len();
    assert_eq!(order, 2 * (CONTIG - INPUTLEN).div_ceil(OUTPUTLEN) + 2);
    fixture.write("small.fa", &small);
    succeed(&fixture, "predict -m f0.h5 --tile --fasta small.fa -o s");
    assert_eq!(covered(&fixture.path("s.bw"))["odd"], found["odd"]);
}

#[test]
fn counts_are_transformed_as_asked() {
    let fixture = fixture();
    let line = "predict -m f0.h5 -r peaks.bed -g genome.fa -o";
    succeed(&fixture, &format!("{line} default"));
    succeed(&fixture, &format!("{line} exp --count-transform exp"));
    succeed(&fixture, &format!("{line} expm1 --count-transform expm1"));
    let logcounts = column(&fixture, "default_predicted_counts.tsv", "logcounts");
    let total = |name: &str| -> f64 {
        let tracks = covered(&fixture.path(name));
        tracks.values().flat_map(|(_, v)| v).map(|&v| f64::from(v)).sum()
    };
    let exp: f64 = logcounts.iter().map(|l| l.exp()).sum();
    let expm1: f64 = logcounts.iter().map(|l| l.exp_m1().max(0.0)).sum();
    for (name, track, table) in
        [("default", exp, expm1), ("exp", exp, exp), ("expm1", expm1, expm1)]
    {
        let found = total(&format!("{name}.bw"));
        assert!((found - track).abs() <= 1e-4 * track, "{name}: {found}, expected {track}");
        let counts = column(&fixture, &format!("{name}_predicted_counts.tsv"), "predicted_counts");
        let found: f64 = counts.iter().sum();
        assert!((found - table).abs() <= 0.05, "{name}: {found}, expected {table}");
    }
}

#[test]
fn bad_input_is_told_and_leaves_nothing() {
    let fixture = fixture();
    let wide = network(5, INPUTLEN + 100, OUTPUTLEN + 100);
    keras_h5::write_single(&fixture.path("wide.h5"), &wide, Naming::WithoutBias).unwrap();
    let mut loud = network(6, INPUTLEN, OUTPUTLEN);
    loud.parameters.get_mut("logcount_predictions/bias").unwrap().data[0] = 200.0;
    keras_h5::write_single(&fixture.path("loud.h5"), &loud, Naming::Bias).unwrap();
    let mut broken = network(7, INPUTLEN, OUTPUTLEN);
    broken.parameters.get_mut("logcount_predictions/bias").unwrap().data[0] = 100.0;
    keras_h5::write_single(&fixture.path("broken.h5"), &broken, Naming::WithoutBias).unwrap();
    fixture.write("some.sizes", &format!("chr1\t{CONTIG}\nchr2\t{CONTIG}\n"));
    fixture.write("other.sizes", "chr1\t99\n");
    fixture.write("edge.bed", "chr1\t0\t50\t.\t.\t.\t.\t.\t.\t10\n");
    fixture.write("three.bed", "chr1\t100\t200\n");
    fixture.write("renamed.bed", &fixture.read("peaks.bed").replace("chr", ""));
    fixture.write("long.fa", &format!(">a\n{}\n", "ACGT".repeat(100)));
    let on = "-g genome.fa -op out -r peaks.bed";
    for (line, says) in [
        (format!("pred_bw -cm none.h5 {on}"), &["none.h5"][..]),
        (format!("pred_bw -cm genome.fa {on}"), &["genome.fa", "fix:"]),
        (
            format!("pred_bw -cm f0.h5 {on}"),
            &[
                "-cm takes a chrombpnet model",
                "chrombpnet_nobias",
                "f0.h5",
                "-cmb takes chrombpnet_nobias.h5",
            ],
        ),
        (
            format!("pred_bw -bm full.h5 {on}"),
            &["-bm takes a bias model", "-cm takes chrombpnet.h5"],
        ),
        (
            format!("pred_bw -cmb f0.h5 wide.h5 {on}"),
            &["different lengths", "306 bp in and 100 out", "f0.h5 and wide.h5"],
        ),
        (
            format!("pred_bw -cmb f0.h5 bias.h5 {on}"),
            &["-cmb takes a chrombpnet_nobias model", "a bias model", "bias.h5"],
        ),
        (
            format!("pred_bw -cmb f0.h5 {on} -d chr8 chr9"),
            &["no region lies on chr8, chr9", "left to predict", "where: peaks.bed", "-d as the"],
        ),
        (format!("pred_bw -cmb f0.h5 {on} -c some.sizes"), &["chr3", "some.sizes"]),
        (format!("pred_bw -cmb f0.h5 {on} -c other.sizes"), &["other.sizes", "99 bp"]),
        (format!("pred_bw -cmb f0.h5 {on} -c peaks.bed"), &["peaks.bed"]),
        (format!("pred_bw -cmb f0.h5 {on} -bw genome.fa"), &["genome.fa"]),
        (format!("pred_bw -cmb f0.h5 {on} -bs 0"), &["--batch-size"]),
        (
            format!("pred_bw -bm loud.h5 {on}"),
            &["predicts inf counts (log counts 2", "loud.h5, chr1:", "leave this model out"],
        ),
        (format!("pred_bw -cmb f0.h5 f1.h5 broken.h5 {on}"), &["predicts inf", "broken.h5, chr1:"]),
        (format!("pred_bw {on}"), &["no model given", "-bm, -cm or -cmb"]),
        (
            format!("pred_bw -cmb f0.h5 {on} -os no/such/stats"),
            &["no such folder\n  where: no/such\n", "make the folder", "another -os"],
        ),
        (
            "pred_bw -cmb f0.h5 -g genome.fa -op no/such/out -r peaks.bed".into(),
            &["no such folder\n  where: no/such\n", "make the folder", "another -op"],
        ),
        ("pred_bw -cmb f0.h5 -g genome.fa -op out -r three.bed".into(), &["3 columns", "line 1"]),
        ("pred_bw -cmb f0.h5 -g genome.fa -op out -r renamed.bed".into(), &["renamed.bed"]),
        ("pred_bw -cmb f0.h5 -g genome.fa -op out --tile chr1,chr9".into(), &["chr9", "chr1"]),
        (
            "pred_bw -cmb f0.h5 -g genome.fa -op out --tile chr3 -c some.sizes".into(),
            &["chr3", "some.sizes"],
        ),
        ("predict -m f0.h5 --fasta long.fa -o out".into(), &["400 bp", "306 bp", "--tile"]),
        (
            "predict -m f0.h5 -g genome.fa -o out -p peaks.bed -os stats.txt".into(),
            &["--output-prefix-stats", "-r"],
        ),
    ] {
        let text = fail(&fixture, &line);
        for wanted in says {
            assert!(text.contains(wanted), "{line}\nno {wanted:?} in\n{text}");
        }
        let left: Vec<String> = tree(fixture.folder.path())
            .into_iter()
            .filter(|f| !f.contains("cache"))
            .filter(|f| f.starts_with("out") || f.contains(".cbp-fast-") || f.contains("stats"))
            .collect();
        assert!(left.is_empty(), "{line}: {left:?}");
    }
    // A chromosome without regions is told, and the others are predicted, as officially.
    let line = "pred_bw -cmb f0.h5 -g genome.fa -op some -r peaks.bed -d chr2 chr9";
    let text = stderr(&fixture.succeed(&line.split(' ').collect::<Vec<_>>()));
    assert!(text.contains("warning: peaks.bed: no region lies on chr9"), "{text}");
    let bed = fixture.read("some_chrombpnet_nobias_preds.bed");
    let on_chr2 = fixture.read("peaks.bed").lines().filter(|l| l.starts_with("chr2\t")).count();
    assert_eq!(bed.lines().count(), on_chr2);
    assert!(bed.lines().all(|l| l.starts_with("chr2\t")));
    // Nothing is left to predict: the table of what was dropped says why.
    let text = fail(&fixture, "pred_bw -cmb f0.h5 -g genome.fa -op gone -r edge.bed");
    assert!(text.contains("no region is left") && text.contains("gone_dropped_regions.tsv"));
    assert_eq!(names(&fixture, "gone"), ["gone_dropped_regions.tsv"]);
    // Bad usage.
    for line in [
        "pred_bw -cmb f0.h5 -m f1.h5 -r peaks.bed -g genome.fa -op out",
        "pred_bw -cmb f0.h5 -g genome.fa -op out",
        "pred_bw -cmb f0.h5 -r peaks.bed --tile -g genome.fa -op out",
        "pred_bw -cmb f0.h5 -r peaks.bed -g genome.fa -op out --count-transform log",
    ] {
        let output = fixture.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}
