//! Signal pack: windows of per-base counts.

use super::genome::Contig;

/// Packed per-base counts.
pub struct SignalPack {
    contigs: Vec<Contig>,
    values: Vec<Vec<f32>>,
}

impl SignalPack {
    /// A signal in memory, from dense per-base values. For tests and simulation.
    pub fn from_dense<'a>(tracks: impl IntoIterator<Item = (&'a str, &'a [f32])>) -> Self {
        let mut contigs = Vec::new();
        let mut values = Vec::new();
        for (name, track) in tracks {
            contigs.push(Contig { name: name.to_string(), length: track.len() as u64 });
            values.push(track.to_vec());
        }
        Self { contigs, values }
    }

    pub fn contigs(&self) -> &[Contig] {
        &self.contigs
    }

    pub fn contig_id(&self, name: &str) -> Option<u32> {
        self.contigs.iter().position(|c| c.name == name).map(|i| i as u32)
    }

    /// Counts of `[start, start + out.len())`, reversed with `revcomp`; 0 where nothing is stored
    /// or outside the contig.
    pub fn counts(&self, contig: u32, start: i64, revcomp: bool, out: &mut [f32]) {
        let values = &self.values[contig as usize];
        let n = out.len();
        for (i, count) in out.iter_mut().enumerate() {
            let at = start + if revcomp { n - 1 - i } else { i } as i64;
            *count = usize::try_from(at).ok().and_then(|at| values.get(at)).copied().unwrap_or(0.0);
        }
    }

    /// Sum of `[start, end)`, in f64.
    pub fn sum(&self, contig: u32, start: i64, end: i64) -> f64 {
        let values = &self.values[contig as usize];
        (start.max(0)..end.min(values.len() as i64)).map(|at| f64::from(values[at as usize])).sum()
    }
}
