//! The ceilings of this machine: f32 matrix products that the `gemm` crate sustains on all cores, and copies.

use std::time::Instant;

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::train::cpu_seconds;

/// Rows of the products tried; 512 x 512 is a tap's matrix at 512 filters.
const ROWS: [usize; 3] = [512, 1024, 2048];
const INNER: usize = 512;
const COLUMNS: usize = 512;
/// Bytes that all threads copy together: more than the caches of most machines.
const COPIED: usize = 256 << 20;

/// The best of all that was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceiling {
    /// by the wall clock, all threads together
    pub gflops: f64,
    /// by CPU time; `None` where the system does not tell it
    pub gflop_per_cpu_second: Option<f64>,
    /// of copies, read and written; `None` where it was not measured with the products
    pub copy_tb_per_s: Option<f64>,
}

impl Ceiling {
    /// The better of each.
    pub fn max(self, other: Self) -> Self {
        let better = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Self {
            gflops: self.gflops.max(other.gflops),
            gflop_per_cpu_second: better(self.gflop_per_cpu_second, other.gflop_per_cpu_second),
            copy_tb_per_s: better(self.copy_tb_per_s, other.copy_tb_per_s),
        }
    }
}

/// GFLOP/s of independent products, one per thread of the current pool at a time: the best shape
/// and the best of `repeats`, because anything else on the machine only takes away.
pub fn measure(repeats: usize) -> Ceiling {
    let threads = rayon::current_num_threads();
    let mut best = Ceiling::default();
    for rows in ROWS {
        let mut buffers: Vec<[Vec<f32>; 3]> = (0..threads)
            .map(|_| {
                [vec![0.5; rows * INNER], vec![0.25; INNER * COLUMNS], vec![0.0; rows * COLUMNS]]
            })
            .collect();
        let products = 4096 / rows;
        let cpu_start = cpu_seconds();
        let mut gflop = 0.0;
        for _ in 0..repeats {
            let start = Instant::now();
            buffers.par_iter_mut().with_max_len(1).for_each(|[a, b, c]| {
                for _ in 0..products {
                    multiply(rows, a, b, c);
                }
            });
            let done = 2e-9 * (threads * products * rows * INNER * COLUMNS) as f64;
            best.gflops = best.gflops.max(done / start.elapsed().as_secs_f64());
            gflop += done;
        }
        let cpu = cpu_start.zip(cpu_seconds()).map(|(start, end)| gflop / (end - start));
        best = best.max(Ceiling { gflop_per_cpu_second: cpu, ..Ceiling::default() });
    }
    best
}

/// TB/s, read and written, of copies by all threads of the current pool at once: the best of `repeats`. Its buffers
/// are larger than what is measured beside it, so it comes after `peak_rss`.
pub fn copy(repeats: usize) -> f64 {
    let part = COPIED / rayon::current_num_threads();
    let (from, mut to) = (vec![1u8; COPIED], vec![0u8; COPIED]);
    let mut best = 0.0f64;
    for _ in 0..repeats {
        let start = Instant::now();
        to.par_chunks_mut(part)
            .zip(from.par_chunks(part))
            .for_each(|(to, from)| to.copy_from_slice(from));
        // Told to be looked at, so that it cannot be left out.
        std::hint::black_box(&mut to);
        best = best.max(2e-12 * COPIED as f64 / start.elapsed().as_secs_f64());
    }
    best
}

/// c = a b, all row-major.
fn multiply(rows: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    assert_eq!((a.len(), b.len(), c.len()), (rows * INNER, INNER * COLUMNS, rows * COLUMNS));
    // SAFETY: the lengths above are those of the shapes and strides below.
    unsafe {
        gemm(
            rows,
            COLUMNS,
            INNER,
            c.as_mut_ptr(),
            1,
            COLUMNS as isize,
            false,
            a.as_ptr(),
            1,
            INNER as isize,
            b.as_ptr(),
            1,
            COLUMNS as isize,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_row_major_matrices() {
        let (mut a, mut b) = (vec![0.0; 2 * INNER], vec![0.0; INNER * COLUMNS]);
        (a[3], a[INNER + 5]) = (2.0, 7.0);
        (b[3 * COLUMNS + 11], b[5 * COLUMNS + 511]) = (10.0, 100.0);
        let mut c = vec![1.0; 2 * COLUMNS];
        multiply(2, &a, &b, &mut c);
        assert_eq!((c[11], c[COLUMNS + 511], c[0]), (20.0, 700.0, 0.0));
        assert!(c.iter().sum::<f32>() == 720.0);
    }
}
