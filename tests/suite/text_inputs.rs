//! The policy of all text inputs: marks, line ends, compression, pipes, letters. Every reader gives
//! the same for the same rows.

use std::fmt::Debug;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use cbp_fast::footprint::motifs;
use cbp_fast::input::reads::{self, Barcodes, Contigs, Format, Options, Sources};
use cbp_fast::input::variants::{self, Schema};
use cbp_fast::input::{chrom_sizes, fasta, folds, intervals, peak_list, regions};
use cbp_fast::pack::shift::ReferenceMotifs;
use cbp_fast::store::format::HEADER;

use crate::compress::{bgzip, gzip};
use crate::fixture::{Fixture, command, stderr};

/// Without the empty block of 28 bytes that ends the file.
fn unmarked(bytes: &[u8]) -> Vec<u8> {
    let mut whole = bgzip(bytes);
    whole.truncate(whole.len() - 28);
    whole
}

fn shown(value: Result<impl Debug>) -> Result<String> {
    value.map(|value| format!("{value:?}"))
}

fn list(path: &Path, schema: Option<Schema>) -> Result<String> {
    let mut entries = Vec::new();
    variants::for_each(path, schema, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    shown(Ok(entries))
}

fn counted(path: &Path, format: Format) -> Result<String> {
    let contigs = Contigs::new([("chr1".to_string(), 1000), ("chr2".to_string(), 1000)]);
    let sources = Sources { format, files: vec![path.to_path_buf()] };
    let mut ends = Vec::new();
    reads::read(&sources, &contigs, &Options::default(), &mut |_| {}, &mut |end| {
        ends.push(end);
        Ok(())
    })?;
    shown(Ok(ends))
}

/// A reader, and what it shows of a file.
type Reader = (&'static str, String, fn(&Path) -> Result<String>);

fn readers() -> Vec<Reader> {
    let peak = "chr1\t10\t20\tp\t5\t.\t5.0\t9.0\t-1\t4\n";
    let peaks = format!("{peak}{}", peak.replace("chr1", "chr2"));
    let motif = "0.7\t0.1\t0.1\t0.1\n".repeat(20);
    vec![
        ("regions", peaks.clone(), |p| shown(regions::read(p))),
        ("peaks", peaks, |p| shown(peak_list::read(p))),
        ("intervals", "chr1\t1\t5\nchr2\t0\t9\tx\n".into(), |p| shown(intervals::read(p))),
        ("sizes", "chr1\t100\nchr2\t50\n".into(), |p| shown(chrom_sizes::read(p))),
        ("folds", "{\"train\": [\"chr1\"],\n\"valid\": [\"chr2\"], \"test\": []}\n".into(), |p| {
            shown(folds::read(p))
        }),
        ("motifs", "a\tACGT\nb\tGG\n".into(), |p| shown(motifs::read(p))),
        ("reference", format!(">x_plus\n{motif}>x_minus\n{motif}"), |p| {
            shown(ReferenceMotifs::read(p))
        }),
        ("barcodes", "AAAC-1\nAAAG-1\n".into(), |p| {
            shown(Barcodes::read(p).map(|b| b.sorted().concat()))
        }),
        ("list", "chr1\t5\tA\tG\trs1\nchr2\t6\tC\tT\trs2\n".into(), |p| list(p, None)),
        (
            "vcf",
            "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n\
             chr1\t5\trs1\tA\tG\t.\t.\t.\nchr2\t6\trs2\tC\tT\t.\t.\t.\n"
                .into(),
            |p| list(p, None),
        ),
        ("fragments", "chr1\t10\t40\tA\t1\nchr2\t10\t40\tC\t1\n".into(), |p| {
            counted(p, Format::Fragments)
        }),
        ("tagAlign", "chr1\t10\t40\tN\t1\t+\nchr2\t10\t40\tN\t1\t-\n".into(), |p| {
            counted(p, Format::TagAlign)
        }),
        ("FASTA", ">chr1 x\nACGT\nAC\n>chr2\nGG\n".into(), |p| shown(fasta::read_all(p))),
    ]
}

#[test]
fn marks_line_ends_and_compression_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    for (name, text, read) in readers() {
        fs::write(&path, &text).unwrap();
        let wanted = read(&path).unwrap();
        let marked = format!("\u{feff}{text}");
        // One end, the other and the third in turn.
        let mut turn = ["\n", "\r\n", "\r"].into_iter().cycle();
        let mixed: String =
            text.lines().flat_map(|line| [line, turn.next().unwrap_or_default()]).collect();
        let half = text.len() / 2;
        for (what, bytes) in [
            ("mark", marked.clone().into_bytes()),
            ("two marks", format!("\u{feff}{marked}").into_bytes()),
            ("mark in gzip", gzip(marked.as_bytes())),
            ("mark in bgzip", bgzip(marked.as_bytes())),
            ("CRLF", text.replace('\n', "\r\n").into_bytes()),
            ("CR", text.replace('\n', "\r").into_bytes()),
            ("CR and mark", marked.replace('\n', "\r").into_bytes()),
            ("CR in gzip", gzip(text.replace('\n', "\r").as_bytes())),
            ("mixed", mixed.into_bytes()),
            ("no end marker", unmarked(text.as_bytes())),
            ("members", [gzip(&text.as_bytes()[..half]), bgzip(&text.as_bytes()[half..])].concat()),
            (
                "other members",
                [unmarked(&text.as_bytes()[..half]), gzip(&text.as_bytes()[half..])].concat(),
            ),
            ("padding", [gzip(text.as_bytes()), vec![0; 512]].concat()),
            ("a byte more", [bgzip(text.as_bytes()), b"\n".to_vec()].concat()),
        ] {
            fs::write(&path, bytes).unwrap();
            let found = read(&path).unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            assert_eq!(found, wanted, "{name}, {what}");
        }
    }
}

/// Larger than every buffer, so that none of them holds all lines.
#[test]
fn large_files_with_cr() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let rows = 100_000;
    fs::write(&path, "chr1\t10\t40\tA\t1\r".repeat(rows)).unwrap();
    let lines = counted(&path, Format::Fragments).unwrap().matches("Plus").count();
    assert_eq!(lines, rows);
    fs::write(&path, format!(">a\r{}", "ACGTACGTAC\r".repeat(200_000))).unwrap();
    assert_eq!(fasta::read_all(&path).unwrap()[0].1.len(), 2_000_000);
}

