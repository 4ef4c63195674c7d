//! Files of reads as they should not be: one clear error each, or a result with what was left out
//! counted; never a panic, a hang or memory without bound.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cbp_fast::error::Problem;
use cbp_fast::input::reads::{Barcodes, Contigs, Format, Options, Sources};
use cbp_fast::pack::cut_sites::{Report, Request};
use cbp_fast::pack::shift::Shift;
use cbp_fast::store::format;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::compress::{bgzip, gzip};
use crate::corrupt::mutate;
use crate::shared;

fn contigs() -> Contigs {
    Contigs::new([("chr1".to_string(), 1000), ("chr2".to_string(), 500)])
}

/// The decompressed header of a BAM. Source: SAM specification, 4.2.
fn bam_header(references: &[(&str, i32)]) -> Vec<u8> {
    let text = b"@HD\tVN:1.6\n@RG\tno id, as some tools write it\n";
    let mut out = b"BAM\x01".to_vec();
    out.extend((text.len() as i32).to_le_bytes());
    out.extend(text);
    out.extend((references.len() as i32).to_le_bytes());
    for (name, length) in references {
        out.extend((name.len() as i32 + 1).to_le_bytes());
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(length.to_le_bytes());
    }
    out
}

/// An alignment of 20 bp without clips.
fn alignment(reference: i32, start: i32, flags: u16) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(reference.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([3, 30, 0, 0, 1, 0]);
    out.extend(flags.to_le_bytes());
    out.extend(0i32.to_le_bytes());
    out.extend([0xff; 12]);
    out.extend(b"r1\0");
    out.extend((20u32 << 4).to_le_bytes());
    [&(out.len() as i32).to_le_bytes()[..], &out].concat()
}

const REFERENCES: [(&str, i32); 2] = [("chr1", 1000), ("chr2", 500)];

fn bam(records: &[Vec<u8>]) -> Vec<u8> {
    [bam_header(&REFERENCES), records.concat()].concat()
}

/// Counts the cut sites of one file, unshifted.
fn count(
    path: &Path,
    format: Format,
    contigs: &Contigs,
    options: &Options,
) -> anyhow::Result<Report> {
    let request = Request {
        sources: Sources { format, files: vec![path.to_path_buf()] },
        options: options.clone(),
        shift: String::new(),
    };
    let folder = path.parent().unwrap();
    request.write(
        Shift { plus: 0, minus: 0 },
        contigs,
        &folder.join("out.cbs"),
        folder,
        &mut |_| {},
    )
}

struct Case {
    name: &'static str,
    format: Format,
    bytes: Vec<u8>,
    options: Options,
    /// What the error says; where; or how many cut sites there are.
    wanted: Result<u64, &'static [&'static str]>,
    /// What a warning says.
    warning: Option<&'static str>,
}

fn case(
    name: &'static str,
    format: Format,
    bytes: impl Into<Vec<u8>>,
    wanted: Result<u64, &'static [&'static str]>,
) -> Case {
    Case { name, format, bytes: bytes.into(), options: Options::default(), wanted, warning: None }
}

impl Case {
    fn strict(mut self) -> Self {
        self.options.strict = true;
        self
    }

    fn skip(mut self, n: u64) -> Self {
        self.options.skip_bad_records = n;
        self
    }

    fn warns(mut self, text: &'static str) -> Self {
        self.warning = Some(text);
        self
    }
}

