//! The CPU engine: the definition of right.
