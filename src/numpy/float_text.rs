//! Numbers as Python prints, rounds and reads them, for the tables that official tools share.

/// `repr(x)`, which is also `str(x)`: the shortest digits that read back as `x`; `1.0`, `1e+16`.
/// Source: CPython's `float_repr_style` short; NumPy's `str(np.float64)` prints the same.
pub fn repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    // Rust's shortest form is `d.ddde-7`; Python writes exponents below -4 and from 16 on.
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&power) {
        let plain = format!("{x}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}

/// `round(numpy.float64(x), 2)`: NumPy scales, rounds half to even and scales back, so 193.305
/// (stored a little above) becomes 193.3 where Python's own `round` gives 193.31.
pub fn round2(x: f64) -> f64 {
    (x * 100.0).round_ties_even() / 100.0
}

#[cfg(test)]
mod tests {
    // Expected values: Python 3.11, NumPy 1.26.4.
    use super::*;

    #[test]
    fn repr_as_python() {
        for (x, wanted) in [
            (12.0, "12.0"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "-0.0"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (2.1363636363636362, "2.1363636363636362"),
        ] {
            assert_eq!(repr(x), wanted);
        }
    }

    #[test]
    fn round_as_numpy() {
        for (x, wanted) in
            [(193.305, 193.3), (278.305, 278.3), (59.905, 59.9), (0.125, 0.12), (2.5, 2.5)]
        {
            assert_eq!(round2(x), wanted);
        }
    }
}
