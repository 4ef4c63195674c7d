//! gzip as `zcat` reads it: members of bgzip and of plain gzip in any mixture, one after the other.
//!
//! In: the bytes of a file that begins with the gzip magic. Out: its content. A stream that ends
//! inside a member is an error. What follows the last member is ignored: zeros (tapes and object
//! stores pad with them) in silence, anything else with a warning. bgzip without its empty last
//! block is read, with a warning, since a file cut between two blocks looks the same.
//!
//! The blocks of bgzip are independent, so threads inflate them; BAM and fragments come this way.
//! Where no thread can be started, the caller's own does the work.

use std::io::{self, BufRead, ErrorKind, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;

use crate::console;

/// A block of bgzip has at most as many bytes, compressed and inflated. Source: SAM specification,
/// section 4.1.
const BLOCK: usize = 1 << 16;
/// Bytes before the compressed data of a block, and after it (checksum and length).
const HEADER: usize = 18;
const TRAILER: usize = 8;
/// Bytes read from the file at a time.
const BUFFER: usize = 1 << 20;
/// Blocks that a thread inflates at a time. One at a time, waking threads took a third of the time of reading a BAM.
const BATCH: usize = 8;
/// Batches that may wait for the caller, for each thread.
const WAITING: usize = 2;

/// True for the first bytes of a gzip file.
pub fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// True for a gzip member whose extra field is the BC subfield alone, as every bgzip writes it; any
/// other is read as plain gzip. Source: SAM specification, 4.1.
fn is_bgzip(start: &[u8]) -> bool {
    start.len() >= HEADER
        && start.starts_with(&[0x1f, 0x8b, 8, 4])
        && &start[10..16] == b"\x06\x00BC\x02\x00"
}

/// The content of `file`, which begins with the gzip magic; `path` names it in warnings.
pub fn open(file: impl Read + Send + 'static, path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut members = Members::new(Box::new(file), path);
    if is_bgzip(members.input_mut().peek(HEADER)?) {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        return Ok(in_threads(members, threads.get()));
    }
    Ok(Box::new(Inline::new(members)))
}

/// One piece of the content, in a buffer of `BLOCK` bytes.
enum Piece {
    /// So many bytes of content.
    Content(usize),
    /// A block of bgzip of so many bytes, still compressed.
    Block(usize),
    End,
}

/// Where the next byte of the file belongs.
enum Place {
    BetweenMembers(Input),
    /// Inside a member of plain gzip.
    Inside(Box<GzDecoder<Input>>),
    Ended,
}

/// Takes a file apart into members.
struct Members {
    path: PathBuf,
    place: Place,
    /// The last member was a block of bgzip that held something.
    unfinished: bool,
}

impl Members {
    fn new(file: Box<dyn Read + Send>, path: &Path) -> Self {
        let input = Input { file, buffer: vec![0; BUFFER], start: 0, end: 0 };
        Self { path: path.to_path_buf(), place: Place::BetweenMembers(input), unfinished: false }
    }

    fn input_mut(&mut self) -> &mut Input {
        match &mut self.place {
            Place::BetweenMembers(input) => input,
            Place::Inside(decoder) => decoder.get_mut(),
            Place::Ended => unreachable!("only asked before the end"),
        }
    }

    /// The next piece; `out` has `BLOCK` bytes.
    fn next(&mut self, out: &mut [u8]) -> io::Result<Piece> {
        loop {
            match std::mem::replace(&mut self.place, Place::Ended) {
                Place::Ended => return Ok(Piece::End),
                Place::Inside(mut decoder) => match decoder.read(out)? {
                    0 => self.place = Place::BetweenMembers(decoder.into_inner()),
                    n => {
                        self.place = Place::Inside(decoder);
                        return Ok(Piece::Content(n));
                    }
                },
                Place::BetweenMembers(mut input) => {
                    let start = input.peek(HEADER)?;
                    if is_bgzip(start) {
                        let size = block_size(start);
                        if size < HEADER + TRAILER {
                            return Err(damaged(format!("a bgzip block of {size} bytes")));
                        }
                        input.read_exact(&mut out[..size])?;
                        self.unfinished = content_size(&out[..size]) != 0;
                        self.place = Place::BetweenMembers(input);
                        return Ok(Piece::Block(size));
                    }
                    if !is_gzip(start) {
                        self.finish(input)?;
                        return Ok(Piece::End);
                    }
                    self.unfinished = false;
                    self.place = Place::Inside(Box::new(GzDecoder::new(input)));
                }
            }
        }
    }

    /// Reads what follows the last member, and warns of what surprises.
    fn finish(&self, mut rest: Input) -> io::Result<()> {
        let (mut bytes, mut zeros) = (0, true);
        loop {
            let chunk = match rest.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break;
            }
            zeros &= chunk.iter().all(|&byte| byte == 0);
            let length = chunk.len();
            bytes += length;
            rest.consume(length);
        }
        if !zeros {
            console::notice(&format!(
                "{}: trailing garbage ignored: {bytes} bytes after the end of the compressed data",
                self.path.display()
            ));
        }
        if self.unfinished {
            console::notice(&format!(
                "{}: bgzip file without end marker; read to its last byte, but if its copy was cut \
                 short the rest is missing (compare its size with the original's)",
                self.path.display()
            ));
        }
        Ok(())
    }
}

