//! What a file is, from its first bytes and rows: never from its name, or the flag it was given to.
//!
//! In: the start of a file, decompressed, or some of its rows. Out: its kind, the name that messages
//! use, and the flag that takes such a file. Every reader asks here, so that a BAM in the place of a
//! FASTA is called a BAM, and so that rows which would parse but mean something else (BEDPE as
//! fragments, a BED as chromosome sizes) are refused. Binary formats are told by their magic
//! numbers; tables by the columns of most of their first rows, as one odd row proves nothing.

use std::collections::HashSet;
use std::fmt;
use std::io::BufRead;
use std::path::Path;

use super::lines;
use crate::error::Problem;

/// Rows that are enough to tell a table by.
pub const ROWS: usize = 25;

/// Bases a line of a FASTA, at least: an index is told from cells that are numbered.
const SHORTEST_LINE: u64 = 10;

/// A format that is known by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Bam,
    Cram,
    Sam,
    Bcf,
    Vcf,
    /// Records or a #CHROM line, and no `##fileformat` above them.
    HeadlessVcf,
    BigWig,
    BigBed,
    TwoBit,
    Tabix,
    Csi,
    Bai,
    Hdf5,
    GenomePack,
    SignalPack,
    Safetensors,
    Tar,
    Zip,
    Bzip2,
    Xz,
    Zstd,
    /// Gzip where decompressed bytes are looked at.
    Gzip,
    Utf16,
    WebPage,
    Fasta,
    Fastq,
    GenBank,
    Gff,
    Json,
    Bedpe,
    /// Six or more BED columns, the strand in column 6.
    TagAlign,
    /// A barcode in column 4.
    Fragments,
    NarrowPeak,
    /// Nine columns with scores, as broadPeak has them.
    BroadPeak,
    BedGraph,
    /// Any other rows of contig, start, end.
    Bed,
    ChromSizes,
}

