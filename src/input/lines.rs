//! The one door for text: plain, gzip or bgzip, told apart by first bytes and never by names.
//!
//! In: a path, also of a pipe. Out: buffered bytes, or lines with their numbers. The rules are the
//! same for every text input: a UTF-8 byte order mark is skipped; LF, CRLF and a bare CR end lines; a
//! line longer than `LONGEST_LINE` is an error; bytes that are not UTF-8 are replaced, and matter only
//! where a column that is used holds them. A file that is no text is named for what it is, since
//! "invalid digit" on a BAM helps nobody.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use memchr::{memchr2, memchr2_iter};
use xxhash_rust::xxh3::Xxh3;

use super::{gzip, pipe, sniff};
use crate::error::Problem;

/// Longest line, bytes. A line is some 100 bytes; one this long is something else, and may never
/// end.
pub const LONGEST_LINE: usize = 1 << 20;

/// Big enough that a read costs little beside the work on its bytes.
const BUFFER: usize = 1 << 20;
/// Bytes at the start of a text that are at hand together, for those who look what it is.
const START: usize = 512;
/// What Excel, Notepad and PowerShell write in front of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a text file, decompressed where needed.
pub type Text = Box<dyn BufRead + Send>;

/// Opens a plain, gzip or bgzip file for reading, behind its byte order mark. What `fill_buf` gives
/// first has 512 bytes, or all there are.
///
/// Errors: missing or unreadable file, a folder, damage at the start.
pub fn open(path: &Path) -> Result<Text> {
    Ok(open_hashed(path)?.0)
}

/// xxh3 and number of the bytes of a file as they lie on disk, complete once all text has been
/// read.
#[derive(Clone, Default)]
pub struct ContentHash(Arc<Mutex<(Xxh3, u64)>>);

impl ContentHash {
    pub fn digest(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.digest()
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn update(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.update(bytes);
        inner.1 += bytes.len() as u64;
    }
}

/// A file whose bytes are hashed as they pass, so that a large file is read only once.
struct Hashing {
    file: File,
    hash: ContentHash,
}

impl Read for Hashing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(out)?;
        self.hash.update(&out[..n]);
        Ok(n)
    }
}

/// `open`, with the hash of what is read.
pub fn open_hashed(path: &Path) -> Result<(Text, ContentHash)> {
    let hash = ContentHash::default();
    Ok((open_with(path, hash.clone())?, hash))
}

fn open_with(path: &Path, hash: ContentHash) -> Result<Text> {
    let mut file = open_file(path)?;
    let text = || -> io::Result<Text> {
        let mut start = Vec::with_capacity(2);
        (&mut file).take(2).read_to_end(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let file = Hashing { file, hash };
        without_mark(match gzip::is_gzip(&start) {
            true => gzip::open(file, path)?,
            false => Box::new(BufReader::with_capacity(BUFFER, file)),
        })
    };
    text().map_err(|e| unreadable(path, &e).into())
}

/// Bytes of the marks that a text begins with: one, or several where marked files were joined or saved
/// again.
fn marks(start: &[u8]) -> usize {
    MARK.len() * start.chunks(MARK.len()).take_while(|chunk| *chunk == MARK).count()
}

/// Skips a byte order mark, and sees to it that the start of the text is at hand.
fn without_mark(mut text: Text) -> io::Result<Text> {
    let start = text.fill_buf()?;
    if start.len() >= START {
        let marked = marks(start);
        text.consume(marked);
        return Ok(text);
    }
    // A short file, or one whose first gzip members are short.
    let mut start = Vec::new();
    loop {
        let chunk = text.fill_buf()?;
        if chunk.is_empty() || start.len() >= START {
            break;
        }
        start.extend_from_slice(chunk);
        let length = chunk.len();
        text.consume(length);
    }
    start.drain(..marks(&start));
    Ok(Box::new(Cursor::new(start).chain(text)))
}

/// Opens a file with the reason when it cannot be; a pipe as `pipe` keeps it.
pub fn open_file(path: &Path) -> Result<File> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Problem::new("file does not exist")
            .at(path.display())
            .fix("check the path; relative paths start at the current folder"),
        _ => unreadable(path, &e),
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Problem::new("expected a file, found a folder").at(path.display()).into());
    }
    if pipe::is_pipe(&metadata) {
        return Ok(pipe::open(path, &metadata)?);
    }
    Ok(File::open(path).map_err(failed)?)
}

/// The problem of a read that failed: a damaged compressed stream is told from a failing disk.
pub fn unreadable(path: &Path, error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::new("compressed file ends early (truncated)")
            .at(path.display())
            .fix("copy or download the file again"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Problem::new(format!("compressed file is damaged: {error}"))
                .at(path.display())
                .fix("copy or download the file again; `gzip -t` tests it")
        }
        _ => Problem::new(format!("cannot read file: {error}")).at(path.display()),
    }
}