fn text_cases() -> Vec<Case> {
    use Format::{Fragments, TagAlign};
    let good = "chr1\t10\t40\tAAAC\t1\n";
    let frag = |name, text: &str, wanted| case(name, Fragments, text, wanted);
    let tag = |name, text: &str, wanted| case(name, TagAlign, text, wanted);
    let many = "chr1\t10\t40\tAAAC\t1\n".repeat(20_000);
    let cut = |mut bytes: Vec<u8>, keep: fn(usize) -> usize| {
        bytes.truncate(keep(bytes.len()));
        bytes
    };
    vec![
        frag("good", good, Ok(2)),
        frag("no final newline", good.trim_end(), Ok(2)),
        frag(
            "comments, blank and track lines",
            &format!("# id=x\n#\n\ntrack name=x\n{good}"),
            Ok(2),
        ),
        frag("CRLF", "chr1\t10\t40\r\nchr2\t10\t40\r\n", Ok(4)),
        frag("three columns", "chr1\t10\t40", Ok(2)),
        frag(
            "SnapATAC with a strand",
            "chr1\t10\t40\tb\t1\t+\n",
            Err(&["expected a fragment file (text), found single reads with a strand", "-itag"]),
        ),
        frag("unsorted", "chr2\t10\t40\nchr1\t900\t940\nchr1\t1\t2\n", Ok(6)),
        case("gzip", Fragments, gzip(good.as_bytes()), Ok(2)),
        case(
            "gzip members",
            Fragments,
            [gzip(good.as_bytes()), gzip(good.as_bytes())].concat(),
            Ok(4),
        ),
        case("bgzip", Fragments, bgzip(good.as_bytes()), Ok(2)),
        frag("empty", "", Err(&["fragment file holds no fragments", "fix:"])),
        frag("comments only", "# a\n#b\n", Err(&["holds no fragments"])),
        frag(
            "spaces",
            "chr1 10 40 AAAC 1\n",
            Err(&["separated by spaces, expected tabs", "line 1: chr1 10"]),
        ),
        frag(
            "two columns",
            &format!("{good}chr1\t10\n"),
            Err(&["row has 2 columns, expected at least 3", "line 2"]),
        ),
        frag(
            "negative",
            &format!("{good}#\nchr1\t-5\t40\n"),
            Err(&["start is negative: -5", "line 3", "--skip-bad-records"]),
        ),
        frag("start at end", "chr1\t40\t40\n", Err(&["start 40 is not below end 40"])),
        frag("start past end", "chr1\t50\t40\n", Err(&["start 50 is not below end 40"])),
        frag("a number with a fraction", "chr1\t5.5\t40\n", Err(&["start is no whole number"])),
        frag(
            "a header row",
            "chrom\tstart\tend\n",
            Err(&["start is no whole number: \"start\"", "line 1"]),
        ),
        frag("past every contig", "chr1\t5\t99999999999999\n", Err(&["lies beyond any contig"])),
        frag("reaches past the end", &format!("{good}chr1\t990\t1010\n"), Ok(3))
            .warns("1 of 2 fragments reach past the end"),
        frag(
            "past the end, strict",
            "chr1\t990\t1010\n",
            Err(&[
                "reach past the end of their contig (--strict)",
                "line 1",
                "the contig has 1000 bp",
            ]),
        )
        .strict(),
        frag("all past the end", "chr2\t600\t700\n", Err(&["every cut site falls off its contig"])),
        frag("unknown contig", &format!("chrUn\t1\t9\n{good}"), Ok(2))
            .warns("1 of 2 fragments lie on contigs that the genome lacks, e.g. chrUn ("),
        frag(
            "unknown contig, strict",
            &format!("{good}chrUn\t1\t9\n"),
            Err(&["contigs that the genome lacks (--strict)", "chrUn", "line 2"]),
        )
        .strict(),
        frag(
            "other names",
            "1\t1\t9\n2\t1\t9\n",
            Err(&[
                "none of the 2 fragments lie on a contig of the genome (genome: chr1, chr2; here: 1)",
            ]),
        ),
        frag("two bad, two allowed", &format!("x\nchr1\t9\t1\n{good}"), Ok(2))
            .skip(2)
            .warns("skipped 2 malformed of 3 fragments, e.g. row has 1 columns"),
        frag(
            "two bad, one allowed",
            &format!("x\nchr1\t9\t1\n{good}"),
            Err(&["start 9 is not below end 1", "line 2", "1 malformed records were skipped"]),
        )
        .skip(1),
        frag(
            "only bad, all allowed",
            "x\ny\n",
            Err(&["none of the 2 fragments can be used", "2 malformed"]),
        )
        .skip(9),
        frag("binary", "chr1\t1\u{0}\t9\n", Err(&["start is no whole number: \"1?\""])),
        frag("no line ends", &"x".repeat(3 << 20), Err(&["line of more than 1 MB"])),
        frag(
            "a web page",
            "<!DOCTYPE html><html>",
            Err(&["expected a fragment file (text), found a web page"]),
        ),
        case(
            "a BAM",
            Fragments,
            bgzip(&bam(&[alignment(0, 5, 0)])),
            Err(&["expected a fragment file (text), found a BAM file", "-ibam"]),
        ),
        case("gzip cut", Fragments, cut(gzip(many.as_bytes()), |n| n / 2), Err(&["truncated"])),
        case(
            "bgzip cut in a block",
            Fragments,
            cut(bgzip(many.as_bytes()), |n| n / 2),
            Err(&["truncated"]),
        ),
        case("bgzip without its end", Fragments, cut(bgzip(good.as_bytes()), |n| n - 28), Ok(2)),
        case(
            "compressed twice",
            Fragments,
            gzip(&gzip(good.as_bytes())),
            Err(&["compressed twice"]),
        ),
        tag("good", "chr1\t10\t40\tN\t1000\t+\nchr1\t10\t40\tN\t1000\t-\n", Ok(2)),
        tag("CRLF", "chr1\t10\t40\tN\t1000\t-\r\n", Ok(1)),
        tag(
            "no strand",
            "chr1\t10\t40\tN\t1000\t.\n",
            Err(&["strand (column 6) is \".\", expected + or -", "line 1"]),
        ),
        tag(
            "five columns",
            "chr1\t10\t40\tN\t1000\n",
            Err(&["row has 5 columns, expected at least 6"]),
        ),
        tag("spaces", "chr1 10 40 N 1000 +\n", Err(&["separated by spaces"])),
        tag("negative", "chr1\t-1\t40\tN\t1\t+\n", Err(&["start is negative: -1"])),
        tag("start past end", "chr1\t50\t40\tN\t1\t-\n", Err(&["start 50 is not below end 40"])),
        tag("empty", "", Err(&["tagAlign holds no reads"])),
        tag("a bigWig", "\u{26}", Err(&["row has 1 columns"])),
    ]
}

