//! Reading the goldens folder: tensors, JSON, the simulated genome and its signal.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cbp_fast::store::{GenomePack, SignalPack, Tracks};
use safetensors::{Dtype, SafeTensors};

/// A safetensors file, read whole.
pub struct Tensors {
    bytes: Vec<u8>,
    /// The file's own metadata strings.
    pub metadata: HashMap<String, String>,
}

impl Tensors {
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default();
        Self { bytes, metadata }
    }

    fn with<T>(&self, name: &str, dtype: Dtype, read: impl Fn(&[u8]) -> T) -> T {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(view.dtype(), dtype, "{name}");
        read(view.data())
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        SafeTensors::deserialize(&self.bytes).unwrap().tensor(name).unwrap().shape().to_vec()
    }

    pub fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        file.names().into_iter().map(|n| n.to_string()).collect()
    }

    pub fn u8(&self, name: &str) -> Vec<u8> {
        self.with(name, Dtype::U8, <[u8]>::to_vec)
    }

    pub fn u16(&self, name: &str) -> Vec<u16> {
        self.with(name, Dtype::U16, |b| {
            b.chunks_exact(2).map(|c| u16::from_le_bytes(c.try_into().unwrap())).collect()
        })
    }

    pub fn i32(&self, name: &str) -> Vec<i32> {
        self.with(name, Dtype::I32, |b| {
            b.chunks_exact(4).map(|c| i32::from_le_bytes(c.try_into().unwrap())).collect()
        })
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.with(name, Dtype::F32, |b| {
            b.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
        })
    }

    pub fn f64(&self, name: &str) -> Vec<f64> {
        self.with(name, Dtype::F64, |b| {
            b.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect()
        })
    }
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// `max_jitter` of the run whose filtered regions the golden generators used.
pub fn max_jitter(goldens: &Path) -> i64 {
    let path = goldens.join("data/expected/hyper_chrombpnet_sampled/chrombpnet_model_params.tsv");
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("max_jitter\t")).unwrap();
    line.parse().unwrap()
}

/// The simulated genome with the ATAC BAM's signal, from the texts (so independent of packs).
pub fn tracks(goldens: &Path) -> Tracks {
    let fasta = fs::read_to_string(goldens.join("data/inputs/genome.fa")).unwrap();
    let contigs: Vec<(String, Vec<u8>)> = fasta
        .split('>')
        .skip(1)
        .map(|record| {
            let (header, body) = record.split_once('\n').unwrap();
            let name = header.split_whitespace().next().unwrap().to_string();
            (name, body.bytes().filter(|b| !b.is_ascii_whitespace()).collect())
        })
        .collect();
    let mut signal: Vec<(String, Vec<f32>)> =
        contigs.iter().map(|(n, s)| (n.clone(), vec![0.0; s.len()])).collect();
    let text =
        fs::read_to_string(goldens.join("data/expected/bigwig/atac_bam_unstranded.bedGraph"))
            .unwrap();
    for line in text.lines() {
        let f: Vec<&str> = line.split('\t').collect();
        let (start, end): (usize, usize) = (f[1].parse().unwrap(), f[2].parse().unwrap());
        let track = signal.iter_mut().find(|(n, _)| n == f[0]).unwrap();
        track.1[start..end].fill(f[3].parse().unwrap());
    }
    let genome = GenomePack::from_sequences(contigs.iter().map(|(n, s)| (n.as_str(), &s[..])));
    let signal = SignalPack::from_dense(signal.iter().map(|(n, v)| (n.as_str(), &v[..])));
    Tracks::new(Arc::new(genome), Some(Arc::new(signal)))
}