impl Kind {
    /// The name with its article, as a message goes on after "found".
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bam => "a BAM file",
            Kind::Cram => "a CRAM file",
            Kind::Sam => "a SAM file (text)",
            Kind::Bcf => "a BCF file",
            Kind::Vcf => "a VCF",
            Kind::HeadlessVcf => "a VCF without its ##fileformat line",
            Kind::BigWig => "a bigWig file",
            Kind::BigBed => "a bigBed file",
            Kind::TwoBit => "a 2bit file",
            Kind::Tabix => "a tabix index",
            Kind::Csi => "a CSI index",
            Kind::Bai => "a BAM index",
            Kind::Hdf5 => "an HDF5 file",
            Kind::GenomePack => "a cbp-fast pack (genome)",
            Kind::SignalPack => "a cbp-fast pack (signal)",
            Kind::Safetensors => "a safetensors file",
            Kind::Tar => "a tar archive",
            Kind::Zip => "a zip archive",
            Kind::Bzip2 => "a bzip2 file",
            Kind::Xz => "an xz file",
            Kind::Zstd => "a zstd file",
            Kind::Gzip => "a gzip file",
            Kind::Utf16 => "UTF-16 text (save it as UTF-8)",
            Kind::WebPage => "a web page (the download may have failed)",
            Kind::Fasta => "a FASTA file",
            Kind::Fastq => "a FASTQ file",
            Kind::GenBank => "a GenBank file",
            Kind::Gff => "a GFF or GTF file",
            Kind::Json => "a JSON file",
            Kind::Bedpe => {
                "a BEDPE file (pairs of intervals: column 4 is a contig, 5 and 6 are numbers)"
            }
            Kind::TagAlign => "single reads with a strand (tagAlign or BED6: column 6 is + or -)",
            Kind::Fragments => "a text file of fragments",
            Kind::NarrowPeak => "a narrowPeak file",
            Kind::BroadPeak => "a broadPeak file",
            Kind::BedGraph => "a bedGraph file",
            Kind::Bed => "a text file of intervals (BED)",
            Kind::ChromSizes => "a list of chromosome sizes",
        }
    }

    /// The flag that takes such a file, or what makes it one that a flag takes.
    pub fn way_in(self) -> &'static str {
        match self {
            Kind::Bam => "pass it as -ibam, where a command takes reads",
            Kind::Cram => {
                "convert it: samtools view -b -T GENOME.fa -o reads.bam reads.cram, and pass the BAM as -ibam"
            }
            Kind::Sam => {
                "convert it: samtools view -b -o reads.bam reads.sam, and pass the BAM as -ibam"
            }
            Kind::Bcf | Kind::Vcf => "pass it as -l to cbp-fast variants",
            Kind::HeadlessVcf => {
                "put the line ##fileformat=VCFv4.2 first, as every VCF begins, and pass it as -l to cbp-fast variants"
            }
            Kind::BigWig => "pass it as --bigwig (-bw), where a command takes counts",
            Kind::BigBed => "convert it: bigBedToBed in.bb out.bed",
            Kind::TwoBit => {
                "convert it: twoBitToFa genome.2bit genome.fa, and pass the FASTA as -g"
            }
            Kind::Tabix | Kind::Csi | Kind::Bai => {
                "pass the file that it is the index of: the same name without .tbi, .csi or .bai"
            }
            Kind::Hdf5 => "pass it as the model (-m; -b for a bias model), if it is one",
            Kind::GenomePack => "pass it as -g",
            Kind::SignalPack => "pass it as --bigwig (-bw)",
            Kind::Safetensors => {
                "pass the model's .h5; safetensors files hold the state of a training"
            }
            Kind::Tar => "unpack it (tar -xf) and pass the file that is wanted",
            Kind::Zip => "unpack it (unzip) and pass the file that is wanted",
            Kind::Bzip2 => "unpack it (bunzip2); gzip and bgzip are read as they are",
            Kind::Xz => "unpack it (unxz); gzip and bgzip are read as they are",
            Kind::Zstd => "unpack it (unzstd); gzip and bgzip are read as they are",
            Kind::Gzip => "unpack it once (gunzip)",
            Kind::Utf16 => "convert it: iconv -f UTF-16 -t UTF-8 in.txt > out.txt",
            Kind::WebPage => "download the file again, and look at what the server says",
            Kind::Fasta => "pass it as -g (--fasta where short sequences are meant)",
            Kind::Fastq => "align the reads first, and pass the BAM as -ibam",
            Kind::GenBank => "convert it to FASTA, and pass that as -g",
            Kind::Gff => "convert it to BED: GFF counts from 1, BED from 0",
            Kind::Json => "pass it as the folds (-fl), if it lists chromosomes",
            Kind::Bedpe => {
                "make one row of each pair, for example with: awk -v OFS='\\t' '$1==$4 && $2>=0 {print $1, $2<$5?$2:$5, $3>$6?$3:$6}' in.bedpe > fragments.tsv, and pass that as -ifrag"
            }
            Kind::TagAlign => "pass it as -itag, which counts the one end that each read has",
            Kind::Fragments => "pass it as -ifrag, where a command takes reads",
            Kind::NarrowPeak | Kind::BroadPeak => "pass peaks as -p (-r where regions are meant)",
            Kind::BedGraph => {
                "convert it: bedGraphToBigWig in.bedGraph chrom.sizes out.bw, and pass that as --bigwig"
            }
            Kind::Bed => {
                "pass reads as -ifrag (fragments) or -itag (tagAlign), peaks as -p, other intervals as --blacklist-regions"
            }
            Kind::ChromSizes => "pass it as -c (--chrom-sizes)",
        }
    }

    /// True of what no reader of text can make sense of.
    fn is_no_text(self) -> bool {
        !matches!(
            self,
            Kind::Sam
                | Kind::Vcf
                | Kind::HeadlessVcf
                | Kind::Fasta
                | Kind::Fastq
                | Kind::GenBank
                | Kind::Gff
                | Kind::Json
                | Kind::Bedpe
                | Kind::TagAlign
                | Kind::Fragments
                | Kind::NarrowPeak
                | Kind::BroadPeak
                | Kind::BedGraph
                | Kind::Bed
                | Kind::ChromSizes
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kind that the start of a file shows, where it shows one: by its first bytes, else by its rows.
pub fn of(start: &[u8]) -> Option<Kind> {
    head(start).or_else(|| {
        let rows: Vec<&[u8]> = rows_of(start).take(ROWS).collect();
        of_rows(&rows)
    })
}

/// What a file that should be text is instead, from its first (decompressed) bytes.
pub fn not_text(start: &[u8]) -> Option<Kind> {
    head(start).filter(|kind| kind.is_no_text())
}

/// The kind of the file at `path`, opened and decompressed for this; `None` where that is not to be
/// told, as with a pipe, which cannot be read twice.
pub fn of_file(path: &Path) -> Option<Kind> {
    if !path.is_file() {
        return None;
    }
    let mut text = lines::open(path).ok()?;
    of(text.fill_buf().ok()?)
}

/// The problem of a file that is `kind`, once decompressed, where `wanted` (with its article) was
/// expected.
pub fn unexpected(wanted: &str, kind: Kind) -> Problem {
    let found = match kind {
        Kind::Gzip => "a file that was compressed twice",
        kind => kind.name(),
    };
    Problem::new(format!("expected {wanted}, found {found}")).fix(kind.way_in())
}

/// Adds to an error about the content of `path` what the file seems to be, and where such a file
/// goes, unless it is one of `wanted`.
pub fn explain(path: &Path, error: anyhow::Error, wanted: &[Kind]) -> anyhow::Error {
    let Some(problem) = error.downcast_ref::<Problem>() else { return error };
    match of_file(path) {
        // What no reader takes was named before.
        Some(kind) if !wanted.contains(&kind) && !problem.what().contains(kind.name()) => {
            let found = Problem::new(format!("{}; the file looks like {kind}", problem.what()));
            let place = problem.place().map_or_else(|| path.display().to_string(), str::to_string);
            found.at(place).fix(kind.way_in()).into()
        }
        _ => error,
    }
}

/// The kind by magic number or first line.
pub fn head(start: &[u8]) -> Option<Kind> {
    // With the version behind the letters where there is one: a contig may be called CRAM01.
    const MAGIC: [(&[u8], Kind); 22] = [
        (b"BAM\x01", Kind::Bam),
        (b"CRAM\x02", Kind::Cram),
        (b"CRAM\x03", Kind::Cram),
        (b"CRAM\x04", Kind::Cram),
        (b"BCF\x02", Kind::Bcf),
        (b"BCF\x04", Kind::Bcf),
        (b"TBI\x01", Kind::Tabix),
        (b"CSI\x01", Kind::Csi),
        (b"BAI\x01", Kind::Bai),
        (&[0x43, 0x27, 0x41, 0x1a], Kind::TwoBit),
        (&[0x1a, 0x41, 0x27, 0x43], Kind::TwoBit),
        (&[0x26, 0xfc, 0x8f, 0x88], Kind::BigWig),
        (&[0x88, 0x8f, 0xfc, 0x26], Kind::BigWig),
        (&[0xeb, 0xf2, 0x89, 0x87], Kind::BigBed),
        (&[0x87, 0x89, 0xf2, 0xeb], Kind::BigBed),
        (b"\x89HDF", Kind::Hdf5),
        (b"PK\x03\x04", Kind::Zip),
        (b"\xfd7zXZ", Kind::Xz),
        (&[0x28, 0xb5, 0x2f, 0xfd], Kind::Zstd),
        (b"CBPFGENO", Kind::GenomePack),
        (b"CBPFSIGN", Kind::SignalPack),
        (&[0x1f, 0x8b], Kind::Gzip),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Some(*kind);
    }
    if start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY") {
        return Some(Kind::Bzip2);
    }
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Some(Kind::Utf16);
    }
    // Source: POSIX ustar; the older format has no magic number.
    if start.get(257..262) == Some(b"ustar") {
        return Some(Kind::Tar);
    }
    // Source: safetensors' README: the length of the header, then the header in JSON.
    if let Some((length, rest)) = start.split_first_chunk::<8>()
        && u64::from_le_bytes(*length) < 100 << 20
        && rest.first() == Some(&b'{')
        && length.contains(&0)
    {
        return Some(Kind::Safetensors);
    }
    text_head(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start))
}

