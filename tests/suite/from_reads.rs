//! Commands that start from reads, on the built binary.

use std::fs;

use cbp_fast::input::assembly::Contig;
use cbp_fast::input::bigwig::BigWig;
use cbp_fast::store::SignalPack;

use crate::fixture::{Fixture, stderr, strs, tree};
use crate::shared;

/// A tagAlign, shifted by +4/-4 already, whose cut sites are those of the fixture's bigWig.
fn with_reads(name: &str) -> Fixture {
    let fixture = Fixture::new();
    let mut track = BigWig::open(&fixture.path("signal.bw")).unwrap();
    let mut rows = String::new();
    for Contig { name: contig, .. } in track.contigs().to_vec() {
        track
            .intervals(&contig, |start, end, value| {
                for at in start..end {
                    for i in 0..value as u32 {
                        let (start, end, strand) = match i % 2 {
                            0 => (at, at + 30, '+'),
                            _ => (at - 29, at + 1, '-'),
                        };
                        rows += &format!("{contig}\t{start}\t{end}\tN\t1000\t{strand}\n");
                    }
                }
                Ok(())
            })
            .unwrap();
    }
    fixture.write(name, &rows);
    fixture
}

/// The arguments with `more` in place of the bigWig.
fn from_reads(arguments: Vec<String>, more: &[&str]) -> Vec<String> {
    let mut arguments = arguments;
    let at = arguments.iter().position(|a| a == "--bigwig").unwrap();
    arguments.splice(at..at + 2, more.iter().map(|s| s.to_string()));
    arguments
}

const READS: [&str; 4] = ["-itag", "reads.tagAlign", "--shift", "+4/-4"];

#[test]
fn training_from_reads_is_training_from_their_bigwig() {
    let fixture = with_reads("reads.tagAlign");
    fixture.succeed(&strs(&fixture.bias_train("bias", &[])));
    let output = fixture.succeed(&strs(&from_reads(fixture.bias_train("bias2", &[]), &READS)));
    let text = stderr(&output);
    assert!(text.contains("reads.tagAlign, shift 0/0: packing into"), "{text}");
    assert!(text.contains("shift: the reads have +4/-4, adding 0/0 to reach +4/-4"), "{text}");
    for log in ["logs/bias.log", "logs/bias_data_params.tsv"] {
        assert_eq!(fixture.read(&format!("bias2/{log}")), fixture.read(&format!("bias/{log}")));
    }
    let left = tree(&fixture.path("bias2"));
    for file in ["auxiliary/data_unstranded.bw", "evaluation/bw_shift_qc.svg"] {
        assert!(left.contains(&file.to_string()), "no {file} in {left:?}");
    }
    let args = fixture.read("bias2/logs/bias.args.json");
    assert!(args.contains("bias2/auxiliary/data_unstranded.bw"), "{args}");

    // The main model finds the pack that the bias model made; another shift is another pack.
    let output = fixture.succeed(&strs(&from_reads(fixture.train("main", &["-e", "1"]), &READS)));
    let text = stderr(&output);
    assert!(text.contains("using its pack"), "{text}");
    let other = ["-itag", "reads.tagAlign", "--shift", "0/0"];
    let again = from_reads(fixture.train("main", &["-e", "1"]), &other);
    let text = fixture.fail(&strs(&again));
    assert!(text.contains("other settings") && text.contains("shift"), "{text}");

    // The bigWig that a run leaves is the signal it was given.
    fixture.succeed(&["pack", "signal", "--bigwig", "signal.bw", "-o", "a.cbs"]);
    fixture.succeed(&[
        "pack",
        "signal",
        "-bw",
        "bias2/auxiliary/data_unstranded.bw",
        "-o",
        "b.cbs",
    ]);
    let body = |name: &str| fs::read(fixture.path(name)).unwrap()[4096..].to_vec();
    assert_eq!(body("a.cbs"), body("b.cbs"));
}

#[test]
fn a_run_that_failed_before_training_can_be_started_otherwise() {
    let fixture = with_reads("reads.tagAlign");
    fixture.write("fragments.tsv", "chr1\t1000\t1200\tCELL-1\t1\n");
    let wrong = from_reads(
        fixture.bias_train("bias", &[]),
        &["-ifrag", "fragments.tsv", "--shift", "0/0", "--strict", "--barcodes", "peaks.bed"],
    );
    let text = fixture.fail(&strs(&wrong));
    assert!(text.contains("no fragment has a barcode of the list"), "{text}");
    fixture.succeed(&strs(&from_reads(fixture.bias_train("bias", &["-e", "1"]), &READS)));

    // Nor are the counts of the run before kept for those of this one.
    let track = fixture.path("bias/auxiliary/data_unstranded.bw");
    let before = fs::read(&track).unwrap();
    fs::remove_file(fixture.path("bias/models/bias.h5")).unwrap();
    let other = ["-itag", "reads.tagAlign", "--shift", "0/0"];
    fixture.succeed(&strs(&from_reads(fixture.bias_train("bias", &["-e", "1"]), &other)));
    assert!(fs::read(&track).unwrap() != before, "the counts of other reads are kept");
}

