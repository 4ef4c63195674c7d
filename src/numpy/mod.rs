//! Numbers as NumPy, SciPy and Python make and write them, to the last bit: draws, quantiles,
//! correlations, float text. Official files hold them.

pub mod correlation;
pub mod float_text;
pub mod python_random;
pub mod quantile;
pub mod random;
