//! The quantiles of a track, as the official tools print them, in fixed memory: two passes over the
//! values, each counting 16 bits of a key that sorts like the value.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use super::atomic;

/// Label of each line, and the quantile it shows.
const LINES: [(&str, f64); 9] = [
    ("Min", 0.0),
    (".1%", 0.001),
    ("1%", 0.01),
    ("50%", 0.5),
    ("99%", 0.99),
    ("99.9%", 0.999),
    ("99.95%", 0.9995),
    ("99.99%", 0.9999),
    ("Max", 1.0),
];

/// Quantiles over all bases with a value, one for each of `LINES`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackStats {
    quantiles: [f64; LINES.len()],
}

impl TrackStats {
    /// Writes the stats text: a label, a tab, the value with 6 decimals.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, |out| {
            for ((label, _), value) in LINES.iter().zip(self.quantiles) {
                writeln!(out, "{label}\t{value:.6}")?;
            }
            Ok(())
        })
    }
}

/// Something that shows all values, slice by slice, to a function; it is called twice.
type EachSlice<'a> = dyn FnMut(&[f32]) -> Result<()> + 'a;

/// Statistics of all values that `pass` shows. Values are finite; no value at all gives zeros.
pub fn of(mut pass: impl FnMut(&mut EachSlice) -> Result<()>) -> Result<TrackStats> {
    let mut high = vec![0u64; 1 << 16];
    pass(&mut |values| {
        values.iter().for_each(|&v| high[(key(v) >> 16) as usize] += 1);
        Ok(())
    })?;
    let n: u64 = high.iter().sum();
    if n == 0 {
        return Ok(TrackStats { quantiles: [0.0; LINES.len()] });
    }
    // The two order statistics around each quantile, and the weight of the second.
    let ranks = LINES.map(|(_, q)| {
        let at = (n - 1) as f64 * q;
        let below = at.floor().min((n - 1) as f64);
        (below as u64, (below as u64 + 1).min(n - 1), at - below)
    });
    // Buckets of 65,536 keys that hold one of them: the rank of their first value, their counts.
    let mut buckets: Vec<(u32, u64, Vec<u64>)> = Vec::new();
    let mut before = 0;
    for (bucket, &count) in high.iter().enumerate() {
        let holds = |rank: u64| (before..before + count).contains(&rank);
        if ranks.iter().any(|&(a, b, _)| holds(a) || holds(b)) {
            buckets.push((bucket as u32, before, vec![0; 1 << 16]));
        }
        before += count;
    }
    pass(&mut |values| {
        for key in values.iter().map(|&v| key(v)) {
            if let Ok(at) = buckets.binary_search_by_key(&(key >> 16), |b| b.0) {
                buckets[at].2[(key & 0xffff) as usize] += 1;
            }
        }
        Ok(())
    })?;
    let order_statistic = |rank: u64| {
        let (bucket, first, counts) = buckets.iter().rfind(|b| b.1 <= rank)?;
        let mut left = rank - first;
        let low = counts.iter().position(|&count| {
            let found = left < count;
            left = left.saturating_sub(count);
            found
        })?;
        Some(f64::from(value(bucket << 16 | low as u32)))
    };
    let quantiles = ranks.map(|(below, above, weight)| {
        let (a, b) = (order_statistic(below), order_statistic(above));
        let (a, b) = (a.unwrap_or(f64::NAN), b.unwrap_or(f64::NAN));
        a + (b - a) * weight
    });
    Ok(TrackStats { quantiles })
}

/// A key that sorts as the value does: negative values have all bits turned, others the sign bit.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numpy::quantile::quantile;

    #[test]
    fn quantiles_are_those_of_sorting() {
        let mut state = 12345u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 1e5 - 60.0
        };
        for n in [1, 2, 3, 10, 1_000, 40_000] {
            let mut values: Vec<f32> = (0..n).map(|_| next()).collect();
            values[n / 2] = 0.0;
            values[n - 1] = values[0];
            let found = of(|each| values.chunks(7).try_for_each(&mut *each)).unwrap();
            let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            for ((label, q), found) in LINES.iter().zip(found.quantiles) {
                let wanted = quantile(&values, *q).unwrap();
                assert!((found - wanted).abs() <= 1e-12 * wanted.abs(), "{n} {label}: {found}");
            }
        }
    }

    #[test]
    fn keys_sort_as_values() {
        let sorted = [f32::MIN, -1.5, -1e-40, -0.0, 0.0, 1e-40, 1.5, f32::MAX];
        assert!(sorted.windows(2).all(|w| key(w[0]) < key(w[1])));
        assert!(sorted.iter().all(|&v| value(key(v)).to_bits() == v.to_bits()));
    }
}
