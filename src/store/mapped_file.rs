//! A file mapped into memory whose loss is an error, not a death without a word.
//!
//! Reading a page that the file no longer has (it was truncated, its disk or file server failed)
//! raises SIGBUS, which cannot be answered by an error value: the read may be anywhere. So every map
//! of this program is listed with a message made in advance, and a handler for SIGBUS writes the
//! message of the map that was hit and ends the process with exit code 1. The handler does nothing
//! but what is allowed in one: it reads atomics, calls write(2) and _exit(2). Signals that are about
//! other memory go to whoever was there before.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use memmap2::{Mmap, UncheckedAdvice};

/// A read-only map of a whole file, which must not be empty.
pub struct MappedFile {
    map: Mmap,
    listed: &'static Listed,
}

impl MappedFile {
    /// Maps `file`, which lies at `path`. `fix` tells the user what to do when it is lost under us.
    ///
    /// Errors: those of mmap, among them an empty file.
    pub fn open(file: &File, path: &Path, fix: &str) -> io::Result<Self> {
        // SAFETY: the map is read-only and private to this process. What we map is replaced by
        // renaming and never changed in place; a file that shrinks all the same is answered by the
        // handler, which is there before anything is read.
        let map = unsafe { Mmap::map(file) }?;
        let listed = list(&map, message(path, fix));
        Ok(Self { map, listed })
    }

    /// Lets go of the pages that were touched; they come back with the same bytes when they are read.
    pub fn let_go(&self) {
        // SAFETY: the map is a file's and read-only, so a page that is let go comes back with the
        // same bytes for whoever reads it, also at this moment.
        // Without success the memory merely stays counted.
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for MappedFile {
    // Runs before the map itself goes.
    fn drop(&mut self) {
        self.listed.start.store(0, Ordering::Release);
    }
}

fn message(path: &Path, fix: &str) -> String {
    format!(
        "error: a file that was being read was truncated, or its disk or file server failed\n  where: {}\n  fix: {fix}\n",
        path.display()
    )
}

/// A map as the handler sees it. Entries are never freed: a handler may be reading them.
struct Listed {
    /// First address; 0 while no map uses this entry.
    start: AtomicUsize,
    end: AtomicUsize,
    message: String,
    next: *const Listed,
}

// SAFETY: `message` and `next` never change once the entry can be found, the rest is atomic.
unsafe impl Sync for Listed {}
// SAFETY: as above.
unsafe impl Send for Listed {}

/// The entry made last, which leads to all others.
static LAST: AtomicPtr<Listed> = AtomicPtr::new(ptr::null_mut());
/// Held while entries are looked for or made.
static LISTING: Mutex<()> = Mutex::new(());

fn entries() -> impl Iterator<Item = &'static Listed> {
    let mut next: *const Listed = LAST.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: null, or an entry that was leaked and so lives for ever.
        let entry = unsafe { next.as_ref() }?;
        next = entry.next;
        Some(entry)
    })
}

/// Lists a map. A file that is mapped again and again takes up one entry.
fn list(map: &Mmap, message: String) -> &'static Listed {
    let _listing = LISTING.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let is_free = |entry: &&Listed| entry.start.load(Ordering::Acquire) == 0;
    let entry = match entries().find(|entry| is_free(entry) && entry.message == message) {
        Some(entry) => entry,
        None => {
            let next = LAST.load(Ordering::Acquire);
            let start = AtomicUsize::new(0);
            let entry = Box::leak(Box::new(Listed { start, end: 0.into(), message, next }));
            LAST.store(entry, Ordering::Release);
            entry
        }
    };
    let start = map.as_ptr().addr();
    entry.end.store(start + map.len(), Ordering::Release);
    entry.start.store(start, Ordering::Release);
    entry
}

/// What was done about SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

fn install() {
    BEFORE.get_or_init(|| {
        // SAFETY: a zeroed sigaction is a valid one; both calls get pointers to live values, and the
        // handler does only what a handler may.
        unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before);
            let mut ours: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                on_bus_error;
            ours.sa_sigaction = handler as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut ours.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut());
            before
        }
    });
}

extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    // Codes above 0 are the kernel's own; a signal that somebody sent has no address.
    let by_kernel = code > 0;
    let hit = entries().filter(|_| by_kernel).find(|entry| {
        let start = entry.start.load(Ordering::Acquire);
        start != 0 && (start..entry.end.load(Ordering::Acquire)).contains(&address)
    });
    // SAFETY: write, _exit, sigaction and raise may be called in a handler.
    unsafe {
        if let Some(entry) = hit {
            let message = entry.message.as_bytes();
            // Nobody may be listening; the exit code tells it too.
            let _ = libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len());
            libc::_exit(1);
        }
        // Not ours: what was there before answers when the fault happens again, right after this.
        match BEFORE.get() {
            Some(before) => libc::sigaction(signal, before, ptr::null_mut()),
            None => {
                libc::signal(signal, libc::SIG_DFL);
                0
            }
        };
        if !by_kernel {
            libc::raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_come_and_go_in_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("listed");
        std::fs::write(&path, [7; 5000]).unwrap();
        let file = File::open(&path).unwrap();
        let open = || MappedFile::open(&file, &path, "copy it again").unwrap();
        let listed = |used: bool| {
            let ours = entries().filter(|e| e.message.contains(&path.display().to_string()));
            ours.filter(|e| (e.start.load(Ordering::Acquire) != 0) == used).count()
        };
        let (one, two) = (open(), open());
        assert_eq!((listed(true), listed(false)), (2, 0));
        let entry = one.listed;
        let range = entry.start.load(Ordering::Acquire)..entry.end.load(Ordering::Acquire);
        assert_eq!(range.len(), 5000);
        assert!(range.contains(&one[4999..].as_ptr().addr()) && one[4999] == 7);
        one.let_go();
        assert_eq!(one[..], two[..]);
        drop(one);
        assert_eq!((listed(true), listed(false)), (1, 1));
        // The entry that is free is taken again.
        let three = open();
        assert_eq!((listed(true), listed(false)), (2, 0));
        drop((two, three));
        assert_eq!((listed(true), listed(false)), (0, 2));
        assert!(
            entry.message.contains("truncated") && entry.message.contains("fix: copy it again")
        );
    }
}
