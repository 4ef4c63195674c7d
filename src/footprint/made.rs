//! Footprints of a model, from its predictions to the official files.

use std::path::Path;

use anyhow::Result;

use super::{BiasResponse, Footprint, Motif, footprints, h5};
use crate::batch::Example;
use crate::console::Console;
use crate::engine::Explain;
use crate::predict::models::Ensemble;
use crate::run::prefix::suffixed;
use crate::store::Tracks;

/// Footprints of one model, the control first, and the verdict on its enzyme's.
pub struct Made {
    pub footprints: Vec<Footprint>,
    /// `None` without an enzyme motif.
    pub response: Option<BiasResponse>,
}

impl Made {
    /// Errors: a motif longer than the model's input; those of the engine.
    pub fn new(
        models: &mut Ensemble<dyn Explain>,
        tracks: &Tracks,
        plan: &[Example],
        motifs: &[Motif],
        batch_size: usize,
        console: &Console,
    ) -> Result<Self> {
        let total = plan.len() * (motifs.len() + 1);
        let mut progress = console.progress("footprints", total as u64);
        let arch = *models.arch();
        let footprints = footprints(
            &mut |codes, out| {
                *out = models.predict_sequences(codes)?.mean;
                Ok(())
            },
            &arch,
            tracks,
            plan,
            motifs,
            batch_size,
            &mut |done| progress.advance(done as u64, ""),
        )?;
        progress.finish();
        let enzyme = motifs.iter().zip(&footprints[1..]).filter(|(motif, _)| motif.is_enzyme());
        let response = BiasResponse::of(enzyme.map(|(_, footprint)| footprint));
        if let Some(response) = &response {
            console.info(format!("response to the enzyme's motifs: {}", response.line()));
        }
        Ok(Self { footprints, response })
    }

    /// Writes the h5 and `PREFIX_max_bias_response.txt`.
    pub fn write(&self, prefix: &Path, h5: &Path) -> Result<()> {
        h5::write(h5, &self.footprints)?;
        match &self.response {
            Some(response) => response.write(&suffixed(prefix, "_max_bias_response.txt")),
            None => Ok(()),
        }
    }
}
