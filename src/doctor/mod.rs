//! What this machine and this binary can do, and whether the kernels compute what they should.

mod contributions;
pub mod machine;
pub mod selftest;
