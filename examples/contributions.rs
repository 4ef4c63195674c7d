//! Prints what each base of a window contributes to a model's counts: position, base, score.
//!
//! ```text
//! cargo run --release --example contributions -- MODEL.h5 GENOME.fa CONTIG CENTER
//! ```

use cbp_fast::{Device, Genome, Method, Model, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, genome, contig, center] = &arguments[..] else {
        eprintln!("usage: contributions MODEL.h5 GENOME.fa CONTIG CENTER");
        std::process::exit(2);
    };
    let Ok(center) = center.parse() else {
        eprintln!("CENTER is a base of the contig, counted from 0: {center}");
        std::process::exit(2);
    };
    for (position, base, score) in explain(model, &Genome::open(genome)?, contig, center)? {
        println!("{contig}\t{position}\t{base}\t{score:.6}");
    }
    Ok(())
}

/// Position (0-based), base and score of every base of the window.
pub fn explain(
    model: &str,
    genome: &Genome,
    contig: &str,
    center: u64,
) -> Result<Vec<(i64, char, f32)>> {
    let mut model = Model::open(model)?.on(Device::auto()?)?;
    let length = model.input_length();
    let window = genome.around(contig, center, length)?;
    let contributions = model.contributions(std::slice::from_ref(&window), Method::default())?;
    let scores = contributions.of_bases(0, contributions.counts(0));
    let start = center as i64 - (length / 2) as i64;
    let rows = window
        .to_string()
        .chars()
        .zip(scores)
        .zip(start..)
        .map(|((base, score), at)| (at, base, score))
        .collect();
    Ok(rows)
}