fn damaged(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Bytes of a block, as its header says.
fn block_size(block: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([block[16], block[17]])) + 1
}

/// Inflated bytes of a block, as its last four bytes say.
fn content_size(block: &[u8]) -> u32 {
    let last: [u8; 4] = std::array::from_fn(|i| block[block.len() - 4 + i]);
    u32::from_le_bytes(last)
}

/// Inflates a block of bgzip into `out` of `BLOCK` bytes; returns how many it holds.
fn inflate(inflater: &mut Decompressor, block: &[u8], out: &mut [u8]) -> io::Result<usize> {
    let (data, trailer) = block[HEADER..].split_at(block.len() - HEADER - TRAILER);
    let size = content_size(block) as usize;
    let Some(out) = out.get_mut(..size) else {
        return Err(damaged(format!("a bgzip block of {size} bytes inflated, at most {BLOCK}")));
    };
    let n = inflater.deflate_decompress(data, out).map_err(|e| damaged(e.to_string()))?;
    let checksum: [u8; 4] = std::array::from_fn(|i| trailer[i]);
    if n != size || libdeflater::crc32(out) != u32::from_le_bytes(checksum) {
        return Err(damaged("a bgzip block's checksum does not match".to_string()));
    }
    Ok(size)
}

/// Buffered bytes of a file, of which some can be looked at before they are taken.
struct Input {
    file: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// The next `n` bytes, fewer only where the file ends.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        if self.end - self.start < n {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < n {
                match self.file.read(&mut self.buffer[self.end..]) {
                    Ok(0) => break,
                    Ok(read) => self.end += read,
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + n)])
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, self.file.read(&mut self.buffer)?);
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }
}

/// Content of which some bytes are taken.
#[derive(Default)]
struct Current {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Current {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn take(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }
}

/// Inflates in the caller's thread.
struct Inline {
    members: Members,
    inflater: Decompressor,
    block: Vec<u8>,
    current: Current,
}

impl Inline {
    fn new(members: Members) -> Self {
        let current = Current { buffer: vec![0; BLOCK], start: 0, end: 0 };
        Self { members, inflater: Decompressor::new(), block: vec![0; BLOCK], current }
    }
}

impl BufRead for Inline {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.rest().is_empty() {
            let n = match self.members.next(&mut self.block)? {
                Piece::End => break,
                Piece::Content(n) => {
                    std::mem::swap(&mut self.block, &mut self.current.buffer);
                    n
                }
                Piece::Block(n) => {
                    inflate(&mut self.inflater, &self.block[..n], &mut self.current.buffer)?
                }
            };
            (self.current.start, self.current.end) = (0, n);
        }
        Ok(self.current.rest())
    }

    fn consume(&mut self, n: usize) {
        self.current.take(n);
    }
}