/// Texts that their first lines tell.
fn text_head(start: &[u8]) -> Option<Kind> {
    let text = start.trim_ascii_start();
    let lower: Vec<u8> = text.iter().take(16).map(u8::to_ascii_lowercase).collect();
    if [&b"<!doctype"[..], b"<html", b"<?xml"].iter().any(|tag| lower.starts_with(tag)) {
        return Some(Kind::WebPage);
    }
    if [&b"@HD\t"[..], b"@SQ\t", b"@PG\t", b"@RG\t", b"@CO\t"].iter().any(|t| text.starts_with(t)) {
        return Some(Kind::Sam);
    }
    if text.starts_with(b"##gff") {
        return Some(Kind::Gff);
    }
    let mut lines = lines_of(text);
    match text.first()? {
        b'>' => return Some(Kind::Fasta),
        b'{' | b'[' => return Some(Kind::Json),
        b'@' if lines.nth(2).is_some_and(|line| line.starts_with(b"+")) => {
            return Some(Kind::Fastq);
        }
        b'L' if text.starts_with(b"LOCUS ") => return Some(Kind::GenBank),
        b'#' => {}
        _ => return None,
    }
    if text.starts_with(b"##fileformat=VCF") {
        return Some(Kind::Vcf);
    }
    let mut comments = lines_of(text).take_while(|line| line.starts_with(b"#"));
    comments.any(|line| line.starts_with(b"#CHROM\tPOS\t")).then_some(Kind::HeadlessVcf)
}