fn bam_cases() -> Vec<Case> {
    let reads =
        [alignment(1, 30, 16), alignment(0, 5, 0), alignment(0, 900, 0x400), alignment(0, 5, 4)];
    let plain = bam(&reads);
    let whole = bgzip(&plain);
    let it = |name, bytes: Vec<u8>, wanted| case(name, Format::Bam, bytes, wanted);
    let packed = |name, bytes: &[u8], wanted| case(name, Format::Bam, bgzip(bytes), wanted);
    let with = |record: Vec<u8>| bgzip(&bam(&[reads[0].clone(), record]));
    let mut negative_size = plain.clone();
    let header = bam_header(&REFERENCES).len();
    negative_size[header..header + 4].copy_from_slice(&(-5i32).to_le_bytes());
    let mut huge_size = plain.clone();
    huge_size[header..header + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    let mut negative_text = plain.clone();
    negative_text[4..8].copy_from_slice(&(-1i32).to_le_bytes());
    let mut many_references = plain.clone();
    let count = header - 4 - 2 * (4 + 5 + 4);
    assert_eq!(many_references[count..count + 4], 2i32.to_le_bytes());
    many_references[count..count + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    let in_block = [&whole[..whole.len() - 60], &bgzip(b"")[..]].concat();
    let one_contig = [bam_header(&[("chr2", 500)]), alignment(0, 30, 16)].concat();
    vec![
        it("good, unsorted, with an unmapped read", whole.clone(), Ok(3)),
        it("one contig", bgzip(&one_contig), Ok(1)),
        it("gzip instead of bgzip", gzip(&plain), Ok(3)),
        it("nothing in it", vec![], Err(&["expected a BAM, found an empty file"])),
        packed("nothing in bgzip", b"", Err(&["expected a BAM, found an empty file"])),
        it("no alignments", bgzip(&bam(&[])), Err(&["BAM holds no alignments"])),
        it(
            "only unmapped",
            bgzip(&bam(&[alignment(-1, -1, 4)])),
            Err(&["none of the 1 alignments can be used: 1 unmapped"]),
        ),
        it("without end marker", whole[..whole.len() - 28].to_vec(), Ok(3)),
        it("cut in a block", whole[..whole.len() - 40].to_vec(), Err(&["truncated"])),
        it("cut in a block, end marker put back", in_block, Err(&["compressed file"])),
        packed("cut in the header's text", &plain[..20], Err(&["BAM ends inside its header"])),
        packed("cut in the references", &plain[..header - 3], Err(&["BAM ends inside its header"])),
        packed("cut after the magic", &plain[..4], Err(&["BAM ends inside its header"])),
        packed(
            "cut in a record",
            &plain[..plain.len() - 3],
            Err(&["BAM ends inside a record", "record 4"]),
        ),
        packed(
            "cut in a record's size",
            &plain[..header + 2],
            Err(&["BAM ends inside a record", "record 1"]),
        ),
        packed("negative record size", &negative_size, Err(&["a record of -5 bytes", "record 1"])),
        packed("huge record size", &huge_size, Err(&["BAM ends inside a record", "record 1"])),
        packed("negative text length", &negative_text, Err(&["BAM header is damaged"])),
        packed("references without end", &many_references, Err(&["references, more than any"])),
        it(
            "CRAM",
            b"CRAM\x03\x00xxxxxxxxxxxxxxxxxxxxxxxx".to_vec(),
            Err(&["expected a BAM, found a CRAM file", "samtools view -b -T"]),
        ),
        it("SAM", b"@HD\tVN:1.6\n".to_vec(), Err(&["found a SAM file (text)", "samtools view -b"])),
        it("fragments", gzip(b"chr1\t1\t5\n"), Err(&["found a text file", "-ifrag"])),
        packed("other bytes", &[7; 40], Err(&["found something else"])),
        it(
            "another assembly",
            bgzip(&[bam_header(&[("chr1", 999)]), alignment(0, 5, 0)].concat()),
            Err(&[
                "chr1 is 1000 bp long in the genome but 999 bp in the BAM header",
                "another assembly",
            ]),
        ),
        it(
            "other names",
            bgzip(&[bam_header(&[("1", 1000)]), alignment(0, 5, 0)].concat()),
            Err(&["shares no contig name with the genome (genome: chr1, chr2; here: 1)"]),
        ),
        it(
            "reference out of range",
            with(alignment(7, 5, 0)),
            Err(&["names reference 7, the header lists 2", "record 2 (read r1)"]),
        ),
        it("no place", with(alignment(0, -1, 0)), Err(&["no place on a reference", "record 2"])),
        it("no place, allowed", with(alignment(0, -1, 0)), Ok(1))
            .skip(1)
            .warns("skipped 1 malformed of 2 alignments"),
        it("past the end", with(alignment(0, 985, 0)), Ok(2))
            .warns("1 of 2 alignments reach past the end"),
        it(
            "past the end, strict",
            with(alignment(0, 985, 0)),
            Err(&["reach past the end", "record 2 (read r1)"]),
        )
        .strict(),
    ]
}

#[test]
fn every_bad_file_says_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let contigs = contigs();
    for (number, case) in text_cases().into_iter().chain(bam_cases()).enumerate() {
        let name = format!("{} ({})", case.name, case.format.name());
        let path = folder.path().join(format!("reads{number}"));
        let out = folder.path().join("out.cbs");
        fs::write(&path, &case.bytes).unwrap();
        match (count(&path, case.format, &contigs, &case.options), case.wanted) {
            (Ok(report), Ok(cuts)) => {
                assert_eq!(report.counted, cuts, "{name}");
                let warnings = report.warnings().join("\n");
                assert!(warnings.contains(case.warning.unwrap_or("")), "{name}: {warnings}");
                assert!(
                    report.counted == 3 || case.warning.is_some() || warnings.is_empty(),
                    "{name}: {warnings}"
                );
                format::verify(&out).unwrap();
                fs::remove_file(&out).unwrap();
            }
            (Err(error), Err(wanted)) => {
                let text = error.to_string();
                assert!(error.is::<Problem>(), "{name}: {error:?}");
                for part in wanted.iter().chain(&["\n  where: "]) {
                    assert!(text.contains(part), "{name}: no {part:?} in\n{text}");
                }
                let file = path.file_name().unwrap().to_str().unwrap();
                assert!(text.contains(file), "{name}: no file in\n{text}");
                assert!(!out.exists(), "{name}");
            }
            (Ok(report), Err(wanted)) => panic!("{name}: {report:?}, expected {wanted:?}"),
            (Err(error), Ok(_)) => panic!("{name}: {error}"),
        }
        fs::remove_file(&path).unwrap();
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{name}: files left behind");
    }
}

#[test]
fn filters_leave_out_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bam");
    let mut records: Vec<Vec<u8>> =
        [0x3, 0x403, 0x1, 0x103, 0x803, 0x203].map(|f| alignment(0, 9, f)).into();
    records.push(alignment(0, 9, 0x3));
    records[6][4 + 9] = 29; // mapping quality
    fs::write(&path, bgzip(&bam(&records))).unwrap();
    for (min_mapq, skip_duplicates, proper_pairs, kept) in [
        (0, false, false, 7),
        (30, false, false, 6),
        (31, false, false, 0),
        (0, true, false, 6),
        (0, false, true, 6),
        (30, true, true, 4),
    ] {
        let mut options = Options::default();
        options.filters.min_mapq = min_mapq;
        options.filters.skip_duplicates = skip_duplicates;
        options.filters.proper_pairs = proper_pairs;
        match count(&path, Format::Bam, &contigs(), &options) {
            Ok(report) => assert_eq!((report.counted, report.tally.filtered), (kept, 7 - kept)),
            Err(error) => {
                assert_eq!(kept, 0);
                assert!(error.to_string().contains("7 filtered out"), "{error}");
            }
        }
        if min_mapq > 0 {
            let text =
                count(&path, Format::TagAlign, &contigs(), &options).unwrap_err().to_string();
            assert!(text.contains("--min-mapq needs alignments"), "{text}");
        }
    }
}