/// All of a small text file, at most `largest` bytes.
///
/// Errors: those of `open` and of reading; a larger file.
pub fn read_whole(path: &Path, largest: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let text = open(path)?;
    text.take(largest as u64 + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() > largest {
        return Err(Problem::new(format!("file has more than {} MB of text", largest >> 20))
            .at(path.display())
            .fix("check that it is the file that was meant")
            .into());
    }
    Ok(bytes)
}

/// Calls `each` with every line and its number from 1, without its line end. Bytes that are not
/// UTF-8 are U+FFFD, which `used` refuses.
///
/// Errors: those of `open`, of reading, and of `each`; a file that is no text, a line without end.
pub fn for_each(path: &Path, each: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
    for_each_of(open(path)?, path, each)
}

/// `for_each` of a file that is open already; `path` names it.
pub fn for_each_of(
    mut text: Text,
    path: &Path,
    mut each: impl FnMut(usize, &str) -> Result<()>,
) -> Result<()> {
    let start = text.fill_buf().map_err(|e| unreadable(path, &e))?;
    if let Some(kind) = sniff::not_text(start) {
        return Err(sniff::unexpected("a text file", kind).at(path.display()).into());
    }
    for_each_bytes(&mut text, path, |number, line| {
        each(number as usize, &String::from_utf8_lossy(line))
    })
}

/// `for_each_of`, of lines as bytes and without a look at what the file is: for the large ones.
pub fn for_each_bytes(
    text: &mut Text,
    path: &Path,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut number = 0;
    // Files that were joined have a mark inside.
    let mut line = |line: &[u8]| {
        number += 1;
        if line.len() > LONGEST_LINE {
            return Err(endless(LONGEST_LINE).at(place(path, number as usize)).into());
        }
        each(number, line.strip_prefix(MARK).unwrap_or(line))
    };
    // The part of a line that the last chunk ended with, and whether it ended with a CR.
    let (mut carried, mut after_cr): (Vec<u8>, bool) = (Vec::new(), false);
    loop {
        let chunk = text.fill_buf().map_err(|e| unreadable(path, &e))?;
        if chunk.is_empty() {
            break;
        }
        let mut begin = usize::from(after_cr && chunk[0] == b'\n');
        after_cr = false;
        for end in memchr2_iter(b'\n', b'\r', chunk) {
            // The LF of a CRLF.
            if end < begin {
                continue;
            }
            if carried.is_empty() {
                line(&chunk[begin..end])?;
            } else {
                carried.extend_from_slice(&chunk[begin..end]);
                line(&carried)?;
                carried.clear();
            }
            begin = end + 1;
            if chunk[end] == b'\r' {
                after_cr = begin == chunk.len();
                begin += usize::from(chunk.get(begin) == Some(&b'\n'));
            }
        }
        carried.extend_from_slice(&chunk[begin..]);
        let length = chunk.len();
        text.consume(length);
        if carried.len() > LONGEST_LINE {
            line(&carried)?;
        }
    }
    if !carried.is_empty() {
        line(&carried)?;
    }
    Ok(())
}

fn endless(longest: usize) -> Problem {
    Problem::new(format!("line of more than {} MB", longest >> 20))
        .fix("check the file's format and line ends")
}

/// The text of `cell`, a column that is used and named `what`.
///
/// Errors: bytes that are not UTF-8.
pub fn used<'a>(cell: &'a str, what: &str) -> Result<&'a str, Problem> {
    if cell.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Problem::new(format!("{what} is {cell:?}: it holds bytes that are not UTF-8"))
            .fix("save the file as UTF-8, for example with: iconv -f LATIN1 -t UTF-8"));
    }
    Ok(cell)
}

/// The text with line ends that are LF and with valid UTF-8, for parsers of other crates; a line
/// may have as many bytes as `longest` says of its beginning.
pub fn normalized(text: Text, longest: fn(&[u8]) -> usize) -> Text {
    Box::new(Normalized { text, longest, line: Vec::new(), start: 0 })
}

struct Normalized {
    text: Text,
    longest: fn(&[u8]) -> usize,
    /// The line at hand, with its LF if it has one, and how much of it is taken.
    line: Vec<u8>,
    start: usize,
}