/// The kind of a table, from its first rows without comments and line ends: what most of them are.
pub fn of_rows(rows: &[&[u8]]) -> Option<Kind> {
    let split: Vec<Vec<&[u8]>> =
        rows.iter().map(|row| row.split(|&b| b == b'\t').collect()).collect();
    let contigs: HashSet<&[u8]> = split.iter().map(|columns| columns[0]).collect();
    let kinds: Vec<Option<Kind>> = split.iter().map(|columns| of_row(columns, &contigs)).collect();
    let kind = kinds
        .iter()
        .flatten()
        .copied()
        .max_by_key(|kind| kinds.iter().filter(|k| **k == Some(*kind)).count())?;
    let votes = kinds.iter().filter(|k| **k == Some(kind)).count();
    if 2 * votes <= rows.len() {
        return None;
    }
    match kind {
        Kind::Bed if is_bedgraph(&split) => Some(Kind::BedGraph),
        kind => Some(kind),
    }
}

fn of_row(c: &[&[u8]], contigs: &HashSet<&[u8]>) -> Option<Kind> {
    let n = c.len();
    if n >= 11 && whole(c[1]) && whole(c[3]) && whole(c[4]) && is_cigar(c[5]) {
        return Some(Kind::Sam);
    }
    if n == 9 && whole(c[3]) && whole(c[4]) && is_strand(c[6]) && !whole(c[1]) {
        return Some(Kind::Gff);
    }
    if n >= 8 && whole(c[1]) && is_bases(c[3]) && c[4].split(|&b| b == b',').all(is_allele) {
        return Some(Kind::HeadlessVcf);
    }
    if n == 2 && whole(c[1]) && !c[0].is_empty() {
        return Some(Kind::ChromSizes);
    }
    let is_pair = n >= 6 && position(c[1]) && position(c[2]) && position(c[4]) && position(c[5]);
    let is_contig =
        |name: &[u8]| name == b"." || name.starts_with(b"chr") || contigs.contains(name);
    if is_pair && is_contig(c[3]) {
        return Some(Kind::Bedpe);
    }
    let (Some(start), Some(end)) = (value(c.get(1)), value(c.get(2))) else { return None };
    // name, length, offset, bases a line, bytes a line: an index of a FASTA is a list of sizes too.
    if let (5, Some(bases), Some(bytes)) = (n, value(c.get(3)), value(c.get(4)))
        && bases >= SHORTEST_LINE
        && bytes >= bases
        && bytes <= bases + 2
    {
        return Some(Kind::ChromSizes);
    }
    if start > end {
        return None;
    }
    let scores = |from: usize| c[from..n.min(9)].iter().all(|x| number(x));
    if n == 10 && number(c[4]) && is_strand(c[5]) && scores(6) && position(c[9]) {
        return Some(Kind::NarrowPeak);
    }
    if n == 9 && is_strand(c[5]) && scores(6) && c[6..].iter().any(|x| x.contains(&b'.')) {
        return Some(Kind::BroadPeak);
    }
    if n >= 6 && matches!(c[5], b"+" | b"-") {
        return Some(Kind::TagAlign);
    }
    if n >= 4 && is_barcode(c[3]) && c.get(4).is_none_or(|count| whole(count)) {
        return Some(Kind::Fragments);
    }
    Some(Kind::Bed)
}

