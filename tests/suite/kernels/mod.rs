//! Kernels on the host: the emulator itself, and every kernel in it.

mod memory;

mod adam;
mod batch;
mod emulator;
mod first_conv;
mod head;
mod loss;
mod primitives;
mod step;