#[test]
fn barcodes_need_a_column_and_a_match() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let run = |fragments: &str, list: &str| -> anyhow::Result<Report> {
        let mut options = Options::default();
        options.filters.barcodes = Some(Barcodes::read(&at("list.txt", list))?);
        count(&at("f.tsv", fragments), Format::Fragments, &contigs(), &options)
    };
    let rows = "chr1\t1\t9\tA-1\t2\nchr1\t1\t9\tB-1\nchr1\t1\t9\tA-10\t2\n";
    assert_eq!(run(rows, "A-1\r\n").unwrap().counted, 2);
    assert_eq!(run(rows, "# cells\nA-1\tT cell\nB-1,x\nA-1\n").unwrap().counted, 4);
    for (fragments, list, wanted) in [
        (rows, "", "list of barcodes is empty"),
        (rows, "A\nB\n", "no fragment has a barcode of the list (list: A; here: A-1)"),
        ("chr1\t1\t9\n", "A\n", "row has no barcode (column 4)"),
    ] {
        let text = run(fragments, list).unwrap_err().to_string();
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn pipes_folders_and_missing_files() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    for (path, wanted) in [
        (PathBuf::from("/dev/null"), "found a pipe or device"),
        (folder.path().to_path_buf(), "found a folder"),
        (folder.path().join("no.bam"), "does not exist"),
    ] {
        for format in [Format::Bam, Format::Fragments, Format::TagAlign] {
            let text = count(&path, format, &contigs(), &options).unwrap_err().to_string();
            assert!(text.contains(wanted), "{text}");
        }
    }
}