#[test]
fn names_in_latin_1_matter_only_where_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let row = |chrom: &[u8], name: &[u8]| {
        [chrom, b"\t10\t20\t", name, b"\t5\t.\t5.0\t9.0\t-1\t4\n"].concat()
    };
    fs::write(&path, [b"# caf\xe9\n", &row(b"chr1", b"caf\xe9")[..]].concat()).unwrap();
    assert_eq!(regions::read(&path).unwrap()[0].center(), 14);
    assert_eq!(intervals::read(&path).unwrap().len(), 1);
    fs::write(&path, row(b"chr\xe9", b".")).unwrap();
    let error = regions::read(&path).unwrap_err().to_string();
    assert!(error.contains("not UTF-8") && error.contains("line 1"), "{error}");
    let vcf = b"##fileformat=VCFv4.2\n##x=\xe9\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n\
                chr1\t5\trs1\tA\tG\t.\t.\tX=\xe9\n";
    fs::write(&path, vcf).unwrap();
    assert!(list(&path, None).unwrap().contains("rs1"));
}

#[test]
fn lines_without_end_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    for (name, text, read) in readers().into_iter().filter(|(name, ..)| *name != "folds") {
        let endless = match name {
            "FASTA" => format!(">{}", "A".repeat(2 << 20)),
            "vcf" => format!("##fileformat=VCFv4.2\n##{}", "A".repeat(2 << 20)),
            _ => format!("{text}{}", "A".repeat(2 << 20)),
        };
        fs::write(&path, gzip(endless.as_bytes())).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line of more than 1 MB"), "{name}: {error}");
        assert!(error.contains(" line "), "{name}: {error}");
    }
}

