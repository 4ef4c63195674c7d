//! `kernels/ceiling.cu`: what the tensor cores do when nothing holds them up.

use bytemuck::{Pod, Zeroable};

use super::size;
use crate::engine::cuda::device::{Address, Launch};
use crate::engine::cuda::precision::Precision;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct CeilingArgs {
    out: Address,
    rounds: u32,
    padding: u32,
}

const THREADS: usize = 256;
const SUMS: usize = 8;

/// f32 elements of `out` that `blocks` blocks write.
pub fn out_len(blocks: usize) -> usize {
    blocks * THREADS
}

/// The launch, and its arithmetic. The products are those that `precision` is made of; three of bf16 make one
/// of f32.
pub fn launch(precision: Precision, blocks: usize, rounds: usize, out: Address) -> (Launch, f64) {
    let (kernel, depth, products) = match precision {
        Precision::Fp16 => ("matrix_ceiling_f16", 16, 1.0),
        Precision::Bf16 => ("matrix_ceiling_bf16", 16, 1.0),
        Precision::Tf32 => ("matrix_ceiling_tf32", 8, 1.0),
        Precision::F32 | Precision::Plain => ("matrix_ceiling_bf16", 16, 3.0),
        Precision::Int8 => unreachable!("benches refuse what has no training step"),
    };
    let args = CeilingArgs { out, rounds: size(rounds), padding: 0 };
    let grid = [size(blocks), 1, 1];
    let launch = Launch::new(kernel, grid, [size(THREADS), 1, 1], 0, &args, "matrix ceiling");
    let operations = 2 * 16 * 8 * depth * SUMS * rounds * blocks * THREADS / 32;
    (launch, operations as f64 / products)
}
