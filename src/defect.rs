//! The last net: a panic is a defect of this program, and the user is told of it as of any error.
//!
//! Panics unwind, so that temporary files are removed on the way; whoever catches one asks here what
//! it said and where. The hook prints nothing by itself: a panic that a library raised on a damaged
//! input, and that its caller turned into an error, is no news. With `RUST_BACKTRACE` set it prints,
//! as usual.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::Result;

use crate::error::Problem;

/// What was said, and where in the source.
struct Seen {
    said: String,
    place: String,
}

/// Panics that nobody has told of yet, the first ones.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());
/// A run that catches panics one after another must not gather them.
const KEPT: usize = 64;

/// Notes every panic of this process from now on.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
                before(info);
            }
            let place = info.location().map_or("an unknown place".into(), ToString::to_string);
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() < KEPT {
                seen.push(Seen { said: said(info.payload()), place });
            }
        }));
    });
}

/// Runs `call`; a panic inside, or inside a thread that it waits for, is an error.
pub fn caught<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    // What `call` borrowed is not used again: the error ends the work.
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(of(&*payload).into()))
}

/// The error that a caught panic is.
pub fn of(payload: &(dyn Any + Send)) -> Problem {
    let mut what = said(payload);
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    // `thread::scope` replaces the panic of a thread that nobody joined by its own.
    let first = seen.iter().position(|s| s.said == what).or((!seen.is_empty()).then_some(0));
    let place = first.map(|at| {
        let Seen { said, place } = seen.remove(at);
        what = said;
        place
    });
    let problem = Problem::new(format!("a defect of this program: {what}"))
        .fix("please report this with the command line and the version (`cbp-fast doctor`)");
    match place {
        Some(place) => problem.at(place),
        None => problem,
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_string()
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn told(call: impl FnOnce()) -> String {
        let result = caught(|| {
            call();
            Ok(())
        });
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let text = told(|| panic!("7 is not 8"));
        assert!(text.starts_with("a defect of this program: 7 is not 8"), "{text}");
        assert!(text.contains("fix: please report"), "{text}");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn so_is_one_of_another_thread() {
        let text = told(|| (0..4).into_par_iter().for_each(|i| assert!(i != 2, "row {i}")));
        assert!(text.contains("row 2"), "{text}");
    }

    #[test]
    fn files_under_temporary_names_are_removed_on_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tsv");
        let text = told(|| drop(crate::files::atomic::write(&path, |_| panic!("half way"))));
        assert!(text.contains("half way"), "{text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