/// Runs the binary with `input` piped to its stdin.
fn fed(folder: &Path, arguments: &[&str], input: &[u8]) -> std::process::Output {
    let mut child = command(folder, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Fails where the command has stopped before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn inputs_come_through_pipes_and_reads_do_not() {
    let fixture = Fixture::new();
    let folder = fixture.folder.path();
    fixture.succeed(&["pack", "genome", "-g", "genome.fa", "-o", "file.cbg"]);
    let genome = fs::read(fixture.path("genome.fa")).unwrap();
    let output = fed(folder, &["pack", "genome", "-g", "/dev/stdin", "-o", "pipe.cbg"], &genome);
    assert!(output.status.success(), "{}", stderr(&output));
    let body = |name: &str| fs::read(fixture.path(name)).unwrap()[HEADER..].to_vec();
    assert!(body("pipe.cbg") == body("file.cbg"));

    // The regions are read by the checks, by the training and for its record.
    fixture.keep_regions(6);
    for (flag, file) in [("-p", "peaks.bed"), ("-fl", "folds.json"), ("-g", "genome.fa")] {
        let line = fixture.bias_train("out", &["-e", "1", flag, "/dev/stdin"]);
        let mut line: Vec<&str> = line.iter().map(String::as_str).collect();
        line.insert(0, "check");
        let output = fed(folder, &line, &fs::read(fixture.path(file)).unwrap());
        assert!(output.status.success(), "{flag}: {}", stderr(&output));
    }
    let line = fixture.bias_train("out", &["-e", "1", "-p", "/dev/stdin"]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let output = fed(folder, &line, &fs::read(fixture.path("peaks.bed")).unwrap());
    assert!(output.status.success(), "{}", stderr(&output));

    for flag in ["-ifrag", "-ibam", "-itag"] {
        let line = [
            "pack",
            "signal",
            flag,
            "/dev/stdin",
            "-c",
            "chrom.sizes",
            "-d",
            "ATAC",
            "-o",
            "s.cbs",
        ];
        let output = fed(folder, &line, b"chr1\t1\t9\n");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("found a pipe") && text.contains("pass a file"), "{text}");
    }
}

#[test]
fn what_surprises_is_said_once() {
    let fixture = Fixture::new();
    let pack = |name: &str| {
        let line = ["pack", "signal", "-ifrag", name, "-c", "chrom.sizes", "--force"];
        let more = ["--shift", "+4/-4", "-d", "ATAC", "-o", "s.cbs"];
        stderr(&fixture.succeed(&[&line[..], &more[..]].concat()))
    };
    let rows = b"chr1\t100\t200\tA\t1\n".repeat(50);
    for (bytes, wanted) in [
        (unmarked(&rows), Some("without end marker")),
        ([bgzip(&rows), b"\n".to_vec()].concat(), Some("trailing garbage ignored: 1 bytes")),
        ([bgzip(&rows), vec![0; 5000]].concat(), None),
        ([unmarked(&rows), gzip(&rows)].concat(), None),
        (bgzip(&rows), None),
    ] {
        fs::write(fixture.path("f.tsv.gz"), bytes).unwrap();
        let text = pack("f.tsv.gz");
        assert_eq!(text.matches("warning").count(), usize::from(wanted.is_some()), "{text}");
        assert!(text.contains(wanted.unwrap_or_default()), "{text}");
    }
    let genome = |text: &str| {
        fixture.write("x.fa", text);
        fixture.run(&["pack", "genome", "-g", "x.fa", "-o", "x.cbg", "--force", "-q"])
    };
    let rna = genome(">a\nACGUu\nAC\n>b\nGGU\n");
    assert!(rna.status.success());
    assert!(stderr(&rna).contains("warning") && stderr(&rna).contains("3 of 10 letters are U"));
    let protein = genome(">sp|P1\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ\n");
    assert_eq!(protein.status.code(), Some(1));
    assert!(stderr(&protein).contains("these are proteins"), "{}", stderr(&protein));
    let empty = genome(">a\n>b\n");
    assert_eq!(empty.status.code(), Some(1));
    assert!(stderr(&empty).contains("0 bp"), "{}", stderr(&empty));
    let iupac = genome(">a\nACGTRYSWKMBDHVNacgtx-*\n");
    assert!(iupac.status.success() && stderr(&iupac).is_empty(), "{}", stderr(&iupac));
}