/// The header and the first 300 records of a BAM, decompressed.
fn bam_start(content: &[u8]) -> Vec<u8> {
    let number = |at: usize| i32::from_le_bytes(content[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 8 + number(4);
    let references = number(at);
    at += 4;
    for _ in 0..references {
        at += 4 + number(at) + 4;
    }
    for _ in 0..300 {
        at += 4 + number(at);
    }
    content[..at].to_vec()
}

/// How many mutations of each file; `CBP_MUTATIONS=2000` is the full number.
fn rounds() -> u64 {
    std::env::var("CBP_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(120)
}

/// What a tagAlign or fragment file says, read as plainly as it can be; `None` for a bad one.
fn plainly(bytes: &[u8], format: Format, contigs: &Contigs) -> Option<u64> {
    let mut cuts = 0;
    for line in bytes.split(|&b| b == b'\n' || b == b'\r') {
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let fields: Vec<&[u8]> = line.split(|&b| b == b'\t').collect();
        let number = |i: usize| -> Option<u64> {
            let text = std::str::from_utf8(fields.get(i)?).ok()?;
            if text.starts_with('+') { None } else { text.parse().ok() }
        };
        let (start, end) = (number(1)?, number(2)?);
        if start >= end || end > 1 << 40 {
            return None;
        }
        let strands: &[bool] = match (format, fields.get(5)) {
            (Format::Fragments, _) => &[true, false],
            (_, Some(&b"+")) => &[true],
            (_, Some(&b"-")) => &[false],
            _ => return None,
        };
        let Some(contig) = contigs.id(fields[0]) else { continue };
        let length = contigs.length(contig) as u64;
        cuts += strands
            .iter()
            .filter(|&&plus| if plus { start < length } else { end <= length })
            .count() as u64;
    }
    (cuts > 0).then_some(cuts)
}

#[test]
fn mutated_reads_give_an_error_or_what_they_say() {
    let Some(goldens) = shared::goldens() else { return };
    let inputs = goldens.join("data/inputs");
    let read = |name: &str| fs::read(inputs.join(name)).unwrap();
    let genome = ["chr1", "chr10", "chr2", "chrS"].map(String::from);
    let contigs = Contigs::new(genome.into_iter().zip([240_000, 120_000, 110_000, 3_114]));
    let inflated = |bytes: &[u8]| {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut out)
            .unwrap();
        out
    };
    // The first rows and records are enough for damage in the content, and fast.
    let rows = |bytes: Vec<u8>| {
        bytes.split_inclusive(|&b| b == b'\n').take(200).flatten().copied().collect::<Vec<u8>>()
    };
    let bam_start = bam_start(&inflated(&read("atac.bam")));
    enum Truth {
        /// Checksums guard the content: a result is that of the whole file.
        Whole,
        /// What a plain reader makes of the mutated bytes.
        Plain,
        /// Any, but every record is accounted for.
        Consistent,
    }
    let files = [
        ("atac.bam", Format::Bam, read("atac.bam"), Truth::Whole),
        ("dnase.bam", Format::Bam, read("dnase.bam"), Truth::Whole),
        ("fragments.gz", Format::Fragments, read("atac.fragments.tsv.gz"), Truth::Whole),
        ("tagAlign.gz", Format::TagAlign, read("atac.tagAlign.gz"), Truth::Whole),
        ("tagAlign", Format::TagAlign, rows(read("dnase.tagAlign")), Truth::Plain),
        (
            "fragments",
            Format::Fragments,
            rows(inflated(&read("atac.fragments.tsv.gz"))),
            Truth::Plain,
        ),
        ("BAM content", Format::Bam, bam_start, Truth::Consistent),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated");
    for (name, format, whole, truth) in files {
        let mut options = Options::default();
        fs::write(&path, &whole).unwrap();
        let intact = match truth {
            Truth::Whole => Some(count(&path, format, &contigs, &options).unwrap().counted),
            _ => None,
        };
        let (mut refused, mut counted) = (0, 0);
        for seed in 0..rounds() {
            let bytes = mutate(&mut ChaCha8Rng::seed_from_u64(seed), &whole);
            let on_disk = match truth {
                Truth::Consistent => bgzip(&bytes),
                _ => bytes.clone(),
            };
            options.skip_bad_records =
                if matches!(truth, Truth::Consistent) { seed % 3 * 50 } else { 0 };
            fs::write(&path, on_disk).unwrap();
            let result =
                catch_unwind(AssertUnwindSafe(|| count(&path, format, &contigs, &options)));
            let result = result.unwrap_or_else(|_| panic!("{name}: mutation {seed} panics"));
            let place = format!("{name}: mutation {seed}: {result:?}");
            if let Err(error) = &result {
                assert!(error.is::<Problem>(), "{place}");
            }
            refused += usize::from(result.is_err());
            counted += usize::from(result.is_ok());
            let cuts = result.as_ref().ok().map(|report| report.counted);
            match truth {
                Truth::Whole => assert!(cuts.is_none() || cuts == intact, "{place}"),
                Truth::Plain => assert_eq!(cuts, plainly(&bytes, format, &contigs), "{place}"),
                Truth::Consistent => {
                    if let Ok(report) = &result {
                        let tally = &report.tally;
                        let others = tally.unmapped + tally.filtered + tally.bad.count;
                        assert_eq!(
                            tally.records,
                            tally.used + others + tally.unknown_contig.count,
                            "{place}"
                        );
                        assert_eq!(tally.used, report.counted + report.off_contig.count, "{place}");
                    }
                }
            }
        }
        println!("{name}: {refused} refused, {counted} counted");
        assert!(refused > 0, "{name}");
    }
    #[cfg(target_os = "linux")]
    {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        let kb: u64 = peak.trim().split(' ').next().unwrap().parse().unwrap();
        assert!(kb < 1_000_000, "peak memory {kb} kB");
    }
}
