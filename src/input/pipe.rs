//! Pipes as inputs: process substitution, FIFOs, `/dev/stdin`. A pipe gives its bytes once, while
//! most inputs are opened several times (checks, fingerprints, the work itself, the report), so the
//! first opening reads all of it into a file without a name in the temporary folder, and every
//! opening of this process is served from there.
//!
//! In: a path. Out: a file that can be read, sought and mapped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Problem;
use crate::input::lines::LONGEST_LINE;

/// Device and inode of a pipe.
type Id = (u64, u64);

/// What pipes have given.
static KEPT: Mutex<Option<HashMap<Id, File>>> = Mutex::new(None);

/// Bytes that are taken from a device: some never end, and none holds a data set.
const LARGEST_DEVICE: u64 = 64 << 20;

/// True for what gives its bytes once: a pipe, a device, a socket.
pub fn is_pipe(metadata: &Metadata) -> bool {
    !metadata.is_file() && !metadata.is_dir()
}

/// Errors: `path` is a pipe, where a file is needed: `what` (reads, a model) is larger, or read more
/// often, than can be kept from a pipe.
pub fn refuse(path: &Path, what: &str) -> Result<(), Problem> {
    match std::fs::metadata(path) {
        Ok(metadata) if is_pipe(&metadata) => Err(refused(path, what)),
        _ => Ok(()),
    }
}

fn refused(path: &Path, what: &str) -> Problem {
    Problem::new(format!("expected a regular file of {what}, found a pipe or device"))
        .at(path.display())
        .fix("pass a file; gzip and bgzip are read as they are")
}

/// Opens what the pipe at `path`, of which `metadata` is known, gives or has given.
pub fn open(path: &Path, metadata: &Metadata) -> Result<File, Problem> {
    let id = (metadata.dev(), metadata.ino());
    // Held while the pipe is read: whoever else wants it has to wait for its end anyway.
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    let file = match kept.entry(id) {
        Entry::Occupied(kept) => kept.into_mut(),
        Entry::Vacant(new) => new.insert(keep(path, metadata)?),
    };
    // Opened anew, so that every reader has a position of its own.
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(|e| Problem::new(format!("cannot read a pipe again: {e}")).at(path.display()))
}

/// Reads a pipe to its end into an unlinked file.
fn keep(path: &Path, metadata: &Metadata) -> Result<File, Problem> {
    if metadata.file_type().is_block_device() || metadata.file_type().is_socket() {
        return Err(refused(path, "data"));
    }
    let failed = |what: &str, e: &io::Error| {
        Problem::new(format!("{what}: {e}")).at(path.display()).fix(format!(
            "pass a file instead of a pipe, or set TMPDIR to a folder with room (now {})",
            std::env::temp_dir().display()
        ))
    };
    let mut pipe = File::open(path).map_err(|e| failed("cannot open the pipe", &e))?;
    let mut out = tempfile::tempfile().map_err(|e| failed("cannot keep what a pipe gives", &e))?;
    let device = metadata.file_type().is_char_device();
    let (mut buffer, mut bytes, mut line_ends) = (vec![0; 1 << 16], 0, false);
    loop {
        let n = match pipe.read(&mut buffer) {
            Ok(0) => return Ok(out),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed("cannot read the pipe", &e)),
        };
        bytes += n as u64;
        if device {
            line_ends |= memchr::memchr2(b'\n', b'\r', &buffer[..n]).is_some();
            let what = match bytes {
                _ if !line_ends && bytes > LONGEST_LINE as u64 => "a line of more than 1 MB",
                LARGEST_DEVICE.. => "more than 64 MB",
                _ => "",
            };
            if !what.is_empty() {
                return Err(Problem::new(format!("{what} from a device, which may never end"))
                    .at(path.display())
                    .fix("pass a file"));
            }
        }
        out.write_all(&buffer[..n]).map_err(|e| failed("cannot keep what a pipe gives", &e))?;
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::input::lines;

    #[test]
    fn a_pipe_gives_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let text = "chr1\t100\n".repeat(100_000);
        let wanted = text.clone();
        let writer = path.clone();
        // Waits until the pipe is opened, and writes once.
        let writer = std::thread::spawn(move || std::fs::write(writer, text));
        for _ in 0..2 {
            let mut found = String::new();
            lines::open_file(&path).unwrap().read_to_string(&mut found).unwrap();
            assert!(found == wanted);
        }
        writer.join().unwrap().unwrap();
        assert!(refuse(&path, "reads").unwrap_err().to_string().contains("found a pipe"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_without_end_is_an_error() {
        let error = lines::open_file(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("line of more than 1 MB"), "{error}");
        assert!(lines::open_file(Path::new("/dev/null")).is_ok());
    }
}