impl Read for Inline {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

/// What was inflated before the file ended or an error.
struct Content {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are content.
    size: usize,
    then: io::Result<()>,
}

/// Compressed blocks one after the other, and where their content is waited for.
struct Job {
    blocks: Vec<u8>,
    size: usize,
    done: SyncSender<Content>,
}

/// What the caller gets next.
enum Next {
    Ready(Content),
    Coming(Receiver<Content>),
}

/// Buffers of a batch of blocks that have been used and can be again.
#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn get(&self) -> Vec<u8> {
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        buffer.unwrap_or_else(|| vec![0; BATCH * BLOCK])
    }

    fn put(&self, buffer: Vec<u8>) {
        if buffer.len() == BATCH * BLOCK {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

/// Reads in one thread and inflates in up to `wanted` others, as many as can be started.
fn in_threads(members: Members, wanted: usize) -> Box<dyn BufRead + Send> {
    let spare = Spare::default();
    let (jobs, queue) = mpsc::channel();
    let queue = Arc::new(Mutex::new(queue));
    let workers = (0..wanted)
        .take_while(|_| {
            let (queue, spare) = (queue.clone(), spare.clone());
            Builder::new().name("inflate".into()).spawn(move || work(&queue, &spare)).is_ok()
        })
        .count();
    // A thread that cannot be started drops what it was given, so the members wait outside.
    let waiting = Arc::new(Mutex::new(Some(members)));
    if workers > 0 {
        let (ready, next) = mpsc::sync_channel(WAITING * workers);
        let (taken, buffers) = (waiting.clone(), spare.clone());
        let split = move || {
            let members = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(members) = members {
                // Fails when the caller has stopped.
                let _ = split(members, &jobs, &ready, &buffers);
            }
        };
        if Builder::new().name("gzip".into()).spawn(split).is_ok() {
            return Box::new(Threaded { next, spare, current: Current::default(), then: Ok(()) });
        }
    }
    let members = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    // SAFETY: only a thread that was started takes them, and then this is not reached.
    Box::new(Inline::new(members.expect("the members are still here")))
}

/// The caller takes no more.
struct Stopped;

/// Hands batches of blocks to the workers and all pieces, in order, to the caller; ends with the file.
fn split(
    mut members: Members,
    jobs: &Sender<Job>,
    ready: &SyncSender<Next>,
    spare: &Spare,
) -> Result<(), Stopped> {
    let inflate = |blocks: Vec<u8>, size: usize| {
        let (done, coming) = mpsc::sync_channel(1);
        jobs.send(Job { blocks, size, done }).map_err(|_| Stopped)?;
        ready.send(Next::Coming(coming)).map_err(|_| Stopped)
    };
    loop {
        let (mut buffer, mut size) = (spare.get(), 0);
        let mut last = Ok(Piece::End);
        for _ in 0..BATCH {
            last = members.next(&mut buffer[size..size + BLOCK]);
            match last {
                Ok(Piece::Block(n)) => size += n,
                _ => break,
            }
        }
        // Only a file that mixes both kinds of members has content behind the blocks of a batch.
        let (content, ends) = match last {
            Ok(Piece::Block(_)) => (None, false),
            Ok(Piece::Content(n)) => {
                let buffer = buffer[size..size + n].to_vec();
                (Some(Content { buffer, size: n, then: Ok(()) }), false)
            }
            Ok(Piece::End) => (None, true),
            Err(e) => (Some(Content { buffer: Vec::new(), size: 0, then: Err(e) }), true),
        };
        if size > 0 {
            inflate(buffer, size)?;
        }
        if let Some(content) = content {
            ready.send(Next::Ready(content)).map_err(|_| Stopped)?;
        }
        if ends {
            return Ok(());
        }
    }
}

/// Inflates batches of blocks until there will be no more.
fn work(queue: &Mutex<Receiver<Job>>, spare: &Spare) {
    let mut inflater = Decompressor::new();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { blocks, size, done }) = job else { return };
        let content = inflate_all(&mut inflater, &blocks[..size], spare.get());
        spare.put(blocks);
        // Fails when the caller has stopped.
        let _ = done.send(content);
    }
}

/// Inflates blocks that lie one after the other, up to one that is damaged.
fn inflate_all(inflater: &mut Decompressor, mut blocks: &[u8], mut buffer: Vec<u8>) -> Content {
    let mut size = 0;
    while !blocks.is_empty() {
        let (block, rest) = blocks.split_at(block_size(blocks));
        match inflate(inflater, block, &mut buffer[size..size + BLOCK]) {
            Ok(n) => size += n,
            Err(e) => return Content { buffer, size, then: Err(e) },
        }
        blocks = rest;
    }
    Content { buffer, size, then: Ok(()) }
}

