//! From log counts to counts.

use clap::ValueEnum;

/// How a predicted log count becomes a count. Targets are ln(1 + n), so `expm1` is the count itself;
/// official bigWigs and variant-scorer use `exp`, one count more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CountTransform {
    /// exp(logcount)
    Exp,
    /// exp(logcount) - 1, at least 0
    Expm1,
}

impl CountTransform {
    pub fn counts(self, logcount: f32) -> f64 {
        match self {
            Self::Exp => f64::from(logcount).exp(),
            Self::Expm1 => f64::from(logcount).exp_m1().max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CountTransform::{Exp, Expm1};

    #[test]
    fn counts() {
        assert_eq!([Exp.counts(0.0), Expm1.counts(0.0), Expm1.counts(-3.0)], [1.0, 0.0, 0.0]);
        assert!((Exp.counts(2.0) - Expm1.counts(2.0) - 1.0).abs() < 1e-12);
    }
}
