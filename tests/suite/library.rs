//! The library as a program uses it: what the examples do is what the commands do.

use cbp_fast::input::bigwig::BigWig;
use cbp_fast::jobs::{Architecture, Console, Inputs, Options};
use cbp_fast::{Device, Genome, Method, Model, Sequence, Signal, Track};

use crate::fixture::{CONTIG, Fixture, INPUTLEN, OUTPUTLEN};

macro_rules! example {
    ($name:ident, $path:literal) => {
        #[allow(dead_code)]
        #[path = $path]
        mod $name;
    };
}
example!(contributions, "../../examples/contributions.rs");
example!(predict, "../../examples/predict.rs");
example!(predict_bigwig, "../../examples/predict_bigwig.rs");
example!(train, "../../examples/train.rs");
example!(variants, "../../examples/variants.rs");

/// A fixture with packs, and a bias and a main model that the example trained.
fn trained() -> Fixture {
    let fixture = Fixture::new();
    fixture.succeed(&["pack", "genome", "-g", "genome.fa", "-o", "genome.cbg"]);
    fixture.succeed(&["pack", "signal", "--bigwig", "signal.bw", "-o", "signal.cbs"]);
    let inputs = Inputs {
        genome: fixture.path("genome.cbg"),
        chrom_sizes: fixture.path("chrom.sizes"),
        peaks: fixture.path("peaks.bed"),
        nonpeaks: fixture.path("nonpeaks.bed"),
        folds: fixture.path("folds.json"),
        cache_dir: fixture.path("cache"),
    };
    let arch = |filters| Architecture::new(INPUTLEN, OUTPUTLEN, filters, 2).unwrap();
    let (counts, out) = (fixture.path("signal.cbs"), fixture.path("runs"));
    let console = Console::new(true, false);
    // Fast enough that counts rise above 0.
    let options = Options { epochs: 4, batch_size: 4, learning_rate: 0.02, ..Options::OFFICIAL };
    let counts = counts.to_str().unwrap();
    train::train(&inputs, counts, [arch(4), arch(6)], options, &out, &console).unwrap();
    fixture
}

fn text(fixture: &Fixture, name: &str) -> String {
    fixture.path(name).display().to_string()
}

fn values(fixture: &Fixture, name: &str, contig: &str, range: std::ops::Range<usize>) -> Vec<f32> {
    let mut out = vec![0.0; range.len()];
    let mut file = BigWig::open(&fixture.path(name)).unwrap();
    file.counts(contig, range.start as i64, &mut out).unwrap();
    out
}

#[track_caller]
fn close(found: &[f32], wanted: &[f32], bound: f32) {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0f32, |max, v| max.max(v.abs()));
    assert!(largest > 0.0, "nothing is compared");
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        assert!((f - w).abs() <= bound * largest, "{i}: {f}, not {w}");
    }
}

#[test]
fn examples_do_what_commands_do() {
    let fixture = trained();
    let (bias, genome) = ("runs/bias/models/bias.h5", "genome.cbg");
    let model = text(&fixture, bias);
    let opened = Genome::open(fixture.path(genome)).unwrap();

    // Windows side by side, as `predict --tile` lays them.
    let out = text(&fixture, "example.bw");
    let tiles = predict_bigwig::tile(&model, &opened, "chr3", &out).unwrap();
    assert_eq!(tiles, (CONTIG - INPUTLEN) / OUTPUTLEN + 1);
    let command = ["predict", "-m", bias, "-g", genome, "--tile", "chr3", "-o", "command"];
    fixture.succeed(&[&command[..], &["--count-transform", "expm1", "--device", "cpu"]].concat());
    let flank = (INPUTLEN - OUTPUTLEN) / 2;
    let range = flank..flank + (tiles - 1) * OUTPUTLEN;
    let wanted = values(&fixture, "command.bw", "chr3", range.clone());
    close(&values(&fixture, "example.bw", "chr3", range), &wanted, 1e-4);

    // Contributions, in the middle, where the command's bigWig has the same window alone.
    let center = 12_000u64;
    fixture.write("one.bed", &format!("chr3\t{center}\t{}\t.\t.\t.\t.\t.\t.\t0\n", center + 1));
    let command = ["contribs", "-m", bias, "-r", "one.bed", "-g", genome, "-c", "chrom.sizes"];
    fixture.succeed(&[&command[..], &["-op", "scores", "--device", "cpu"]].concat());
    let rows = contributions::explain(&model, &opened, "chr3", center).unwrap();
    assert_eq!(rows.len(), INPUTLEN);
    let scores: Vec<f32> = rows.iter().map(|row| row.2).collect();
    let start = rows[0].0 as usize;
    let wanted = values(&fixture, "scores.counts_scores.bw", "chr3", start..start + INPUTLEN);
    close(&scores, &wanted, 2e-3);

    // A substitution.
    let base = opened.around("chr3", center, 1).unwrap().to_string();
    let other = if base == "A" { "C" } else { "A" };
    let variant = format!("chr3:{}:{base}:{other}", center + 1);
    let parsed = variants::Variant::parse(&variant).unwrap();
    let effect = variants::score(&model, &opened, &[parsed]).unwrap()[0];
    fixture.write("list.tsv", &format!("chr3\t{}\t{base}\t{other}\tx\n", center + 1));
    let command = ["variants", "-l", "list.tsv", "-g", genome, "-m", bias, "-o", "effects"];
    fixture.succeed(&[&command[..], &["-n", "1", "--device", "cpu"]].concat());
    let table = fixture.read("effects.variant_scores.tsv");
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let column = |name: &str| -> f32 {
        row[header.iter().position(|h| *h == name).unwrap()].parse().unwrap()
    };
    close(&[effect.logfc, effect.jsd], &[column("logfc"), column("jsd")], 1e-3);
    assert!(variants::Variant::parse("chr3:0:A:C").is_none());
    assert!(variants::Variant::parse("chr3:5:A:CC").is_none());

    // The line about a sequence names its highest base.
    let window = opened.around("chr3", center, INPUTLEN).unwrap();
    let line = predict::predict(&model, &window.to_string()).unwrap();
    let mut loaded = Model::open(&model).unwrap().on(Device::Cpu).unwrap();
    let predictions = loaded.predict(&[window]).unwrap();
    let signal = predictions.signal(0);
    let highest = (0..signal.len()).max_by(|&a, &b| signal[a].total_cmp(&signal[b])).unwrap();
    assert!(line.contains(&format!("at base {highest} of {OUTPUTLEN}")), "{line}");
    let total: f64 = signal.iter().map(|v| f64::from(*v)).sum();
    assert!((total / predictions.counts(0) - 1.0).abs() < 1e-5);
}

