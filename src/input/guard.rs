//! Calls into libraries that stop the program on some damaged data, with the panic turned into an
//! error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`; a panic inside becomes its message, and nothing is printed.
///
/// What `call` borrowed must not be used again after an error.
pub fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("its data cannot be decoded").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_message() {
        assert_eq!(guarded(|| 3), Ok(3));
        let inner: Result<Result<(), String>, String> = guarded(|| guarded(|| panic!("deep")));
        assert_eq!(inner, Ok(Err("deep".to_string())));
        assert_eq!(guarded(|| panic!("at {}", 7)), Err::<(), _>("at 7".to_string()));
    }
}
