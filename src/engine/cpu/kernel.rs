//! Micro-kernels: one register tile of a matrix product, accumulated over k, then added to one
//! or two places of the output.
//!
//! `out[rows[r] + panel*out_panel + c] (+)= sum_k A(r, k) * B(panel, k, c)` for c in 0..16, where
//! `A(r, k) = a[(k / 16) * a_outer + (k % 16) * K + r * ROW]` and `B(p, k, c) = b[p*b_panel + k*16 + c]`.
//!
//! ROW and K are the strides of A inside a block of 16 k, known at compile time:
//!
//! ```text
//!   ROW, K    A is                                     used for
//!   16, 1     blocked activations, rows = positions    forward, gradient of the input
//!   1, 16     blocked activations, rows = channels     gradient of the weights
//!   1, 1      a vector, A(r, k) = a[r + k] (Toeplitz)  profile head, backward
//! ```
//!
//! A is read by broadcast and B by whole vectors, straight from where they lie: no packing.

use super::scalar::Scalar;

/// One register tile. Both outputs get the same sums, the second with its own sign.
pub struct Tile<T> {
    pub k: usize,
    pub a: *const T,
    pub a_outer: usize,
    pub b: *const T,
    pub b_panel: usize,
    /// Offset of each row in the output, in elements.
    pub rows: *const u32,
    pub out: *mut T,
    pub also: Also<T>,
    pub out_panel: usize,
    /// Overwrite instead of add.
    pub store: bool,
}

/// The second output of a tile.
#[derive(Clone, Copy)]
pub enum Also<T> {
    No,
    Add(*mut T),
    Subtract(*mut T),
}

/// Rows x panels that fit the registers: 3 x 16 f32 are 12 of 16 SSE registers.
pub const PORTABLE_SHAPE: (usize, usize) = (3, 1);

/// Plain loops, for any machine and number type; LLVM turns the 16 columns into vectors.
///
/// # Safety
/// `Scalar::run_tile` on any machine.
pub unsafe fn portable<T: Scalar, const ROW: usize, const K: usize>(
    rows: usize,
    panels: usize,
    tile: &Tile<T>,
) {
    debug_assert_eq!(panels, 1);
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => portable_rows::<T, 1, ROW, K>(tile),
            2 => portable_rows::<T, 2, ROW, K>(tile),
            _ => portable_rows::<T, 3, ROW, K>(tile),
        }
    }
}

