//! The error of every fallible call of the face.

use std::fmt;

use crate::error::Problem;

/// What went wrong, where, and how to mend it.
///
/// It prints as the program prints it: what is wrong on the first line, then lines that begin with `where:` and
/// `fix:` where these are known.
#[derive(Debug)]
pub struct Error(anyhow::Error);

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What is wrong, with the value found and the value wanted.
    pub fn what(&self) -> String {
        self.problem().map_or_else(|| format!("{:#}", self.0), |p| p.what().to_string())
    }

    /// File, line, region or contig.
    pub fn place(&self) -> Option<&str> {
        self.problem()?.place()
    }

    /// What can be done about it.
    pub fn fix(&self) -> Option<&str> {
        self.problem()?.way_out()
    }

    fn problem(&self) -> Option<&Problem> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(problem.into())
    }
}
