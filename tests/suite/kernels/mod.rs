//! Kernels on the host: the emulator itself, and every kernel in it.

mod emulator;