#[test]
fn folds_answer_by_their_mean_and_models_say_what_does_not_fit() {
    let fixture = trained();
    let bias = fixture.path("runs/bias/models/bias.h5");
    let scaled = fixture.path("runs/chrombpnet/models/bias_model_scaled.h5");
    let full = fixture.path("runs/chrombpnet/models/chrombpnet.h5");
    let genome = Genome::open(fixture.path("genome.cbg")).unwrap();
    let window = genome.around("chr1", 5_000, INPUTLEN).unwrap();
    let predict = |paths: &[&std::path::Path]| {
        let mut model = Model::open_folds(paths).unwrap().on(Device::Cpu).unwrap();
        model.predict(std::slice::from_ref(&window)).unwrap()
    };
    let (one, two, both) = (predict(&[&bias]), predict(&[&scaled]), predict(&[&bias, &scaled]));
    assert!((one.log_counts(0) - two.log_counts(0)).abs() > 1e-3);
    let mean = (one.log_counts(0) + two.log_counts(0)) / 2.0;
    assert!((both.log_counts(0) - mean).abs() < 1e-6);

    let model = Model::open(&bias).unwrap();
    assert_eq!(format!("{model:?}"), format!("Model(bias, {INPUTLEN} bp in, {OUTPUTLEN} bp out)"));
    let mut model = model.on(Device::Cpu).unwrap();
    let error = model.predict(&[window.slice(0..10)]).unwrap_err();
    assert_eq!(
        error.what(),
        format!("the sequence is 10 bp long, but the model reads {INPUTLEN} bp")
    );
    assert!(error.place().is_some() && error.fix().is_some());
    // It still answers after an error.
    assert_eq!(model.predict(std::slice::from_ref(&window)).unwrap(), one);
    let other = Model::open_folds([&bias, &full]).unwrap_err();
    assert!(other.to_string().contains("have no common mean"), "{other}");
    // A full model is predicted, not explained, and still answers afterwards.
    let mut full = Model::open(&full).unwrap().on(Device::Cpu).unwrap();
    let refused = full.contributions(std::slice::from_ref(&window), Method::Gradient).unwrap_err();
    assert!(refused.to_string().contains("branch"), "{refused}");
    assert_eq!(full.predict(std::slice::from_ref(&window)).unwrap().len(), 1);
    assert!(full.predict(&[]).unwrap().is_empty());
}

#[test]
fn sequences_genomes_signals_and_tracks() {
    assert_eq!(Sequence::new("acgUryn-").unwrap().codes(), [0, 1, 2, 3, 4, 4, 4, 4]);
    let error = Sequence::new("ACJ").unwrap_err();
    assert!(error.what().contains("'J' is no base") && error.place().unwrap().contains("base 3"));
    assert!(Sequence::from_codes(vec![0, 5]).is_err());
    let sequence: Sequence = "AACCG".parse().unwrap();
    assert_eq!(sequence.with(1, &"TT".parse().unwrap()).unwrap().to_string(), "ATTCG");
    assert!(sequence.with(4, &"TT".parse().unwrap()).is_err());
    assert_eq!(sequence.reverse_complement().to_string(), "CGGTT");

    let genome = Genome::from_sequences([("a", &b"ACGTAC"[..]), ("b", b"GG")]);
    assert_eq!(genome.contigs().collect::<Vec<_>>(), [("a", 6), ("b", 2)]);
    assert_eq!(genome.sequence("a", -2..3).unwrap().to_string(), "NNACG");
    assert_eq!(genome.around("a", 3, 4).unwrap().to_string(), "CGTA");
    let error = genome.sequence("c", 0..1).unwrap_err();
    assert!(error.to_string().contains("(genome: a, b; here: c)"), "{error}");
    assert!(genome.sequence("a", std::ops::Range { start: 3, end: 1 }).is_err());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bw");
    let mut track = Track::create(&path, genome.contigs()).unwrap();
    track.write("a", 1, &[1.0, 2.5]).unwrap();
    for (contig, start, values) in
        [("a", 2, &[1.0][..]), ("a", 5, &[1.0, 1.0]), ("c", 0, &[1.0]), ("a", 4, &[f32::NAN])]
    {
        assert!(track.write(contig, start, values).is_err(), "{contig}:{start}");
    }
    track.write("b", 0, &[3.0]).unwrap();
    assert!(!path.exists());
    track.finish().unwrap();
    let signal = Signal::open_in(&path, folder.path()).unwrap();
    assert_eq!(signal.counts("a", 0..7).unwrap(), [0.0, 1.0, 2.5, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(signal.counts("b", 0..1).unwrap(), [3.0]);
    assert!(signal.counts("c", 0..1).is_err());
}
