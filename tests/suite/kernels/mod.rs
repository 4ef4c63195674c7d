//! Kernels on the host: the emulator itself, and every kernel in it.

mod dilated;
mod emulator;
mod primitives;
mod tensor;
