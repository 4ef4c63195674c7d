//! Predicts the profile and the counts of a sequence.
//!
//! ```text
//! cargo run --release --example predict -- MODEL.h5 SEQUENCE
//! ```

use cbp_fast::{Device, Model, Result, Sequence};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, bases] = &arguments[..] else {
        eprintln!("usage: predict MODEL.h5 SEQUENCE");
        std::process::exit(2);
    };
    println!("{}", predict(model, bases)?);
    Ok(())
}

/// One line about the sequence.
pub fn predict(model: &str, bases: &str) -> Result<String> {
    let mut model = Model::open(model)?.on(Device::auto()?)?;
    let predictions = model.predict(&[Sequence::new(bases)?])?;
    let profile = predictions.profile(0);
    let highest =
        (0..profile.len()).max_by(|&a, &b| profile[a].total_cmp(&profile[b])).unwrap_or(0);
    Ok(format!(
        "{:.2} insertions, most of them ({:.2} %) at base {highest} of {}",
        predictions.counts(0),
        100.0 * profile[highest],
        profile.len()
    ))
}
