//! FASTA, streamed: plain, gzip or bgzip; any line width, CRLF, soft-masked, N and IUPAC letters.
//!
//! In: a path. Out: pieces in file order, a contig's name and then its bases in chunks of about
//! 256 KB as they stand in the file (letters, `-`, `*`; no line ends). Reading and decompression
//! run on a thread of their own, beside whatever takes the pieces. Memory does not depend on the
//! length of a line or a contig.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use anyhow::Result;
use memchr::memchr;

use super::lines::{self, ContentHash, Text};
use super::sniff;
use crate::error::Problem;

/// Bytes handed from the reading thread at a time, and how many of those may wait.
const BLOCK: usize = 1 << 20;
const WAITING: usize = 4;
/// Bases collected before they are passed on.
const CHUNK: usize = 1 << 18;

/// What a FASTA file consists of.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A contig begins; its name is the first word after `>`.
    Contig(&'a str),
    /// More bases of that contig, ASCII.
    Bases(&'a [u8]),
}

/// Passes the pieces of `path` to `each`; returns the xxh3 of the file as it lies on disk.
///
/// Errors, with file and line: no `>` first, an empty or repeated name, a byte that is no base, a
/// truncated or damaged compressed file, an empty file; those of `each`.
pub fn read(path: &Path, mut each: impl FnMut(Piece) -> Result<()>) -> Result<ContentHash> {
    let (text, hash) = lines::open_hashed(path)?;
    let mut parser = Parser::new(path);
    std::thread::scope(|scope| -> Result<()> {
        let (full, blocks) = mpsc::sync_channel(WAITING);
        let (empty, used) = mpsc::channel();
        scope.spawn(move || read_blocks(text, &full, &used));
        // The receiver dies with this closure, which ends the thread when we stop early.
        take_blocks(path, blocks, &empty, |block| parser.feed(block, &mut each))?;
        parser.finish(&mut each)
    })?;
    Ok(hash)
}

/// All contigs of a small FASTA file: names and bases in file order.
pub fn read_all(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut contigs: Vec<(String, Vec<u8>)> = Vec::new();
    read(path, |piece| {
        match piece {
            Piece::Contig(name) => contigs.push((name.to_string(), Vec::new())),
            Piece::Bases(bases) => {
                if let Some((_, sequence)) = contigs.last_mut() {
                    sequence.extend_from_slice(bases);
                }
            }
        }
        Ok(())
    })?;
    Ok(contigs)
}

fn read_blocks(mut text: Text, full: &SyncSender<io::Result<Vec<u8>>>, used: &Receiver<Vec<u8>>) {
    loop {
        let mut block = used.try_recv().unwrap_or_default();
        block.resize(BLOCK, 0);
        let mut filled = 0;
        let result = loop {
            match text.read(&mut block[filled..]) {
                Ok(0) => break Ok(()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
            if filled == BLOCK {
                break Ok(());
            }
        };
        block.truncate(filled);
        let last = filled < BLOCK;
        // A send fails when the other side has stopped, which has its own error to tell.
        if full.send(Ok(block)).is_err() {
            return;
        }
        if let Err(e) = result {
            let _ = full.send(Err(e));
            return;
        }
        if last {
            return;
        }
    }
}

fn take_blocks(
    path: &Path,
    blocks: Receiver<io::Result<Vec<u8>>>,
    empty: &Sender<Vec<u8>>,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for block in blocks {
        let block = block.map_err(|e| lines::unreadable(path, &e))?;
        each(&block)?;
        let _ = empty.send(block);
    }
    Ok(())
}

/// Where in the file the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Header,
    Sequence,
}

struct Parser<'p> {
    path: &'p Path,
    state: State,
    /// Line of the next byte, from 1.
    line: usize,
    /// Name line so far, without `>`.
    header: Vec<u8>,
    /// Names and their lines.
    seen: HashMap<String, usize>,
    bases: Vec<u8>,
    /// White space ended the last block; fine before a line end, else an error.
    blank: bool,
    any: bool,
}

impl<'p> Parser<'p> {
    fn new(path: &'p Path) -> Self {
        Self {
            path,
            state: State::LineStart,
            line: 1,
            header: Vec::new(),
            seen: HashMap::new(),
            bases: Vec::with_capacity(CHUNK + BLOCK),
            blank: false,
            any: false,
        }
    }

    fn here(&self) -> String {
        lines::place(self.path, self.line)
    }

    fn feed(&mut self, mut block: &[u8], each: &mut impl FnMut(Piece) -> Result<()>) -> Result<()> {
        if !self.any && !block.is_empty() {
            self.any = true;
            block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
            check_start(block).map_err(|p| p.at(self.path.display()))?;
        }
        while let Some(&byte) = block.first() {
            if self.state == State::LineStart {
                self.state = if byte == b'>' { State::Header } else { State::Sequence };
                if byte == b'>' {
                    block = &block[1..];
                }
            }
            let end = memchr(b'\n', block);
            let text = &block[..end.unwrap_or(block.len())];
            match self.state {
                State::Header => self.header.extend_from_slice(text),
                _ => self.add_bases(text, end.is_some())?,
            }
            block = &block[end.map_or(block.len(), |end| end + 1)..];
            if end.is_some() {
                if self.state == State::Header {
                    self.begin_contig(each)?;
                }
                self.state = State::LineStart;
                self.line += 1;
            }
            if self.bases.len() >= CHUNK {
                self.pass_on(each)?;
            }
        }
        Ok(())
    }

    fn add_bases(&mut self, text: &[u8], whole: bool) -> Result<()> {
        let bases = text.trim_ascii_end();
        if bases.is_empty() && text.is_empty() {
            self.blank &= !whole;
            return Ok(());
        }
        if (self.blank && !bases.is_empty()) || !all_bases(bases) {
            return Err(self.not_a_base(bases));
        }
        if self.seen.is_empty() && !bases.is_empty() {
            return Err(Problem::new("sequence comes before the first '>' line")
                .at(self.here())
                .fix("begin each contig with a line like >chr1")
                .into());
        }
        self.blank = !whole && bases.len() < text.len();
        self.bases.extend_from_slice(bases);
        Ok(())
    }

    fn not_a_base(&self, bases: &[u8]) -> anyhow::Error {
        let what = match bases.iter().find(|&&b| !is_base(b)) {
            Some(b) if b.is_ascii_graphic() => format!("character '{}'", char::from(*b)),
            Some(b' ' | b'\t' | b'\r') | None => "white space inside a line".to_string(),
            Some(b) => format!("byte 0x{b:02x}"),
        };
        Problem::new(format!("{what} in a sequence, expected letters"))
            .at(self.here())
            .fix("pass a nucleotide FASTA file; it may be damaged, or of another kind")
            .into()
    }

    fn begin_contig(&mut self, each: &mut impl FnMut(Piece) -> Result<()>) -> Result<()> {
        self.pass_on(each)?;
        let header = std::mem::take(&mut self.header);
        let name = header.split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
        if name.is_empty() {
            return Err(Problem::new("contig has no name, expected one right after '>'")
                .at(self.here())
                .into());
        }
        let name = std::str::from_utf8(name)
            .map_err(|_| Problem::new("contig name is not UTF-8 text").at(self.here()))?;
        if let Some(first) = self.seen.insert(name.to_string(), self.line) {
            return Err(Problem::new(format!("contig {name} appears twice"))
                .at(format!("{} lines {first} and {}", self.path.display(), self.line))
                .fix("give each contig one '>' line")
                .into());
        }
        each(Piece::Contig(name))
    }

    fn pass_on(&mut self, each: &mut impl FnMut(Piece) -> Result<()>) -> Result<()> {
        if !self.bases.is_empty() {
            each(Piece::Bases(&self.bases))?;
            self.bases.clear();
        }
        Ok(())
    }

    fn finish(mut self, each: &mut impl FnMut(Piece) -> Result<()>) -> Result<()> {
        if self.state == State::Header {
            self.begin_contig(each)?;
        }
        if self.seen.is_empty() {
            return Err(Problem::new("FASTA file is empty").at(self.path.display()).into());
        }
        self.pass_on(each)
    }
}

/// The first bytes of a file that is no FASTA usually tell what it is instead.
fn check_start(block: &[u8]) -> Result<(), Problem> {
    let text = block.trim_ascii_start();
    if text.first().is_none_or(|&b| b == b'>') {
        return Ok(());
    }
    const WANTED: &str = "a FASTA file ('>' first)";
    if let Some(kind) = sniff::of(block) {
        return Err(sniff::unexpected(WANTED, kind));
    }
    let found = match text[0] {
        b'@' => "a FASTQ or SAM file ('@' first)".to_string(),
        byte if byte.is_ascii_graphic() => format!("'{}' first", char::from(byte)),
        byte => format!("byte 0x{byte:02x} first"),
    };
    Err(Problem::new(format!("expected {WANTED}, found {found}"))
        .fix("pass a FASTA file: plain, gzip or bgzip"))
}

/// Letters stand for bases or ambiguity; `-` and `*` occur in alignments and are read as N.
fn is_base(b: u8) -> bool {
    ((b | 0x20).wrapping_sub(b'a') < 26) | (b == b'-') | (b == b'*')
}

/// No early exit, so that the compiler checks many bytes at once.
fn all_bases(bases: &[u8]) -> bool {
    bases.iter().fold(true, |good, &b| good & is_base(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contigs(bytes: &[u8]) -> Result<Vec<(String, String)>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), bytes)?;
        let contigs = read_all(file.path())?;
        Ok(contigs
            .into_iter()
            .map(|(name, bases)| (name, String::from_utf8(bases).unwrap()))
            .collect())
    }

    fn error(bytes: &[u8]) -> String {
        contigs(bytes).unwrap_err().to_string()
    }

    #[test]
    fn shapes_of_lines() {
        let wanted = [("chr1".to_string(), "ACgtN".to_string()), ("chr2".into(), "R-*T".into())];
        for text in [
            &b">chr1 a description\nACg\ntN\n>chr2\nR-*T\n"[..],
            b">chr1\tx\r\nAC\r\ngtN\r\n\r\n>chr2\r\nR-*T",
            b"\n\n>chr1\nA\nC\ng\nt\nN\n\n\n>chr2 y\nR-*T  \n",
            b"\xef\xbb\xbf>chr1\nACgtN\n>chr2\nR-*T\n\n",
        ] {
            assert_eq!(contigs(text).unwrap(), wanted, "{:?}", String::from_utf8_lossy(text));
        }
        let empty = [("a".to_string(), String::new()), ("b".into(), String::new())];
        assert_eq!(contigs(b">a\n>b").unwrap(), empty);
    }

    #[test]
    fn every_split_into_blocks_gives_the_same() {
        let text = b"\r\n>chr1 d\r\nACG \r\nT\r\n>c2\nNN\n";
        let parse = |cut: usize| {
            let mut parser = Parser::new(Path::new("x.fa"));
            let mut out = Vec::new();
            let mut each = |piece: Piece| {
                match piece {
                    Piece::Contig(name) => out.push((name.to_string(), Vec::new())),
                    Piece::Bases(bases) => out.last_mut().unwrap().1.extend_from_slice(bases),
                }
                Ok(())
            };
            parser.feed(&text[..cut], &mut each).unwrap();
            parser.feed(&text[cut..], &mut each).unwrap();
            parser.finish(&mut each).unwrap();
            out
        };
        let wanted = [("chr1".to_string(), b"ACGT".to_vec()), ("c2".to_string(), b"NN".to_vec())];
        for cut in 0..=text.len() {
            assert_eq!(parse(cut), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn blank_across_blocks_inside_a_line_is_an_error() {
        let mut parser = Parser::new(Path::new("x.fa"));
        parser.feed(b">a\nAC ", &mut |_| Ok(())).unwrap();
        let message = parser.feed(b"GT\n", &mut |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("white space inside a line"), "{message}");
    }

    #[test]
    fn bad_files() {
        for (text, wanted) in [
            (&b""[..], "FASTA file is empty"),
            (b"\n\n", "FASTA file is empty"),
            (b"ACGT\n", "found 'A' first"),
            (b"BAM\x01\0\0", "found a BAM file"),
            (b"\x43\x27\x41\x1a\0\0", "found a 2bit file"),
            (b"<html><body>", "found a web page"),
            (b"@read1\nACGT\n+\nIIII\n", "FASTQ"),
            (b"LOCUS  X\n", "GenBank"),
            (b"\0\0\0", "byte 0x00 first"),
            (b">a\nAC\n>a\nGT\n", "lines 1 and 3"),
            (b">\nACGT\n", "has no name"),
            (b"> a\nACGT\n", "has no name"),
            (b">a\nAC\nA1\n", "line 3"),
            (b">a\nAC\nA1\n", "character '1'"),
            (b">a\nAC GT\n", "white space inside a line"),
            (b">a\nAC\x00T\n", "byte 0x00"),
            (b">a\nAC>b\n", "character '>'"),
        ] {
            let message = error(text);
            let text = String::from_utf8_lossy(text);
            assert!(message.contains(wanted), "{text:?}: {message}");
        }
    }
}
