//! `footprints` on the built binary.

use cbp_fast::footprint::h5;

use crate::fixture::{Fixture, strs, tree};

const MOTIFS: &str = "tn5_a\tGCACAGTACAGAGCTG\nCTCF+x\tTTGGCCACNAGGG\n";

/// A fixture with a trained bias model, and motifs.
fn trained() -> Fixture {
    let fixture = Fixture::new();
    fixture.succeed(&strs(&fixture.bias_train("bias", &["-e", "1"])));
    fixture.write("motifs.tsv", MOTIFS);
    std::fs::create_dir(fixture.path("out")).unwrap();
    fixture
}

/// The official command line, with `flag`'s value replaced.
fn arguments<'a>(flag: &str, value: &'a str) -> Vec<&'a str> {
    let mut arguments = vec![
        "footprints",
        "-m",
        "bias/models/bias.h5",
        "-r",
        "nonpeaks.bed",
        "-g",
        "genome.fa",
        "-fl",
        "folds.json",
        "-op",
        "out/x.y",
        "-pwm_f",
        "motifs.tsv",
        "-bs",
        "7",
        "--ylim",
        "(0,0.02)",
    ];
    if let Some(at) = arguments.iter().position(|a| *a == flag) {
        arguments[at + 1] = value;
    }
    arguments
}

#[test]
fn the_official_files() {
    let fixture = trained();
    fixture.succeed(&arguments("", ""));
    assert_eq!(
        tree(&fixture.path("out")),
        [
            "x.y.CTCF+x.footprint.png",
            "x.y.CTCF+x.footprint.svg",
            "x.y.control.footprint.png",
            "x.y.control.footprint.svg",
            "x.y.tn5_a.footprint.png",
            "x.y.tn5_a.footprint.svg",
            "x.y_footprints.h5",
            "x.y_max_bias_response.txt",
        ]
    );
    let mut found = h5::read(&fixture.path("out/x.y_footprints.h5")).unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = found.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["CTCF+x", "control", "tn5_a"]);
    for footprint in &found {
        let sum: f32 = footprint.profile.iter().sum();
        assert!(
            (sum - 1.0).abs() < 1e-4 && footprint.counts.is_finite(),
            "{}: {sum}",
            footprint.name
        );
    }
    assert_ne!(found[0].profile, found[1].profile, "a motif must change something");
    let highest = found[2].profile.iter().copied().fold(0.0f32, f32::max);
    let line = fixture.read("out/x.y_max_bias_response.txt");
    let text = format!("{:?}", (highest * 1000.0).round_ties_even() / 1000.0);
    // A random 100 bp profile is at least 0.01 high somewhere, far above the limit.
    assert_eq!(line, format!("uncorrected_{text}_{text}"));

    // Nothing stays of an earlier command that this one does not say anew.
    fixture.write("out/x.y_dropped_regions.tsv", "of another file of regions");
    fixture.succeed(&arguments("", ""));
    assert!(!fixture.path("out/x.y_dropped_regions.tsv").exists());
    fixture.write("other.tsv", "CTCF\tTTGGCCACAAGGG\n");
    fixture.succeed(&arguments("-pwm_f", "other.tsv"));
    assert!(!fixture.path("out/x.y_max_bias_response.txt").exists());

    // The enzyme's own motifs, and twice the same model, whose mean it is itself.
    let mut twice = arguments("-op", "out/two");
    twice.truncate(twice.len() - 6);
    twice.splice(2..3, ["bias/models/bias.h5", "bias/models/bias.h5"]);
    twice.extend(["-d", "ATAC"]);
    fixture.succeed(&twice);
    let two = h5::read(&fixture.path("out/two_footprints.h5")).unwrap();
    assert_eq!(two.len(), 6);
    let control = two.iter().find(|f| f.name == "control").unwrap();
    assert_eq!(control, &found[1]);
    let line = fixture.read("out/two_max_bias_response.txt");
    assert_eq!(line.split('_').nth(2).unwrap().split('/').count(), 5, "{line}");
}

#[test]
fn bad_inputs_say_what_where_and_how_and_leave_nothing() {
    let fixture = trained();
    fixture.write("empty.tsv", "");
    fixture.write("iupac.tsv", "a\tACGT\nb\tACRT\n");
    fixture.write("twice.tsv", "a\tACGT\na\tACGG\n");
    fixture.write("long.tsv", &format!("long\t{}\n", "A".repeat(307)));
    fixture.write("chr1.bed", "chr1\t900\t1100\t.\t.\t.\t.\t.\t.\t100\n");
    fixture.write("edge.bed", "chr3\t0\t200\t.\t.\t.\t.\t.\t.\t100\n");
    fixture.write("chrX.bed", "chrX\t900\t1100\t.\t.\t.\t.\t.\t.\t100\n");
    fixture.write("chrX.json", r#"{"train":["chr1"],"valid":["chr2"],"test":["chrX"]}"#);
    for (flag, value, wanted) in [
        ("-pwm_f", "empty.tsv", "file has no motifs\n  where: empty.tsv"),
        (
            "-pwm_f",
            "iupac.tsv",
            "motif b has the letter 'R', expected A, C, G, T or N\n  where: iupac.tsv line 2",
        ),
        ("-pwm_f", "twice.tsv", "motif a is already on line 1\n  where: twice.tsv line 2"),
        ("-pwm_f", "long.tsv", "motif long is 307 bp long, but the model reads 306 bp"),
        ("-pwm_f", "none.tsv", "file does not exist\n  where: none.tsv"),
        ("-m", "none.h5", "none.h5"),
        ("-m", "genome.fa", "genome.fa"),
        ("-r", "none.bed", "file does not exist\n  where: none.bed"),
        (
            "-r",
            "chr1.bed",
            "no region is left on the test chromosomes\n  where: chr1.bed with folds.json",
        ),
        ("-r", "edge.bed", "no region is left on the test chromosomes"),
        ("-r", "chrX.bed", "no region lies on a contig of the genome"),
        ("-fl", "chrX.json", "no chromosome of the fold's `test` list is in the genome"),
        ("-op", "nowhere/x", "no such folder\n  where: nowhere\n  fix: make the folder"),
        ("-bs", "0", "--batch-size must be at least 1"),
    ] {
        let text = fixture.fail(&arguments(flag, value));
        assert!(text.contains(wanted), "{flag} {value}: {text}");
        let left: Vec<String> = tree(&fixture.path("out"));
        assert!(
            left.iter().all(|f| f.ends_with("_dropped_regions.tsv")),
            "{flag} {value}: {left:?}"
        );
    }
    let line =
        "footprints -m bias/models/bias.h5 -g genome.fa -r nonpeaks.bed -fl folds.json -o out/x";
    let text = fixture.fail(&line.split(' ').collect::<Vec<_>>());
    assert!(text.contains("no motifs given") && text.contains("-pwm_f") && text.contains("-d for"));
    for wrong in ["0.02", "0.5,0.1"] {
        let output = fixture.run(&arguments("--ylim", wrong));
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
