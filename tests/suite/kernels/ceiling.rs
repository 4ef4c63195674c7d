//! The products whose rate `bench` measures, against the matrices that the fragments stand for.

use cbp_fast::engine::cuda::ops::Element;
use cbp_fast::engine::cuda::ops::ceiling::{launch, out_len};
use cbp_fast::engine::cuda::precision::Precision;

use super::memory::{Memory, SameBits, assert_close, rounded, schedules};

const BLOCKS: usize = 2;
const ROUNDS: usize = 3;
/// Independent sums of a warp.
const SUMS: usize = 8;

/// The low and the high half of a 16-bit operand, or the only value of a tf32 one.
fn operand(precision: Precision, i: usize) -> [f32; 2] {
    let above_one = 1.0 + i as f32 * 0.01;
    match precision {
        Precision::Fp16 => [rounded(Element::F16, above_one), -1.0],
        Precision::Bf16 => [rounded(Element::Bf16, above_one), -1.0],
        // From 1 to 2 the types have the same values.
        _ if i % 2 == 1 => [rounded(Element::F16, above_one); 2],
        _ => [-1.0; 2],
    }
}

/// What each lane of a warp adds up: its four elements of D = A B, from where PTX has the fragments.
fn sums(precision: Precision) -> (Vec<f64>, usize) {
    // Values a register holds; rows of B that b0, b1 stand for come in halves of the depth.
    let held = if precision == Precision::Tf32 { 1 } else { 2 };
    let depth = 8 * held;
    let (mut a, mut b) = (vec![[0.0f64; 16]; depth], vec![[0.0f64; 8]; depth]);
    for lane in 0..32 {
        let (group, member) = (lane / 4, lane % 4);
        for half in 0..2 {
            for at in 0..held {
                let k = half * depth / 2 + member * held + at;
                b[k][group] = operand(precision, 3 * lane)[at].into();
                a[k][group] = operand(precision, lane + 2 * half)[at].into();
                a[k][group + 8] = operand(precision, lane + 2 * half + 1)[at].into();
            }
        }
    }
    let d = |m: usize, n: usize| (0..depth).map(|k| a[k][m] * b[k][n]).sum::<f64>();
    let of_lane = |lane: usize| {
        let (m, n) = (lane / 4, lane % 4 * 2);
        d(m, n) + d(m, n + 1) + d(m + 8, n) + d(m + 8, n + 1)
    };
    ((0..32).map(of_lane).collect(), depth)
}

#[test]
fn sums_of_products_in_every_type_and_schedule() {
    for precision in [Precision::Fp16, Precision::Bf16, Precision::Tf32] {
        let (of_lane, depth) = sums(precision);
        let times = (SUMS * ROUNDS) as f64;
        let n = out_len(BLOCKS);
        let wanted: Vec<f64> = (0..n).map(|thread| times * of_lane[thread % 32]).collect();
        let mut bits = SameBits::default();
        for options in schedules() {
            let mut memory = Memory::new(options);
            let out = memory.room::<f32>("out", n);
            let (launch, operations) = launch(precision, BLOCKS, ROUNDS, out);
            memory.launch(&launch);
            let found: Vec<f32> = memory.get(out, n);
            // Sums of some hundred f32 of size 1 to 100.
            assert_close(precision.name(), &found, &wanted, 1e-2, 1e-5);
            bits.check("out", &found);
            let of_warp = 2 * 16 * 8 * depth * SUMS * ROUNDS;
            assert_eq!(operations, (n / 32 * of_warp) as f64);
        }
    }
}
