//! Genome pack: windows of base codes.

/// A contig of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contig {
    pub name: String,
    /// bp
    pub length: u64,
}

/// Packed genome.
pub struct GenomePack {
    contigs: Vec<Contig>,
    bases: Vec<Vec<u8>>,
}

impl GenomePack {
    /// A genome in memory, from ASCII sequences (any case; anything but ACGT is N). For custom
    /// sequences, variants and tests.
    pub fn from_sequences<'a>(sequences: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut contigs = Vec::new();
        let mut bases = Vec::new();
        for (name, sequence) in sequences {
            contigs.push(Contig { name: name.to_string(), length: sequence.len() as u64 });
            bases.push(sequence.to_vec());
        }
        Self { contigs, bases }
    }

    pub fn contigs(&self) -> &[Contig] {
        &self.contigs
    }

    pub fn contig_id(&self, name: &str) -> Option<u32> {
        self.contigs.iter().position(|c| c.name == name).map(|i| i as u32)
    }

    /// Base codes 0..=3 = ACGT, 4 = anything else, of `[start, start + out.len())`; positions
    /// outside the contig read as 4. With `revcomp`, the reverse complement of that window.
    pub fn codes(&self, contig: u32, start: i64, revcomp: bool, out: &mut [u8]) {
        let bases = &self.bases[contig as usize];
        let n = out.len();
        for (i, code) in out.iter_mut().enumerate() {
            let at = start + if revcomp { n - 1 - i } else { i } as i64;
            let base =
                usize::try_from(at).ok().and_then(|at| bases.get(at)).copied().unwrap_or(b'N');
            let forward = match base {
                b'A' | b'a' => 0,
                b'C' | b'c' => 1,
                b'G' | b'g' => 2,
                b'T' | b't' => 3,
                _ => 4,
            };
            *code = if revcomp && forward < 4 { 3 - forward } else { forward };
        }
    }
}
