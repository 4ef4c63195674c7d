//! Text files as they come: plain, gzip (one or many members) or bgzip, told apart by their first
//! bytes and never by their names.
//!
//! In: a path. Out: buffered bytes, or lines with their numbers. A file that is none of these text
//! formats is named for what it is, since "invalid digit" on a BAM helps nobody.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use noodles_bgzf as bgzf;
use xxhash_rust::xxh3::Xxh3;

use super::sniff;
use crate::error::Problem;

/// Big enough that a read costs little beside the work on its bytes.
const BUFFER: usize = 1 << 20;

/// The empty block that ends every complete bgzip file. Source: SAM specification, section 4.1.2.
const BGZF_END: [u8; 28] = [
    0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff, 0x06, 0, 0x42, 0x43, 0x02, 0, 0x1b, 0, 0x03, 0, 0,
    0, 0, 0, 0, 0, 0, 0,
];

/// Bytes of a text file, decompressed where needed.
pub type Text = Box<dyn BufRead + Send>;

/// Opens a plain, gzip or bgzip file for reading.
///
/// Errors: missing or unreadable file, a folder, a bgzip file without its end marker.
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
    let mut start = [0u8; 18];
    let filled = read_up_to(&mut file, &mut start).map_err(|e| unreadable(path, &e))?;
    let start = &start[..filled];
    if !is_gzip(start) {
        if is_pipe(&file) {
            // What was sniffed cannot be read again from a pipe.
            let bytes = Cursor::new(start.to_vec()).chain(file);
            return Ok(Box::new(BufReader::with_capacity(BUFFER, bytes)));
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(path, &e))?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER, Hashing { file, hash })));
    }
    if is_pipe(&file) {
        let bytes = Cursor::new(start.to_vec()).chain(file);
        let decoder = flate2::read::MultiGzDecoder::new(BufReader::with_capacity(BUFFER, bytes));
        return Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)));
    }
    if is_bgzf(start) {
        check_bgzf_end(path, &mut file)?;
        file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(path, &e))?;
        let workers = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let reader =
            bgzf::io::MultithreadedReader::with_worker_count(workers, Hashing { file, hash });
        return Ok(Box::new(reader));
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(path, &e))?;
    let file = BufReader::with_capacity(BUFFER, Hashing { file, hash });
    let decoder = flate2::read::MultiGzDecoder::new(file);
    Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)))
}

/// Opens a file that must be a regular file or a pipe, with the reason when it cannot be.
pub fn open_file(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Problem::new("file does not exist")
            .at(path.display())
            .fix("check the path; relative paths start at the current folder"),
        _ => unreadable(path, &e),
    })?;
    if file.metadata().map_err(|e| unreadable(path, &e))?.is_dir() {
        return Err(Problem::new("expected a file, found a folder").at(path.display()).into());
    }
    Ok(file)
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

/// Calls `each` with every line and its number from 1, without `\n` or `\r\n`.
///
/// Errors: those of `open`, of reading, and of `each`; a file that is no text.
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
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if text.read_until(b'\n', &mut line).map_err(|e| unreadable(path, &e))? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let line = std::str::from_utf8(&line).map_err(|_| {
            Problem::new("line is not text (bytes that are not UTF-8)").at(place(path, number))
        })?;
        each(number, line)?;
    }
    Ok(())
}

/// `peaks.bed line 12`, as every error names a line.
pub fn place(path: &Path, line: usize) -> String {
    format!("{} line {line}", path.display())
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// A gzip member whose extra field is the BC subfield alone, which is what noodles takes; any
/// other is read as plain gzip. Source: SAM specification, 4.1.
fn is_bgzf(start: &[u8]) -> bool {
    start.len() >= 18 && start[3] == 4 && &start[10..16] == b"\x06\x00BC\x02\x00"
}

/// A bgzip file cut at a block boundary decompresses without complaint, so look for its end.
fn check_bgzf_end(path: &Path, file: &mut File) -> Result<()> {
    let mut end = [0u8; 28];
    let length = file.metadata().map_err(|e| unreadable(path, &e))?.len();
    let found = if length >= 28 {
        file.seek(SeekFrom::End(-28))
            .and_then(|_| file.read_exact(&mut end))
            .map_err(|e| unreadable(path, &e))?;
        end == BGZF_END
    } else {
        false
    };
    if !found {
        return Err(Problem::new("bgzip file has no end marker, so it is truncated")
            .at(path.display())
            .fix("copy or download the file again")
            .into());
    }
    Ok(())
}

fn is_pipe(file: &File) -> bool {
    file.metadata().is_ok_and(|m| !m.is_file())
}

fn read_up_to(file: &mut File, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
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

    fn bgzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = bgzf::io::Writer::new(Vec::new());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn line_ends_and_compressions() {
        let wanted = vec![(1, "a\tb".to_string()), (2, String::new()), (3, "c".to_string())];
        assert_eq!(lines(b"a\tb\n\nc\n").unwrap(), wanted);
        assert_eq!(lines(b"a\tb\r\n\r\nc").unwrap(), wanted);
        assert_eq!(lines(&gzip(b"a\tb\n\nc\n")).unwrap(), wanted);
        assert_eq!(lines(&bgzip(b"a\tb\n\nc\n")).unwrap(), wanted);
        let members = [gzip(b"a\tb\n"), gzip(b"\nc\n")].concat();
        assert_eq!(lines(&members).unwrap(), wanted);
        assert_eq!(lines(b"").unwrap(), vec![]);
    }

    #[test]
    fn damaged_and_foreign_files() {
        let whole = gzip(&b"chr1\t1\t2\n".repeat(1000));
        let error = lines(&whole[..whole.len() / 2]).unwrap_err().to_string();
        assert!(error.contains("truncated"), "{error}");
        let whole = bgzip(b"chr1\t1\t2\n");
        let error = lines(&whole[..whole.len() - 28]).unwrap_err().to_string();
        assert!(error.contains("no end marker"), "{error}");
        assert!(lines(b"BAM\x01...").unwrap_err().to_string().contains("a BAM file"));
        let page = lines(b"\n <!DOCTYPE html>\n").unwrap_err().to_string();
        assert!(page.contains("web page"), "{page}");
        assert!(lines(b"\xff\xffx").unwrap_err().to_string().contains("not UTF-8"));
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
