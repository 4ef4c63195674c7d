//! What signals do to this process: a run that can save its state is asked to stop, any other ends at
//! once; either way the temporary files it has at that moment go, and its child processes with it.
//!
//! In: paths and process ids for as long as they are temporary ([`remove_at_end`],
//! [`terminate_at_end`]), and how many runs want to be asked ([`Taker`]). All of it lies in tables of
//! atomics, since a signal's handler may neither take a lock nor allocate; it may unlink and kill.
//!
//! What a full table leaves out, and what SIGKILL leaves behind, the next run sweeps
//! (`files::leftovers`).

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level;

/// Temporary files at the same time; a cohort of 100 runs has a few hundred.
const PATHS: usize = 1024;
const CHILDREN: usize = 64;
/// What a shell shows for a process that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// Owned C strings, null where free.
static TO_REMOVE: [AtomicPtr<c_char>; PATHS] = [const { AtomicPtr::new(ptr::null_mut()) }; PATHS];
/// Process ids, 0 where free.
static TO_TERMINATE: [AtomicI32; CHILDREN] = [const { AtomicI32::new(0) }; CHILDREN];
/// Runs that look at `REQUESTED`.
static TAKERS: AtomicUsize = AtomicUsize::new(0);
/// Set by the first signal that a taker gets, for good: the process is on its way out.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Removes a file if a signal ends the process while this lives.
#[derive(Debug)]
pub struct RemoveAtEnd(Option<usize>);

/// Has `path` removed when a signal ends the process. Dropping the result takes that back; it does not
/// remove the file.
pub fn remove_at_end(path: &Path) -> RemoveAtEnd {
    handle_endings();
    // A path with a zero byte names no file.
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return RemoveAtEnd(None) };
    let path = path.into_raw();
    let free = |slot: &AtomicPtr<_>| {
        slot.compare_exchange(ptr::null_mut(), path, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let slot = TO_REMOVE.iter().position(free);
    if slot.is_none() {
        // SAFETY: made by `into_raw` above and stored nowhere.
        drop(unsafe { CString::from_raw(path) });
    }
    RemoveAtEnd(slot)
}

impl Drop for RemoveAtEnd {
    fn drop(&mut self) {
        let Some(slot) = self.0 else { return };
        let path = TO_REMOVE[slot].swap(ptr::null_mut(), Ordering::AcqRel);
        // Null: a handler has taken it, and the process is ending.
        if !path.is_null() {
            // SAFETY: made by `into_raw`; whoever swaps it out of the table owns it.
            drop(unsafe { CString::from_raw(path) });
        }
    }
}

/// Ends a child process if a signal ends this one while it lives.
#[derive(Debug)]
pub struct TerminateAtEnd(Option<usize>);

/// Has a child process terminated when a signal ends this one. Drop the result once the child has
/// been waited for.
pub fn terminate_at_end(child: &std::process::Child) -> TerminateAtEnd {
    handle_endings();
    let id = child.id().cast_signed();
    let free = |slot: &AtomicI32| {
        slot.compare_exchange(0, id, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    TerminateAtEnd(TO_TERMINATE.iter().position(free))
}

impl Drop for TerminateAtEnd {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            TO_TERMINATE[slot].store(0, Ordering::Release);
        }
    }
}

/// While one lives, the first SIGINT, SIGTERM or SIGUSR1 asks instead of ending the process.
#[derive(Debug)]
pub struct Taker(());

impl Taker {
    pub fn new() -> std::io::Result<Self> {
        handle_endings();
        // A run that can save its state wants to be asked even where a shell has told its background
        // jobs to ignore SIGINT.
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            handle(signal)?;
        }
        TAKERS.fetch_add(1, Ordering::AcqRel);
        Ok(Self(()))
    }

    /// A signal has asked.
    pub fn is_requested(&self) -> bool {
        REQUESTED.load(Ordering::Relaxed)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        TAKERS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Handles the signals that end a process, but those that whoever started it has told it to ignore
/// (`nohup`, background jobs of a script).
fn handle_endings() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored >> (signal - 1) & 1 == 0 {
                // Without a handler a signal ends the process all the same, and leaves files to sweep.
                let _ = handle(signal);
            }
        }
    });
}

/// Ignored signals, bit 0 is signal 1; none where the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Installs the handler of a signal, once.
fn handle(signal: i32) -> std::io::Result<()> {
    static HANDLED: Mutex<Vec<i32>> = Mutex::new(Vec::new());
    let mut handled = HANDLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !handled.contains(&signal) {
        // SAFETY: `on_signal` does only what a handler may: atomics, unlink, kill, exit.
        unsafe { low_level::register(signal, move || on_signal(signal))? };
        handled.push(signal);
    }
    Ok(())
}

fn on_signal(signal: i32) {
    let can_ask = matches!(signal, SIGINT | SIGTERM | SIGUSR1);
    let mut asked_before = false;
    if can_ask && TAKERS.load(Ordering::Acquire) > 0 {
        asked_before = REQUESTED.swap(true, Ordering::AcqRel);
        if !asked_before || signal != SIGINT {
            return;
        }
    }
    end_children();
    for slot in &TO_REMOVE {
        let path = slot.swap(ptr::null_mut(), Ordering::AcqRel);
        if !path.is_null() {
            // SAFETY: a C string made by `into_raw`, ours since the swap; it is never freed, since a
            // handler may not.
            let _ = rustix::fs::unlink(unsafe { CStr::from_ptr(path) });
        }
    }
    if asked_before {
        low_level::exit(EXIT_INTERRUPTED);
    }
    let _ = low_level::emulate_default_handler(signal);
}

fn end_children() {
    for slot in &TO_TERMINATE {
        if let Some(child) = Pid::from_raw(slot.load(Ordering::Acquire)) {
            let _ = kill_process(child, Signal::TERM);
        }
    }
}
