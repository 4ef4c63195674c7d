//! The official bigWig: scores of the bases that are there, from rows in the order of coordinates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::{Row, ScoreWriter};
use crate::files::contributions_h5;
use crate::files::region_track::{RegionTrack, TrackLayout};

pub struct BigWig {
    track: RegionTrack,
    /// File for the quantiles of the values.
    stats: Option<PathBuf>,
    values: Vec<f32>,
}

impl BigWig {
    /// `layout` is that of all rows, of `length` bases each.
    pub fn create(
        path: &Path,
        layout: &Arc<TrackLayout>,
        length: usize,
        stats: Option<PathBuf>,
    ) -> Result<Self> {
        let track = RegionTrack::create(path, layout, stats.is_some())?;
        Ok(Self { track, stats, values: vec![0.0; length] })
    }
}

impl ScoreWriter for BigWig {
    fn rows(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            contributions_h5::track(row.codes, row.scores, &mut self.values);
            self.track.push(&self.values)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        if let (Some(quantiles), Some(path)) = (self.track.finish()?, &self.stats) {
            quantiles.write(path)?;
        }
        Ok(())
    }
}
