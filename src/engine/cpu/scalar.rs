//! The number type of an engine: f32 in use, f64 to check the same code by finite differences.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use super::kernel::{self, Tile};
use super::simd::{Isa, Level};

/// What the engine needs of a number.
pub trait Scalar:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    /// For logs.
    const NAME: &'static str;

    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn sqrt(self) -> Self;
    fn div(self, by: Self) -> Self;
    /// The number where `mask` is 1, zero where it is 0; without a branch, so that loops of it
    /// become vector code.
    fn keep(self, mask: u8) -> Self;

    /// Largest register tile of the micro-kernel: rows, panels of 16 columns.
    fn tile_shape(isa: Isa) -> (usize, usize);

    /// Runs one register tile.
    ///
    /// # Safety
    /// The pointers of `tile` must be valid for what `Tile` says it reads and writes, and
    /// `rows`, `panels` must be between 1 and `tile_shape`.
    unsafe fn run_tile<const ROW: usize, const K: usize>(
        isa: Isa,
        rows: usize,
        panels: usize,
        tile: &Tile<Self>,
    );
}

impl Scalar for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAME: &'static str = "f32";

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn div(self, by: Self) -> Self {
        self / by
    }

    #[inline(always)]
    fn keep(self, mask: u8) -> Self {
        Self::from_bits(self.to_bits() & u32::from(mask).wrapping_neg())
    }

    fn tile_shape(isa: Isa) -> (usize, usize) {
        match isa.0 {
            Level::Portable => kernel::PORTABLE_SHAPE,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => kernel::AVX2_SHAPE,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => kernel::AVX512_SHAPE,
        }
    }

    unsafe fn run_tile<const ROW: usize, const K: usize>(
        isa: Isa,
        rows: usize,
        panels: usize,
        tile: &Tile<Self>,
    ) {
        // SAFETY: the caller's promise, and `isa` proves that the machine has the instructions.
        unsafe {
            match isa.0 {
                Level::Portable => kernel::portable::<Self, ROW, K>(rows, panels, tile),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => kernel::avx2::<ROW, K>(rows, panels, tile),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => kernel::avx512::<ROW, K>(rows, panels, tile),
            }
        }
    }
}

impl Scalar for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAME: &'static str = "f64";

    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn div(self, by: Self) -> Self {
        self / by
    }

    #[inline(always)]
    fn keep(self, mask: u8) -> Self {
        Self::from_bits(self.to_bits() & u64::from(mask).wrapping_neg())
    }

    fn tile_shape(_isa: Isa) -> (usize, usize) {
        kernel::PORTABLE_SHAPE
    }

    unsafe fn run_tile<const ROW: usize, const K: usize>(
        _isa: Isa,
        rows: usize,
        panels: usize,
        tile: &Tile<Self>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { kernel::portable::<Self, ROW, K>(rows, panels, tile) }
    }
}
