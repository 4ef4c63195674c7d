//! What a file is comes from its content: every format given to every reader is read rightly or
//! named; sizes that files announce cost nothing; lengths matter where something lies.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use cbp_fast::files::bigwig;
use cbp_fast::input::bigwig::BigWig;
use cbp_fast::input::reads::{self, Contigs, Format, Options, Sources};
use cbp_fast::input::{chrom_sizes, fasta, folds, intervals, peak_list, regions, variants};

use crate::compress::{bgzip, gzip};
use crate::fixture::Fixture;

/// A BAM header with these references. Source: SAM specification, 4.2.
fn bam_header(references: &[(&str, u32)]) -> Vec<u8> {
    let mut out = b"BAM\x01\0\0\0\0".to_vec();
    out.extend((references.len() as u32).to_le_bytes());
    for (name, length) in references {
        out.extend((name.len() as u32 + 1).to_le_bytes());
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(length.to_le_bytes());
    }
    out
}

/// An alignment of 20 bp on the plus strand.
fn alignment(reference: i32, start: i32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(reference.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([3, 30, 0, 0, 1, 0, 0, 0]);
    out.extend(0i32.to_le_bytes());
    out.extend([0xff; 12]);
    out.extend(b"r1\0");
    out.extend((20u32 << 4).to_le_bytes());
    [&(out.len() as i32).to_le_bytes()[..], &out].concat()
}

fn count(path: &Path, format: Format, contigs: &Contigs) -> Result<(u64, Vec<String>)> {
    let sources = Sources { format, files: vec![path.to_path_buf()] };
    let mut ends = 0;
    let tally = reads::read(&sources, contigs, &Options::default(), &mut |_| {}, &mut |_| {
        ends += 1;
        Ok(())
    })?;
    Ok((ends, tally.warnings()))
}

fn small_contigs() -> Contigs {
    Contigs::new([("chr1".to_string(), 2000), ("chr2".to_string(), 500)])
}

/// What each reader makes of a file.
fn read_as(reader: &str, path: &Path) -> Result<()> {
    let contigs = small_contigs();
    match reader {
        "-ibam" => count(path, Format::Bam, &contigs).map(drop),
        "-ifrag" => count(path, Format::Fragments, &contigs).map(drop),
        "-itag" => count(path, Format::TagAlign, &contigs).map(drop),
        "--bigwig" => BigWig::open(path).map(drop),
        "-p" => regions::read(path).map(drop),
        "variants -p" => peak_list::read(path).map(drop),
        "--blacklist" => intervals::read(path).map(drop),
        "-c" => chrom_sizes::read(path).map(drop),
        "-g" => fasta::read_all(path).map(drop),
        "-fl" => folds::read(path).map(drop),
        "-l" => variants::for_each(path, None, &mut |_| Ok(())).map(drop),
        other => panic!("{other}"),
    }
}

const READERS: [&str; 11] = [
    "-ibam",
    "-ifrag",
    "-itag",
    "--bigwig",
    "-p",
    "variants -p",
    "--blacklist",
    "-c",
    "-g",
    "-fl",
    "-l",
];

#[test]
fn every_format_to_every_reader_is_named_or_right() {
    let folder = tempfile::tempdir().unwrap();
    let contigs = [("chr1".to_string(), 100)];
    bigwig::write(&folder.path().join("s.bw"), &contigs, &[vec![1.0; 100]]).unwrap();
    let bw = fs::read(folder.path().join("s.bw")).unwrap();
    let bam = [bam_header(&[("chr1", 2000)]), alignment(0, 5)].concat();
    let page = b"<!DOCTYPE html><html>404</html>".to_vec();
    let tar = [&[b'a'; 257][..], b"ustar\0", &[0; 250]].concat();
    // Content, what an error must call it, and the readers that it is meant for or rightly read by.
    let files: Vec<(Vec<u8>, &str, &[&str])> = vec![
        (bgzip(&bam), "BAM", &["-ibam"]),
        (b"CRAM\x03\0xxxxxxxxxxxxxxxxxxxxxxx".to_vec(), "CRAM", &[]),
        (
            b"@SQ\tSN:chr1\tLN:2000\nr1\t0\tchr1\t5\t60\t3M\t*\t0\t0\tACG\tIII\n".to_vec(),
            "SAM",
            &[],
        ),
        (gzip(&gzip(b"chr1\t1\t5\n")), "gzip|compressed twice", &[]),
        (bw, "bigWig", &["--bigwig"]),
        (b"\xeb\xf2\x89\x87xxxxxxxxxxxx".to_vec(), "bigBed", &[]),
        (b"\x43\x27\x41\x1axxxxxxxxxxxx".to_vec(), "2bit", &[]),
        (bgzip(b"TBI\x01xxxx"), "tabix", &[]),
        (b"BAI\x01xxxx".to_vec(), "BAM index", &[]),
        (b"chr1\t100\t150\tchr1\t250\t300\tr1\t60\t+\t-\n".to_vec(), "BEDPE", &[]),
        (
            b"chr1\t100\t150\tN\t1000\t+\n".to_vec(),
            "tagAlign",
            &["-itag", "variants -p", "--blacklist"],
        ),
        (b"chr1\t100\t150\tAAACGTGGTACA-1\t2\n".to_vec(), "fragments", &["-ifrag", "--blacklist"]),
        (
            b"chr1\t100\t150\tp1\t9\t.\t1.5\t2\t3\t20\n".to_vec(),
            "narrowPeak",
            &["-p", "variants -p", "--blacklist"],
        ),
        (
            b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n".to_vec(),
            "VCF",
            &["-l"],
        ),
        (
            b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr1\t5\tx\tT\tC\t.\t.\t.\n".to_vec(),
            "##fileformat",
            &[],
        ),
        (b"BCF\x02\x02xxxx".to_vec(), "BCF|header", &[]),
        (b"\x89HDF\r\n\x1a\nxxxx".to_vec(), "HDF5", &[]),
        (b"CBPFGENOxxxx".to_vec(), "pack (genome)", &[]),
        (b"CBPFSIGNxxxx".to_vec(), "pack (signal)", &[]),
        (b"\x10\0\0\0\0\0\0\0{\"a\":{}}        ".to_vec(), "safetensors", &[]),
        (tar, "tar", &[]),
        (b"PK\x03\x04xxxx".to_vec(), "zip", &[]),
        (b">chr1\nACGTACGT\n".to_vec(), "FASTA", &["-g"]),
        (b"chr1\t2000\nchr2\t500\n".to_vec(), "chromosome sizes", &["-c"]),
        (br#"{"train":["a"],"valid":["b"],"test":[]}"#.to_vec(), "JSON", &["-fl"]),
        (page, "web page", &[]),
        (b"\xff\xfec\0h\0r\0".to_vec(), "UTF-16", &[]),
    ];
    let path = folder.path().join("file");
    for (bytes, name, right) in files {
        fs::write(&path, &bytes).unwrap();
        for reader in READERS {
            match read_as(reader, &path) {
                Ok(()) => assert!(right.contains(&reader), "{name} passed as {reader}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!right.contains(&reader), "{name} as {reader}: {text}");
                    assert!(
                        name.split('|').any(|n| text.contains(n)),
                        "{name} as {reader}: {text}"
                    );
                    assert!(text.contains("\n  fix: "), "{name} as {reader}: {text}");
                }
            }
        }
    }
}

/// A comment block longer than what is read at once, then rows that lie.
#[test]
fn rows_are_looked_at_behind_long_comments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.gz");
    let mut text = "# primary_contig=chr1\n".repeat(20_000);
    text.push_str(&"chr1\t100\t150\tchr1\t250\t300\tr1\t60\t+\t-\n".repeat(40));
    fs::write(&path, bgzip(text.as_bytes())).unwrap();
    let error = count(&path, Format::Fragments, &small_contigs()).unwrap_err().to_string();
    assert!(error.contains("BEDPE"), "{error}");
    // numbered cells, counts in column 5, and a sixth column that is no strand
    for row in ["chr1\t100\t150\t7\t1", "chr1\t100\t150\tb\t2\tx", "chr1\t100\t150"] {
        fs::write(&path, format!("{row}\n")).unwrap();
        assert_eq!(count(&path, Format::Fragments, &small_contigs()).unwrap().0, 2, "{row}");
    }
}

#[test]
fn bam_headers_that_no_bam_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bam");
    let mut endless = bam_header(&[]);
    endless[8..12].copy_from_slice(&100_000_000u32.to_le_bytes());
    endless.extend(b"\x01\0\0\0\0\x09\0\0\0".repeat(100_000));
    for (bytes, wanted) in [
        (endless, "lists 100000000 references, more than any assembly has"),
        (bam_header(&[("chr1", 2000), ("chr2", 500), ("chr1", 2000)]), "chr1 is listed twice"),
        (bam_header(&[]), "header lists no references (@SQ)"),
    ] {
        fs::write(&path, bgzip(&bytes)).unwrap();
        let error = count(&path, Format::Bam, &small_contigs()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_bam_contig_of_another_length_matters_once_a_read_lies_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bam");
    let header = bam_header(&[("chr1", 2000), ("chr2", 501)]);
    fs::write(&path, bgzip(&[header.clone(), alignment(0, 5)].concat())).unwrap();
    let (ends, warnings) = count(&path, Format::Bam, &small_contigs()).unwrap();
    let warnings = warnings.join("\n");
    assert_eq!(ends, 1);
    assert!(warnings.contains("chr2 is 500 bp long in the genome but 501 bp"), "{warnings}");
    fs::write(&path, bgzip(&[header, alignment(1, 5)].concat())).unwrap();
    let error = count(&path, Format::Bam, &small_contigs()).unwrap_err().to_string();
    assert!(error.contains("another assembly") && error.contains("record 1"), "{error}");
}

#[test]
fn many_contigs_cost_little() {
    const MANY: usize = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let start = Instant::now();
    let names: Vec<String> = (0..MANY).map(|i| format!("scaffold_{i}")).collect();
    let contigs = Contigs::new(names.iter().map(|n| (n.clone(), 100)));
    let header: Vec<(&str, u32)> = names.iter().map(|n| (n.as_str(), 100)).collect();
    fs::write(at("x.bam"), bgzip(&[bam_header(&header), alignment(9, 5)].concat())).unwrap();
    assert_eq!(count(&at("x.bam"), Format::Bam, &contigs).unwrap().0, 1);
    let sizes: String = names.iter().map(|n| format!("{n}\t100\n")).collect();
    fs::write(at("c.sizes"), &sizes).unwrap();
    assert_eq!(chrom_sizes::read(&at("c.sizes")).unwrap().len(), MANY);
    let rows: String = names.iter().map(|n| format!("{n}\t5\t9\n")).collect();
    fs::write(at("f.tsv"), &rows).unwrap();
    let sources = Sources { format: Format::Fragments, files: vec![at("f.tsv")] };
    assert!(
        reads::peek::contigs(&sources, &Default::default()).unwrap()[0].contigs.len() > MANY / 2
    );
    let list = |from: usize, to: usize| serde_json::to_string(&names[from..to]).unwrap();
    let fold =
        format!(r#"{{"train":{},"valid":{},"test":[]}}"#, list(0, MANY / 2), list(MANY / 2, MANY));
    fs::write(at("fold.json"), fold).unwrap();
    let folds = folds::read(&at("fold.json")).unwrap();
    let splits = folds.splits();
    assert!(names.iter().all(|name| splits.of(name).is_some()));
    // An unoptimised build takes a second; a search of all for each takes minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// As pyBigWig closes a file that no entry was added to.
#[test]
fn a_bigwig_of_a_header_alone_has_no_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.bw");
    let mut bytes = vec![0; 72];
    bytes[..4].copy_from_slice(&0x888f_fc26u32.to_le_bytes());
    bytes[4] = 4;
    bytes[16] = 64; // blocks: their number, 0; and no index
    fs::write(&path, &bytes).unwrap();
    let error = BigWig::open(&path).err().unwrap().to_string();
    assert!(error.contains("has no values"), "{error}");
}

fn entries(path: &Path) -> Result<usize> {
    let mut n = 0;
    variants::for_each(path, None, &mut |_| {
        n += 1;
        Ok(())
    })?;
    Ok(n)
}

#[test]
fn lengths_that_variant_files_announce_reserve_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.bcf");
    let header = b"##fileformat=VCFv4.3\n##contig=<ID=chr1,length=2000,IDX=0>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n\0";
    let mut start = b"BCF\x02\x02".to_vec();
    start.extend((header.len() as u32).to_le_bytes());
    start.extend(header);
    for (shared, samples, wanted) in [
        (0xfe00_0000u32, 0u32, "announces 4261412864 bytes"),
        (3, 0, "announces 3 bytes"),
        (40, 0, "truncated"),
        (1 << 25, 0xffff_ffff, "truncated"),
    ] {
        let record = [&shared.to_le_bytes()[..], &samples.to_le_bytes(), &[0; 30]].concat();
        fs::write(&path, bgzip(&[&start[..], &record].concat())).unwrap();
        let error = entries(&path).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("record 1"), "{error}");
    }
    for (length, wanted) in [(u32::MAX, "announces 4294967295 bytes"), (1 << 20, "truncated")] {
        let bytes = [&b"BCF\x02\x02"[..], &length.to_le_bytes(), header].concat();
        fs::write(&path, bgzip(&bytes)).unwrap();
        let error = entries(&path).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("header"), "{error}");
    }
    // A record whose inner lengths are nonsense stops neither the program nor its messages.
    let record = [&40u32.to_le_bytes()[..], &0u32.to_le_bytes(), &[0xff; 40]].concat();
    fs::write(&path, bgzip(&[&start[..], &record].concat())).unwrap();
    entries(&path).unwrap_err();
    // Samples are passed over, whatever their number.
    let mut text =
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\n"
            .to_string();
    text.push_str(&format!("chr1\t5\trs1\tA\tG,T\t.\t.\t.\tGT{}\n", "\t0/1".repeat(300_000)));
    text.push_str("chr1\t6\trs2\tA\tG\t.\t.\tX=1\r\n\nchr1\t7\trs3\tA\tG\t.\t.\t.");
    fs::write(&path, bgzip(text.as_bytes())).unwrap();
    assert_eq!(entries(&path).unwrap(), 4);
    fs::write(&path, format!("\n\n{text}")).unwrap();
    let error = entries(&path).unwrap_err().to_string();
    assert!(error.contains("blank lines stand in front of ##fileformat"), "{error}");
}