/// True when rows of four columns, the last a number, cover the contig without a gap, as a track
/// does and fragments never do.
fn is_bedgraph(rows: &[Vec<&[u8]>]) -> bool {
    let adjacent = |pair: &[Vec<&[u8]>]| pair[0][0] != pair[1][0] || pair[0][2] == pair[1][1];
    rows.len() > 2
        && rows.iter().all(|c| c.len() == 4 && number(c[3]))
        && 2 * rows.windows(2).filter(|pair| adjacent(pair)).count() >= rows.len()
}

fn value(text: Option<&&[u8]>) -> Option<u64> {
    let text = text.filter(|text| whole(text))?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn whole(text: &[u8]) -> bool {
    (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// A whole number, or the -1 that stands for none.
fn position(text: &[u8]) -> bool {
    whole(text) || text == b"-1"
}

fn number(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn is_strand(text: &[u8]) -> bool {
    matches!(text, b"+" | b"-" | b"." | b"?")
}

fn is_bases(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b"ACGTNacgtn".contains(b))
}

fn is_allele(text: &[u8]) -> bool {
    is_bases(text) || matches!(text, b"." | b"*") || text.starts_with(b"<")
}

fn is_cigar(text: &[u8]) -> bool {
    text == b"*"
        || text.first().is_some_and(u8::is_ascii_digit)
            && text.last().is_some_and(|b| b"MIDNSHPX=".contains(b))
            && text.iter().all(|b| b.is_ascii_digit() || b"MIDNSHPX=".contains(b))
}

/// True of what cells are called: eight bases or more, with what a sample puts around them.
fn is_barcode(text: &[u8]) -> bool {
    let longest = text.split(|b| !b"ACGTN".contains(b)).map(<[u8]>::len).max();
    longest.is_some_and(|n| n >= 8)
}

fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Whole rows; a row that the end of `start` may have cut counts only where it is the one there is.
fn rows_of(start: &[u8]) -> impl Iterator<Item = &[u8]> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let whole = start.iter().rposition(|&b| b == b'\n').map_or(start, |end| &start[..end]);
    let header = |line: &&[u8]| {
        let word = line.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        line.starts_with(b"#") || matches!(word, b"" | b"track" | b"browser")
    };
    lines_of(whole).filter(move |line| !header(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One small file of every kind, and of what must not be taken for another.
    #[test]
    fn every_kind_is_told_from_the_others() {
        let tar = [&[b'a'; 257][..], b"ustar\0"].concat();
        let cases: Vec<(&[u8], Option<Kind>)> = vec![
            (b"BAM\x01\0\0", Some(Kind::Bam)),
            (b"CRAM\x03", Some(Kind::Cram)),
            (b"BCF\x02\x02", Some(Kind::Bcf)),
            (b"TBI\x01", Some(Kind::Tabix)),
            (b"\x1a\x41\x27\x43", Some(Kind::TwoBit)),
            (b"\x89HDF\r\n", Some(Kind::Hdf5)),
            (b"CBPFSIGN", Some(Kind::SignalPack)),
            (b"\x1f\x8b\x08", Some(Kind::Gzip)),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", Some(Kind::Safetensors)),
            (&tar, Some(Kind::Tar)),
            (b"\xff\xfec\0h\0", Some(Kind::Utf16)),
            (b"\n<!DOCTYPE html>", Some(Kind::WebPage)),
            (b"@HD\tVN:1.6\n", Some(Kind::Sam)),
            (b"r1\t0\tchr1\t5\t60\t10M\t*\t0\t0\tACGT\tIIII\n", Some(Kind::Sam)),
            (b">chr1\nACGT\n", Some(Kind::Fasta)),
            (b"@r1\nACGT\n+\nIIII\n", Some(Kind::Fastq)),
            (b"\xef\xbb\xbf{\"train\": []}", Some(Kind::Json)),
            (b"##fileformat=VCFv4.2\n", Some(Kind::Vcf)),
            (b"##source=x\n#CHROM\tPOS\tID\n", Some(Kind::HeadlessVcf)),
            (b"chr1\t5\trs1\tA\tG,T\t.\t.\t.\n", Some(Kind::HeadlessVcf)),
            (b"##gff-version 3\n", Some(Kind::Gff)),
            (b"chr1\tx\texon\t5\t9\t.\t+\t.\tid=1\n", Some(Kind::Gff)),
            (b"chr1\t100\t150\tchr1\t250\t300\tr1\t60\t+\t-\n", Some(Kind::Bedpe)),
            (b"1\t100\t150\t1\t250\t300\n", Some(Kind::Bedpe)),
            (b"1\t9\t15\t1\t25\t30\n1\t9\t15\t2\t5\t9\n2\t9\t15\t.\t-1\t-1\n", Some(Kind::Bedpe)),
            (b"chr1\t1\t5\tN\t1000\t+\n", Some(Kind::TagAlign)),
            (b"chr1\t1\t5\tACGTACGTACGT-1\t2\t-\n", Some(Kind::TagAlign)),
            (b"#c\nchr1\t1\t5\tACGTACGTACGT-1\t2\n", Some(Kind::Fragments)),
            (b"chr1\t1\t5\tAAACGTGGTACA\n", Some(Kind::Fragments)),
            (b"chr1\t1\t5\tp1\t9\t.\t1.5\t2\t3\t2\n", Some(Kind::NarrowPeak)),
            (b"chr1\t1\t5\tp1\t9\t+\t1.5\t2\t3\t2\n", Some(Kind::NarrowPeak)),
            (b"chr1\t1\t5\tp1\t9\t.\t1.5\t2.0\t3\n", Some(Kind::BroadPeak)),
            (b"c\t0\t5\t1\nc\t5\t9\t0\nc\t9\t12\t2.5\n", Some(Kind::BedGraph)),
            (b"c\t0\t50\t1\nc\t5\t90\t1\nc\t9\t120\t2\n", Some(Kind::Bed)),
            (b"chr1\t1\t5\n", Some(Kind::Bed)),
            (b"chr1\t1\t5\tb\t1\t.\n", Some(Kind::Bed)),
            (b"chr1\t1000\r\nchr2\t900\r\n", Some(Kind::ChromSizes)),
            (b"chr1\t1000\t6\t60\t61\n", Some(Kind::ChromSizes)),
            (b"chr1\t1000\t1200\t7\t2\n", Some(Kind::Bed)),
            (b"chr1\t1000\t1200\t1\t2\n", Some(Kind::Bed)),
            (b"chr1\t1000\t12\n", None),
            (b"AAACGTGGTACA-1\n", None),
            (b"some words\n", None),
            (b"", None),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(of(bytes), wanted, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn one_odd_row_does_not_change_the_kind() {
        let mut text = "chr1\t1\t5\tACGTACGTACGT-1\t2\n".repeat(5);
        text.push_str("chr1\t100\t150\tchr1\t250\t300\n");
        text.push_str("chr1\t1\t5\tACGTACGT"); // cut
        assert_eq!(of(text.as_bytes()), Some(Kind::Fragments));
    }

    #[test]
    fn text_stays_text() {
        for text in [&b">a\n"[..], b"chr1\t5\n", b"{}", b"@HD\t", b"##fileformat=VCF"] {
            assert_eq!(not_text(text), None);
        }
        assert_eq!(not_text(b"BAM\x01"), Some(Kind::Bam));
    }
}
