//! Threads, where the machine may refuse them (`ulimit -u`, the pids limit of a container): as many
//! as there are, or one clear error; never a panic.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use rayon::ThreadPoolBuilder;

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
    fewer_and_fewer(wanted, |n| match ThreadPoolBuilder::new().num_threads(n).build_global() {
        // The only other reason, which has no cause of its own: a loop ran before this call.
        Err(error) if error.source().is_none() => Ok(()),
        result => result,
    })?;
    *built = true;
    Ok(())
}

/// Tries with all, then with half of them, down to one. What was started in vain is ended first, but
/// not at once; half leaves room for it, and for the threads that read and write.
fn fewer_and_fewer<T>(
    wanted: usize,
    build: impl Fn(usize) -> Result<T, rayon::ThreadPoolBuildError>,
) -> Result<T, Problem> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let mut n = if wanted > 0 { wanted } else { cores() };
    loop {
        match build(n) {
            Ok(built) => return Ok(built),
            Err(error) if n <= 1 => return Err(refused(&error)),
            Err(_) => n /= 2,
        }
    }
}

/// A pool of its own, with the same fewer threads where the machine refuses them.
///
/// Errors: not even one thread can be started.
pub fn own_pool(wanted: usize) -> Result<rayon::ThreadPool, Problem> {
    fewer_and_fewer(wanted, |n| ThreadPoolBuilder::new().num_threads(n).build())
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
    use super::*;

    #[test]
    fn fewer_threads_are_tried_before_none() {
        let tried = Mutex::new(Vec::new());
        let never = |n| {
            tried.lock().unwrap().push(n);
            // More stack than there is address space: the machine refuses the thread.
            ThreadPoolBuilder::new().num_threads(n).stack_size(1 << 60).build()
        };
        let error = fewer_and_fewer(9, never).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("cannot start a thread: "), "{error}");
        assert_eq!(*tried.lock().unwrap(), [9, 4, 2, 1]);
        let pool = fewer_and_fewer(4, |n| {
            let stack = if n > 2 { 1 << 60 } else { 1 << 20 };
            ThreadPoolBuilder::new().num_threads(n).stack_size(stack).build()
        });
        assert_eq!(pool.unwrap().current_num_threads(), 2);
    }

    #[test]
    fn a_pool_is_built_once() {
        pool(0).unwrap();
        pool(3).unwrap();
        assert_eq!(spawn("t", || 5).unwrap().join().unwrap(), 5);
    }
}
