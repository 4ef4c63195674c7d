//! Threads, where the machine may refuse them (`ulimit -u`, the pids limit of a container): as many
//! as there are, or one clear error; never a panic.

use std::error::Error as _;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::error::Problem;

/// Builds the pool that every parallel loop of this process uses; 0 takes a thread a core. Call it
/// before the first such loop; the pool of an earlier call stays.
///
/// With fewer threads than wanted, the pool is smaller: results do not depend on it.
///
/// Errors: not even one thread can be started.
pub fn pool(wanted: usize) -> Result<(), Problem> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if *built {
        return Ok(());
    }
    // The library tries but once to build this pool, so its threads are there before.
    let (threads, n) = waiting(wanted, Builder::new)?;
    let hand_over =
        |thread| threads.send(thread).map_err(|_| std::io::Error::other("it ended early"));
    match ThreadPoolBuilder::new().num_threads(n).spawn_handler(hand_over).build_global() {
        // The only reason without a cause of its own: a loop ran before this call.
        Err(error) if error.source().is_some() => return Err(refused(&error)),
        _ => *built = true,
    }
    Ok(())
}

/// A pool of its own, of so many threads.
///
/// Errors: they cannot be started.
pub fn own_pool(threads: usize) -> Result<rayon::ThreadPool, Problem> {
    ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| refused(&error))
}

/// Starts threads that wait for their work, and says how many should get some: all, or half of those
/// that the machine gives where it gives fewer, which leaves room for threads that read and write.
/// The rest ends when the sender is gone.
fn waiting(
    wanted: usize,
    builder: impl Fn() -> Builder,
) -> Result<(Sender<ThreadBuilder>, usize), Problem> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if wanted > 0 { wanted.min(rayon::max_num_threads()) } else { cores() };
    let (send, receive) = channel::<ThreadBuilder>();
    let receive = Arc::new(Mutex::new(receive));
    for started in 0..wanted {
        let receive = Arc::clone(&receive);
        let work = move || {
            let thread = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            if let Ok(thread) = thread {
                thread.run();
            }
        };
        match builder().spawn(work) {
            Ok(_) => {}
            Err(error) if started == 0 => return Err(refused(&error)),
            Err(_) => return Ok((send, started.div_ceil(2))),
        }
    }
    Ok((send, wanted))
}

/// Starts a thread that may outlive the caller's scope. Errors: it cannot be started.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Problem> {
    Builder::new().name(name.into()).spawn(work).map_err(|error| refused(&error))
}

/// Starts a thread of a scope. Errors: it cannot be started.
pub fn scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Problem> {
    Builder::new().name(name.into()).spawn_scoped(scope, work).map_err(|error| refused(&error))
}

/// The error of a thread that cannot be started, from whichever library.
pub fn refused(error: &dyn std::fmt::Display) -> Problem {
    Problem::new(format!("cannot start a thread: {error}")).fix(
        "allow more processes and threads (ulimit -u, the pids limit of the container or job), or pass fewer --threads",
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rayon::prelude::*;

    use super::*;

    /// More stack than there is address space: the machine refuses the thread.
    const IMPOSSIBLE: usize = 1 << 60;

    #[test]
    fn no_thread_is_an_error() {
        let never = || Builder::new().stack_size(IMPOSSIBLE);
        let error = waiting(4, never).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("cannot start a thread: "), "{error}");
        assert!(error.contains("ulimit -u"), "{error}");
    }

    #[test]
    fn fewer_threads_are_a_smaller_pool() {
        let left = Cell::new(5);
        let five = || match left.replace(left.get() - 1) {
            1.. => Builder::new(),
            _ => Builder::new().stack_size(IMPOSSIBLE),
        };
        let (threads, n) = waiting(9, five).unwrap();
        assert_eq!(n, 3);
        let hand_over =
            |thread| threads.send(thread).map_err(|_| std::io::Error::other("it ended early"));
        let pool = ThreadPoolBuilder::new().num_threads(n).spawn_handler(hand_over).build();
        let sum: u32 = pool.unwrap().install(|| (0..100u32).into_par_iter().sum());
        assert_eq!(sum, 4950);
    }

    #[test]
    fn a_pool_is_built_once() {
        pool(0).unwrap();
        pool(3).unwrap();
        assert_eq!(spawn("t", || 5).unwrap().join().unwrap(), 5);
    }
}