unsafe fn portable_rows<T: Scalar, const R: usize, const ROW: usize, const K: usize>(
    tile: &Tile<T>,
) {
    let mut acc = [[T::ZERO; 16]; R];
    let (mut a, mut b, mut left) = (tile.a, tile.b, tile.k);
    // SAFETY: the caller promises that a, b, rows and the outputs are valid for what the head of
    // this file says is read and written.
    unsafe {
        while left > 0 {
            let n = left.min(16);
            for k in 0..n {
                let columns = &*b.add(k * 16).cast::<[T; 16]>();
                for (r, acc) in acc.iter_mut().enumerate() {
                    let x = *a.add(r * ROW + k * K);
                    for (acc, &column) in acc.iter_mut().zip(columns) {
                        *acc += x * column;
                    }
                }
            }
            a = a.wrapping_add(tile.a_outer);
            b = b.wrapping_add(16 * 16);
            left -= n;
        }
        for (r, acc) in acc.iter().enumerate() {
            let row = *tile.rows.add(r) as usize;
            for (c, &sum) in acc.iter().enumerate() {
                let put = |to: *mut T, sum: T| *to = if tile.store { sum } else { *to + sum };
                put(tile.out.add(row + c), sum);
                match tile.also {
                    Also::No => {}
                    Also::Add(to) => put(to.add(row + c), sum),
                    Also::Subtract(to) => put(to.add(row + c), -sum),
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{AVX2_SHAPE, AVX512_SHAPE, avx2, avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Also, Tile};

    /// 6 rows x 2 vectors = 12 accumulators, 2 vectors of B and 1 of A: 15 of 16 registers.
    pub const AVX2_SHAPE: (usize, usize) = (6, 1);
    /// 12 rows x 2 vectors = 24 accumulators and 2 vectors of B of 32 registers; A is broadcast
    /// from memory inside the multiply-add.
    pub const AVX512_SHAPE: (usize, usize) = (12, 2);

    /// One body for both widths, so that what is tested with one holds for the other.
    macro_rules! kernel {
        ($name:ident, $features:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident,
         $splat:ident, $madd:ident, $add:ident, $sub:ident) => {
            #[target_feature(enable = $features)]
            unsafe fn $name<const R: usize, const P: usize, const ROW: usize, const K: usize>(
                tile: &Tile<f32>,
            ) {
                const VECTORS: usize = 16 / $lanes;
                let mut acc = [[[$zero(); VECTORS]; P]; R];
                // SAFETY: the caller promises that a, b, rows and the outputs are valid for what
                // the head of this file says is read and written.
                unsafe {
                    // The output comes from L3 or memory and is needed after the whole k loop.
                    for r in 0..R {
                        let row = *tile.rows.add(r) as usize;
                        for p in 0..P {
                            let at = row + p * tile.out_panel;
                            _mm_prefetch::<_MM_HINT_T0>(tile.out.add(at).cast());
                            if let Also::Add(to) | Also::Subtract(to) = tile.also {
                                _mm_prefetch::<_MM_HINT_T0>(to.add(at).cast());
                            }
                        }
                    }
                    let (mut a, mut b, mut left) = (tile.a, tile.b, tile.k);
                    while left > 0 {
                        let n = left.min(16);
                        for k in 0..n {
                            let mut columns = [[$zero(); VECTORS]; P];
                            for p in 0..P {
                                for v in 0..VECTORS {
                                    columns[p][v] =
                                        $load(b.add(p * tile.b_panel + k * 16 + v * $lanes));
                                }
                            }
                            for r in 0..R {
                                let x = $splat(*a.add(r * ROW + k * K));
                                for p in 0..P {
                                    for v in 0..VECTORS {
                                        acc[r][p][v] = $madd(x, columns[p][v], acc[r][p][v]);
                                    }
                                }
                            }
                        }
                        a = a.wrapping_add(tile.a_outer);
                        b = b.wrapping_add(16 * 16);
                        left -= n;
                    }
                    for r in 0..R {
                        let row = *tile.rows.add(r) as usize;
                        for p in 0..P {
                            for v in 0..VECTORS {
                                let at = row + p * tile.out_panel + v * $lanes;
                                let sum = acc[r][p][v];
                                let old = |from: *mut f32| {
                                    if tile.store { $zero() } else { $load(from) }
                                };
                                let out = tile.out.add(at);
                                $store(out, $add(old(out), sum));
                                match tile.also {
                                    Also::No => {}
                                    Also::Add(to) => $store(to.add(at), $add(old(to.add(at)), sum)),
                                    Also::Subtract(to) => {
                                        $store(to.add(at), $sub(old(to.add(at)), sum))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        };
    }

    kernel!(
        avx2_tile,
        "avx2,fma",
        8,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_sub_ps
    );
    kernel!(
        avx512_tile,
        "avx512f",
        16,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_sub_ps
    );

    macro_rules! by_rows {
        ($rows:expr, $kernel:ident, $p:literal, $tile:expr, $($r:literal)*) => {
            match $rows {
                $($r => $kernel::<$r, $p, ROW, K>($tile),)*
                other => unreachable!("{other} rows"),
            }
        };
    }

    /// # Safety
    /// `Scalar::run_tile` on a machine with AVX2 and FMA.
    pub unsafe fn avx2<const ROW: usize, const K: usize>(
        rows: usize,
        panels: usize,
        tile: &Tile<f32>,
    ) {
        debug_assert_eq!(panels, 1);
        // SAFETY: the caller's promise.
        unsafe { by_rows!(rows, avx2_tile, 1, tile, 1 2 3 4 5 6) }
    }

    /// # Safety
    /// `Scalar::run_tile` on a machine with AVX-512F.
    pub unsafe fn avx512<const ROW: usize, const K: usize>(
        rows: usize,
        panels: usize,
        tile: &Tile<f32>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if panels == 1 {
                by_rows!(rows, avx512_tile, 1, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
            } else {
                by_rows!(rows, avx512_tile, 2, tile, 1 2 3 4 5 6 7 8 9 10 11 12)
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// The two-panel form that AVX-512 uses, in AVX2 registers, so that its indexing is
        /// checked on machines without AVX-512 too.
        #[test]
        fn two_panels_at_once() {
            if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
                println!("skipped: this machine has no AVX2");
                return;
            }
            let (k, a_outer, b_panel, out_panel) = (37, 64, 40 * 16, 80);
            let number = |i: usize| (i * 7 % 11) as f32 - 5.0;
            let a: Vec<f32> = (0..3 * a_outer).map(number).collect();
            let b: Vec<f32> = (0..2 * b_panel).map(|i| number(i + 3)).collect();
            let mut out = vec![1.0f32; 2 * out_panel];
            let rows = [32u32, 0, 16];
            let start = out.as_mut_ptr();
            let tile = Tile {
                k,
                a: a.as_ptr(),
                a_outer,
                b: b.as_ptr(),
                b_panel,
                rows: rows.as_ptr(),
                out: start,
                also: Also::Subtract(start.wrapping_add(32)),
                out_panel,
                store: false,
            };
            // SAFETY: the arrays cover every index: 3 blocks of k, 2 panels, rows up to 32 + 32 + 16.
            unsafe { avx2_tile::<3, 2, 16, 1>(&tile) };
            let mut wanted = vec![1.0f32; 2 * out_panel];
            for p in 0..2 {
                for (r, &row) in rows.iter().enumerate() {
                    for c in 0..16 {
                        let sum: f32 = (0..k)
                            .map(|k| {
                                a[k / 16 * a_outer + k % 16 + r * 16] * b[p * b_panel + k * 16 + c]
                            })
                            .sum();
                        wanted[p * out_panel + row as usize + c] += sum;
                        wanted[p * out_panel + row as usize + 32 + c] -= sum;
                    }
                }
            }
            assert_eq!(out, wanted);
        }
    }
}
