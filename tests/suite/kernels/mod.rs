//! Kernels on the host: the emulator itself, and every kernel in it.

mod memory;
mod tensor;

mod adam;
mod batch;
mod bias_cache;
mod ceiling;
mod counts_head;
mod dilated;
mod emulator;
mod first_conv;
mod head;
mod hopper;
mod int8;
mod loss;
mod partial_sums;
mod primitives;
mod rescale;
mod step;
