//! One operation a file: its arguments as the kernel has them, and functions from addresses and shapes to launches.

pub mod dilated;
