//! Scores substitutions, as `CONTIG:POSITION:REF:ALT` with 1-based positions, like variant-scorer.
//!
//! ```text
//! cargo run --release --example variants -- MODEL.h5 GENOME.fa chr1:1234567:A:G ...
//! ```

use cbp_fast::{Device, Genome, Model, Result, Sequence, VariantEffect};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, genome, variants @ ..] = &arguments[..] else {
        eprintln!("usage: variants MODEL.h5 GENOME.fa CONTIG:POSITION:REF:ALT ...");
        std::process::exit(2);
    };
    let parsed: Option<Vec<Variant>> = variants.iter().map(|text| Variant::parse(text)).collect();
    let Some(parsed) = parsed else {
        eprintln!(
            "variants are written as CONTIG:POSITION:REF:ALT, with REF and ALT of one length"
        );
        std::process::exit(2);
    };
    println!("variant\tlogfc\tjsd");
    let effects = score(model, &Genome::open(genome)?, &parsed)?;
    for (variant, VariantEffect { logfc, jsd }) in variants.iter().zip(effects) {
        println!("{variant}\t{logfc:.4}\t{jsd:.4}");
    }
    Ok(())
}

/// A substitution.
pub struct Variant {
    contig: String,
    /// 0-based.
    position: u64,
    reference: Sequence,
    alternative: Sequence,
}

impl Variant {
    /// Reads `CONTIG:POSITION:REF:ALT`; `None` where the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let [contig, position, reference, alternative] = fields[..] else { return None };
        let position = position.parse::<u64>().ok()?.checked_sub(1)?;
        let (reference, alternative) = (reference.parse().ok()?, alternative.parse().ok()?);
        let variant = Self { contig: contig.to_string(), position, reference, alternative };
        (variant.reference.len() == variant.alternative.len()).then_some(variant)
    }
}

/// The effect of each variant, in the order given.
pub fn score(model: &str, genome: &Genome, variants: &[Variant]) -> Result<Vec<VariantEffect>> {
    let mut model = Model::open(model)?.on(Device::auto()?)?;
    let length = model.input_length();
    let (mut references, mut alternatives) = (Vec::new(), Vec::new());
    for Variant { contig, position, reference, alternative } in variants {
        // The variant's first base is the window's base length / 2.
        let window = genome.around(contig, *position, length)?;
        references.push(window.with(length / 2, reference)?);
        alternatives.push(window.with(length / 2, alternative)?);
    }
    model.effects(&references, &alternatives)
}