/// The caller's end of the threads.
struct Threaded {
    next: Receiver<Next>,
    spare: Spare,
    current: Current,
    /// What follows the current content.
    then: io::Result<()>,
}

impl BufRead for Threaded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.rest().is_empty() {
            std::mem::replace(&mut self.then, Ok(()))?;
            let content = match self.next.recv() {
                Ok(Next::Ready(content)) => content,
                Ok(Next::Coming(coming)) => coming
                    .recv()
                    .map_err(|_| io::Error::other("a thread that inflates has ended"))?,
                Err(_) => break,
            };
            let Content { buffer, size, then } = content;
            self.then = then;
            let current = Current { buffer, start: 0, end: size };
            self.spare.put(std::mem::replace(&mut self.current, current).buffer);
        }
        Ok(self.current.rest())
    }

    fn consume(&mut self, n: usize) {
        self.current.take(n);
    }
}

impl Read for Threaded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use noodles_bgzf as bgzf;

    use super::*;

    /// The empty block that ends a bgzip file, bytes.
    const END: usize = 28;

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

    fn unmarked(bytes: &[u8]) -> Vec<u8> {
        let whole = bgzip(bytes);
        whole[..whole.len() - END].to_vec()
    }

    /// What is read, in threads and without.
    fn content(file: &[u8]) -> io::Result<Vec<u8>> {
        let path = Path::new("x.gz");
        let members = || Members::new(Box::new(Cursor::new(file.to_vec())), path);
        let mut readers = [
            open(Cursor::new(file.to_vec()), path)?,
            Box::new(Inline::new(members())),
            in_threads(members(), 3),
            in_threads(members(), 0),
        ];
        let [first, others @ ..] = readers.each_mut().map(|reader| {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).map(|_| out)
        });
        for other in others {
            assert_eq!(other.as_ref().ok(), first.as_ref().ok());
            assert_eq!(other.err().map(|e| e.kind()), first.as_ref().err().map(|e| e.kind()));
        }
        first
    }

    #[test]
    fn members_in_any_mixture() {
        let long: Vec<u8> = (0..300_000u32).flat_map(|i| i.to_le_bytes()).collect();
        for parts in [
            vec![gzip(b"a"), gzip(b""), gzip(&long)],
            vec![bgzip(b"a"), bgzip(b""), bgzip(&long)],
            vec![unmarked(b"a"), gzip(&long)],
            vec![gzip(b"a"), bgzip(&long), gzip(b""), bgzip(b"")],
            vec![bgzip(b""), unmarked(b"a"), unmarked(&long)],
            vec![bgzip(b"a"), bgzip(&long), vec![0; 1000]],
            vec![gzip(b"a"), gzip(&long), vec![0; 3 << 20]],
            vec![bgzip(b"a"), unmarked(&long), b"\n".to_vec()],
            vec![gzip(b"a"), gzip(&long), b"\x1f".to_vec()],
            vec![gzip(b"a"), gzip(&long), b"garbage longer than a header".to_vec()],
        ] {
            let found = content(&parts.concat()).unwrap();
            assert!(found == [b"a", &long[..]].concat(), "{} bytes", found.len());
        }
        assert_eq!(content(&gzip(b"")).unwrap(), b"");
        assert_eq!(content(&bgzip(b"")).unwrap(), b"");
    }

    #[test]
    fn a_stream_that_ends_inside_a_member_is_an_error() {
        let text = b"chr1\t1\t2\n".repeat(10_000);
        for whole in [gzip(&text), unmarked(&text), [bgzip(&text), gzip(&text)].concat()] {
            for cut in [1, 5, 9, whole.len() / 3] {
                let error = content(&whole[..whole.len() - cut]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{cut} bytes cut");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        for place in [20, 40] {
            let mut file = bgzip(b"chr1\t1\t2\tand more text than that");
            file[place] ^= 0xff;
            let error = content(&file).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "byte {place}");
        }
        let mut file = bgzip(b"chr1");
        file[16] = 3;
        assert!(content(&file).unwrap_err().to_string().contains("block of 4 bytes"));
        let mut file = unmarked(b"chr1");
        let last = file.len() - 2;
        file[last] = 7;
        assert!(content(&file).unwrap_err().to_string().contains("at most 65536"));
    }
}
