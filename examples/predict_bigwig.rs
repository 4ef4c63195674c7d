//! Predicts windows side by side along one contig and writes the expected insertions as a bigWig.
//!
//! ```text
//! cargo run --release --example predict_bigwig -- MODEL.h5 GENOME.fa CONTIG OUT.bw
//! ```

use cbp_fast::{Device, Genome, Model, Result, Track};

/// Windows that are predicted at a time.
const BATCH: usize = 64;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, genome, contig, out] = &arguments[..] else {
        eprintln!("usage: predict_bigwig MODEL.h5 GENOME.fa CONTIG OUT.bw");
        std::process::exit(2);
    };
    println!(
        "{} windows of {contig} are in {out}",
        tile(model, &Genome::open(genome)?, contig, out)?
    );
    Ok(())
}

/// Returns how many windows fit. Bases within half an input of the contig's ends get no value.
pub fn tile(model: &str, genome: &Genome, contig: &str, out: &str) -> Result<usize> {
    let mut model = Model::open(model)?.on(Device::auto()?)?;
    let (input, output) = (model.input_length() as u64, model.output_length() as u64);
    let length = genome.contigs().find(|(name, _)| *name == contig).map_or(0, |(_, length)| length);
    let flank = (input - output) / 2;
    let starts: Vec<u64> =
        (0..).map(|tile| tile * output).take_while(|start| start + input <= length).collect();

    let mut track = Track::create(out, genome.contigs())?;
    for batch in starts.chunks(BATCH) {
        let sequences: Result<Vec<_>> = batch
            .iter()
            .map(|&start| genome.sequence(contig, start as i64..(start + input) as i64))
            .collect();
        let predictions = model.predict(&sequences?)?;
        for (i, start) in batch.iter().enumerate() {
            track.write(contig, start + flank, &predictions.signal(i))?;
        }
    }
    track.finish()?;
    Ok(starts.len())
}
