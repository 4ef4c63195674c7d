//! Storage: channels in blocks of 16.
//!
//! A feature map of C channels and L positions is `[ceil(C/16)][L][16]`: panels of 16 channels,
//! positions inside. A vector register holds channels of one position, a tap of a dilated
//! convolution is an offset of whole rows, and both operands of every product here can be read
//! where they lie. Channels beyond C are zero and stay zero.

use std::ops::{Deref, DerefMut};

use super::scalar::Scalar;

/// Channels of a panel.
pub const LANES: usize = 16;

/// Panels that hold `channels`.
pub fn panels(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<T>([T; LANES]);

/// A zeroed array that starts on a cache line: a row of a panel never straddles two.
#[derive(Clone, Default)]
pub struct Aligned<T> {
    lines: Vec<Line<T>>,
}

impl<T: Scalar> Aligned<T> {
    /// `len` elements, a multiple of 16.
    pub fn zeros(len: usize) -> Self {
        assert!(len.is_multiple_of(LANES));
        Self { lines: vec![Line([T::ZERO; LANES]); len / LANES] }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: a Line is 16 T without padding (64 and 128 bytes, multiples of its alignment).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LANES) }
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the borrow is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LANES)
        }
    }
}

/// The rows of 16 of a slice.
#[inline(always)]
pub fn rows<T>(flat: &[T]) -> &[[T; LANES]] {
    flat.as_chunks().0
}

/// The rows of 16 of a slice, to write.
#[inline(always)]
pub fn rows_mut<T>(flat: &mut [T]) -> &mut [[T; LANES]] {
    flat.as_chunks_mut().0
}
