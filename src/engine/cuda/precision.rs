//! In which numbers the large layers compute. Heads, loss, weights and Adam are f32 in all of them.

use std::fmt;
use std::str::FromStr;

use super::ops::Element;
use crate::error::Problem;

/// What activations, gradients and weight copies are stored as, and what the tensor cores multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// IEEE half with a dynamic loss scale: the mantissa of TF32 at half its size.
    Fp16,
    Bf16,
    /// f32 in memory, rounded to 11 bits of mantissa in products: TensorFlow's default on Ampere.
    Tf32,
    /// f32: products of three bf16 parts on tensor cores.
    F32,
    /// f32 without tensor cores: slow, and what the others are tested against.
    Plain,
    /// Products of 8-bit numbers (`ops::int8`), everything between layers as in `Fp16`. Predictions only.
    Int8,
}

impl Precision {
    /// Without `--precision`: what the official tool computes in on GPUs since Ampere, and with f32's range, so that
    /// no loss scale is needed. Twenty golden steps of the full model, emulated (`parity::training_trace`), bring the
    /// total weight update this far from f64's, of itself: f32 without tensor cores 0.030 (TensorFlow's f32 0.03),
    /// f32 0.072, fp16 0.074, TF32 0.094, bf16 0.12. fp16 does so with a loss scale that fits; from its first one it
    /// leaves out updates at the beginning (0.50 after twenty steps). Whole runs by precision: unmeasured.
    pub const DEFAULT: Precision = Precision::Tf32;
    /// What `--precision` offers; `f32-plain` is for tests.
    pub const OFFERED: [Precision; 5] =
        [Precision::Fp16, Precision::Bf16, Precision::Tf32, Precision::F32, Precision::Int8];
    /// Precisions that every operation has kernels for, forward and backward.
    pub const ALL: [Precision; 5] =
        [Precision::Fp16, Precision::Bf16, Precision::Tf32, Precision::F32, Precision::Plain];

    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp16 => "fp16",
            Precision::Bf16 => "bf16",
            Precision::Tf32 => "tf32",
            Precision::F32 => "f32",
            Precision::Plain => "f32-plain",
            Precision::Int8 => "int8",
        }
    }

    /// True when it does all that the engine does, and not predictions alone.
    pub fn is_whole(self) -> bool {
        self != Precision::Int8
    }

    /// Errors for what is more than a prediction in a precision that has no more.
    pub fn check_whole(self) -> Result<(), Problem> {
        if self.is_whole() {
            return Ok(());
        }
        Err(Problem::new(format!(
            "--precision {self} is for predictions alone: its products of 8-bit numbers have no backward pass"
        ))
        .fix("use it with predict, footprints, or variants without --shap-type; else pass fp16, bf16, tf32 or f32"))
    }

    /// Type of activations, gradients and weight copies.
    pub fn element(self) -> Element {
        match self {
            Precision::Fp16 | Precision::Int8 => Element::F16,
            Precision::Bf16 => Element::Bf16,
            Precision::Tf32 | Precision::F32 | Precision::Plain => Element::F32,
        }
    }

    /// Bytes of such an element.
    pub fn bytes(self) -> usize {
        self.element().bytes()
    }

    /// True when the loss is scaled by a power of two that follows overflows.
    pub fn scales_loss(self) -> bool {
        self == Precision::Fp16
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().chain([Self::Int8]).find(|p| p.name() == text).ok_or_else(|| {
            Problem::new(format!("--precision {text} is not a precision"))
                .fix(format!("choose from {}", Self::OFFERED.map(Precision::name).join(", ")))
        })
    }
}