#[test]
fn the_binary_says_where_a_file_belongs() {
    let fixture = Fixture::new();
    fixture.write("pairs.bedpe", "chr1\t1000\t1050\tchr1\t1150\t1200\tr1\t60\t+\t-\n");
    let reads = ["-c", "chrom.sizes", "--shift", "+4/-4", "-d", "ATAC", "-o", "x.cbs"];
    let pack = |flag: &str, file: &str| {
        fixture.fail(&[&["pack", "signal", flag, file][..], &reads].concat())
    };
    let text = pack("-ifrag", "pairs.bedpe");
    assert!(text.contains("BEDPE") && text.contains("awk"), "{text}");
    assert!(pack("-ifrag", "signal.bw").contains("pass it as --bigwig"));
    assert!(pack("-ibam", "pairs.bedpe").contains("BEDPE"));
    assert!(!fixture.path("x.cbs").exists());
    fixture.write("runs.txt", "train -g genome.fa \\\n  # x\\\\\n");
    let text = fixture.fail(&["cohort", "runs.txt"]);
    assert!(text.contains("runs.txt line 1") && text.contains("one line"), "{text}");
    assert!(!text.contains("quotation"), "{text}");
}

/// Sizes that know another chr3 than the genome: said, and refused where a region lies on it.
#[test]
fn sizes_of_another_length_matter_where_regions_lie() {
    let fixture = Fixture::new();
    fixture.write("c.sizes", "chr1\t24000\nchr2\t24000\nchr3\t23999\n");
    fixture.write("f.tsv", "chr1\t1000\t1100\nchr2\t1000\t1100\n");
    let line = |reads: &'static str, out: &'static str| {
        let end = ["-g", "genome.fa", "-c", "c.sizes", "--shift", "0/0", "-d", "ATAC", "-o", out];
        [&["pack", "signal", "-ifrag", reads][..], &end].concat()
    };
    let output = fixture.succeed(&line("f.tsv", "x.cbs"));
    let text = super::fixture::stderr(&output);
    assert!(text.contains("warning") && text.contains("chr3 is 24000 bp long"), "{text}");
    fixture.write("g.tsv", "chr1\t1000\t1100\nchr3\t1000\t1100\n");
    let text = fixture.fail(&line("g.tsv", "y.cbs"));
    assert!(text.contains("another assembly") && text.contains("g.tsv line 2"), "{text}");
}
