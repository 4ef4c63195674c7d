//! Instruction sets: which one this machine has, and loops compiled once for each of them.

/// An instruction set that this machine is known to have. Only `detect` and `available` make a
/// value above `PORTABLE`, so holding one is the proof that its functions may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(pub(super) Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// What the compiler's target has without asking the machine.
    pub const PORTABLE: Self = Self(Level::Portable);

    /// The widest set of this machine.
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Self::PORTABLE)
    }

    /// Every set of this machine, narrowest first.
    pub fn available() -> Vec<Self> {
        let mut sets = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if avx2 {
                sets.push(Self(Level::Avx2));
            }
            if avx2 && avx512 {
                sets.push(Self(Level::Avx512));
            }
        }
        sets
    }

    /// For logs and flags.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }
}

/// Defines `fn name<T: Scalar>(isa, args)`, or `fn name<T: Scalar, const H: usize>`, whose body is compiled for each instruction set, so
/// that plain loops over 16 channels become vector code although the binary targets any x86-64.
/// No multiply-add is contracted, so elementwise results do not depend on the instruction set.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident$(<const $size:ident>)?(
        $($arg:ident: $ty:ty),* $(,)?
    ) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<T: $crate::engine::cpu::scalar::Scalar $(, const $size: usize)?>(
            isa: $crate::engine::cpu::simd::Isa,
            $($arg: $ty),*
        ) {
            #[inline(always)]
            fn body<T: $crate::engine::cpu::scalar::Scalar $(, const $size: usize)?>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<T: $crate::engine::cpu::scalar::Scalar $(, const $size: usize)?>($($arg: $ty),*) {
                body::<T $(, $size)?>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
            fn avx512<T: $crate::engine::cpu::scalar::Scalar $(, const $size: usize)?>($($arg: $ty),*) {
                body::<T $(, $size)?>($($arg),*)
            }

            match isa.0 {
                $crate::engine::cpu::simd::Level::Portable => body::<T $(, $size)?>($($arg),*),
                // SAFETY: an `Isa` of this level exists only where the machine was found to have it.
                #[cfg(target_arch = "x86_64")]
                $crate::engine::cpu::simd::Level::Avx2 => unsafe { avx2::<T $(, $size)?>($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::engine::cpu::simd::Level::Avx512 => unsafe { avx512::<T $(, $size)?>($($arg),*) },
            }
        }
    };
}
pub(super) use vectorised;
