//! The two streams. stderr carries messages: where it cannot be written, they are lost and the work
//! goes on. stdout carries data: where it cannot be written, that is an error, unless its reader has
//! seen enough.

use std::io::{self, ErrorKind, Write};

use serde_json::Value;

use super::plain;
use crate::error::Problem;

/// A message to stderr, on lines of its own. A closed pipe, a full disk or a terminal that went away
/// loses it, and nothing else.
pub fn say(text: &str) {
    raw(&plain::message(text));
}

/// A JSON object to stderr, on one line.
pub fn say_json(value: &Value) {
    raw(&plain::json(value));
}

/// Lines to stderr as they are.
pub fn say_lines(text: &str) {
    raw(text.trim_end_matches('\n'));
}

fn raw(line: &str) {
    // In one piece, so that the lines of several processes do not mix.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Text for a person to stdout, as it is but for what a terminal would obey.
///
/// Errors: stdout cannot be written. A closed pipe is none: its reader, such as `head`, has seen
/// enough, and the exit code is that of the work.
pub fn print(text: &str) -> Result<(), Problem> {
    write(&plain::data(text))
}

/// A JSON value to stdout, on one line. Errors: as `print`.
pub fn print_json(value: &Value) -> Result<(), Problem> {
    write(&format!("{}\n", plain::json(value)))
}

fn write(text: &str) -> Result<(), Problem> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed(written)
}

/// What an attempt to write to stdout came to. Errors: as `print`.
pub fn printed(written: io::Result<()>) -> Result<(), Problem> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("cannot write to stdout: {error}"))
                .fix("free space where it goes, or redirect it elsewhere"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        assert!(printed(Ok(())).is_ok());
        assert!(printed(Err(ErrorKind::BrokenPipe.into())).is_ok());
        let error = printed(Err(ErrorKind::StorageFull.into())).unwrap_err().to_string();
        assert!(error.contains("cannot write to stdout"), "{error}");
    }
}