#[test]
fn signal_is_given_once_and_with_its_shift() {
    let fixture = with_reads("reads.tagAlign");
    for (more, wanted) in [
        (
            &["-itag", "reads.tagAlign", "-ibam", "x.bam"][..],
            "-ibam and -itag are given, expected one",
        ),
        (&["-bw", "signal.bw", "-ifrag", "x"], "--bigwig and -ifrag are given, expected one"),
        (&[], "no signal given"),
    ] {
        let text = fixture.fail(&strs(&from_reads(fixture.bias_train("out", &[]), more)));
        assert!(text.contains(wanted) && text.contains("fix:"), "{text}");
    }
    let output = fixture
        .run(&strs(&from_reads(fixture.bias_train("out", &[]), &["-itag", "x", "--shift", "4"])));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("PLUS/MINUS"), "{}", stderr(&output));
}

#[test]
fn pack_signal_takes_reads() {
    let fixture = with_reads("reads.tagAlign");
    let reads: [&'static str; 8] =
        ["pack", "signal", "-itag", "reads.tagAlign", "-d", "ATAC", "-c", "chrom.sizes"];
    let run = |more: &[&'static str]| [&reads[..], &["--shift", "+4/-4"], more].concat();
    fixture.succeed(&["pack", "signal", "--bigwig", "signal.bw"]);
    let output = fixture.succeed(&run(&["--bigwig-out", "out.bw"]));
    let text = stderr(&output);
    assert!(
        text.contains("cut sites counted") && text.contains("wrote reads.cbs: signal pack"),
        "{text}"
    );
    let body = |name: &str| fs::read(fixture.path(name)).unwrap()[4096..].to_vec();
    assert!(body("reads.cbs") == body("signal.cbs"), "packs differ");
    fixture.succeed(&["pack", "verify", "reads.cbs"]);
    fixture.succeed(&["pack", "signal", "--bigwig", "out.bw"]);
    assert!(body("out.cbs") == body("signal.cbs"), "packs differ");

    // Twice the file, quietly, with -g, with a folder for scratch files.
    let twice = run(&[
        "-itag",
        "reads.tagAlign",
        "-g",
        "genome.fa",
        "-o",
        "two.cbs",
        "-q",
        "--tmpdir",
        "tmp",
    ]);
    let output = fixture.succeed(&twice);
    assert_eq!(stderr(&output), "");
    assert_eq!(fs::read_dir(fixture.path("tmp")).unwrap().count(), 0);
    let total = |name: &str| {
        let out = fixture.succeed(&["pack", "info", name]);
        let text = String::from_utf8(out.stdout).unwrap();
        text.split("sum ").nth(1).unwrap().lines().next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(total("two.cbs"), 2.0 * total("reads.cbs"));

    fixture.write("bad.tagAlign", "chr1\t5\t40\tN\t1\t+\nchr1\t-5\t40\tN\t1\t+\n");
    let before = tree(fixture.folder.path());
    for (arguments, wanted) in [
        (run(&[]), "output is there already and was kept"),
        (run(&["-o", "x.cbs", "--bigwig-out", "out.bw"]), "output is there already and was kept"),
        (run(&["-o", "reads.tagAlign", "--force"]), "output is the input file"),
        (run(&["-o", "x.cbs", "--min-mapq", "30"]), "--min-mapq needs alignments"),
        (
            [&reads[..6], &["-o", "x.cbs", "--shift", "0/0"]].concat(),
            "-c with its chromosome sizes",
        ),
        (
            [&reads[..4], &["-c", "chrom.sizes", "-o", "x.cbs", "--shift", "0/0"]].concat(),
            "pass -d ATAC or -d DNASE",
        ),
        (
            vec![
                "pack",
                "signal",
                "-itag",
                "bad.tagAlign",
                "-d",
                "ATAC",
                "-c",
                "chrom.sizes",
                "--shift",
                "0/0",
                "-o",
                "x.cbs",
            ],
            "start is negative: -5\n  where: bad.tagAlign line 2",
        ),
        (
            vec!["pack", "signal", "-bw", "signal.bw", "-o", "x.cbs", "--bigwig-out", "y.bw"],
            "is a bigWig already",
        ),
    ] {
        let text = fixture.fail(&arguments);
        assert!(text.contains(wanted), "{text}");
        assert_eq!(tree(fixture.folder.path()), before, "{arguments:?}");
    }
    let text = fixture.fail(&[&reads[..], &["-o", "x.cbs"]].concat());
    assert!(
        text.contains("the shift of the reads is not given, and detecting it takes their genome"),
        "{text}"
    );
}

/// Without --shift it is detected, once for all runs on these reads.
#[test]
fn the_shift_is_detected_as_the_official_tool_detects_it() {
    let Some(goldens) = shared::goldens() else { return };
    let inputs = goldens.join("data/inputs");
    let fixture = Fixture::new();
    let genome = inputs.join("genome.fa").display().to_string();
    for (set, data_type, flag, file) in [
        ("atac_bam", "ATAC", "-ibam", "atac.bam"),
        ("atac_fragments", "ATAC", "-ifrag", "atac.fragments.tsv.gz"),
        ("atac_tagalign", "ATAC", "-itag", "atac.tagAlign.gz"),
        ("dnase_bam", "DNASE", "-ibam", "dnase.bam"),
        ("dnase_tagalign", "DNASE", "-itag", "dnase.tagAlign"),
    ] {
        let (file, out) = (inputs.join(file).display().to_string(), format!("{set}.cbs"));
        fixture
            .succeed(&["pack", "signal", flag, &file, "-d", data_type, "-g", &genome, "-o", &out]);
        for figure in ["svg", "png", "tsv"] {
            assert!(fixture.path(&format!("{set}.shift.{figure}")).exists(), "{set} {figure}");
        }
        let official = goldens.join(format!("data/expected/bigwig/{set}_unstranded.bw"));
        let mut official = BigWig::open(&official).unwrap();
        let pack = SignalPack::open(&fixture.path(&out)).unwrap();
        for Contig { name, length } in official.contigs().to_vec() {
            let mut counts = vec![0.0; length as usize];
            pack.counts(pack.contig_id(&name).unwrap(), 0, false, &mut counts);
            let mut wanted = vec![0.0; length as usize];
            official
                .intervals(&name, |start, end, value| {
                    wanted[start as usize..end as usize].fill(value);
                    Ok(())
                })
                .unwrap();
            assert!(counts == wanted, "{set} {name}");
        }
    }
}

#[test]
fn the_preflight_knows_the_contigs_of_reads() {
    let fixture = with_reads("reads.tagAlign");
    let check = |fixture: &Fixture| {
        let command = from_reads(fixture.bias_train("out", &[]), &READS);
        fixture.run(&[&["check"], &strs(&command)[..]].concat())
    };
    let sound = check(&fixture);
    let report = String::from_utf8_lossy(&sound.stdout).into_owned();
    assert_eq!(sound.status.code(), Some(0), "{report}");
    assert!(report.starts_with("contig  genome  chrom_sizes  reads  peaks"), "{report}");
    assert!(!report.contains("fail  "), "{report}");

    let renamed = fixture.read("reads.tagAlign").replace("chr", "");
    fixture.write("reads.tagAlign", &renamed);
    let report = String::from_utf8_lossy(&check(&fixture).stdout).into_owned();
    assert!(report.contains("fail  contigs") && report.contains("reads.tagAlign"), "{report}");
    // Training stops on it before anything is packed.
    let text = fixture.fail(&strs(&from_reads(fixture.bias_train("out", &[]), &READS)));
    assert!(text.contains("reads.tagAlign") && text.contains("fix:"), "{text}");
    assert!(!fixture.path("out").exists() && !fixture.path(".cbp-fast-cache").exists());
}

#[test]
fn the_preflight_refuses_the_rows_that_counting_refuses() {
    let fixture = with_reads("reads.tagAlign");
    let tag_align = fixture.read("reads.tagAlign");
    let fragments = "chr1\t1000\t1200\tAAAC-1\t1\nchr2\t1000\t1300\tAAAG-1\t2\n".repeat(40);
    for (flag, rows) in [
        ("-itag", fragments.as_str()),
        ("-ifrag", &tag_align),
        ("-itag", "chr1\t1000\t1200\n"),
        ("-ifrag", "chr1 1000 1200\n"),
        ("-itag", "chr1\t-5\t1200\tN\t0\t+\n"),
        ("-ifrag", "# nothing\n"),
    ] {
        fixture.write("rows", rows);
        let reads = [flag, "rows", "--shift", "+4/-4"];
        let text =
            fixture.fail(&strs(&from_reads(fixture.bias_train("out", &["--force"]), &reads)));
        let what = text.split_once("error: ").unwrap().1.lines().next().unwrap();
        let command = from_reads(fixture.bias_train("out", &[]), &reads);
        let check = fixture.run(&[&["check"], &strs(&command)[..]].concat());
        let report = String::from_utf8_lossy(&check.stdout);
        assert_eq!(check.status.code(), Some(1), "{flag} {what}: {report}");
        assert!(report.contains(what), "{flag}: {what} is not in {report}");
    }
    // What is forgiven in counting is forgiven here.
    fixture.write("rows", &format!("chr1\t-5\t1200\tN\t0\t+\n{tag_align}"));
    let reads = ["-itag", "rows", "--shift", "+4/-4", "--skip-bad-records", "1"];
    let command = from_reads(fixture.bias_train("out", &[]), &reads);
    fixture.succeed(&[&["check"], &strs(&command)[..]].concat());
}
