//! DeepSHAP's kernels against loops in f64: at awkward shapes, in every precision, under many schedules.

pub mod dilated;
mod first_conv;
mod head;

/// The rescale rule between pre-activations of a sequence and its reference.
fn ratio(x: f64, r: f64) -> f64 {
    match (x - r).abs() < 1e-6 {
        true => f64::from(x > 0.0),
        false => (x.max(0.0) - r.max(0.0)) / (x - r),
    }
}

/// Fails unless `found` are the ratios of `x` and `r`, both good to `error`, rounded to `half_ulp` of 1.
fn check_ratios(what: &str, found: &[f32], pairs: &[(f64, f64)], error: f64, half_ulp: f64) {
    assert_eq!(found.len(), pairs.len());
    let mut checked = 0;
    for (at, (&found, &(x, r))) in found.iter().zip(pairs).enumerate() {
        assert!((0.0..=1.0).contains(&found), "{what}: ratio {at} is {found}");
        // An error of both moves the quotient by so much; equal inputs have equal bits and no error.
        let bound = half_ulp + if x == r { 0.0 } else { 2.0 * error / (x - r).abs() };
        // Padded channels are exactly zero on either side.
        let on_the_kink = x == r && x != 0.0 && x.abs() <= error;
        if bound < 0.1 && !on_the_kink {
            let off = (f64::from(found) - ratio(x, r)).abs();
            assert!(off <= bound, "{what}: ratio {at} of {x} and {r} is {found}, off by {off:e}");
            checked += 1;
        }
    }
    assert!(checked * 10 > found.len() * 6, "{what}: only {checked} of {} checked", found.len());
}