impl Normalized {
    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.start = 0;
        loop {
            let chunk = self.text.fill_buf()?;
            let end = memchr2(b'\n', b'\r', chunk);
            let is_cr = end.is_some_and(|end| chunk[end] == b'\r');
            self.line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
            let taken = end.map_or(chunk.len(), |end| end + 1);
            self.text.consume(taken);
            let longest = (self.longest)(&self.line);
            if self.line.len() > longest {
                return Err(io::Error::other(endless(longest).what()));
            }
            if is_cr && self.text.fill_buf()?.first() == Some(&b'\n') {
                self.text.consume(1);
            }
            if end.is_some() || taken == 0 {
                if let Cow::Owned(text) = String::from_utf8_lossy(&self.line) {
                    self.line = text.into_bytes();
                }
                // A last line that was cut off stays without one.
                self.line.extend(end.is_some().then_some(b'\n'));
                return Ok(());
            }
        }
    }
}

impl BufRead for Normalized {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.line.len() {
            self.next_line()?;
        }
        Ok(&self.line[self.start..])
    }

    fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.line.len());
    }
}

impl Read for Normalized {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

/// `peaks.bed line 12`, as every error names a line.
pub fn place(path: &Path, line: usize) -> String {
    format!("{} line {line}", path.display())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(bytes: &[u8]) -> Result<Vec<(usize, String)>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), bytes)?;
        let mut out = Vec::new();
        for_each(file.path(), |n, line| {
            out.push((n, line.to_string()));
            Ok(())
        })?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn marks_and_line_ends() {
        let wanted = vec![(1, "a\tb".to_string()), (2, String::new()), (3, "c".to_string())];
        for text in [
            "a\tb\n\nc\n",
            "a\tb\r\n\r\nc",
            "a\tb\r\rc\r",
            "a\tb\r\n\rc\n",
            "a\tb\n\rc\r\n",
            "\u{feff}a\tb\n\nc\n",
            "\u{feff}a\tb\n\n\u{feff}c\n",
            "\u{feff}\u{feff}a\tb\n\nc\n",
        ] {
            assert_eq!(lines(text.as_bytes()).unwrap(), wanted, "{text:?}");
            assert_eq!(lines(&gzip(text.as_bytes())).unwrap(), wanted, "{text:?}");
            // A member a byte, so that marks and line ends are cut apart.
            let members: Vec<u8> = text.bytes().flat_map(|byte| gzip(&[byte])).collect();
            assert_eq!(lines(&members).unwrap(), wanted, "{text:?}");
            let mut whole = String::new();
            let text = normalized(Box::new(Cursor::new(text.to_string())), |_| 10);
            { text }.read_to_string(&mut whole).unwrap();
            let whole = whole.replace('\u{feff}', "");
            assert_eq!(whole.trim_end_matches('\n'), "a\tb\n\nc");
        }
        assert_eq!(lines(b"").unwrap(), vec![]);
        assert_eq!(lines(b"\xef\xbb\xbf").unwrap(), vec![]);
    }

    #[test]
    fn long_lines_end_in_an_error() {
        let rows = "x\n".repeat(LONGEST_LINE);
        assert_eq!(lines(rows.as_bytes()).unwrap().len(), LONGEST_LINE);
        let longest = "x".repeat(LONGEST_LINE);
        assert_eq!(lines(format!("a\n{longest}\r\nb").as_bytes()).unwrap().len(), 3);
        for end in ["", "\n", "\r", "xxxxxxxxxx\nb\n"] {
            let text = format!("a\n{longest}x{end}");
            let error = lines(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("line of more than 1 MB") && error.contains("line 2"),
                "{error}"
            );
            let mut text = normalized(Box::new(Cursor::new(text)), |_| LONGEST_LINE);
            let error = text.read_to_end(&mut Vec::new()).unwrap_err().to_string();
            assert_eq!(error, "line of more than 1 MB");
        }
    }

    #[test]
    fn damaged_and_foreign_files() {
        let whole = gzip(&b"chr1\t1\t2\n".repeat(1000));
        let error = lines(&whole[..whole.len() / 2]).unwrap_err().to_string();
        assert!(error.contains("truncated"), "{error}");
        assert!(lines(b"BAM\x01...").unwrap_err().to_string().contains("a BAM file"));
        let page = lines(b"\n <!DOCTYPE html>\n").unwrap_err().to_string();
        assert!(page.contains("web page"), "{page}");
    }

    #[test]
    fn bytes_that_are_not_utf_8_matter_where_they_are_used() {
        let read = lines(b"chr1\tcaf\xe9\n").unwrap();
        assert!(used(&read[0].1[..4], "name").is_ok());
        let error = used(&read[0].1, "name").unwrap_err().to_string();
        assert!(error.contains("not UTF-8") && error.contains("iconv"), "{error}");
    }

    #[test]
    fn missing_file_and_folder() {
        let folder = tempfile::tempdir().unwrap();
        let missing = open(&folder.path().join("no.bed")).err().unwrap().to_string();
        assert!(missing.contains("does not exist"), "{missing}");
        let error = open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("found a folder"), "{error}");
    }
}
